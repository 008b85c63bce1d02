package timeline

import "github.com/cloakroom-go/cloakroom/internal/keyset"

// A look is how a state is drawn. No two states differ only by colour: they
// also differ in lightness, shape and letter, for printers and for people who
// can't tell the colours apart.
type look struct {
	glyph string // in a terminal
	ansi  string // colour of the glyph (SGR, ECMA-48); one of the 16 that terminals let people choose

	Fill, Edge string // of a bar
	Ink        string // of the text in the bar
	letter     string // used if the name does not fit
	thin       bool   // the key does nothing in this state

	Meaning string // for the legend
}

func lookOf(s keyset.State) look {
	switch s {
	case keyset.Staged:
		return look{glyph: "·", ansi: "90", Fill: "#ffffff", Edge: "#8b949e", thin: true, Meaning: "not published yet"}
	case keyset.Pending:
		return look{glyph: "░", ansi: "36", Fill: "#a9d6f5", Edge: "#4a8fbf", Ink: "#0a3352", letter: "P",
			Meaning: "accepted already"}
	case keyset.Active:
		return look{glyph: "█", ansi: "94", Fill: "#1f62ab", Edge: "#1f62ab", Ink: "#ffffff", letter: "A",
			Meaning: "signs or encrypts"}
	case keyset.Retiring:
		return look{glyph: "▒", ansi: "33", Fill: "#efa51b", Edge: "#b87503", Ink: "#2e1d00", letter: "R",
			Meaning: "still accepted"}
	case keyset.Expired:
		return look{glyph: "┄", ansi: "90", Fill: "#b4bcc5", Edge: "#8b949e", thin: true, Meaning: "no longer trusted"}
	}
	return look{glyph: "×", ansi: "31", Fill: "url(#tl-hatch)", Edge: "#8f2912", Ink: "#ffffff", letter: "×",
		Meaning: "withdrawn"}
}
