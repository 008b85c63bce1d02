package keys_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
)

// swallower is a TCP proxy. After swallow, its connections carry nothing any
// more, and none of them is closed, as behind a firewall that has forgotten
// them.
type swallower struct {
	net.Listener
	backend string
	mu      sync.Mutex
	open    []*atomic.Bool // one a connection: dead
	wg      sync.WaitGroup
}

func newSwallower(t *testing.T, backend string) *swallower {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &swallower{Listener: l, backend: backend}
	s.wg.Go(s.accept)
	t.Cleanup(func() { l.Close(); s.wg.Wait() })
	return s
}

func (s *swallower) accept() {
	for {
		client, err := s.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", s.backend)
		if err != nil {
			client.Close()
			continue
		}
		dead := new(atomic.Bool)
		s.mu.Lock()
		s.open = append(s.open, dead)
		s.mu.Unlock()
		s.wg.Go(func() { s.pipe(server, client, dead) })
		s.wg.Go(func() { s.pipe(client, server, dead) })
	}
}

func (s *swallower) pipe(to, from net.Conn, dead *atomic.Bool) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		if dead.Load() {
			continue
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (s *swallower) swallow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, dead := range s.open {
		dead.Store(true)
	}
}

func (s *swallower) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

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
	var proxy *swallower
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
			proxy.swallow() // before the answer
		}
		ring.Handler().ServeHTTP(w, r)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	proxy = newSwallower(t, server.Listener.Addr().String())
	base := server.Client().Transport.(*http.Transport).Clone()
	base.ForceAttemptHTTP2 = true
	failed := make(chan error, 10)
	r, err := keys.NewRemote(keys.RemoteConfig{
		URL: "https://" + proxy.Addr().String() + path, Transport: wrap(base), Timeout: 2 * time.Second,
		OnProblem: func(err error) { failed <- err },
	})
	require.NoError(t, err)
	_, err = r.Key(t.Context(), k.ID(), t0)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Error(t, <-failed)
	before := proxy.connections()
	_, err = r.Key(t.Context(), k.ID(), t0.Add(time.Minute))
	require.NoError(t, err)
	require.Greater(t, proxy.connections(), before)

	proxy.swallow() // a connection that was good in the last fetch
	_, err = r.Key(t.Context(), k.ID(), t0.Add(30*time.Minute))
	require.NoError(t, err)
	require.Empty(t, failed)
	require.NoError(t, r.Close())
	base.CloseIdleConnections()
}
