package middleware_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/cloakroom-go/cloakroom/session"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// These are scenarios of a request that learns late that its session is over,
// or that its changes can't be kept.

// A logout still ends a renewal that was faster, after a save has failed
// because of it.
func TestDestroyAfterFailedSave(t *testing.T) {
	inEachMode(t, func(t *testing.T, _ string, _ *world, b *browser) {
		b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
		other := b.Site.Holding(b.Credential())
		b.Do(func(s *session.Session) {
			other.Do(func(s *session.Session) { assert.NoError(t, s.Renew()) })
			assert.ErrorIs(t, s.Save(context.Background()), session.Ended)
			assert.NoError(t, s.Destroy())
		})
		subject, ok := b.Site.Opens(other.Credential())
		assert.False(t, ok, "the renewed session survives the logout, as %q", subject)
	})
}

// Whoever asks again whether the session lives gets the same answer.
func TestSaveTwiceAfterEnd(t *testing.T) {
	inEachMode(t, func(t *testing.T, _ string, _ *world, b *browser) {
		b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
		other := b.Site.Holding(b.Credential())
		b.Get(func(w http.ResponseWriter, r *http.Request, s *session.Session) {
			io.WriteString(w, "x")
			other.Do(func(s *session.Session) { assert.NoError(t, s.Destroy()) })
			for range 3 {
				assert.Error(t, s.Save(r.Context()))
			}
		})
	})
}

// A change that only a new cookie could carry isn't given away with the
// connection.
func TestHijackAfterSave(t *testing.T) {
	w := newWorld(t)
	b := newSite(t, w.Middleware(t, "stateless")).Browser()
	b.Do(func(s *session.Session) { assert.NoError(t, visits.Set(s, 1)) })
	b.Get(func(w http.ResponseWriter, r *http.Request, s *session.Session) {
		assert.NoError(t, visits.Set(s, 2))
		assert.NoError(t, s.Save(r.Context()))
		_, _, err := http.NewResponseController(w).Hijack()
		assert.ErrorIs(t, err, session.TooLate)
	})
	b.Site.Run(w.Middleware(t, "stateless")) // an instance with an empty memory
	b.Do(func(s *session.Session) { assert.Equal(t, 2, visits.Get(s)) })
}

// A failed response leaves the cookie alone, also where a newer one is known.
func TestNoCookieOnFailure(t *testing.T) {
	w := newWorld(t)
	b := newSite(t, w.Middleware(t, "stateless")).Browser()
	b.Do(func(s *session.Session) { assert.NoError(t, visits.Set(s, 1)) })
	older := b.Site.Holding(b.Credential())
	b.Do(func(s *session.Session) { assert.NoError(t, visits.Set(s, 2)) })
	got := older.Get(func(_ http.ResponseWriter, _ *http.Request, s *session.Session) {
		assert.NoError(t, session.Key[any]("big").Set(s, strings.Repeat("x", 5000)))
	})
	assert.Equal(t, http.StatusInternalServerError, got.StatusCode)
	assert.Empty(t, got.Header["Set-Cookie"])
}

// A response begins, however busy other goroutines of the request are.
func TestBusyCommit(t *testing.T) {
	w := newWorld(t)
	b := newSite(t, w.Middleware(t, "stateless")).Browser()
	b.Get(func(rw http.ResponseWriter, r *http.Request, s *session.Session) {
		var wg sync.WaitGroup
		for i := range 3 {
			wg.Go(func() {
				for visits.Set(s, i) == nil { // until the response has begun
				}
			})
		}
		io.WriteString(rw, "x")
		wg.Wait()
	})
}

// Each session of ambiguous cookies is ended once.
func TestRivalsEndOnce(t *testing.T) {
	w := newWorld(t)
	seen := &events{}
	site := newSite(t, w.Middleware(t, "stateless", watched(seen)))
	a, b := site.Browser(), site.Browser()
	a.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	b.Do(func(s *session.Session) { assert.NoError(t, s.Login("bob")) })
	older := b.Credential()
	b.Do(func(s *session.Session) { assert.NoError(t, visits.Set(s, 2)) })
	seen.Reset()
	site.Browser().Send(http.MethodGet, func(_ http.ResponseWriter, _ *http.Request, s *session.Session) {
		assert.NoError(t, s.Destroy())
	}, func(r *http.Request) {
		r.Header.Set("Cookie", "__Host-session="+a.Credential()+"; __Host-session="+older+"; __Host-session="+b.Credential())
	})
	assert.Equal(t, []string{"refused:ambiguous", "ended", "ended"}, seen.Kinds())
}

// A request that has lost its session begins no new one: its cookie would
// replace that of a login in another tab.
func TestNoCookieAfterEnd(t *testing.T) {
	inEachMode(t, func(t *testing.T, _ string, _ *world, b *browser) {
		b.Do(func(s *session.Session) { assert.NoError(t, visits.Set(s, 1)) })
		got := b.Do(func(s *session.Session) {
			b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) }) // the same cookie jar
			assert.NoError(t, visits.Set(s, 2))
			assert.ErrorIs(t, s.Save(context.Background()), session.Ended)
			assert.ErrorIs(t, session.Key[any]("flash").Set(s, "could not save"), session.Ended)
			assert.Empty(t, s.Subject())
		})
		assert.Empty(t, got.Header["Set-Cookie"])
		b.Do(func(s *session.Session) { assert.Equal(t, "alice", s.Subject()) })
	})
}

// What another goroutine has changed during a save that fails doesn't vanish
// without a word.
func TestChangeDuringFailedCheck(t *testing.T) {
	w := newWorld(t)
	during := &slow{Store: w.memory}
	w.Store = during
	b := newSite(t, w.Middleware(t, "opaque")).Browser()
	b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	other := b.Site.Holding(b.Credential())
	got := b.Get(func(rw http.ResponseWriter, r *http.Request, s *session.Session) {
		other.Do(func(s *session.Session) { assert.NoError(t, s.Destroy()) })
		during.after = func() { assert.NoError(t, visits.Set(s, 7)) }
		assert.Error(t, s.Save(r.Context()))
		io.WriteString(rw, "saved")
	})
	assert.Equal(t, http.StatusConflict, got.StatusCode)
}

// A logout that fails is tried, and told, once.
func TestFailedLogout(t *testing.T) {
	w := newWorld(t)
	store := &brokenStore{Store: w.memory}
	w.Store = store
	seen := &events{}
	b := newSite(t, w.Middleware(t, "opaque", watched(seen))).Browser()
	b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	seen.Reset()
	got := b.Get(func(_ http.ResponseWriter, _ *http.Request, s *session.Session) {
		store.broken = true
		assert.NoError(t, s.Destroy())
	})
	assert.Equal(t, http.StatusServiceUnavailable, got.StatusCode)
	assert.Empty(t, got.Header["Set-Cookie"])
	assert.Equal(t, []string{"failed:unavailable"}, seen.Kinds())
	store.broken = false
	_, ok := b.Site.Opens(b.Credential())
	assert.False(t, ok, "the list has ended it all the same")
}

// Saving goroutines and the beginning response don't race.
func TestSaveWhileCommitFails(t *testing.T) {
	w := newWorld(t)
	b := newSite(t, w.Middleware(t, "opaque")).Browser()
	b.Do(func(s *session.Session) { assert.NoError(t, visits.Set(s, 1)) })
	b.Get(func(rw http.ResponseWriter, r *http.Request, s *session.Session) {
		require.NoError(t, session.Key[any]("huge").Set(s, strings.Repeat("x", 2<<20)))
		var wg sync.WaitGroup
		wg.Go(func() {
			for range 200 {
				_ = s.Save(r.Context())
			}
		})
		io.WriteString(rw, "x")
		wg.Wait()
	})
}
