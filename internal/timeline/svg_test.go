package timeline_test

import (
	"encoding/xml"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
	"github.com/cloakroom-go/cloakroom/internal/timeline"
)

// A node is an element of a parsed picture.
type node struct {
	XMLName  xml.Name
	Attrs    []xml.Attr `xml:",any,attr"`
	Text     string     `xml:",chardata"`
	Children []*node    `xml:",any"`
}

func parseSVG(t *testing.T, text string) *node {
	t.Helper()
	var root node
	d := xml.NewDecoder(strings.NewReader(text))
	require.NoError(t, d.Decode(&root))
	require.Empty(t, strings.TrimSpace(text[d.InputOffset():]), "something follows the picture")
	return &root
}

func picture(t *testing.T, tl *rotation.Timeline) *node {
	return parseSVG(t, drawn(t, timeline.SVG, tl))
}

func (n *node) name() string { return n.XMLName.Local }

func (n *node) attr(name string) string {
	for _, a := range n.Attrs {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

func (n *node) num(t *testing.T, name string) float64 {
	t.Helper()
	f, err := strconv.ParseFloat(n.attr(name), 64)
	require.NoError(t, err, "%s of %s", name, n.name())
	return f
}

func (n *node) has(class string) bool { return slices.Contains(strings.Fields(n.attr("class")), class) }

// all returns the elements in n that do, in order, n itself first.
func (n *node) all(do func(*node) bool) (found []*node) {
	if do(n) {
		found = append(found, n)
	}
	for _, c := range n.Children {
		found = append(found, c.all(do)...)
	}
	return found
}

func (n *node) class(class string) []*node { return n.all(func(n *node) bool { return n.has(class) }) }

func (n *node) hover() string {
	for _, c := range n.Children {
		if c.name() == "title" {
			return c.Text
		}
	}
	return ""
}

// The chart's frame on the picture.
const frameLeft, frameRight = 192.0, 936.0

func xOf(tl *rotation.Timeline, at time.Time) float64 {
	return frameLeft + (frameRight-frameLeft)*at.Sub(tl.From).Seconds()/tl.Until.Sub(tl.From).Seconds()
}

// What stands beside a bar does not reach into it.
func TestSVGLabelsFit(t *testing.T) {
	for _, s := range append(samples(), odd()...) {
		for _, row := range picture(t, s.tl).class("tl-row") {
			for _, label := range row.Children[0].Children[1:] {
				size := label.num(t, "font-size") * 1.05 // some fonts are wider
				require.Less(t, label.num(t, "x")+wide(label.Text, size), frameLeft, label.Text)
			}
		}
	}
}

// What SVG 1.1 knows, and we need: no scripts, no styles, nothing from
// elsewhere.
func allowed() map[string][]string {
	return map[string][]string{
		"svg":     {"xmlns", "version", "class", "role", "width", "height", "viewBox", "font-family", "font-size"},
		"title":   {},
		"desc":    {},
		"defs":    {},
		"pattern": {"id", "width", "height", "patternUnits", "patternTransform"},
		"g":       {"class"},
		"rect":    {"class", "x", "y", "width", "height", "rx", "fill", "fill-opacity", "stroke", "stroke-dasharray"},
		"line":    {"class", "x1", "y1", "x2", "y2", "stroke", "stroke-width"},
		"text":    {"class", "x", "y", "text-anchor", "font-family", "font-size", "font-weight", "fill", "pointer-events"},
	}
}

func TestSVGHasOnlyWhatIsAllowed(t *testing.T) {
	for _, s := range append(samples(), odd()...) {
		t.Run(s.name, func(t *testing.T) {
			text := drawn(t, timeline.SVG, s.tl)
			for _, n := range parseSVG(t, text).all(func(*node) bool { return true }) {
				attrs, ok := allowed()[n.name()]
				require.True(t, ok, "<%s>", n.name())
				require.Equal(t, "http://www.w3.org/2000/svg", n.XMLName.Space)
				for _, a := range n.Attrs {
					require.Contains(t, attrs, a.Name.Local, "<%s>", n.name())
					if strings.Contains(a.Value, "url(") {
						require.Equal(t, "url(#tl-hatch)", a.Value)
					}
				}
			}
			require.NotContains(t, text, "<?", "no prolog, so that it can stand in HTML")
			require.NotContains(t, text, "<!")
		})
	}
}

func TestSVGRoot(t *testing.T) {
	for _, s := range append(samples(), odd()...) {
		root := picture(t, s.tl)
		require.Equal(t, "svg", root.name())
		require.Equal(t, "1.1", root.attr("version"))
		require.Equal(t, "img", root.attr("role"))
		require.Equal(t, "960", root.attr("width"))
		require.Equal(t, "0 0 960 "+root.attr("height"), root.attr("viewBox"))
		require.Equal(t, "title", root.Children[0].name())
		require.Equal(t, "Lives of the keys", root.Children[0].Text)
		require.Equal(t, "desc", root.Children[1].name())
		require.Contains(t, root.Children[1].Text, fmt.Sprintf("%d key", len(s.tl.Rows)))
	}
	require.Equal(t, "7 keys from 2026-01-15 to 2026-04-15 UTC, with a bar for each state, as of 2026-02-14T09:41:00Z. Active then: Zt7Hn2cW, -q0Yd5kR.", picture(t, web()).Children[1].Text)
	require.Equal(t, "1 key from 2026-02-13 09:41 to 2026-05-14 09:41 UTC, with a bar for each state, as of 2026-02-14T09:41:00Z. Active then: k3JpX0Qa.", picture(t, single()).Children[1].Text)
}

// Everything is within the card, and numbers are short and good.
func TestSVGGeometry(t *testing.T) {
	for _, s := range append(samples(), odd()...) {
		t.Run(s.name, func(t *testing.T) {
			root := picture(t, s.tl)
			height := root.num(t, "height")
			number := regexp.MustCompile(`^-?\d+(\.\d{1,2})?$`)
			for _, n := range root.all(func(n *node) bool { return n.attr("x") != "" || n.attr("x1") != "" }) {
				for _, name := range []string{"x", "x1", "x2", "width"} {
					if v := n.attr(name); v != "" {
						require.Regexp(t, number, v, name)
						require.True(t, n.num(t, name) >= 0 && n.num(t, name) <= 960, "%s=%s of %s", name, v, n.name())
					}
				}
				for _, name := range []string{"y", "y1", "y2", "height"} {
					if v := n.attr(name); v != "" {
						require.Regexp(t, number, v, name)
						require.True(t, n.num(t, name) >= 0 && n.num(t, name) <= height, "%s=%s of %s", name, v, n.name())
					}
				}
			}
		})
	}
}

// The bars of a row are in the frame, in order, and apart from each other.
func TestSVGBarsDontOverlap(t *testing.T) {
	for _, s := range append(samples(), odd()...) {
		t.Run(s.name, func(t *testing.T) {
			rows := picture(t, s.tl).class("tl-row")
			require.Len(t, rows, len(s.tl.Rows))
			for _, row := range rows {
				at := frameLeft
				for _, bar := range row.class("tl-fill") {
					x, width := bar.num(t, "x"), bar.num(t, "width")
					require.Greater(t, x, at-0.01)
					require.Greater(t, width, 1.0, "can't be seen")
					at = x + width
				}
				require.Less(t, at, frameRight+0.01)
			}
		})
	}
}

// Each bar begins and ends where its dates are, unless it is wider than its
// time so that it can be seen, or pushed by such a one.
func TestSVGBarsAreWhereTheyShouldBe(t *testing.T) {
	for _, tl := range []*rotation.Timeline{web(), hours(), single(), many(20)} {
		for i, row := range picture(t, tl).class("tl-row") {
			var want []rotation.Span
			for _, s := range tl.Rows[i].Spans {
				if s.From.Before(tl.Until) && (s.Until.IsZero() || s.Until.After(tl.From)) {
					want = append(want, s)
				}
			}
			bars := row.class("tl-bar")
			require.Len(t, bars, len(want))
			for j, s := range want {
				shape := bars[j].class("tl-fill")[0]
				require.True(t, shape.has("tl-"+s.State.String()))
				require.InDelta(t, max(frameLeft, xOf(tl, s.From)), shape.num(t, "x"), 5, "%s", s.State)
				if s.Until.IsZero() || s.Until.After(tl.Until) {
					require.InDelta(t, frameRight, shape.num(t, "x")+shape.num(t, "width"), 2)
				}
			}
		}
	}
}

func TestSVGHover(t *testing.T) {
	root := picture(t, web())
	bars := root.class("tl-row")[1].class("tl-bar")
	require.Equal(t, kidB+" (ES256, sig)\nrevoked from 2026-02-09T09:00:00Z\nuntil further notice\nwhy: key_compromise: laptop <stolen> & not found", bars[2].hover())
	planned := root.class("tl-row")[3].class("tl-bar")
	require.Equal(t, "planned: sig+1 (ES256, sig)\npending from 2026-03-10T09:00:00Z\nuntil 2026-03-11T09:00:00Z\nwhy: "+published, planned[0].hover())
	require.Equal(t, kidA+" (ES256, sig)\nactive from the beginning\nuntil further notice\nwhy: first key", picture(t, single()).class("tl-bar")[0].hover())
	require.Equal(t, "2026-02-14T09:41:00Z", root.class("tl-pill")[0].hover())
	for i, row := range root.class("tl-row") {
		require.Equal(t, web().Rows[i].ID, row.Children[0].hover(), "the label says the whole ID")
	}
}

func TestSVGPlannedKeysLookDifferent(t *testing.T) {
	for i, row := range picture(t, web()).class("tl-row") {
		for _, bar := range row.class("tl-fill") {
			require.Equal(t, web().Rows[i].Planned, bar.attr("stroke-dasharray") != "")
			require.Equal(t, web().Rows[i].Planned, bar.attr("fill-opacity") != "")
		}
	}
}

func TestSVGLineAtNow(t *testing.T) {
	for _, s := range samples() {
		if len(s.tl.Rows) == 0 {
			continue
		}
		for _, share := range []float64{0, 0.001, 0.3, 0.5, 0.999, 1} {
			t.Run(fmt.Sprint(s.name, share), func(t *testing.T) {
				tl := s.tl
				tl.Now = tl.From.Add(time.Duration(share * float64(tl.Until.Sub(tl.From))))
				root := picture(t, tl)
				line, pill, behind := root.class("tl-now")[0], root.class("tl-pill")[0], root.class("tl-past")
				require.InDelta(t, xOf(tl, tl.Now), line.num(t, "x1"), 0.01)
				require.Equal(t, line.attr("x1"), line.attr("x2"))
				require.LessOrEqual(t, pill.num(t, "x"), line.num(t, "x1"))
				require.GreaterOrEqual(t, pill.num(t, "x")+pill.num(t, "width"), line.num(t, "x1"))
				require.LessOrEqual(t, pill.num(t, "x")+pill.num(t, "width"), frameRight)
				if share > 0 {
					require.InDelta(t, line.num(t, "x1"), behind[0].num(t, "x")+behind[0].num(t, "width"), 0.01)
				} else {
					require.Empty(t, behind)
				}
				for _, bar := range root.class("tl-row") {
					for _, shape := range bar.class("tl-fill") {
						require.Greater(t, shape.num(t, "y"), line.num(t, "y1"))
						require.Less(t, shape.num(t, "y")+shape.num(t, "height"), line.num(t, "y2"))
					}
				}
			})
		}
	}
}

func TestSVGWithoutALine(t *testing.T) {
	for days, shaded := range map[int]int{-400: 0, 400: 1} {
		tl := web()
		tl.Now = tl.Now.AddDate(0, 0, days)
		root := picture(t, tl)
		require.Empty(t, root.class("tl-now"))
		require.Empty(t, root.class("tl-pill"))
		require.Len(t, root.class("tl-past"), shaded, "all has been, or nothing")
	}
}

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

// Words in bars are within them, and the line does not strike them through.
func TestSVGWords(t *testing.T) {
	seen := 0
	for _, s := range append(samples(), odd()...) {
		for share := range 5 {
			tl := s.tl
			tl.Now = tl.From.Add(time.Duration(share) * (tl.Until.Sub(tl.From) / 5))
			root := picture(t, tl)
			for _, bar := range root.class("tl-bar") {
				words := bar.all(func(n *node) bool { return n.name() == "text" })
				if len(words) == 0 {
					continue
				}
				seen++
				shape, word := bar.class("tl-fill")[0], words[0]
				x, half := word.num(t, "x"), wide(word.Text, 11.5)/2
				require.GreaterOrEqual(t, x-half, shape.num(t, "x")-0.5)
				require.LessOrEqual(t, x+half, shape.num(t, "x")+shape.num(t, "width")+0.5)
				require.GreaterOrEqual(t, math.Abs(x-root.class("tl-now")[0].num(t, "x1")), half, "%s is struck through", word.Text)
			}
		}
	}
	require.Greater(t, seen, 1000, "few words")
}

func TestSVGLegend(t *testing.T) {
	names := func(tl *rotation.Timeline) (list []string) {
		root := picture(t, tl)
		for _, n := range root.Children {
			if n.name() == "rect" && n.has("tl-fill") {
				list = append(list, n.attr("class"))
			}
		}
		for _, n := range root.Children {
			if n.name() == "text" && n.attr("font-weight") == "600" && n.num(t, "y") > root.num(t, "height")-110 && n.num(t, "x") != 24 {
				require.Subset(t, []string{"staged", "pending", "active", "retiring", "expired", "revoked", "planned"}, []string{n.Text})
			}
		}
		return list
	}
	fill := func(states ...string) (list []string) {
		for _, s := range states {
			list = append(list, "tl-fill tl-"+s)
		}
		return list
	}
	require.Equal(t, fill("staged", "pending", "active", "retiring", "expired", "revoked", "active"), names(web()), "the last is for what is planned")
	require.Equal(t, fill("active"), names(single()))
	require.Empty(t, names(empty()))
}

func TestSVGEmpty(t *testing.T) {
	root := picture(t, empty())
	texts := root.all(func(n *node) bool { return n.name() == "text" })
	require.Equal(t, "There are no keys.", texts[len(texts)-1].Text)
	require.Less(t, root.num(t, "height"), 200.0)
}

// The texts of a file stay texts.
func TestSVGAttacks(t *testing.T) {
	text := drawn(t, timeline.SVG, hostile())
	for _, n := range parseSVG(t, text).all(func(*node) bool { return true }) {
		for _, r := range n.Text {
			require.True(t, r == '\n' || unicode.IsPrint(r), "%q", r)
		}
	}
	for _, attack := range attacks()[:10] {
		require.Contains(t, hovers(parseSVG(t, text)), "why: "+attack+"\n", "not as it was")
	}
	require.Contains(t, hovers(parseSVG(t, text)), `why: nul\x00`)
}

func hovers(root *node) string {
	var b strings.Builder
	for _, n := range root.class("tl-bar") {
		b.WriteString(n.hover() + "\n")
	}
	return b.String()
}

// luminance of a colour like #1f62ab (WCAG 2.2).
func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	n, err := strconv.ParseUint(strings.TrimPrefix(hex, "#"), 16, 32)
	require.NoError(t, err)
	channel := func(shift int) float64 {
		c := float64(n>>shift&0xff) / 255
		if c <= 0.04045 {
			return c / 12.92
		}
		return math.Pow((c+0.055)/1.055, 2.4)
	}
	return 0.2126*channel(16) + 0.7152*channel(8) + 0.0722*channel(0)
}

func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	x, y := luminance(t, a), luminance(t, b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

// All text can be read: 4.5:1 is what WCAG 2.2, Section 1.4.3, asks for.
func TestSVGContrast(t *testing.T) {
	root := picture(t, web())
	card := root.class("tl-card")[0].attr("fill")
	for _, n := range root.all(func(n *node) bool { return n.name() == "text" && !n.has("tl-word") }) {
		behind := card
		if n.has("tl-card-ink") {
			behind = root.class("tl-pill")[0].attr("fill")
		}
		require.GreaterOrEqual(t, contrast(t, n.attr("fill"), behind), 4.5, n.Text)
	}
	for _, bar := range root.class("tl-bar") {
		for _, word := range bar.class("tl-word") {
			fill := bar.class("tl-fill")[0].attr("fill")
			if strings.HasPrefix(fill, "url") {
				fill = root.all(func(n *node) bool { return n.name() == "pattern" })[0].Children[0].attr("fill")
			}
			require.GreaterOrEqual(t, contrast(t, word.attr("fill"), fill), 4.5, word.Text)
		}
	}
}

// Who can't tell colours apart sees lightness: full bars of states that follow
// each other differ in it, the thin ones in their shape, the revoked in its
// hatch.
func TestSVGStatesDifferWithoutColour(t *testing.T) {
	shape := func(s keyset.State) *node {
		tl := single()
		tl.Rows[0].Spans = []rotation.Span{{State: s, From: tl.From}}
		return picture(t, tl).class("tl-row")[0].class("tl-fill")[0]
	}
	full, thin := shape(keyset.Active).attr("height"), shape(keyset.Staged).attr("height")
	require.Equal(t, full, shape(keyset.Pending).attr("height"))
	require.Equal(t, full, shape(keyset.Retiring).attr("height"))
	require.Equal(t, full, shape(keyset.Revoked).attr("height"))
	require.Equal(t, thin, shape(keyset.Expired).attr("height"))
	require.NotEqual(t, full, thin)
	require.Equal(t, "url(#tl-hatch)", shape(keyset.Revoked).attr("fill"))
	fill := func(s keyset.State) string { return shape(s).attr("fill") }
	require.Greater(t, contrast(t, fill(keyset.Pending), fill(keyset.Active)), 3.0)
	require.Greater(t, contrast(t, fill(keyset.Active), fill(keyset.Retiring)), 2.5)
	require.Greater(t, contrast(t, fill(keyset.Pending), fill(keyset.Retiring)), 1.3)
	require.Greater(t, contrast(t, fill(keyset.Staged), fill(keyset.Expired)), 1.5)
}
