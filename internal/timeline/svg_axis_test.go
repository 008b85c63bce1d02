package timeline_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/rotation"
)

// wide is more than what text of so many characters takes in any usual font.
func wide(text string, size float64) float64 { return float64(len([]rune(text))) * size * 0.6 }

// No two dates on an axis touch, whatever the window is, and there are enough
// of them.
func TestSVGAxisIsReadable(t *testing.T) {
	tl := web()
	for _, window := range windows() {
		for _, from := range []string{"2026-01-15 00:00", "2025-12-31 23:59", "2024-02-28 13:07", "1969-12-24 01:00"} {
			t.Run(fmt.Sprint(window, from), func(t *testing.T) {
				tl.From = utc(from)
				tl.Until = tl.From.Add(window)
				dates := picture(t, tl).class("tl-date")
				require.GreaterOrEqual(t, len(dates), 2)
				end := 0.0
				for _, d := range dates {
					x, width := d.num(t, "x"), wide(d.Text, 12)
					require.Greater(t, x-width/2, end, "%s", d.Text)
					require.LessOrEqual(t, x+width/2, 960.0)
					end = x + width/2 + 4
				}
			})
		}
	}
}

func windows() []time.Duration {
	list := []time.Duration{5 * time.Second, 20 * time.Second}
	for w := time.Minute; w < 200*365*aDay; w += w / 5 * 2 {
		list = append(list, w)
	}
	return list
}

func TestSVGAxis(t *testing.T) {
	for _, row := range []struct{ name, from, until, want string }{
		{"seconds", "2026-03-01T10:00:00Z", "2026-03-01T10:01:00Z", "10:00:00 10:00:15 10:00:30 10:00:45"},
		{"minutes", "2026-03-01T10:01:00Z", "2026-03-01T10:09:00Z", "10:01 10:02 10:03 10:04 10:05 10:06 10:07 10:08 10:09"},
		{"three hours", "2026-03-01T22:31:00Z", "2026-03-02T01:31:00Z", "22:45 23:00 23:15 23:30 23:45 2 Mar 00:15 00:30 00:45 01:00 01:15 01:30"},
		{"a day", "2026-03-01T06:00:00Z", "2026-03-02T06:00:00Z", "06:00 08:00 10:00 12:00 14:00 16:00 18:00 20:00 22:00 2 Mar 02:00 04:00 06:00"},
		{"three days", "2026-02-27T12:00:00Z", "2026-03-02T12:00:00Z", "12:00 18:00 28 Feb 06:00 12:00 18:00 1 Mar 06:00 12:00 18:00 2 Mar 06:00 12:00"},
		{"ten days", "2026-02-24T12:00:00Z", "2026-03-06T12:00:00Z", "25 Feb 26 Feb 27 Feb 28 Feb 1 Mar 2 Mar 3 Mar 4 Mar 5 Mar 6 Mar"},
		{"three weeks", "2026-02-22T00:00:00Z", "2026-03-15T00:00:00Z", "22 Feb 24 Feb 26 Feb 28 Feb 2 Mar 4 Mar 6 Mar 8 Mar 10 Mar 12 Mar 14 Mar"},
		{"quarter: Mondays", "2026-01-15T00:00:00Z", "2026-04-15T00:00:00Z", "19 Jan 26 Jan 2 Feb 9 Feb 16 Feb 23 Feb 2 Mar 9 Mar 16 Mar 23 Mar 30 Mar 6 Apr 13 Apr"},
		{"half a year", "2026-01-15T00:00:00Z", "2026-07-15T00:00:00Z", "19 Jan 2 Feb 16 Feb 2 Mar 16 Mar 30 Mar 13 Apr 27 Apr 11 May 25 May 8 Jun 22 Jun 6 Jul"},
		{"before 1970", "1969-12-24T01:00:00Z", "1969-12-31T12:00:00Z", "25 Dec 26 Dec 27 Dec 28 Dec 29 Dec 30 Dec 31 Dec"},
		{"months across the year", "2025-10-15T00:00:00Z", "2026-10-01T00:00:00Z", "Nov Dec 2026 Feb Mar Apr May Jun Jul Aug Sep Oct"},
		{"quarters", "2024-02-29T00:00:00Z", "2028-02-29T00:00:00Z", "Apr Jul Oct 2025 Apr Jul Oct 2026 Apr Jul Oct 2027 Apr Jul Oct 2028"},
		{"years", "2020-01-01T00:00:00Z", "2031-12-31T00:00:00Z", "2020 2021 2022 2023 2024 2025 2026 2027 2028 2029 2030 2031"},
		{"centuries", "1500-01-01T00:00:00Z", "2400-01-01T00:00:00Z", "1500 1600 1700 1800 1900 2000 2100 2200 2300 2400"},
	} {
		t.Run(row.name, func(t *testing.T) {
			tl := single()
			tl.From, _ = time.Parse(time.RFC3339, row.from)
			tl.Until, _ = time.Parse(time.RFC3339, row.until)
			var got []string
			for _, d := range picture(t, tl).class("tl-date") {
				got = append(got, d.Text)
			}
			require.Equal(t, row.want, strings.Join(got, " "))
		})
	}
}

// A tick stands at the instant that it names.
func TestSVGTicksAreWhereTheyShouldBe(t *testing.T) {
	tl := web()
	root := picture(t, tl)
	dates, lines := root.class("tl-date"), root.class("tl-grid")
	require.Len(t, lines, len(dates))
	for i, d := range dates {
		at, err := time.Parse("2 Jan 2006", d.Text+" 2026")
		require.NoError(t, err)
		require.Equal(t, time.Monday, at.Weekday())
		require.InDelta(t, xOf(tl, at), d.num(t, "x"), 0.01)
		require.Equal(t, d.attr("x"), lines[i].attr("x1"))
	}
}

func TestSVGManyRowsHaveDatesAtBothEnds(t *testing.T) {
	tops := func(tl *rotation.Timeline) (ys []string) {
		for _, d := range picture(t, tl).class("tl-date") {
			ys = append(ys, d.attr("y"))
		}
		slices.Sort(ys)
		return slices.Compact(ys)
	}
	require.Len(t, tops(many(20)), 1)
	require.Len(t, tops(many(21)), 2)
}
