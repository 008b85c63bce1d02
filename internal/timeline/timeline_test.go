package timeline_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
	"github.com/cloakroom-go/cloakroom/internal/timeline"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with a file under testdata, or writes it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err, "run go test -update")
	require.Equal(t, string(want), got, "run go test -update if this is meant, and look at the result")
}

func utc(value string) time.Time {
	t, err := time.Parse("2006-01-02 15:04", value)
	if err != nil {
		panic(err)
	}
	return t
}

const aDay = 24 * time.Hour

// life is what most keys go through: states that follow each other, with how
// long each lasts. The last one has no end.
func life(from time.Time, steps ...any) []rotation.Span {
	var spans []rotation.Span
	for i := 0; i < len(steps); i += 3 {
		s := rotation.Span{State: steps[i].(keyset.State), From: from, Reason: steps[i+1].(string)}
		if i+2 < len(steps) {
			from = from.Add(steps[i+2].(time.Duration))
			s.Until = from
		}
		spans = append(spans, s)
	}
	return spans
}

const (
	published = "published a day before it signs, so that every service has fetched it"
	promoted  = "the key before it has signed for 30 days"
	replaced  = "its successor signs; the last token that it signed ends 1h17m later"
	over      = "no token that it signed is good any more"
)

// rotated is a life in which each state is as long as in production, in units
// of a day or less.
func rotated(made time.Time, unit time.Duration) []rotation.Span {
	return life(made, keyset.Pending, published, unit, keyset.Active, promoted, 30*unit, keyset.Retiring, replaced,
		77*unit/(24*60), keyset.Expired, over)
}

const (
	kidA = "k3JpX0QaTt0u8bVnBqk6nE9hGJfTPpIv2mqBqYw1b3c"
	kidB = "pLq8sN1fDq0FqgX1bKcQvYlqk0qQm3bN5GxYt8kZJ2M"
	kidC = "Zt7Hn2cWmXs4vJr9LdQe6KbTu1YoPa8GfCi3RzEx5Ns"
	kidD = "-q0Yd5kRt1GgPz6WnLmX9cVbA2sFhJ4uTe8oIiKj7Qw"
	kidE = "8vXwB1nM6tRzQk3LpHd0YsUcGfJ5aE2oTi9yNrKq4Dg"
)

// web is an application in production: three months, two uses, a key that was
// stolen and keys that are planned.
func web() *rotation.Timeline {
	now := utc("2026-02-14 09:41")
	return &rotation.Timeline{Now: now, From: utc("2026-01-15 00:00"), Until: utc("2026-04-15 00:00"),
		Rows: []rotation.Row{
			{ID: kidA, Use: keyset.Signature, Algorithm: keyset.ES256, Spans: rotated(utc("2025-12-20 09:00"), aDay)},
			{ID: kidB, Use: keyset.Signature, Algorithm: keyset.ES256, Spans: life(utc("2026-01-19 09:00"), keyset.Pending, published, aDay, keyset.Active, promoted, 20*aDay, keyset.Revoked, "key_compromise: laptop <stolen> & not found")},
			{ID: kidC, Use: keyset.Signature, Algorithm: keyset.ES256, Spans: life(utc("2026-02-01 09:00"), keyset.Staged, "imported", 7*aDay, keyset.Pending, published, aDay, keyset.Active, "the key before it was revoked", 30*aDay, keyset.Retiring, replaced, 12*aDay, keyset.Expired, over)},
			{ID: "sig+1", Use: keyset.Signature, Algorithm: keyset.ES256, Planned: true, Spans: rotated(utc("2026-03-10 09:00"), aDay)},
			{ID: "sig+2", Use: keyset.Signature, Algorithm: keyset.ES256, Planned: true, Spans: rotated(utc("2026-04-09 09:00"), aDay)},
			{ID: kidD, Use: keyset.Encryption, Algorithm: keyset.Direct, Spans: life(utc("2026-01-10 12:00"), keyset.Active, "first key", 60*aDay, keyset.Retiring, "sealed 60 days", 14*aDay, keyset.Expired, over)},
			{ID: "enc+1", Use: keyset.Encryption, Algorithm: keyset.Direct, Planned: true, Spans: life(utc("2026-03-10 12:00"), keyset.Pending, published, aDay, keyset.Active, "the key before it has sealed for 60 days")},
		}}
}

// hours is a rehearsal within three hours.
func hours() *rotation.Timeline {
	now := utc("2026-02-14 23:10")
	return &rotation.Timeline{Now: now, From: now.Add(-time.Hour), Until: now.Add(2 * time.Hour), Rows: []rotation.Row{
		{ID: kidA, Use: keyset.Signature, Algorithm: keyset.EdDSA, Spans: rotated(now.Add(-90*time.Minute), 2*time.Minute)},
		{ID: kidB, Use: keyset.Signature, Algorithm: keyset.EdDSA, Spans: rotated(now.Add(-30*time.Minute), 2*time.Minute)},
		{ID: "sig+1", Use: keyset.Signature, Algorithm: keyset.EdDSA, Planned: true, Spans: rotated(now.Add(30*time.Minute), 2*time.Minute)},
	}}
}

// single is one key for ever.
func single() *rotation.Timeline {
	now := utc("2026-02-14 09:41")
	return &rotation.Timeline{Now: now, From: now.Add(-aDay), Until: now.Add(89 * aDay), Rows: []rotation.Row{
		{ID: kidA, Use: keyset.Signature, Algorithm: keyset.ES256, Spans: life(time.Time{}, keyset.Active, "first key")},
	}}
}

func empty() *rotation.Timeline {
	tl := web()
	tl.Rows = nil
	return tl
}

// many is n keys, one after another, most of them planned.
func many(n int) *rotation.Timeline {
	tl := web()
	tl.Rows = nil
	for i := range n {
		made := tl.From.Add(time.Duration(i) * tl.Until.Sub(tl.From) / time.Duration(n))
		r := rotation.Row{ID: fmt.Sprintf("%c%d%s", 'a'+i%26, i, kidE), Use: keyset.Signature, Algorithm: keyset.PS256,
			Spans: rotated(made, aDay/4)}
		if i >= n/2 {
			r.Use, r.Algorithm = keyset.Encryption, keyset.ECDHESA256KW
		}
		if made.After(tl.Now) {
			r.ID, r.Planned = fmt.Sprintf("%s+%d", r.Use, i), true
		}
		tl.Rows = append(tl.Rows, r)
	}
	return tl
}

// A sample is a timeline that must look right in every form.
type sample struct {
	name string
	tl   *rotation.Timeline
}

func samples() []sample {
	return []sample{
		{"web", web()}, {"hours", hours()}, {"single", single()}, {"empty", empty()}, {"many6", many(6)}, {"many20", many(20)}, {"many100", many(100)},
	}
}

// The three forms, and text with colours.
type form struct {
	name string
	draw func(io.Writer, *rotation.Timeline) error
}

func forms() []form {
	text := func(o timeline.TextOptions) func(io.Writer, *rotation.Timeline) error {
		return func(w io.Writer, tl *rotation.Timeline) error { return timeline.Text(w, tl, o) }
	}
	return []form{
		{"text", text(timeline.TextOptions{})}, {"color", text(timeline.TextOptions{Width: 120, Color: true})}, {"narrow", text(timeline.TextOptions{Width: 40})},
		{"svg", timeline.SVG}, {"html", timeline.HTML},
	}
}

func drawn(t *testing.T, draw func(io.Writer, *rotation.Timeline) error, tl *rotation.Timeline) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, draw(&b, tl))
	return b.String()
}

func TestGolden(t *testing.T) {
	for _, s := range samples()[:6] {
		for _, width := range []int{40, 80, 120} {
			name := fmt.Sprintf("%s-%d.txt", s.name, width)
			t.Run(name, func(t *testing.T) { golden(t, name, textOf(t, s.tl, timeline.TextOptions{Width: width})) })
		}
	}
	for _, width := range []int{40, 80, 120} {
		name := fmt.Sprintf("web-%d-color.txt", width)
		t.Run(name, func(t *testing.T) { golden(t, name, textOf(t, web(), timeline.TextOptions{Width: width, Color: true})) })
	}
	for _, s := range samples()[:6] {
		t.Run(s.name+".svg", func(t *testing.T) { golden(t, s.name+".svg", drawn(t, timeline.SVG, s.tl)) })
	}
	t.Run("web.html", func(t *testing.T) { golden(t, "web.html", drawn(t, timeline.HTML, web())) })
	t.Run("empty.html", func(t *testing.T) { golden(t, "empty.html", drawn(t, timeline.HTML, empty())) })
}

func TestRefused(t *testing.T) {
	a, b := utc("2026-03-01 00:00"), utc("2026-03-02 00:00")
	span := func(s keyset.State, from, until time.Time) rotation.Span {
		return rotation.Span{State: s, From: from, Until: until}
	}
	for _, row := range []struct {
		name string
		do   func(*rotation.Timeline)
		want string
	}{
		{"no now", func(tl *rotation.Timeline) { tl.Now = time.Time{} }, "Now, From and Until are required"},
		{"no beginning", func(tl *rotation.Timeline) { tl.From = time.Time{} }, "Now, From and Until are required"},
		{"no end", func(tl *rotation.Timeline) { tl.Until = time.Time{} }, "Now, From and Until are required"},
		{"no length", func(tl *rotation.Timeline) { tl.Until = tl.From }, "Until must be after From, but is 2026-01-15T00:00:00Z"},
		{"negative length", func(tl *rotation.Timeline) { tl.Until = tl.From.Add(-1) }, "Until must be after From"},
		{"longer than 1000 years", func(tl *rotation.Timeline) { tl.Until = tl.From.AddDate(1000, 0, 1) }, "at most 1000 years apart"},
		{"year 10000", func(tl *rotation.Timeline) {
			tl.From, tl.Until = tl.From.AddDate(7500, 0, 0), tl.From.AddDate(8000, 0, 0)
		}, "years 1 to 9999"},
		{"before Christ", func(tl *rotation.Timeline) {
			tl.From, tl.Until = tl.From.AddDate(-2100, 0, 0), tl.From.AddDate(-2000, 0, 0)
		}, "years 1 to 9999"},
		{"state 0", func(tl *rotation.Timeline) { tl.Rows[0].Spans = []rotation.Span{span(0, a, b)} }, `key "` + kidA + `": span 1 has the unknown state 0`},
		{"state 7", func(tl *rotation.Timeline) { tl.Rows[0].Spans = []rotation.Span{span(7, a, b)} }, "span 1 has the unknown state 7"},
		{"backwards", func(tl *rotation.Timeline) { tl.Rows[0].Spans = []rotation.Span{span(keyset.Active, b, a)} }, "span 1 (active) ends before it begins"},
		{"open in the middle", func(tl *rotation.Timeline) {
			tl.Rows[0].Spans = []rotation.Span{span(keyset.Pending, a, time.Time{}), span(keyset.Active, b, time.Time{})}
		}, "span 1 (pending) has no end, and is not the last"},
		{"overlap", func(tl *rotation.Timeline) {
			tl.Rows[0].Spans = []rotation.Span{span(keyset.Pending, a, b), span(keyset.Active, b.Add(-1), time.Time{})}
		}, "span 2 (active) begins before the span before it ends"},
	} {
		for _, f := range forms() {
			t.Run(row.name+" "+f.name, func(t *testing.T) {
				tl := web()
				row.do(tl)
				var b bytes.Buffer
				err := f.draw(&b, tl)
				require.ErrorContains(t, err, row.want)
				require.Regexp(t, "^timeline: ", err)
				require.Empty(t, b.String(), "written before it was checked")
			})
		}
	}
}

func TestRefusedNil(t *testing.T) {
	for _, f := range forms() {
		require.EqualError(t, f.draw(io.Discard, nil), "timeline: no timeline")
	}
}

// All rows are checked, and what a file has put into an ID can't steer the
// terminal through an error.
func TestRefusedReportsEveryRow(t *testing.T) {
	tl := web()
	tl.Rows[1].Spans[0].State, tl.Rows[2].Spans[0].State = 0, 0
	tl.Rows[2].ID = "\x1b[31m"
	err := timeline.SVG(io.Discard, tl)
	require.ErrorContains(t, err, kidB)
	require.ErrorContains(t, err, `key "\x1b[31m": span 1`)
	require.NotContains(t, err.Error(), "\x1b")
}

type brokenWriter struct{}

var errBroken = errors.New("broken")

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestWriterFails(t *testing.T) {
	for _, f := range forms() {
		require.ErrorIs(t, f.draw(brokenWriter{}, web()), errBroken, f.name)
	}
}

func TestDeterministic(t *testing.T) {
	berlin := time.FixedZone("CET", 3600)
	for _, f := range forms() {
		want := drawn(t, f.draw, web())
		for range 5 {
			require.Equal(t, want, drawn(t, f.draw, web()), f.name)
		}
		abroad := web()
		abroad.Now, abroad.From, abroad.Until = abroad.Now.In(berlin), abroad.From.In(berlin), abroad.Until.In(berlin)
		for _, r := range abroad.Rows {
			for i := range r.Spans {
				r.Spans[i].From = r.Spans[i].From.In(berlin)
			}
		}
		require.Equal(t, want, drawn(t, f.draw, abroad), "%s: depends on the time zone", f.name)
	}
}

func TestTimelineIsLeftAlone(t *testing.T) {
	for _, f := range forms() {
		tl, want := hostile(), hostile()
		drawn(t, f.draw, tl)
		require.Equal(t, want, tl, f.name)
	}
}

// odd holds timelines that must be drawn all the same.
func odd() []sample {
	at := func(name string, do func(*rotation.Timeline)) sample {
		tl := web()
		do(tl)
		return sample{name, tl}
	}
	return []sample{
		at("before now", func(tl *rotation.Timeline) { tl.Now = tl.From.AddDate(-1, 0, 0) }),
		at("after now", func(tl *rotation.Timeline) { tl.Now = tl.Until.AddDate(1, 0, 0) }),
		at("now is the beginning", func(tl *rotation.Timeline) { tl.Now = tl.From }),
		at("now is the end", func(tl *rotation.Timeline) { tl.Now = tl.Until }),
		at("now is just after the beginning", func(tl *rotation.Timeline) { tl.Now = tl.From.Add(time.Second) }),
		at("now is just before the end", func(tl *rotation.Timeline) { tl.Now = tl.Until.Add(-time.Second) }),
		at("one nanosecond", func(tl *rotation.Timeline) { tl.From, tl.Until = tl.Now, tl.Now.Add(1) }),
		at("a second", func(tl *rotation.Timeline) { tl.From, tl.Until = tl.Now, tl.Now.Add(time.Second) }),
		at("a minute", func(tl *rotation.Timeline) { tl.From, tl.Until = tl.Now, tl.Now.Add(time.Minute) }),
		at("ten years", func(tl *rotation.Timeline) { tl.Until = tl.Until.AddDate(10, 0, 0) }),
		at("a thousand years", func(tl *rotation.Timeline) { tl.Until = tl.From.AddDate(1000, 0, 0) }),
		at("before 1970", func(tl *rotation.Timeline) {
			tl.Now, tl.From, tl.Until = utc("1969-12-20 00:00"), utc("1969-11-30 12:00"), utc("1970-01-10 00:00")
		}),
		at("the first years",
			func(tl *rotation.Timeline) { tl.From, tl.Until = utc("0001-02-01 00:00"), utc("0900-01-01 00:00") }),
		at("no spans", func(tl *rotation.Timeline) { tl.Rows[0].Spans = nil; tl.Rows[6].Spans = nil }),
		at("no states at all", func(tl *rotation.Timeline) { tl.Rows = []rotation.Row{{ID: "a"}} }),
		at("all before", func(tl *rotation.Timeline) {
			for i := range tl.Rows {
				tl.Rows[i].Spans = []rotation.Span{{State: keyset.Active, From: tl.From.Add(-aDay), Until: tl.From}}
			}
		}),
		at("all after", func(tl *rotation.Timeline) {
			for i := range tl.Rows {
				tl.Rows[i].Spans = []rotation.Span{{State: keyset.Active, From: tl.Until}}
			}
		}),
		at("spans of no length", func(tl *rotation.Timeline) {
			tl.Rows[0].Spans = life(tl.Now, keyset.Staged, "a", time.Duration(0), keyset.Pending, "b", time.Duration(0),
				keyset.Active, "c")
		}),
		at("a gap", func(tl *rotation.Timeline) { tl.Rows[2].Spans = slices.Delete(tl.Rows[2].Spans, 2, 3) }),
		at("crowded", func(tl *rotation.Timeline) { crowd(tl) }),
		at("far away", func(tl *rotation.Timeline) {
			tl.Rows[0].Spans = []rotation.Span{{State: keyset.Active, From: time.Unix(-1<<55, 0), Until: time.Unix(1<<55, 0)},
				{State: keyset.Retiring, From: time.Unix(1<<55, 0)}}
		}),
		at("long algorithm", func(tl *rotation.Timeline) { tl.Rows[0].Algorithm = keyset.ECDHESA256KW }),
		at("one ID twice", func(tl *rotation.Timeline) { tl.Rows[1].ID = tl.Rows[0].ID }),
		{"hostile", hostile()},
	}
}

// crowd gives a key more changes than there are pixels.
func crowd(tl *rotation.Timeline) {
	var spans []rotation.Span
	for n := range 900 {
		from := tl.From.Add(time.Duration(n) * time.Hour)
		spans = append(spans, rotation.Span{State: keyset.State(n%6) + keyset.Staged, From: from, Until: from.Add(time.Hour)})
	}
	tl.Rows = tl.Rows[:1]
	tl.Rows[0].Spans = spans
}

// hostile has in every text what somebody may put there who wants to break out
// of it.
func hostile() *rotation.Timeline {
	tl := web()
	for i, text := range attacks() {
		tl.Rows = append(tl.Rows, rotation.Row{
			ID: fmt.Sprint(i) + text, Use: keyset.Use(text), Algorithm: keyset.Algorithm(text), Planned: i%2 == 0,
			Spans: []rotation.Span{{State: keyset.Pending, From: tl.Now.Add(-aDay), Until: tl.Now, Reason: text},
				{State: keyset.Active, From: tl.Now, Reason: text}},
		})
	}
	return tl
}

func attacks() []string {
	return []string{
		`<script>alert(1)</script>`, `</title></svg><img src=x onerror=alert(1)>`, `" onload="alert(1)`,
		`' onload='alert(1)`, `]]>`, `<!--`, `-->`, `&lt;b&gt;`, `&#0;`, `{{.}}`,
		"\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\u009b31m", "line\nbreak", "carriage\rreturn", "tab\tbed",
		"nul\x00", "\x7f", "\u202etxet", "\u200bzero", "\u2028line", "\ufeffbom",
		"\xff\xfe", "\xed\xa0\x80", "\ufffe", "\uffff", "\U0010ffff", "", " ",
		strings.Repeat("x", 700), strings.Repeat("word ", 100), strings.Repeat("漢字", 60), "e" + strings.Repeat("\u0301", 300),
	}
}

func TestOddTimelinesAreDrawn(t *testing.T) {
	for _, s := range odd() {
		for _, f := range forms() {
			t.Run(s.name+" "+f.name, func(t *testing.T) { require.NotEmpty(t, drawn(t, f.draw, s.tl)) })
		}
	}
}
