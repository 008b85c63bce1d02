package middleware_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What docs/web.md says that no other test holds.

// sentCookie returns the session cookie that a response sets, nil for none.
func sentCookie(w *httptest.ResponseRecorder) *http.Cookie {
	for _, c := range w.Result().Cookies() {
		if c.Name == "__Host-session" {
			return c
		}
	}
	return nil
}

// serveOnce lets a handler answer one request, with a cookie if there is one.
func serveOnce(h http.Handler, cookie *http.Cookie, change func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "http://app.example/", nil)
	if cookie != nil {
		r.AddCookie(cookie)
	}
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// whoseCookie returns who is logged in with a cookie.
func whoseCookie(m *middleware.Middleware, cookie *http.Cookie) (subject string) {
	serveOnce(m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		subject = session.From(r.Context()).Subject()
	})), cookie, nil)
	return subject
}

// http.TimeoutHandler inside of the middleware sends what was changed in time.
// Outside of it, the cookie of a slow login gets lost.
func TestTimeoutHandler(t *testing.T) {
	for _, mode := range modes {
		for _, inside := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				m := newWorld(t).Middleware(t, mode)
				late := make(chan error, 1)
				slow := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					s := session.From(r.Context())
					assert.NoError(t, s.Login("alice"))
					<-r.Context().Done()
					time.Sleep(time.Second) // until the response is sent; the time of the bubble
					late <- visits.Set(s, 1)
				})
				h := m.Handler(http.TimeoutHandler(slow, time.Second, "too slow"))
				if !inside {
					h = http.TimeoutHandler(m.Handler(slow), time.Second, "too slow")
				}
				w := serveOnce(h, nil, nil)
				assert.Equal(t, http.StatusServiceUnavailable, w.Code)
				if !inside {
					assert.NoError(t, <-late, mode)
					assert.Nil(t, sentCookie(w), mode)
					return
				}
				assert.ErrorIs(t, <-late, session.TooLate, mode)
				require.NotNil(t, sentCookie(w), mode)
				assert.Equal(t, "alice", whoseCookie(m, sentCookie(w)), mode)
			})
		}
	}
}

// A recoverer inside of the middleware makes an ordinary response of a panic,
// and what was changed is saved with it.
func TestRecovererInside(t *testing.T) {
	for _, mode := range modes {
		m := newWorld(t).Middleware(t, mode)
		w := serveOnce(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() {
				recover()
				w.WriteHeader(http.StatusInternalServerError)
			}()
			assert.NoError(t, session.From(r.Context()).Login("alice"))
			panic("after a login")
		})), nil, nil)
		assert.Equal(t, http.StatusInternalServerError, w.Code)
		assert.Equal(t, "alice", whoseCookie(m, sentCookie(w)), mode)
	}
}

// A stateless session isn't kept alive by a stream, but by other requests.
func TestStreamAndIdleTimeout(t *testing.T) {
	login := func(_ http.ResponseWriter, r *http.Request) {
		assert.NoError(t, session.From(r.Context()).Login("alice"))
	}
	for _, mode := range modes {
		for _, poll := range []bool{false, true} {
			w := newWorld(t)
			m := w.Middleware(t, mode)
			cookie := sentCookie(serveOnce(m.Handler(http.HandlerFunc(login)), nil, nil))
			var err error
			serveOnce(m.Handler(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				rw.(http.Flusher).Flush()
				for range 5 {
					w.Advance(9 * time.Minute)
					if poll {
						renewed := serveOnce(m.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})), cookie, nil)
						if c := sentCookie(renewed); c != nil {
							cookie = c
						}
					}
					err = session.From(r.Context()).Save(r.Context())
				}
			})), cookie, nil)
			if mode == "opaque" || poll {
				assert.NoError(t, err, "%s, polling %v", mode, poll)
			} else {
				assert.ErrorIs(t, err, session.IdleTimeout, "%s, polling %v", mode, poll)
			}
		}
	}
}

// A WebSocket handshake counts as activity in a token only if its 101 goes
// through WriteHeader, which can send the cookie.
func TestHandshakeAsActivity(t *testing.T) {
	for _, mode := range modes {
		for _, header := range []bool{false, true} {
			w := newWorld(t)
			b := newSite(t, w.Middleware(t, mode)).Browser()
			b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
			w.Advance(10 * time.Minute)
			b.Send(http.MethodGet, func(rw http.ResponseWriter, _ *http.Request, s *session.Session) {
				if header {
					rw.Header().Set("Connection", "Upgrade")
					rw.Header().Set("Upgrade", "websocket")
					rw.WriteHeader(http.StatusSwitchingProtocols)
				}
				conn := hijacked(t, rw)
				defer conn.Close()
				if !header {
					io.WriteString(conn, switching)
				}
				assert.Equal(t, mode == "opaque" || header, s.ExpiresAt().Equal(w.Now().Add(20*time.Minute)),
					"%s, WriteHeader %v", mode, header)
			}, func(r *http.Request) {
				r.Header.Set("Connection", "Upgrade")
				r.Header.Set("Upgrade", "websocket")
			})
		}
	}
}

// Behind a proxy that changes Host, browsers that send Sec-Fetch-Site are
// served; others, and WebSockets, need the Host or a trusted origin.
func TestHostRewrittenByAProxy(t *testing.T) {
	trust := func(c *middleware.Config) {
		c.CrossOrigin = http.NewCrossOriginProtection()
		require.NoError(t, c.CrossOrigin.AddTrustedOrigin("https://app.example"))
	}
	for _, row := range []struct {
		name, host, site string
		webSocket        bool
		change           []func(*middleware.Config)
		want             int
	}{
		{name: "post", host: "10.0.0.5:8080", site: "same-origin", want: 200},
		{name: "post of an old browser", host: "10.0.0.5:8080", want: 403},
		{name: "post of an old browser, host passed on", host: "app.example", want: 200},
		{name: "post of an old browser, trusted", host: "10.0.0.5:8080", change: []func(*middleware.Config){trust}, want: 200},
		{name: "handshake", host: "10.0.0.5:8080", site: "same-origin", webSocket: true, want: 403},
		{name: "handshake, host passed on", host: "app.example", webSocket: true, want: 200},
		{name: "handshake, trusted", host: "10.0.0.5:8080", webSocket: true, change: []func(*middleware.Config){trust}, want: 200},
	} {
		m := newWorld(t).Middleware(t, "stateless", row.change...)
		w := serveOnce(m.Handler(http.NotFoundHandler()), nil, func(r *http.Request) {
			r.Method, r.Host = http.MethodPost, row.host
			r.Header.Set("Origin", "https://app.example")
			if row.site != "" {
				r.Header.Set("Sec-Fetch-Site", row.site)
			}
			if row.webSocket {
				r.Method = http.MethodGet
				r.Header.Set("Connection", "Upgrade")
				r.Header.Set("Upgrade", "websocket")
			}
		})
		assert.Equal(t, row.want == http.StatusForbidden, w.Code == http.StatusForbidden, row.name)
	}
}

// Visitors without a cookie have no session that could be shared: each of their
// requests that writes begins one.
func TestFirstVisitsAtOnce(t *testing.T) {
	for _, mode := range modes {
		m := newWorld(t).Middleware(t, mode)
		ids := make(map[string]bool)
		for range 2 {
			serveOnce(m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				s := session.From(r.Context())
				assert.NoError(t, visits.Set(s, 1))
				assert.NoError(t, s.Save(context.Background()))
				ids[s.ID()] = true
			})), nil, nil)
		}
		assert.Len(t, ids, 2, mode)
	}
}
