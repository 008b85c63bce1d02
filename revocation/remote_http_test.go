package revocation_test

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/clientauth"
	"github.com/cloakroom-go/cloakroom/internal/servertest"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

func TestRemoteConfig(t *testing.T) {
	good := revocation.RemoteConfig{URL: "https://app.example/ended", Keys: newRing(t), Issuer: issuer}
	type config = revocation.RemoteConfig
	for _, tt := range []struct {
		change func(c *config)
		want   string
	}{
		{func(c *config) { *c = config{} }, "URL is required"},
		{func(c *config) { *c = config{} }, "Keys is required"},
		{func(c *config) { *c = config{} }, "Issuer is required"},
		{func(c *config) { c.URL = "http://app.example/ended" }, "must be https: whoever"},
		{func(c *config) { c.URL = "https://a:b@app.example/ended" }, "without user"},
		{func(c *config) { c.ClientSecret = "hunter2" }, "ClientSecret goes with RemoteConfig.ClientID"},
		{func(c *config) { c.ClientID = "orders" }, "ClientSecret goes with"},
		{func(c *config) { c.ClientID, c.ClientSecret = "orders", "hunter2\n" }, "ClientSecret begins or ends with white space"},
		{func(c *config) { c.Interval = time.Millisecond }, "Interval is 1ms"},
		{func(c *config) { c.Interval = -1 }, "Interval is -1ns"},
		{func(c *config) { c.MaxStaleness = -1 }, "MaxStaleness is -1ns"},
		{func(c *config) { c.MaxStaleness = time.Second }, "MaxStaleness is 1s: give at least 5s"},
		{func(c *config) { c.Interval = time.Minute }, "MaxStaleness is 30s: give at least 4m0s"},
	} {
		c := good
		tt.change(&c)
		r, err := revocation.NewRemote(c)
		require.Nil(t, r, tt.want)
		require.ErrorContains(t, err, tt.want)
		require.NotContains(t, err.Error(), "hunter2")
	}
	var zero revocation.Remote
	require.ErrorIs(t, zero.Check(recordOf("one", "alice")), session.Unavailable)
	require.ErrorIs(t, zero.Fresh(), session.Unavailable)
	require.Zero(t, zero.Stats())
	require.NoError(t, zero.Close())
}

// eventually waits for a condition, without the clock of a test.
func eventually(t *testing.T, f func() bool) {
	t.Helper()
	require.Eventually(t, f, 20*time.Second, 5*time.Millisecond)
}

// A service proves who it is, also after a redirect on the same host, and
// follows none to another.
func TestRemoteOverHTTP(t *testing.T) {
	secret := base64.StdEncoding.EncodeToString([]byte("+/\x00 a secret of 32 bytes, or more ü"))
	clients, err := clientauth.New(clientauth.Client{ID: "orders", Secrets: []string{secret}})
	require.NoError(t, err)
	l, ring := revocation.NewVolatile(revocation.Config{}), newRing(t, keys.ES256)
	h := handler(t, l, ring)
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch _, err := clients.Check(r); {
		case r.URL.Path == "/moved":
			http.Redirect(w, r, "/ended?"+r.URL.RawQuery, http.StatusFound)
		case r.URL.Path == "/away":
			http.Redirect(w, r, other.URL, http.StatusFound)
		case err != nil:
			w.WriteHeader(http.StatusUnauthorized)
		case r.Header.Get("Cache-Control") != "no-cache": // a cache on the way would give away a second
			w.WriteHeader(http.StatusBadRequest)
		default:
			h.ServeHTTP(w, r)
		}
	}))
	defer server.Close()
	start := func(path, secret string) (*revocation.Remote, chan error) {
		problems := make(chan error, 1)
		r, err := revocation.NewRemote(revocation.RemoteConfig{
			URL: server.URL + path, Keys: ring, Issuer: issuer, Transport: server.Client().Transport, Interval: minimal,
			ClientID: "orders", ClientSecret: secret, OnProblem: func(err error) { problems <- err },
		})
		require.NoError(t, err)
		t.Cleanup(func() { r.Close() })
		return r, problems
	}
	direct, _ := start("/ended", secret)
	moved, _ := start("/moved?a=b", secret)
	rec := recordOf("one", "alice")
	for _, r := range []*revocation.Remote{direct, moved} {
		eventually(t, func() bool { return r.Fresh() == nil })
		require.NoError(t, r.Check(rec))
	}
	require.NoError(t, l.EndSession(t.Context(), rec))
	for _, r := range []*revocation.Remote{direct, moved} {
		eventually(t, func() bool { return r.Check(rec) != nil })
		require.ErrorIs(t, r.Check(rec), session.Ended)
	}
	for path, want := range map[string]string{"/away": "redirect to another host", "/ended": "401", "/moved": "401"} {
		wrong := secret
		if want == "401" {
			wrong = "x" + secret
		}
		r, problems := start(path, wrong)
		err := <-problems
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), secret)
		require.ErrorIs(t, r.Fresh(), session.Unavailable)
	}
	require.Zero(t, elsewhere.Load())
}

// Close does not wait for an answer that does not come.
func TestCloseWhileAsking(t *testing.T) {
	asked := make(chan struct{}, 10)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	defer server.Close()
	r, err := revocation.NewRemote(revocation.RemoteConfig{URL: server.URL, Keys: newRing(t), Issuer: issuer})
	require.NoError(t, err)
	<-asked
	began := time.Now()
	require.NoError(t, r.Close())
	require.NoError(t, r.Close())
	require.Less(t, time.Since(began), 5*time.Second)
	require.Zero(t, r.Stats().Failures)
}

// wrapped hides the methods of a Transport.
type wrapped struct{ http.RoundTripper }

// A connection of HTTP/2 dies, and nobody closes it. The service asks again by
// another one before it has to refuse tokens.
func TestDeadConnection(t *testing.T) {
	for name, wrap := range map[string]func(http.RoundTripper) http.RoundTripper{
		"transport":         func(t http.RoundTripper) http.RoundTripper { return t },
		"wrapped transport": func(t http.RoundTripper) http.RoundTripper { return wrapped{t} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, ring := revocation.NewVolatile(revocation.Config{}), newRing(t, keys.ES256)
			h := handler(t, l, ring)
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !strings.HasPrefix(r.Proto, "HTTP/2") {
					t.Error(r.Proto)
				}
				h.ServeHTTP(w, r)
			}))
			server.EnableHTTP2 = true
			server.StartTLS()
			defer server.Close()
			proxy := servertest.NewProxy(t, server.Listener.Addr().String())
			base := server.Client().Transport.(*http.Transport).Clone()
			base.ForceAttemptHTTP2 = true
			defer base.CloseIdleConnections()
			r, err := revocation.NewRemote(revocation.RemoteConfig{
				URL: "https://" + proxy.Addr(), Keys: ring, Issuer: issuer, Transport: wrap(base),
				Interval: minimal, MaxStaleness: 5 * time.Second,
			})
			require.NoError(t, err)
			defer r.Close()
			eventually(t, func() bool { return r.Fresh() == nil })
			proxy.Deaden()
			rec := recordOf("one", "alice")
			require.NoError(t, l.EndSession(t.Context(), rec))
			eventually(t, func() bool { return r.Check(rec) != nil })
			require.ErrorIs(t, r.Check(rec), session.Ended)
		})
	}
}
