package timeline

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
)

// minShort is the length of a shortened key ID, in characters: as base64url 48
// bits, which rarely repeat. Keys that begin alike get more, up to maxShort;
// two that are alike for longer were made so on purpose.
const minShort, maxShort = 8, 16

// printable writes what can't be printed as Go does in a string, such as \x1b
// and \u202e: it could control a terminal or reverse a line. XML does not allow
// most of it either.
func printable(s string) string { return unquoted(strconv.Quote(s)) }

// ascii is printable for names: all but ASCII is escaped.
func ascii(s string) string { return unquoted(strconv.QuoteToASCII(s)) }

// unquoted removes what only marks the end of a string in Go.
func unquoted(s string) string {
	return strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(s[1 : len(s)-1])
}

// shortIDs returns for each ID as much of its beginning as tells it from the
// others.
func shortIDs(rows []rotation.Row) map[string]string {
	var ids []string
	for _, r := range rows {
		ids = append(ids, r.ID)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	short := map[string]string{}
	for i, id := range ids {
		n := minShort
		if i > 0 {
			n = max(n, 1+common(ids[i-1], id))
		}
		if i+1 < len(ids) {
			n = max(n, 1+common(id, ids[i+1]))
		}
		short[id] = id[:min(n, maxShort, len(id))]
	}
	return short
}

// common is how many bytes two strings have in common at their beginning.
func common(a, b string) (n int) {
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// clip cuts s down to n characters and says so. It is for ASCII.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n-1] + "…"
}

// columns returns how many columns of a terminal r takes, by Unicode Standard
// Annex #11 for what texts about keys have: combining marks, East Asian scripts
// and emoji.
func columns(r rune) int {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	case unicode.In(r, unicode.Han, unicode.Hangul, unicode.Hiragana, unicode.Katakana),
		r >= 0x1f300 && r <= 0x1faff, r >= 0xff01 && r <= 0xff60:
		return 2
	}
	return 1
}

// length is how many columns s takes. Colours take none; no text from a file
// has an escape character, see printable.
func length(s string) (n int) {
	inColor := false
	for _, r := range s {
		inColor = inColor || r == '\x1b'
		if !inColor {
			n += columns(r)
		}
		inColor = inColor && r != 'm'
	}
	return n
}

// wrap breaks s into lines of at most width columns, between words where it
// can.
func wrap(s string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(s) {
		if line != "" && length(line)+1+length(word) <= width {
			line += " " + word
			continue
		}
		if line != "" {
			lines = append(lines, line)
		}
		for length(word) > width {
			var head string
			head, word = split(word, width)
			lines = append(lines, head)
		}
		line = word
	}
	return append(lines, line)
}

// split cuts a word that is longer than a line.
func split(word string, width int) (head, tail string) {
	n := 0
	for i, r := range word {
		if n += columns(r); n > width {
			return word[:i], word[i:]
		}
	}
	return word, ""
}

// instant is the exact form of a date.
func instant(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// brief reports whether the window is so short that hours say more than days:
// two days, so that a rehearsal over a night is one.
func (c *chart) brief() bool { return seconds(c.From, c.Until) <= 48*60*60 }

// layout is the form of dates in a list. Over weeks, seconds would be noise.
func (c *chart) layout() string {
	if c.brief() {
		return time.DateTime
	}
	return "2006-01-02 15:04"
}

// Period says what the window is, as exactly as it must.
func (c *chart) Period() string {
	layout := time.DateOnly
	switch {
	case midnight(c.From) && midnight(c.Until):
	case whole(c.From, time.Minute) && whole(c.Until, time.Minute):
		layout += " 15:04"
	default:
		layout += " 15:04:05"
	}
	until := c.Until.Format(layout)
	if day := c.From.Format(time.DateOnly + " "); strings.HasPrefix(until, day) {
		until = until[len(day):]
	}
	return c.From.Format(layout) + " to " + until
}

func whole(t time.Time, unit time.Duration) bool { return t.Equal(t.Truncate(unit)) }

func midnight(t time.Time) bool { return whole(t, 24*time.Hour) }

// today is the label of the line.
func (c *chart) today() string {
	if c.brief() {
		return "now, " + c.Now.Format("15:04")
	}
	return "today, " + c.Now.Format("2 Jan")
}

// from names the state that an event ends.
func from(e rotation.Event) string {
	if e.From == 0 {
		return "new"
	}
	return e.From.String()
}

// useName says what a group of keys is for.
func useName(u keyset.Use) string {
	names := map[keyset.Use]string{keyset.Signature: "Signature keys", keyset.Encryption: "Encryption keys"}
	return cmp.Or(names[u], "Other keys")
}

// Keys is how many keys there are, in words.
func (c *chart) Keys() string {
	if len(c.Rows) == 1 {
		return "1 key"
	}
	return strconv.Itoa(len(c.Rows)) + " keys"
}
