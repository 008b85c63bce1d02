package keys_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/servertest"
	"github.com/cloakroom-go/cloakroom/keys"
)

// A connection may be dead without being closed, and HTTP/2 would go on with it
// for ever. So the next fetch uses another one, also after a redirect, and with
// a transport of the application.
func TestRemoteNeverUsesTheConnectionOfAFailedFetchAgain(t *testing.T) {
	for name, wrap := range map[string]func(http.RoundTripper) http.RoundTripper{
		"transport":         func(t http.RoundTripper) http.RoundTripper { return t },
		"wrapped transport": func(t http.RoundTripper) http.RoundTripper { return transport(t.RoundTrip) },
	} {
		for _, path := range []string{"/jwks.json", "/moved.json"} {
			t.Run(name+path, func(t *testing.T) {
				t.Parallel()
				testDeadConnection(t, wrap, path)
			})
		}
	}
}

func testDeadConnection(t *testing.T, wrap func(http.RoundTripper) http.RoundTripper, path string) {
	k := generate(t, keyset.ES256)
	ring := newRing(t, k)
	var proxy *servertest.Proxy
	var hits atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			t.Error(r.Proto)
		}
		if r.URL.Path == "/moved.json" {
			http.Redirect(w, r, "/jwks.json", http.StatusFound)
			return
		}
		if hits.Add(1) == 1 {
			proxy.Deaden() // before the answer
		}
		ring.Handler().ServeHTTP(w, r)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	proxy = servertest.NewProxy(t, server.Listener.Addr().String())
	base := server.Client().Transport.(*http.Transport).Clone()
	base.ForceAttemptHTTP2 = true
	failed := make(chan error, 10)
	r, err := keys.NewRemote(keys.RemoteConfig{
		URL: "https://" + proxy.Addr() + path, Transport: wrap(base), Timeout: 2 * time.Second,
		OnProblem: func(err error) { failed <- err },
	})
	require.NoError(t, err)
	_, err = r.Key(t.Context(), k.ID(), t0)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Error(t, <-failed)
	_, err = r.Key(t.Context(), k.ID(), t0.Add(time.Minute))
	require.NoError(t, err)

	proxy.Deaden() // a connection that was good in the last fetch
	_, err = r.Key(t.Context(), k.ID(), t0.Add(30*time.Minute))
	require.NoError(t, err)
	require.Empty(t, failed)
	require.NoError(t, r.Close())
	base.CloseIdleConnections()
}
