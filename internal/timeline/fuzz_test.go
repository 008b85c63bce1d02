package timeline_test

import (
	"io"
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

// Whatever the texts and the instants are: it is refused, or drawn in all forms
// without a character that steers, as XML that can be read and within the
// width.
func FuzzDraw(f *testing.F) {
	for _, text := range attacks() {
		f.Add(text, text, int64(0), int64(90*24*3600), int64(30*24*3600), int64(-5), int64(1000), 80)
	}
	f.Add("a", "", int64(-62135596800), int64(3600), int64(7), int64(1), int64(1), 40)
	f.Add("a", "b", int64(253402300799), int64(1), int64(7), int64(1), int64(1), 400)
	f.Fuzz(func(t *testing.T, id, reason string, from, window, now, begin, length int64, width int) {
		start := time.Unix(from, 0)
		tl := &rotation.Timeline{Now: time.Unix(from+now, 0), From: start, Until: time.Unix(from+window, 0),
			Rows: []rotation.Row{{
				ID: id, Use: keyset.Use(reason), Algorithm: keyset.Algorithm(id), Planned: begin%2 == 0, Spans: []rotation.Span{
					{State: keyset.Pending, From: time.Unix(from+begin, 0), Until: time.Unix(from+begin+length, 0), Reason: reason},
					{State: keyset.Active, From: time.Unix(from+begin+length, 0), Reason: reason},
				},
			}}}
		if timeline.SVG(io.Discard, tl) != nil {
			for _, form := range forms() {
				require.Error(t, form.draw(io.Discard, tl), form.name)
			}
			return
		}
		text := textOf(t, tl, timeline.TextOptions{Width: width})
		for _, s := range []string{text, drawn(t, timeline.SVG, tl), drawn(t, timeline.HTML, tl)} {
			require.True(t, utf8.ValidString(s))
			require.Negative(t, strings.IndexFunc(s, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }))
		}
		picture(t, tl)
	})
}
