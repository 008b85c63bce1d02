package redisstore_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/valkey-io/valkey-go"

	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/opaque/redisstore"
	"github.com/cloakroom-go/cloakroom/session"
)

var visits = session.Key[int]("visits")

// BenchmarkRead has requests that read one value of a session, without and with
// the client-side cache, and beside them a bare GET of the client with a
// deadline. The time is per request of all goroutines together.
func BenchmarkRead(b *testing.B) {
	s := startServer(b)
	client, err := valkey.NewClient(valkey.ClientOption{
		InitAddress: []string{s.addr}, ForceSingleClient: true, DisableCache: true, DisableRetry: true, PipelineMultiplex: -1,
	})
	require.NoError(b, err)
	defer client.Close()
	plain := newSite(b, s.config(), nil)
	cookie := plain.request.Cookies()[0]
	hash := sha256.Sum256([]byte(cookie.Value))
	key := "cloakroom:s:" + base64.RawURLEncoding.EncodeToString(hash[:])
	cached := newSite(b, withCache(s.config(), 5*time.Second), cookie) // which has not written it
	for _, clients := range []int{1, 8, 64} {
		run := func(name string, do func() error) {
			b.Run(fmt.Sprintf("%s/%d", name, clients), func(b *testing.B) { together(b, clients, do) })
		}
		run("bare", func() error {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_, err := client.Do(ctx, client.B().Get().Key(key).Build()).AsBytes()
			return err
		})
		run("request", plain.read)
		run("request_cached", cached.read)
	}
}

// together runs do b.N times in so many goroutines.
func together(b *testing.B, clients int, do func() error) {
	b.ReportAllocs()
	var running sync.WaitGroup
	for i := range clients {
		running.Go(func() {
			for range (b.N + i) / clients {
				if err := do(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	running.Wait()
}

// A site has a handler that reads the number of visits.
type site struct {
	handler http.Handler
	request *http.Request // with the cookie of a session that has one visit
}

func newSite(b *testing.B, cfg redisstore.Config, cookie *http.Cookie) site {
	b.Helper()
	carrier, err := opaque.NewCarrier(opaque.CarrierConfig{Store: open(b, cfg), Secrets: [][]byte{make([]byte, 32)}})
	require.NoError(b, err)
	m, err := middleware.New(middleware.Config{Carrier: carrier})
	require.NoError(b, err)
	s := site{request: httptest.NewRequest(http.MethodGet, "/", nil)}
	if cookie != nil {
		s.request.AddCookie(cookie)
	}
	s.handler = m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if visits.Get(session.From(r.Context())) != 1 {
			b.Error("the session is gone")
		}
		_, _ = io.WriteString(w, "ok")
	}))
	if cookie != nil {
		return s
	}
	w := httptest.NewRecorder()
	m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		require.NoError(b, session.From(r.Context()).Login("alice"))
		require.NoError(b, visits.Set(session.From(r.Context()), 1))
	})).ServeHTTP(w, s.request)
	s.request.AddCookie(w.Result().Cookies()[0])
	return s
}

func (s site) read() error {
	w := &sink{header: http.Header{}}
	s.handler.ServeHTTP(w, s.request)
	if w.status != 0 && w.status != http.StatusOK {
		return fmt.Errorf("status %d", w.status)
	}
	return nil
}

type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(status int)      { s.status = status }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }
