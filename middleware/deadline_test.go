package middleware_test

import (
	"context"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/stretchr/testify/assert"
)

// A derivingStore looks up as a client of a store over the network does: with a
// context of its own, which it makes of the caller's.
type derivingStore struct {
	opaque.Store
	look func(ctx context.Context)
}

func (s *derivingStore) Get(ctx context.Context, key string) (opaque.Item, bool, error) {
	if s.look != nil {
		s.look(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return s.Store.Get(ctx, key)
}

// A context that a store derives from the middleware's starts no goroutine, and
// ends with it all the same.
func TestDerivedContextStartsNoGoroutine(t *testing.T) {
	w := newWorld(t)
	store := &derivingStore{Store: w.memory}
	w.Store = store
	b := newSite(t, w.Middleware(t, "opaque", func(c *middleware.Config) { c.Timeout = 50 * time.Millisecond })).Browser()
	b.Do(func(s *session.Session) { assert.NoError(t, visits.Set(s, 1)) })
	started := -1
	store.look = func(ctx context.Context) {
		before := runtime.NumGoroutine()
		for range 100 {
			_, cancel := context.WithCancel(ctx)
			defer cancel()
		}
		started = runtime.NumGoroutine() - before
	}
	b.Do(func(s *session.Session) { assert.Equal(t, 1, visits.Get(s)) })
	assert.Less(t, started, 50)

	store.look = func(ctx context.Context) {
		derived, cancel := context.WithCancel(ctx)
		defer cancel()
		<-derived.Done()
	}
	got := b.Get(func(http.ResponseWriter, *http.Request, *session.Session) {})
	assert.Equal(t, http.StatusServiceUnavailable, got.StatusCode)
}

// BenchmarkDerivedContext measures a request that reads from such a store.
func BenchmarkDerivedContext(b *testing.B) {
	w := newWorld(b)
	w.Store = &derivingStore{Store: w.memory}
	m := w.Middleware(b, "opaque")
	read := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if visits.Get(session.From(r.Context())) < 1 {
			b.Error("the session is gone")
		}
	})
	run(b, m.Handler(read), seed(b, m))
}
