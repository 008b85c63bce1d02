package middleware_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// from makes a request with header fields, "name: value" each.
func from(method, url string, fields ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, url, nil)
	r.Method = method // which NewRequest would parse the target of a CONNECT by
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ": ")
		if name == ":protocol" {
			r.Header[name] = []string{value} // as net/http has it, which is not canonical
			continue
		}
		r.Header.Add(name, value)
	}
	return r
}

// A page of another origin could otherwise open a WebSocket that acts for the
// visitor, and read what comes through it.
func TestWebSocketHandshakeFromAnotherOrigin(t *testing.T) {
	const upgrade = "Upgrade: websocket"
	tests := []struct {
		name   string
		method string
		fields []string
		ok     bool
	}{
		{"same origin", "GET", []string{upgrade, "Origin: https://app.example"}, true},
		{"another origin", "GET", []string{upgrade, "Origin: https://evil.example"}, false},
		{"a host below", "GET", []string{upgrade, "Origin: https://x.app.example"}, false},
		{"another port", "GET", []string{upgrade, "Origin: https://app.example:8443"}, false},
		{"a sandboxed page", "GET", []string{upgrade, "Origin: null"}, false},
		{"a trusted origin", "GET", []string{upgrade, "Origin: https://partner.example"}, true},
		{"no browser", "GET", []string{upgrade}, true},
		{"another spelling", "GET", []string{"Upgrade: WebSocket", "Origin: https://evil.example"}, false},
		{"among others", "GET", []string{"Upgrade: h2c, websocket", "Origin: https://evil.example"}, false},
		{"in a second field", "GET", []string{"Upgrade: h2c", upgrade, "Origin: https://evil.example"}, false},
		{"a browser that compares wss with https", "GET", []string{upgrade, "Origin: https://app.example", "Sec-Fetch-Site: cross-site"}, true},
		{"a browser that says where it comes from", "GET", []string{upgrade, "Origin: https://evil.example", "Sec-Fetch-Site: same-origin"}, false},
		{"no handshake", "GET", []string{"Origin: https://evil.example"}, true},
		{"HTTP/2, same origin", "CONNECT", []string{":protocol: websocket", "Origin: https://app.example"}, true},
		{"HTTP/2, another origin", "CONNECT", []string{":protocol: websocket", "Origin: https://evil.example"}, false},
		{"HTTP/2, a trusted origin", "CONNECT", []string{":protocol: websocket", "Origin: https://partner.example"}, true},
		{"HTTP/2, a browser that compares wss with https", "CONNECT", []string{":protocol: websocket", "Origin: https://app.example", "Sec-Fetch-Site: cross-site"}, true},
		{"HTTP/2, no browser", "CONNECT", []string{":protocol: websocket"}, true},
	}
	eachMode(t, func(t *testing.T, mode string, w *world) {
		m := w.Middleware(t, mode, func(c *middleware.Config) {
			c.CrossOrigin = http.NewCrossOriginProtection()
			require.NoError(t, c.CrossOrigin.AddTrustedOrigin("https://partner.example"))
		})
		alice := begin(t, m, "alice")
		for _, tt := range tests {
			r := from(tt.method, "https://app.example/ws", append(tt.fields, "Cookie: __Host-session="+alice)...)
			before := r.Header.Clone()
			called := false
			got := serve(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				called = true
				assert.Equal(t, tt.method, r.Method, tt.name)
				assert.Equal(t, before, r.Header, tt.name)
				assert.Equal(t, "alice", session.From(r.Context()).Subject(), tt.name)
			})), r)
			assert.Equal(t, tt.ok, called, tt.name)
			assert.Equal(t, !tt.ok, got.Status == http.StatusForbidden, "%s: %d", tt.name, got.Status)
		}
	})
}

func TestWebSocketHandshakeUnderABypassPattern(t *testing.T) {
	w := newWorld(t)
	m := w.Middleware(t, "opaque", func(c *middleware.Config) {
		c.CrossOrigin = http.NewCrossOriginProtection()
		c.CrossOrigin.AddInsecureBypassPattern("/open/")
	})
	h := m.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for path, want := range map[string]int{"/open/ws": 200, "/ws": 403, "/open/../ws": 403, "/open//ws": 403} {
		r := from("GET", "https://app.example/", "Upgrade: websocket", "Origin: https://evil.example")
		r.URL.Path = path
		assert.Equal(t, want, serve(h, r).Status, path)
	}
}

func TestCrossOriginRefusalIsAnEvent(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string, w *world) {
		var e events
		m := w.Middleware(t, mode, watched(&e))
		h := m.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("called") }))
		for _, r := range []*http.Request{
			from("POST", "https://app.example/pay?card=secret", "Origin: https://evil.example", "Sec-Fetch-Site: cross-site"),
			from("GET", "https://app.example/ws", "Origin: https://evil.example", "Upgrade: websocket"),
		} {
			got := serve(h, r)
			assert.Equal(t, http.StatusForbidden, got.Status)
			assert.Equal(t, "no-store", got.Header.Get("Cache-Control"))
		}
		require.Equal(t, []string{"refused:cross_origin", "refused:cross_origin"}, e.Kinds())
		for i, want := range []middleware.Event{{Method: "POST", Path: "/pay"}, {Method: "GET", Path: "/ws"}} {
			got := e.All()[i]
			assert.ErrorIs(t, got.Err, session.CrossOrigin)
			assert.ErrorContains(t, got.Err, "cross_origin.trusted", "for those who have a config file")
			assert.Equal(t, "https://evil.example", got.Origin)
			assert.Equal(t, "app.example", got.Host)
			assert.Equal(t, want.Method+want.Path, got.Method+got.Path)
		}
	})
}

func TestDenyHandlerOfTheProtection(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string, w *world) {
		m := w.Middleware(t, mode, func(c *middleware.Config) {
			c.CrossOrigin = http.NewCrossOriginProtection()
			c.CrossOrigin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(http.StatusTeapot)
				io.WriteString(w, r.Method+" "+r.Header.Get("Origin"))
			}))
		})
		h := m.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("called") }))
		for _, r := range []*http.Request{
			from("POST", "https://app.example/", "Origin: https://evil.example"),
			from("GET", "https://app.example/ws", "Origin: https://evil.example", "Upgrade: websocket"),
		} {
			got := serve(h, r)
			assert.Equal(t, http.StatusTeapot, got.Status)
			assert.Equal(t, "POST https://evil.example", got.Body)
			assert.Equal(t, "no-store", got.Header.Get("Cache-Control"))
		}
	})
}

// The origin is trusted a moment after it was refused.
func TestCrossOriginRefusalStands(t *testing.T) {
	m := newWorld(t).Middleware(t, "opaque", func(c *middleware.Config) {
		c.CrossOrigin = http.NewCrossOriginProtection()
		c.OnEvent = func(context.Context, middleware.Event) {
			assert.NoError(t, c.CrossOrigin.AddTrustedOrigin("https://evil.example"))
		}
	})
	h := m.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("called") }))
	got := serve(h, from("POST", "https://app.example/", "Origin: https://evil.example"))
	assert.Equal(t, http.StatusForbidden, got.Status)
}

func TestBearerTokenWithoutCookieFromAnotherOrigin(t *testing.T) {
	tests := []struct {
		name   string
		fields []string
		want   int
	}{
		{"token", []string{"Authorization: Bearer x.y.z"}, 200},
		{"another spelling of the scheme", []string{"Authorization: bearer x.y.z"}, 200},
		{"no token", []string{"Authorization: Bearer "}, 403},
		{"only spaces", []string{"Authorization: Bearer    "}, 403},
		{"nothing", nil, 403},
		{"what browsers add by themselves", []string{"Authorization: Basic YTpi"}, 403},
		{"what browsers add in a domain", []string{"Authorization: Negotiate YTpi"}, 403},
		{"two fields", []string{"Authorization: Bearer x.y.z", "Authorization: Basic YTpi"}, 403},
		{"the session's cookie as well", []string{"Authorization: Bearer x.y.z", "Cookie: __Host-session=%s"}, 403},
		{"a cookie of the name that opens nothing", []string{"Authorization: Bearer x.y.z", "Cookie: __Host-session=x"}, 403},
		{"a proxy's cookie as well", []string{"Authorization: Bearer x.y.z", "Cookie: _oauth2_proxy=x"}, 403},
	}
	eachMode(t, func(t *testing.T, mode string, w *world) {
		m := w.Middleware(t, mode)
		alice := begin(t, m, "alice")
		h := m.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		for _, tt := range tests {
			fields := append(tt.fields, "Origin: https://spa.example", "Sec-Fetch-Site: cross-site")
			r := from("POST", "https://app.example/", fields...)
			for i, line := range r.Header["Cookie"] {
				r.Header["Cookie"][i] = strings.ReplaceAll(line, "%s", alice)
			}
			assert.Equal(t, tt.want, serve(h, r).Status, tt.name)
		}
	})
}

func TestMiddlewareAppliedTwice(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode string, w *world, b *browser) {
		m := w.Middleware(t, mode)
		b.Site.Run(m)
		twice := func(f func(s *session.Session)) reply {
			return b.Get(func(w http.ResponseWriter, r *http.Request, s *session.Session) {
				m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					assert.Same(t, s, session.From(r.Context()))
					f(session.From(r.Context()))
				})).ServeHTTP(w, r)
				assert.NoError(t, session.Key[any]("outside").Set(s, 1))
			})
		}
		got := twice(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
		assert.Len(t, got.Header["Set-Cookie"], 1)
		got = twice(func(s *session.Session) { assert.Equal(t, "alice", s.Subject()) })
		assert.LessOrEqual(t, len(got.Header["Set-Cookie"]), 1)
		b.Do(func(s *session.Session) {
			assert.Equal(t, "alice", s.Subject())
			assert.True(t, s.Has("outside"))
		})
	})
}

// Two middlewares keep two sessions, one inside the other.
func TestTwoMiddlewares(t *testing.T) {
	w := newWorld(t)
	outer := w.Middleware(t, "opaque")
	inner := w.Middleware(t, "opaque", func(c *middleware.Config) { c.Cookie.Name = "__Host-admin" })
	got := serve(outer.Handler(inner.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		assert.NoError(t, session.From(r.Context()).Login("root"))
	}))), from("GET", "https://app.example/"))
	require.Len(t, got.Header["Set-Cookie"], 1)
	assert.Contains(t, got.Header.Get("Set-Cookie"), "__Host-admin=")
}
