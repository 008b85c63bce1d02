package apptest

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
)

// A doubtful store is one on another machine. The next swap's answer gets lost,
// whether it was done or not, and so does the look after it.
type doubtful struct {
	opaque.Store
	doubt, done bool
	lost        int
}

func (d *doubtful) Swap(ctx context.Context, key string, v uint64, item opaque.Item) (ok bool, err error) {
	if !d.doubt {
		return d.Store.Swap(ctx, key, v, item)
	}
	if d.done {
		_, _ = d.Store.Swap(ctx, key, v, item) // its answer is what gets lost
	}
	d.lost++
	return false, fmt.Errorf("i/o timeout: %w", session.Unavailable)
}

func (d *doubtful) Get(ctx context.Context, key string) (opaque.Item, bool, error) {
	if d.doubt && d.lost > 0 {
		return opaque.Item{}, false, fmt.Errorf("i/o timeout: %w", session.Unavailable)
	}
	return d.Store.Get(ctx, key)
}

func (s *suite) doubt(t *testing.T) {
	t.Run("renewal", s.renewalInDoubt)
	t.Run("save afterwards", s.saveAfterDoubt)
}

// Nobody knows whether the store has renewed the session: the client gets 503
// with a cookie that finishes it, and its next request is logged in.
func (s *suite) renewalInDoubt(t *testing.T) {
	for _, done := range []bool{false, true} {
		for name, act := range map[string]func(t *testing.T, s *session.Session){
			"login":   func(t *testing.T, s *session.Session) { assert.NoError(t, s.Login("alice")) },
			"renewal": func(t *testing.T, s *session.Session) { assert.NoError(t, s.Renew()) },
		} {
			t.Run(fmt.Sprintf("%s, done %v", name, done), func(t *testing.T) {
				w := s.world(t)
				store := &doubtful{Store: w.tally, done: done}
				w.Store = store
				b := NewSite(t, w.Middleware(t, "opaque")).Browser()
				b.Do(func(s *session.Session) {
					assert.NoError(t, Visits.Set(s, 1))
					if name == "renewal" {
						assert.NoError(t, s.Login("alice"))
					}
				})
				old := b.Credential()
				store.doubt = true
				got := b.Get(func(_ http.ResponseWriter, _ *http.Request, s *session.Session) { act(t, s) })
				store.doubt, store.lost = false, 0
				assert.Equal(t, http.StatusServiceUnavailable, got.StatusCode)
				ticket := b.Credential()
				require.NotEqual(t, old, ticket)
				b.Do(func(s *session.Session) {
					assert.Equal(t, "alice", s.Subject())
					assert.Equal(t, 1, Visits.Get(s))
				})
				assert.Equal(t, "opaque", Form(b.Credential()), "the cookie is an ordinary one again")
				_, ok := b.Site.Opens(old)
				assert.False(t, ok, "the old credential")
				subject, _ := b.Site.Opens(ticket)
				assert.Equal(t, "alice", subject, "a response that is lost again does no harm")
			})
		}
	}
}

// A handler that goes on after the doubt saves under the ticket.
func (s *suite) saveAfterDoubt(t *testing.T) {
	w := s.world(t)
	store := &doubtful{Store: w.tally, done: true}
	w.Store = store
	b := NewSite(t, w.Middleware(t, "opaque")).Browser()
	b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	b.Get(func(rw http.ResponseWriter, r *http.Request, s *session.Session) {
		store.doubt = true
		assert.NoError(t, s.Renew())
		assert.ErrorIs(t, s.Save(r.Context()), session.Unavailable)
		store.doubt, store.lost = false, 0
		assert.NoError(t, Visits.Set(s, 7))
		assert.NoError(t, s.Save(r.Context()))
	})
	b.Do(func(s *session.Session) {
		assert.Equal(t, "alice", s.Subject())
		assert.Equal(t, 7, Visits.Get(s))
	})
}
