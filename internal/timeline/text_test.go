package timeline_test

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
	"github.com/cloakroom-go/cloakroom/internal/timeline"
)

func textOf(t *testing.T, tl *rotation.Timeline, o timeline.TextOptions) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, timeline.Text(&b, tl, o))
	return b.String()
}

// plain removes colours.
func plain(s string) string { return regexp.MustCompile("\x1b\\[[0-9;]*m").ReplaceAllString(s, "") }

// across is how many columns a line takes.
func across(line string) (n int) {
	for _, r := range line {
		switch {
		case unicode.Is(unicode.Mn, r):
		case unicode.Is(unicode.Han, r):
			n += 2
		default:
			n++
		}
	}
	return n
}

// chartOf returns the lines of the chart: from the marker to the axis.
func chartOf(t *testing.T, text string) []string {
	t.Helper()
	lines := strings.Split(text, "\n")
	first := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, "▼") })
	last := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, "┬") })
	require.Positive(t, first)
	require.Greater(t, last, first)
	return lines[first : last+1]
}

func runeIndex(s string, r rune) int { return slices.Index([]rune(s), r) }

func TestTextFitsItsWidth(t *testing.T) {
	for _, s := range append(samples(), odd()...) {
		t.Run(s.name, func(t *testing.T) {
			for width := 40; width <= 200; width += 1 + len(s.tl.Rows) {
				for _, line := range strings.Split(textOf(t, s.tl, timeline.TextOptions{Width: width}), "\n") {
					if across(line) > width || strings.HasSuffix(line, " ") {
						t.Fatalf("%d columns, or ends in blanks: %q", width, line)
					}
				}
			}
		})
	}
}

func TestTextWidth(t *testing.T) {
	of := func(width int) string { return textOf(t, web(), timeline.TextOptions{Width: width}) }
	require.Equal(t, of(80), of(0))
	require.Equal(t, of(40), of(-1))
	require.Equal(t, of(40), of(39))
	require.Equal(t, of(400), of(1_000_000_000))
	require.NotEqual(t, of(400), of(399))
}

// The colours add nothing but colours.
func TestTextColors(t *testing.T) {
	for _, s := range append(samples(), odd()...) {
		for _, width := range []int{40, 80, 200} {
			without := textOf(t, s.tl, timeline.TextOptions{Width: width})
			with := textOf(t, s.tl, timeline.TextOptions{Width: width, Color: true})
			require.Equal(t, without, plain(with), s.name)
			require.NotContains(t, without, "\x1b")
			require.Equal(t, strings.Count(with, "\x1b[0m")*2, strings.Count(with, "\x1b["), "%s: a colour is left on", s.name)
		}
	}
}

// The line at now is one column of all lines of the chart, where it should be,
// and what is left of it has been.
func TestTextLineAtNow(t *testing.T) {
	for _, s := range []sample{{"web", web()}, {"hours", hours()}, {"single", single()}, {"many6", many(6)}} {
		for width := 60; width <= 200; width += 7 {
			t.Run(fmt.Sprint(s.name, width), func(t *testing.T) {
				chart := chartOf(t, textOf(t, s.tl, timeline.TextOptions{Width: width}))
				marker, rows, axis := chart[0], chart[1:len(chart)-1], chart[len(chart)-1]
				require.Len(t, rows, len(s.tl.Rows))
				at := runeIndex(marker, '▼')
				for _, row := range rows {
					require.Equal(t, at, runeIndex(row, '│'), "%s", row)
				}
				require.Equal(t, '┴', []rune(axis)[at])
				begin := strings.IndexAny(axis, "─┬┴")
				share := s.tl.Now.Sub(s.tl.From).Seconds() / s.tl.Until.Sub(s.tl.From).Seconds()
				require.InDelta(t, max(1, share*float64(width-begin-1)), at-begin, 0.51)
			})
		}
	}
}

func TestTextMarker(t *testing.T) {
	for _, row := range []struct {
		name string
		now  string
		want string
	}{
		{"left", "2026-01-15 00:00", "▼ today, 15 Jan"},
		{"middle", "2026-02-28 12:00", "▼ today, 28 Feb"},
		{"right", "2026-04-14 12:00", "today, 14 Apr ▼"},
		{"end", "2026-04-15 00:00", "today, 15 Apr ▼"},
	} {
		t.Run(row.name, func(t *testing.T) {
			tl := web()
			tl.Now = utc(row.now)
			require.Contains(t, textOf(t, tl, timeline.TextOptions{}), row.want)
		})
	}
	require.Contains(t, textOf(t, hours(), timeline.TextOptions{}), "▼ now, 23:10")
}

func TestTextWithoutALine(t *testing.T) {
	for _, days := range []int{-400, 400} {
		tl := web()
		tl.Now = tl.Now.AddDate(0, 0, days)
		text := textOf(t, tl, timeline.TextOptions{})
		require.NotContains(t, text, "│")
		require.NotContains(t, text, "▼")
		require.Equal(t, days > 0, strings.Contains(text, "Past"))
		require.Equal(t, days < 0, strings.Contains(text, "To come"))
	}
}

// Just before and just after an instant at which a state changes, the chart
// shows the state on the right side of the line, however many columns there
// are.
func TestTextRoundingNeverMovesAChangeAcrossNow(t *testing.T) {
	for _, offset := range []time.Duration{-aDay, -time.Second, 0, time.Second, aDay} {
		for width := 60; width < 120; width++ {
			tl := single()
			tl.Rows[0].Spans = life(tl.From.Add(-aDay), keyset.Active, "", tl.Now.Add(offset).Sub(tl.From)+aDay,
				keyset.Retiring, "")
			row := chartOf(t, textOf(t, tl, timeline.TextOptions{Width: width}))[1]
			before, after, _ := strings.Cut(row, "│")
			require.Equal(t, offset < 0, strings.Contains(before, "▒"), "%v %s", offset, row)
			require.Equal(t, offset > 0, strings.Contains(after, "█"), "%v %s", offset, row)
		}
	}
}

// However little of the window is before or after now, it is seen.
func TestTextShowsBothSidesOfNow(t *testing.T) {
	for _, row := range []struct {
		name string
		now  func(*rotation.Timeline) time.Time
		want string
	}{
		{"beginning", func(tl *rotation.Timeline) time.Time { return tl.From }, `sig  │█+$`},
		{"just begun", func(tl *rotation.Timeline) time.Time { return tl.From.Add(1) }, `sig  █│█+$`},
		{"about to end", func(tl *rotation.Timeline) time.Time { return tl.Until.Add(-1) }, `sig  █+│█$`},
		{"end", func(tl *rotation.Timeline) time.Time { return tl.Until }, `sig  █+│$`},
	} {
		t.Run(row.name, func(t *testing.T) {
			tl := single()
			tl.Now = row.now(tl)
			for width := 40; width < 200; width++ {
				require.Regexp(t, row.want, chartOf(t, textOf(t, tl, timeline.TextOptions{Width: width}))[1])
			}
		})
	}
}

// An hour in 90 days is less than a column, and still seen.
func TestTextShortStatesAreSeen(t *testing.T) {
	for width := 40; width <= 200; width += 5 {
		row := chartOf(t, textOf(t, web(), timeline.TextOptions{Width: width}))[1]
		require.Regexp(t, "█▒┄", row)
	}
}

func TestTextStatesAreTold(t *testing.T) {
	all := []string{"· staged", "░ pending", "█ active", "▒ retiring", "┄ expired", "× revoked"}
	for s := keyset.Staged; s <= keyset.Revoked; s++ {
		tl := single()
		tl.Rows[0].Spans = []rotation.Span{{State: s, From: tl.From}}
		text := textOf(t, tl, timeline.TextOptions{})
		require.Contains(t, text, all[s-1])
		for i, other := range all {
			require.Equal(t, i == int(s-1), strings.Contains(text, other), "%s: %s", s, other)
		}
		require.NotContains(t, text, "planned")
	}
}

// States that are only outside of the window are not in the legend.
func TestTextLegendIsOfTheWindow(t *testing.T) {
	text := textOf(t, web(), timeline.TextOptions{Width: 120})
	require.Contains(t, text, "* planned, not made yet")
	tl := web()
	tl.Until = utc("2026-02-01 00:00")
	tl.Now = tl.From
	text = textOf(t, tl, timeline.TextOptions{Width: 120})
	require.NotContains(t, text, "revoked")
	require.NotContains(t, text, "staged")
	require.NotContains(t, text, "* planned")
	require.Contains(t, text, "sig+1*", "the row itself stays marked")
}

func TestTextShortIDs(t *testing.T) {
	for _, row := range []struct {
		name string
		ids  []string
		want []string
	}{
		{"eight characters", []string{"abcdefghijkl", "bcdefghijklm"}, []string{"abcdefgh ", "bcdefghi "}},
		{"shorter ones are whole", []string{"a", "bc"}, []string{"a ", "bc "}},
		{"more where needed", []string{"abcdefgh1x", "abcdefgh2x", "bcdefghijklm"}, []string{"abcdefgh1 ", "abcdefgh2 ", "bcdefghi "}},
		{"one begins with the other", []string{"abcdefgh", "abcdefghi"}, []string{"abcdefgh ", "abcdefghi "}},
		{"not for ever", []string{"abcdefghijklmnopqr1", "abcdefghijklmnopqr2"}, []string{"abcdefghijklmnop ", "abcdefghijklmnop "}},
		{"the same twice", []string{"abcdefghijkl", "abcdefghijkl"}, []string{"abcdefgh ", "abcdefgh "}},
		{"letters that look alike", []string{"аbc"}, []string{`\u0430bc `}},
	} {
		t.Run(row.name, func(t *testing.T) {
			tl := single()
			for i, id := range row.ids {
				r := tl.Rows[0]
				r.ID = id
				tl.Rows = append(tl.Rows[:i], r)
			}
			chart := chartOf(t, textOf(t, tl, timeline.TextOptions{}))
			for i, want := range row.want {
				require.Regexp(t, "^"+regexp.QuoteMeta(want)+" *ES256 sig  ", chart[i+1])
			}
		})
	}
}

// Where the labels would leave nothing for the chart, they stand above it.
func TestTextLabelsAboveTheBars(t *testing.T) {
	tl := web()
	tl.Rows[5].Algorithm = keyset.ECDHESA256KW
	lines := strings.Split(textOf(t, tl, timeline.TextOptions{Width: 40}), "\n")
	at := slices.Index(lines, "k3JpX0Qa ES256          sig")
	require.Positive(t, at)
	require.Regexp(t, "^██▒┄+│┄+$", lines[at+1])
	require.Equal(t, 40, utf8.RuneCountInString(lines[at+1]))
	require.NotContains(t, textOf(t, tl, timeline.TextOptions{Width: 60}), "ES256          sig\n")
}

func TestTextEvents(t *testing.T) {
	text := textOf(t, web(), timeline.TextOptions{Width: 200})
	_, text, ok := strings.Cut(text, "\nPast (UTC)\n")
	require.True(t, ok)
	past, future, ok := strings.Cut(text, "\nTo come (UTC)\n")
	require.True(t, ok)
	require.Equal(t, []string{
		"  2026-01-19 09:00  pLq8sN1f  new → pending       " + published,
		"  2026-01-20 09:00  k3JpX0Qa  active → retiring   " + replaced,
		"  2026-01-20 09:00  pLq8sN1f  pending → active    " + promoted,
		"  2026-01-20 10:17  k3JpX0Qa  retiring → expired  " + over,
		"  2026-02-01 09:00  Zt7Hn2cW  new → staged        imported",
		"  2026-02-08 09:00  Zt7Hn2cW  staged → pending    " + published,
		"  2026-02-09 09:00  pLq8sN1f  active → revoked    key_compromise: laptop <stolen> & not found",
		"  2026-02-09 09:00  Zt7Hn2cW  pending → active    the key before it was revoked",
	}, strings.Split(strings.TrimRight(past, "\n"), "\n"))
	require.Equal(t, "  2026-03-10 09:00  sig+1*    new → pending       "+published, strings.Split(future, "\n")[0])
	require.Equal(t, 12, strings.Count(future, "\n"))
}

// What happens at this very moment has happened.
func TestTextEventsAtNow(t *testing.T) {
	tl := single()
	tl.Rows[0].Spans = life(tl.From.Add(-1), keyset.Pending, "", tl.Now.Sub(tl.From)+1, keyset.Active,
		"the moment has come")
	text := textOf(t, tl, timeline.TextOptions{})
	require.Contains(t, text, "Past (UTC)")
	require.NotContains(t, text, "To come")
	tl.Now = tl.Now.Add(-1)
	text = textOf(t, tl, timeline.TextOptions{})
	require.NotContains(t, text, "Past")
	require.Contains(t, text, "To come (UTC)")
}

func TestTextSeconds(t *testing.T) {
	require.Contains(t, textOf(t, hours(), timeline.TextOptions{}), "  2026-02-14 22:40:00  pLq8sN1f  new → pending\n")
}

func TestTextPeriod(t *testing.T) {
	for _, row := range []struct{ name, from, until, want string }{
		{"days", "2026-01-15T00:00:00Z", "2026-04-15T00:00:00Z", "Keys, 2026-01-15 to 2026-04-15 UTC"},
		{"minutes", "2026-01-15T00:01:00Z", "2026-04-15T00:00:00Z", "Keys, 2026-01-15 00:01 to 2026-04-15 00:00 UTC"},
		{"seconds", "2026-01-15T00:01:00Z", "2026-04-15T00:00:07Z", "Keys, 2026-01-15 00:01:00 to 2026-04-15 00:00:07 UTC"},
		{"one day", "2026-01-15T09:00:00Z", "2026-01-15T12:00:00Z", "Keys, 2026-01-15 09:00 to 12:00 UTC"},
		{"midnight", "2026-01-15T23:00:00Z", "2026-01-16T02:00:00Z", "Keys, 2026-01-15 23:00 to 2026-01-16 02:00 UTC"},
		{"elsewhere", "2026-01-15T01:00:00+01:00", "2026-01-17T01:00:00+01:00", "Keys, 2026-01-15 to 2026-01-17 UTC"},
	} {
		t.Run(row.name, func(t *testing.T) {
			tl := web()
			tl.From, _ = time.Parse(time.RFC3339, row.from)
			tl.Until, _ = time.Parse(time.RFC3339, row.until)
			first, _, _ := strings.Cut(textOf(t, tl, timeline.TextOptions{}), "\n")
			require.Equal(t, row.want, first)
		})
	}
}

// No text from a file can steer the terminal or forge a line.
func TestTextAttacks(t *testing.T) {
	for _, width := range []int{40, 80, 200} {
		text := textOf(t, hostile(), timeline.TextOptions{Width: width})
		require.True(t, utf8.ValidString(text))
		for _, r := range text {
			require.True(t, r == '\n' || unicode.IsPrint(r), "%q", r)
		}
	}
	text := textOf(t, hostile(), timeline.TextOptions{Width: 200})
	for _, want := range []string{`\x1b[31mred\x1b[0m`, `\u009b31m`, `line\nbreak`, `carriage\rreturn`, `nul\x00`,
		`\u202etxet`, `\u200bzero`, `\xff\xfe`, `\xed\xa0\x80`, `\uffff`} {
		require.Contains(t, text, want)
	}
}

// No two dates on an axis touch, whatever the window and the width are.
func TestTextAxisIsReadable(t *testing.T) {
	date := `(\d\d:\d\d(:\d\d)?|\d\d? [A-Z][a-z][a-z]|[A-Z][a-z][a-z]|\d{4})`
	dates := regexp.MustCompile(`^ *` + date + `( +` + date + `)*$`)
	for i, window := range windows() {
		tl := web()
		tl.From = utc("2025-12-28 17:31")
		tl.Until = tl.From.Add(window)
		for share := range 12 {
			tl.Now = tl.From.Add(window / 10 * time.Duration(share))
			lines := strings.Split(textOf(t, tl, timeline.TextOptions{Width: 40 + (i*13+share*29)%160}), "\n")
			axis := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, "──") })
			require.Positive(t, axis)
			require.Regexp(t, dates, lines[axis+1], "%s", window)
		}
	}
}

// A state that begins at a tick begins in its column.
func TestTextTicksAreWhereStatesBegin(t *testing.T) {
	monday := utc("2026-02-16 00:00")
	for width := 60; width <= 200; width++ {
		for _, now := range []time.Time{utc("2025-01-01 00:00"), utc("2026-01-20 09:00"), monday, monday.Add(time.Hour),
			utc("2026-04-01 09:00")} {
			tl := web()
			tl.Now, tl.Rows = now, single().Rows
			tl.Rows[0].Spans = []rotation.Span{{State: keyset.Active, From: monday}}
			text := textOf(t, tl, timeline.TextOptions{Width: width})
			lines := strings.Split(text, "\n")
			axis := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, "┬") })
			label := strings.Index(lines[axis+1], "16 Feb")
			if label < 0 {
				require.Less(t, width, 140, "no such date")
				continue
			}
			if now.Equal(monday) {
				label++ // the line is on the tick, and the state right of it
			}
			require.Equal(t, label, runeIndex(lines[axis-1], '█'), text)
		}
	}
}

// Long reasons are wrapped, and nothing of them is lost.
func TestTextReasonsAreWhole(t *testing.T) {
	reason := strings.Repeat("one two three ", 40) + strings.Repeat("y", 300) + " " + strings.Repeat("漢", 200) + " end"
	for width := 40; width <= 200; width += 3 {
		tl := single()
		tl.Rows[0].Spans = []rotation.Span{{State: keyset.Active, From: tl.Now, Reason: reason}}
		text := textOf(t, tl, timeline.TextOptions{Width: width})
		_, list, _ := strings.Cut(text, "new → active")
		require.Equal(t, strings.Join(strings.Fields(reason), ""), strings.Join(strings.Fields(list), ""))
	}
}

// Accents that are characters of their own take no columns.
func TestTextCombiningMarks(t *testing.T) {
	tl := single()
	reason := strings.TrimSpace(strings.Repeat("e\u0301te\u0301 ", 18))
	tl.Rows[0].Spans = []rotation.Span{{State: keyset.Active, From: tl.Now, Reason: reason}}
	require.Contains(t, textOf(t, tl, timeline.TextOptions{}), "\n      "+reason+"\n")
}
