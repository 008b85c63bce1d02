package timeline_test

import (
	"encoding/xml"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/rotation"
	"github.com/cloakroom-go/cloakroom/internal/timeline"
)

// tags returns the elements of a page in order. The page is written so that
// encoding/xml, told what closes itself, can read it.
func tags(t *testing.T, page string) (found []xml.StartElement) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(page))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	for {
		token, err := d.Token()
		if err == io.EOF {
			return found
		}
		require.NoError(t, err)
		if e, ok := token.(xml.StartElement); ok {
			found = append(found, e.Copy())
		}
	}
}

func pageOf(t *testing.T, tl *rotation.Timeline) string { return drawn(t, timeline.HTML, tl) }

func TestHTMLHead(t *testing.T) {
	page := pageOf(t, web())
	require.True(t, strings.HasPrefix(page, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"))
	require.Contains(t, page, `<meta name="viewport" content="width=device-width, initial-scale=1">`)
	require.Contains(t, page, "<title>Lives of the keys, 2026-01-15 to 2026-04-15</title>")
	require.Contains(t, page, "@media (prefers-color-scheme: dark)")
	require.Contains(t, page,
		"<p>7 keys, 2026-01-15 to 2026-04-15; as of <time datetime=\"2026-02-14T09:41:00Z\">2026-02-14 09:41</time>.")
}

// The page needs nothing but itself: it does the same from a disk, behind a
// firewall and under a policy that forbids scripts.
func TestHTMLIsSelfContained(t *testing.T) {
	for _, s := range append(samples(), odd()...) {
		t.Run(s.name, func(t *testing.T) {
			page := pageOf(t, s.tl)
			for _, e := range tags(t, page) {
				active := []string{"script", "link", "img", "iframe", "object", "embed", "base", "form", "image", "use", "a"}
				if slices.Contains(active, strings.ToLower(e.Name.Local)) {
					t.Errorf("<%s>", e.Name.Local)
				}
				for _, a := range e.Attr {
					if name := strings.ToLower(a.Name.Local); slices.Contains([]string{"style", "src", "href", "xlink"}, name) ||
						strings.HasPrefix(name, "on") {
						t.Errorf("<%s %s>", e.Name.Local, name)
					}
				}
			}
			require.NotContains(t, page, "@import")
			require.NotRegexp(t, `url\([^#]`, page)
		})
	}
}

// The picture in the page is that of SVG, but for its title: the page has its
// own.
func TestHTMLHasThePicture(t *testing.T) {
	for _, s := range append(samples(), odd()...) {
		page := pageOf(t, s.tl)
		begin, end := strings.Index(page, "<svg"), strings.Index(page, "</svg>")
		require.Positive(t, begin)
		root := parseSVG(t, page[begin:end+len("</svg>")])
		require.Len(t, root.class("tl-row"), len(s.tl.Rows))
		require.Equal(t, hovers(picture(t, s.tl)), hovers(root), s.name)
		require.Len(t, regexp.MustCompile(`Lives of the keys</text>`).FindAllString(page, -1), 0)
	}
}

// Every class that the page restyles in the dark is there to be restyled.
func TestHTMLStylesWhatThereIs(t *testing.T) {
	page := pageOf(t, web())
	style, body, _ := strings.Cut(page, "</style>")
	classes := regexp.MustCompile(`\.(tl-[a-z-]+)`).FindAllStringSubmatch(style, -1)
	require.NotEmpty(t, classes)
	for _, c := range classes {
		require.Regexp(t, `class="[^"]*\b`+c[1]+`\b`, body)
	}
}

func TestHTMLEvents(t *testing.T) {
	page := pageOf(t, web())
	_, page, ok := strings.Cut(page, "<h2>To come</h2>")
	require.True(t, ok)
	future, past, ok := strings.Cut(page, "<h2>Past</h2>")
	require.True(t, ok)
	require.Equal(t, 8, strings.Count(past, `<td class="change">`))
	require.Equal(t, 12, strings.Count(future, `<td class="change">`))
	require.Contains(t, past, `<tr>
<td><time datetime="2026-02-09T09:00:00Z" title="2026-02-09T09:00:00Z">2026-02-09 09:00</time></td>
<td><code title="`+kidB+`">pLq8sN1f</code> <span class="tag">sig</span></td>
<td class="change">active → <span class="state revoked">revoked</span></td>
<td dir="auto">key_compromise: laptop &lt;stolen&gt; &amp; not found</td>
</tr>`)
	require.Contains(t, future, `<code title="sig&#43;1">sig&#43;1</code> <span class="tag">sig, planned</span>`)
}

func TestHTMLWithoutEvents(t *testing.T) {
	page := pageOf(t, empty())
	require.NotContains(t, page, "<table>")
	require.NotContains(t, page, "<h2>")
	require.Contains(t, page, "There are no keys.")
}

// What is in a file adds no element to the page, and no attribute.
func TestHTMLAttacks(t *testing.T) {
	shape := func(tl *rotation.Timeline) (list []string) {
		for _, e := range tags(t, pageOf(t, tl)) {
			name := e.Name.Local
			for _, a := range e.Attr {
				name += " " + a.Name.Local
			}
			list = append(list, name)
		}
		return list
	}
	harmless := hostile()
	for i := range harmless.Rows {
		r := &harmless.Rows[i]
		for j := range r.Spans {
			r.Spans[j].Reason = "x"
		}
		r.ID = "x" + r.ID[:1]
	}
	require.Equal(t, shape(harmless), shape(hostile()))
	for _, r := range pageOf(t, hostile()) {
		require.True(t, r == '\n' || unicode.IsPrint(r), "%q", r)
	}
}
