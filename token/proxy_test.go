package token_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"

	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// An edge that passes requests on with a Transport keeps the session's cookie
// to itself: the service gets a service token, and the other cookies as they
// were.
func TestProxyKeepsTheSessionCookie(t *testing.T) {
	for _, mode := range []string{"stateless", "opaque", "auto"} {
		t.Run(mode, func(t *testing.T) {
			s := newTurnstile(t, mode)
			var got http.Header
			service := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header }))
			defer service.Close()
			transport, err := token.NewTransport(token.TransportConfig{Issuer: s.issuer(t), Audience: "orders",
				Origin: service.URL})
			require.NoError(t, err)
			to, err := url.Parse(service.URL)
			require.NoError(t, err)
			proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }, Transport: transport}
			edge := s.middleware.Handler(proxy)
			held := s.visit(s.middleware, func(v *session.Session) { assert.NoError(t, v.Login("alice")) })
			for _, tt := range []struct{ sent, want []string }{
				{[]string{"__Host-session=" + held}, nil},
				{[]string{"a=1; __Host-session=" + held + `; b="x y"; __Host-Session=other`},
					[]string{`a=1; b="x y"; __Host-Session=other`}},
				{[]string{"__Host-session=" + held + ";a=1"}, []string{"a=1"}},
				{[]string{"a=__Host-session=1", "__Host-session=" + held, "b=2"}, []string{"a=__Host-session=1", "b=2"}},
				{[]string{"a=1 ;  __Host-session =" + held + " ;", "x__Host-session=1"}, []string{"a=1 ;", "x__Host-session=1"}},
			} {
				r := httptest.NewRequest(http.MethodGet, "/orders", nil)
				r.Header["Cookie"] = tt.sent
				w := httptest.NewRecorder()
				edge.ServeHTTP(w, r)
				require.Equal(t, http.StatusOK, w.Code)
				assert.Equal(t, tt.want, got["Cookie"])
				caller, err := s.verifier(t).Check(&http.Request{Header: got})
				require.NoError(t, err)
				assert.Equal(t, "alice", caller.Subject)
				assert.Equal(t, tt.sent, r.Header["Cookie"], "the incoming request stays as it was")
			}
		})
	}
}

// The names are those of the middleware's cookie, whatever it is called.
func TestSessionKnowsItsCookies(t *testing.T) {
	s := newTurnstile(t, "stateless")
	m, err := middleware.New(middleware.Config{Carrier: s.another(t), Cookie: middleware.Cookie{Name: "shop"}})
	require.NoError(t, err)
	m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		names := session.From(r.Context()).Cookies()
		assert.Equal(t, []string{"shop"}, names)
		names[0] = "changed"
		assert.Equal(t, []string{"shop"}, session.From(r.Context()).Cookies())
		io.WriteString(w, "ok")
	})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	assert.Empty(t, session.From(t.Context()).Cookies())
}
