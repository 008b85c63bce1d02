package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf16"

	"github.com/cloakroom-go/cloakroom/devices"
)

// A row describes a session.
type row struct {
	ID         string `json:"id"`
	SeenAt     string `json:"seen_at,omitempty"`
	LoggedInAt string `json:"logged_in_at,omitempty"`
	CreatedAt  string `json:"created_at,omitempty"`
	Remembered bool   `json:"remembered"`
	Address    string `json:"address,omitempty"`
	UserAgent  string `json:"user_agent,omitempty"`
}

func rowOf(s devices.Session) row {
	return row{
		ID: s.ID, SeenAt: date(s.SeenAt), LoggedInAt: date(s.LoggedInAt), CreatedAt: date(s.CreatedAt),
		Remembered: s.Remembered, Address: s.Address, UserAgent: s.UserAgent,
	}
}

// date prints an instant; the zero time as "".
func date(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// A listing is the output of a command about sessions.
type listing struct {
	DryRun   bool   `json:"dry_run,omitempty"`
	Subject  string `json:"subject,omitempty"`
	TagKind  string `json:"tag_kind,omitempty"` // a tag's value may be confidential
	All      bool   `json:"all,omitempty"`
	Sessions []row  `json:"sessions"` // null: which they are is not known
}

func (t *tool) print(l listing) error {
	if t.format == "json" {
		return t.printJSON(l)
	}
	if l.Sessions == nil {
		return nil
	}
	w := tabwriter.NewWriter(t.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tSEEN\tLOGGED IN\tREMEMBERED\tADDRESS\tUSER AGENT")
	for _, r := range l.Sessions {
		remembered := map[bool]string{true: "yes", false: "no"}[r.Remembered]
		cells := []string{r.ID, r.SeenAt, r.LoggedInAt, remembered, r.Address, r.UserAgent}
		for i, cell := range cells {
			if cells[i] = strings.ReplaceAll(printable(cell), "\n", `\u000a`); cell == "" {
				cells[i] = "-"
			}
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	return w.Flush()
}

func (t *tool) printJSON(v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(t.stdout, printable(string(text)))
	return err
}

// note says something to people, each line with the name of the program before
// it.
func (t *tool) note(format string, args ...any) {
	text := printable(fmt.Sprintf(format, args...))
	fmt.Fprintln(t.stderr, "sessions:", strings.ReplaceAll(text, "\n", "\nsessions: "))
}

// printable escapes characters that control a terminal: somebody who can write
// to the store could have put them there.
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
