package token_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
)

// Wherever redirects lead, the token goes to the service's origin alone, and
// again when they come back there.
func TestTransportRedirects(t *testing.T) {
	b := newBench(t, keys.ES256)
	type visit struct{ host, authorization, body string }
	var visits []visit
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		visits = append(visits, visit{r.Host, r.Header.Get("Authorization"), string(body)})
		if next, rest, _ := strings.Cut(r.URL.Query().Get("to"), ","); next != "" {
			code := http.StatusTemporaryRedirect
			if r.Method == http.MethodGet {
				code = http.StatusFound
			}
			http.Redirect(w, r, next+"/?to="+rest, code)
		}
	})
	service, elsewhere, secure := httptest.NewServer(echo), httptest.NewServer(echo), httptest.NewTLSServer(echo)
	for _, s := range []*httptest.Server{service, elsewhere, secure} {
		defer s.Close()
	}
	transport, err := token.NewTransport(token.TransportConfig{Issuer: b.issuer(t), Audience: "orders",
		Origin: service.URL, Base: secure.Client().Transport})
	require.NoError(t, err)
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		visits = nil
		to := strings.Join([]string{elsewhere.URL, service.URL, secure.URL, elsewhere.URL, service.URL}, ",")
		r, err := http.NewRequestWithContext(session.NewContext(t.Context(), b.of(record(nil))), method,
			service.URL+"/?to="+to, strings.NewReader("an order"))
		require.NoError(t, err)
		response, err := (&http.Client{Transport: transport}).Do(r)
		require.NoError(t, err)
		response.Body.Close()
		require.Len(t, visits, 6)
		for n, v := range visits {
			if "http://"+v.host != service.URL {
				assert.Empty(t, v.authorization, "%s, hop %d", method, n)
				continue
			}
			_, err := b.verifier(t).Verify(t.Context(), strings.TrimPrefix(v.authorization, "Bearer "))
			assert.NoError(t, err, "%s, hop %d", method, n)
			assert.Equal(t, visits[0].authorization, v.authorization, "one token serves the calls of a minute")
		}
		assert.Empty(t, r.Header["Authorization"])
	}
}

// Nor does a service get the session's cookie by a redirect to another of its
// ports, where net/http sends the cookies of the first request.
func TestTransportRedirectsKeepTheSessionCookie(t *testing.T) {
	s := newTurnstile(t, "opaque")
	var got []string
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got = r.Header["Cookie"]
	}))
	defer other.Close()
	service := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusFound))
	defer service.Close()
	transport, err := token.NewTransport(token.TransportConfig{Issuer: s.issuer(t), Audience: "orders",
		Origin: service.URL})
	require.NoError(t, err)
	edge := s.middleware.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		out, err := http.NewRequestWithContext(r.Context(), http.MethodGet, service.URL, nil)
		assert.NoError(t, err)
		out.Header = r.Header.Clone()
		response, err := (&http.Client{Transport: transport}).Do(out)
		if assert.NoError(t, err) {
			response.Body.Close()
		}
	}))
	held := s.visit(s.middleware, func(v *session.Session) { assert.NoError(t, v.Login("alice")) })
	r := httptest.NewRequest(http.MethodGet, "/orders", nil)
	r.Header["Cookie"] = []string{"a=1; __Host-session=" + held}
	edge.ServeHTTP(httptest.NewRecorder(), r)
	assert.Equal(t, []string{"a=1"}, got)
}
