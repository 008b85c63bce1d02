package middleware_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/session"
)

// allocated is how many bytes f allocates, the least of three runs.
func allocated(f func()) uint64 {
	least := ^uint64(0)
	for range 3 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	return least
}

// Refusing a Cookie header of 1 MB takes at most 64 KB, whatever is in it.
func TestAttackCookieHeaderCost(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string, w *world) {
		m := w.Middleware(t, mode)
		h := m.Handler(http.HandlerFunc(show))
		parts := strings.Split(begin(t, w.Middleware(t, "stateless"), "alice"), ".")
		fill := func(format string, length int) string { // different cookies, up to 1 MB and up to what is read
			var header strings.Builder
			for i := 0; header.Len() < 1<<20 && i < 2999; i++ {
				value := fmt.Sprintf(format, i)
				value = strings.Replace(value, "*", strings.Repeat("A", max(0, length-len(value))), 1)
				fmt.Fprintf(&header, "__Host-session=%s; ", value)
			}
			return header.String()
		}
		for name, header := range map[string]string{
			"a signed form":          fill("%d.*.AAAA", 400),
			"an encrypted form":      fill("%d..AAAA.*.AAAA", 400),
			"the longest":            fill("%d..AAAA.*.AAAA", 4000),
			"forged, of a known key": fill(parts[0]+".."+parts[2]+".AAA%dA*."+parts[4], 4000),
			"of no form":             fill("%d*", 400),
			"an opaque form":         fill("cr1_A%07d*A", 47),
			"short":                  fill("%d.b.c", 8),
			"one":                    fill("%d.*.AAAA", 1<<20),
			"one of dots":            strings.ReplaceAll(fill("%d*", 1<<20), "A", "."),
		} {
			r := cookies()
			r.Header["Cookie"] = []string{header}
			require.Contains(t, serve(h, r).Body, `subject ""`, name)
			assert.LessOrEqual(t, allocated(func() { serve(h, r) }), uint64(64<<10), name)
		}
	})
}

// Names that only look like the cookie's are other names.
func TestAttackCookiePrefixes(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string, w *world) {
		m := w.Middleware(t, mode)
		evil := begin(t, m, "evil")
		tests := []struct {
			name string
			line string
			read bool
		}{
			{"as it should be", "__Host-session=%s", true},
			{"U+2000 before", "\u2000__Host-session=%s", false},
			{"U+0085 before", "\u0085__Host-session=%s", false},
			{"U+0085 in Latin-1", "\x85__Host-session=%s", false},
			{"no-break space before", "\u00a0__Host-session=%s", false},
			{"no-break space in Latin-1", "\xa0__Host-session=%s", false},
			{"no-break space after", "__Host-session\u00a0=%s", false},
			{"zero width space", "\u200b__Host-session=%s", false},
			{"byte order mark", "\ufeff__Host-session=%s", false},
			{"vertical tab", "\v__Host-session=%s", false},
			{"NUL", "\x00__Host-session=%s", false},
			{"lower case", "__host-session=%s", false},
			{"mixed case", "__HoSt-session=%s", false},
			{"upper case", "__HOST-SESSION=%s", false},
			{"without the prefix", "session=%s", false},
			{"__Secure-", "__Secure-session=%s", false},
			{"__Http-", "__Host-Http-session=%s", false},
			{"nameless", "=__Host-session=%s", false},
			{"nameless, space", " = __Host-session=%s", false},
			{"name without a value", "__Host-session", false},
			{"name in a value", "x=__Host-session=%s", false},
			{"percent", "__Host%%2Dsession=%s", false},
			{"brackets", "__Host-session[0]=%s", false},
			{"dot", "__Host.session=%s", false},
			{"quoted name", `"__Host-session"=%s`, false},
			{"longer", "__Host-sessions=%s", false},
			{"comma", "a=b,__Host-session=%s", false},
			{"quoted value", `__Host-session="%s"`, false},
			{"version", `$Version=1; __Host-session="%s"; $Path="/"`, false},
			{"dollar", "$__Host-session=%s", false},
			{"backslash", `__Host-session=\%s`, false},
			{"a space before the value", "__Host-session= %s", false},
			{"tab, which browsers trim too", "\t__Host-session=%s", true},
			{"spaces, which browsers trim too", "  __Host-session=%s  ", true},
			{"space after the name, which browsers trim too", "__Host-session =%s", true},
			{"among others", "a=b; __Host-session=%s; c=d", true},
			{"version, which is a name like any other", "$Version=1; __Host-session=%s", true},
		}
		for _, tt := range tests {
			line := tt.line
			if strings.Contains(line, "%s") {
				line = fmt.Sprintf(line, evil)
			}
			raw := "GET / HTTP/1.1\r\nHost: app.example\r\nCookie: " + line + "\r\n\r\n"
			r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
			if err != nil {
				assert.False(t, tt.read, "%s: %v", tt.name, err)
				continue
			}
			got := serve(m.Handler(http.HandlerFunc(show)), r)
			assert.Equal(t, tt.read, strings.Contains(got.Body, `"evil"`), "%s: %s", tt.name, got.Body)
			assert.Empty(t, got.Header["Set-Cookie"], tt.name)
		}
	})
}

func TestAttackCookieBomb(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string, w *world) {
		m := w.Middleware(t, mode)
		alice := begin(t, m, "alice")
		h := m.Handler(http.HandlerFunc(show))
		var small, large, named strings.Builder
		for i := range 3001 {
			fmt.Fprintf(&small, "c%d=1; ", i)
		}
		for i := range 180 {
			fmt.Fprintf(&large, "c%d=%s; ", i, strings.Repeat("x", 4096))
			fmt.Fprintf(&named, "__Host-session=%s; ", strings.Repeat("x", 4000))
		}
		for name, bomb := range map[string]string{
			"3001 cookies": small.String(), "180 of 4 KB": large.String(), "180 of 4 KB of the name": named.String(),
			"1 MB":               "x=" + strings.Repeat("y", 1<<20) + "; ",
			"1 MB of the name":   "__Host-session=" + strings.Repeat("y", 1<<20) + "; ",
			"1 MB of dots":       "__Host-session=" + strings.Repeat(".", 1<<20) + "; ",
			"1 MB of semicolons": strings.Repeat(";", 1<<20),
		} {
			r := cookies()
			r.Header["Cookie"] = []string{bomb + "__Host-session=" + alice}
			got := serve(h, r)
			assert.Equal(t, http.StatusOK, got.Status, name)
			assert.Nil(t, got.Panic, name)
			assert.Empty(t, got.Header["Set-Cookie"], name)
			if name == "3001 cookies" { // more than net/http parses: nobody, rather than somebody
				assert.Contains(t, got.Body, `subject ""`)
			}
			assert.Less(t, allocated(func() { serve(h, r) }), uint64(4<<20), name)
		}
	})
}

// A server answers the largest of bombs itself.
func TestAttackHeaderTooLarge(t *testing.T) {
	b := newSite(t, newWorld(t).Middleware(t, "auto")).Browser()
	nothing := func(w http.ResponseWriter, r *http.Request, s *session.Session) { io.WriteString(w, s.Subject()) }
	got := b.Send(http.MethodGet, nothing, func(r *http.Request) {
		r.Header["Cookie"] = []string{"__Host-session=" + strings.Repeat("x", 2<<20)}
	})
	assert.Equal(t, http.StatusRequestHeaderFieldsTooLarge, got.StatusCode)
	b.Do(func(*session.Session) {})
}

// naughty strings end lines, fields and attributes in HTTP or in a log.
func naughty() []string {
	return []string{
		"a\r\nSet-Cookie: evil=1", "a\nSet-Cookie: evil=1", "a\rb", "a;b", "a; Domain=evil.example", "a; Secure",
		"a,b", "a b", "a\tb", "a\x00b", "a\x1b[2Jb", "a\"b", "a=b", "a\\b", "\u2028", "\u0085", "é", "\x7f",
		"a\ntime=2026-01-01 level=ERROR msg=forged", `a","level":"ERROR`,
		"%0d%0aSet-Cookie:%20evil=1", "a\u560d\u560aSet-Cookie: evil=1",
	}
}

func TestAttackHeaderInjection(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string, w *world) {
		for i, evil := range naughty() {
			var text, object bytes.Buffer
			asText := middleware.LogEvents(slog.New(slog.NewTextHandler(&text, nil)))
			asJSON := middleware.LogEvents(slog.New(slog.NewJSONHandler(&object, nil)))
			var e events
			m := w.Middleware(t, mode, watched(&e))
			logged := w.Middleware(t, mode, func(c *middleware.Config) { c.OnEvent = asText })
			h := middleware.RequireSubject(middleware.RequireConfig{LoginURL: "/login"})(http.HandlerFunc(show))
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.URL.Path, r.RequestURI = "/"+evil, "/"+evil
			r.Header.Set("Accept", "text/html")
			assert.Equal(t, []string{"/login"}, serve(m.Handler(h), r).Header["Location"])

			set := func(s *session.Session) {
				assert.NoError(t, s.Login("user "+evil))
				assert.NoError(t, session.Key[any]("name "+evil).Set(s, "value "+evil))
			}
			credential := ""
			for _, m := range []*middleware.Middleware{m, logged} {
				h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { set(session.From(r.Context())) })
				got := serve(m.Handler(h), cookies("x\"", evil))
				require.Equal(t, http.StatusOK, got.Status, "%d: %s", i, got.Body)
				require.Len(t, got.Header["Set-Cookie"], 1)
				cookie, err := http.ParseSetCookie(got.Header["Set-Cookie"][0])
				require.NoError(t, err)
				credential = cookie.Value
				assert.Empty(t, strings.Trim(credential, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."))
				assert.Empty(t, cookie.Unparsed)
				assert.Empty(t, cookie.Domain)
				assert.Equal(t, "user "+evil, subjectOf(m, credential))
			}
			for _, event := range e.All() {
				asJSON(t.Context(), event)
			}
			for _, log := range []string{text.String(), object.String()} {
				lines := strings.Split(strings.TrimSuffix(log, "\n"), "\n")
				assert.Len(t, lines, len(e.All()), "a line for each event: %q", log)
				assert.NotContains(t, log, "value ")
				assert.NotContains(t, log, credential)
				for _, line := range lines {
					assert.Regexp(t, `^(time=|\{"time":)`, line)
					assert.NotContains(t, line, "\x1b")
					assert.NotContains(t, line, "\x00")
				}
			}
		}
	})
}

// What can't stand in a Set-Cookie field is refused when the middleware is
// made.
func TestAttackCookieConfigInjection(t *testing.T) {
	tokens, _ := newWorld(t).Carriers(t)
	for _, evil := range naughty() {
		for field, c := range map[string]middleware.Cookie{
			"name":          {Name: "__Host-" + evil},
			"plain name":    {Name: evil},
			"domain":        {Name: "s", Domain: evil},
			"domain ending": {Name: "s", Domain: "example.com" + evil},
			"path":          {Name: "s", Path: "/" + evil},
		} {
			m, err := middleware.New(middleware.Config{Carrier: tokens, Cookie: c})
			if field != "path" || strings.ContainsAny(evil, ";\r\n\t\x00\x1b\x7f\u2028é\u0085") {
				assert.Error(t, err, "%s %q", field, evil)
			}
			if err != nil {
				assert.Nil(t, m)
				continue
			}
			_, got := visit(m, "", func(s *session.Session) { assert.NoError(t, session.Key[any]("a").Set(s, 1)) })
			assert.NotContains(t, got, "evil")
		}
	}
}

// Requests from other sites change nothing, though the browser adds the cookie.
func TestAttackCrossSite(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string, w *world) {
		m := w.Middleware(t, mode)
		alice := begin(t, m, "alice")
		tests := []struct {
			method string
			header []string
			ok     bool
		}{
			{http.MethodPost, []string{"Sec-Fetch-Site", "cross-site"}, false},
			{http.MethodPost, []string{"Sec-Fetch-Site", "same-site"}, false},
			{http.MethodPut, []string{"Sec-Fetch-Site", "cross-site"}, false},
			{http.MethodDelete, []string{"Sec-Fetch-Site", "cross-site"}, false},
			{http.MethodPatch, []string{"Sec-Fetch-Site", "cross-site"}, false},
			{"get", []string{"Sec-Fetch-Site", "cross-site"}, false},
			{http.MethodPost, []string{"Sec-Fetch-Site", "cross-site", "Origin", "http://example.com"}, false},
			{http.MethodPost, []string{"Sec-Fetch-Site", "x"}, false},
			{http.MethodPost, []string{"Origin", "https://evil.example"}, false},
			{http.MethodPost, []string{"Origin", "null"}, false},
			{http.MethodPost, []string{"Origin", "http://example.com.evil.example"}, false},
			{http.MethodPost, []string{"Sec-Fetch-Site", "cross-site", "X-HTTP-Method-Override", "GET"}, false},
			{http.MethodPost, []string{"Sec-Fetch-Site", "same-origin"}, true},
			{http.MethodPost, []string{"Sec-Fetch-Site", "none"}, true},
			{http.MethodPost, []string{"Origin", "http://example.com"}, true},
			{http.MethodPost, nil, true},
			{http.MethodGet, []string{"Sec-Fetch-Site", "cross-site"}, true},
		}
		for _, tt := range tests {
			r := httptest.NewRequest(tt.method, "http://example.com/login", nil)
			r.Header["Cookie"] = []string{"__Host-session=" + alice}
			for i := 0; i < len(tt.header); i += 2 {
				r.Header.Set(tt.header[i], tt.header[i+1])
			}
			called := false
			h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { called = true; show(w, r) })
			got := serve(m.Handler(h), r)
			assert.Equal(t, tt.ok, called, "%v", tt)
			assert.Equal(t, !tt.ok, got.Status == http.StatusForbidden, "%v: %d", tt, got.Status)
			assert.Equal(t, tt.ok, strings.Contains(got.Body, "alice"), "%v", tt)
			assert.Empty(t, got.Header["Set-Cookie"])
		}
		assert.Equal(t, "alice", subjectOf(m, alice))
	})
}
