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
	require.Equal(t, "7 keys from 2026-01-15 to 2026-04-15 UTC, with a bar for each state, "+
		"as of 2026-02-14T09:41:00Z. Active then: Zt7Hn2cW, -q0Yd5kR.", picture(t, web()).Children[1].Text)
	require.Equal(t, "1 key from 2026-02-13 09:41 to 2026-05-14 09:41 UTC, with a bar for each state, "+
		"as of 2026-02-14T09:41:00Z. Active then: k3JpX0Qa.", picture(t, single()).Children[1].Text)
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
	require.Equal(t, kidB+" (ES256, sig)\nrevoked from 2026-02-09T09:00:00Z\nuntil further notice\n"+
		"why: key_compromise: laptop <stolen> & not found", bars[2].hover())
	planned := root.class("tl-row")[3].class("tl-bar")
	require.Equal(t, "planned: sig+1 (ES256, sig)\npending from 2026-03-10T09:00:00Z\n"+
		"until 2026-03-11T09:00:00Z\nwhy: "+published, planned[0].hover())
	require.Equal(t, kidA+" (ES256, sig)\nactive from the beginning\nuntil further notice\nwhy: first key",
		picture(t, single()).class("tl-bar")[0].hover())
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
			isBold := n.name() == "text" && n.attr("font-weight") == "600"
			if isBold && n.num(t, "y") > root.num(t, "height")-110 && n.num(t, "x") != 24 {
				all := []string{"staged", "pending", "active", "retiring", "expired", "revoked", "planned"}
				require.Contains(t, all, n.Text)
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
	all := fill("staged", "pending", "active", "retiring", "expired", "revoked", "active")
	require.Equal(t, all, names(web()), "the last is for planned keys")
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
