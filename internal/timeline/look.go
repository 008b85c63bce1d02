package timeline

import "github.com/cloakroom-go/cloakroom/internal/keyset"

// A look is how a state is drawn. No two states differ only by colour: they
// also differ in lightness, shape and letter, for printers and for people who
// can't tell the colours apart.
type look struct {
	glyph string // in a terminal
	ansi  string // colour of the glyph (SGR, ECMA-48); one of the 16 that terminals let people choose

	fill, edge string // of a bar
	ink        string // of the text in the bar
	letter     string // used if the name does not fit
	thin       bool   // the key does nothing in this state

	meaning string // for the legend
}

func lookOf(s keyset.State) look {
	switch s {
	case keyset.Staged:
		return look{glyph: "·", ansi: "90", fill: "#ffffff", edge: "#8b949e", thin: true, meaning: "not published yet"}
	case keyset.Pending:
		return look{glyph: "░", ansi: "36", fill: "#a9d6f5", edge: "#4a8fbf", ink: "#0a3352", letter: "P",
			meaning: "accepted already"}
	case keyset.Active:
		return look{glyph: "█", ansi: "94", fill: "#1f62ab", edge: "#1f62ab", ink: "#ffffff", letter: "A",
			meaning: "signs or encrypts"}
	case keyset.Retiring:
		return look{glyph: "▒", ansi: "33", fill: "#efa51b", edge: "#b87503", ink: "#2e1d00", letter: "R",
			meaning: "still accepted"}
	case keyset.Expired:
		return look{glyph: "┄", ansi: "90", fill: "#b4bcc5", edge: "#8b949e", thin: true, meaning: "no longer trusted"}
	}
	return look{glyph: "×", ansi: "31", fill: "#b3371d", edge: "#8f2912", ink: "#ffffff", letter: "×",
		meaning: "withdrawn"}
}
