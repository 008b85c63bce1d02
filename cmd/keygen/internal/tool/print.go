package tool

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf16"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

// printable escapes what could steer a terminal: key IDs, reasons, tokens, key
// sets and files hold what others wrote.
func printable(s string) string {
	var out strings.Builder
	for _, r := range s {
		if r == '\n' || unicode.IsPrint(r) {
			out.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) { // as JSON escapes it
			fmt.Fprintf(&out, `\u%04x`, unit)
		}
	}
	return out.String()
}

// Cell returns text as one printable line: its author must not be able to begin
// another one.
func Cell(text string) string { return strings.ReplaceAll(printable(text), "\n", `\u000a`) }

// Say says text to people, each line with the name of the program before it.
func Say(w io.Writer, text string) {
	fmt.Fprintln(w, "keygen:", strings.ReplaceAll(printable(text), "\n", "\nkeygen: "))
}

// Note says something to people.
func (t *Tool) Note(format string, args ...any) { Say(t.Stderr, fmt.Sprintf(format, args...)) }

// A table has its columns aligned when it is printed.
type table struct{ *tabwriter.Writer }

// NewTable returns a table that is printed on w.
func NewTable(w io.Writer) table { return table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)} }

// A painted cell is printed as it is. It is never text from outside.
type painted string

// Row adds a row of strings, which are escaped, and painted cells.
func (t table) Row(cells ...any) {
	for i, c := range cells {
		if i > 0 {
			fmt.Fprint(t, "\t")
		}
		if p, ok := c.(painted); ok {
			fmt.Fprint(t, string(p))
			continue
		}
		fmt.Fprint(t, Cell(fmt.Sprint(c)))
	}
	fmt.Fprintln(t)
}

// maxIndented is how deep JSON may be nested that is indented. Ours is flatter.
const maxIndented = 16

// PrintJSON prints v, with everything escaped that could steer a terminal: a
// token holds what strangers wrote. What is nested deep comes in one line:
// indented, it would be a thousand times as long.
func (t *Tool) PrintJSON(v any) error {
	text, err := json.Marshal(v)
	if err == nil && nesting(text) <= maxIndented {
		text, err = json.MarshalIndent(v, "", "  ")
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(t.Stdout, printable(string(text)))
	return err
}

// PrintSet prints members with those that all outputs about a key file have.
func (t *Tool) PrintSet(set *keyset.Set, members map[string]any) error {
	members["keyset"], members["generation"] = t.Path(), set.Generation()
	return t.PrintJSON(members)
}

// nesting returns how deep the objects and arrays of valid JSON are nested.
func nesting(text []byte) (deepest int) {
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && (c == '{' || c == '['):
			depth++
			deepest = max(deepest, depth)
		case !quoted && (c == '}' || c == ']'):
			depth--
		}
	}
	return deepest
}

// Words is the name of a check for people.
func Words(name string) string { return strings.ReplaceAll(name, "_", " ") }
