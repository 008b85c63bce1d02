package middleware_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Each test here is a scenario in which a promise was once broken.

// Two instances, each with a list of its own: on each somebody else logs in
// with one planted token. Neither is ever shown the other's session.
func TestTwoInstancesOneGeneration(t *testing.T) {
	w := newWorld(t)
	siteA := newSite(t, w.Middleware(t, "stateless"))
	w.List = revocation.NewVolatile(revocation.Config{Now: w.Now})
	siteB := newSite(t, w.Middleware(t, "stateless"))

	attacker := siteA.Browser()
	attacker.Do(func(s *session.Session) { assert.NoError(t, session.Key[any]("lang").Set(s, "de")) })
	planted := attacker.Credential()

	victim := siteA.Holding(planted)
	victim.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	victim.Do(func(s *session.Session) { assert.NoError(t, session.Key[any]("secret").Set(s, "of alice")) })

	w.Advance(time.Second)
	evil := siteB.Holding(planted)
	evil.Do(func(s *session.Session) { assert.NoError(t, s.Login("mallory")) })
	mine := evil.Credential()

	onA := siteA.Holding(mine)
	onA.Do(func(s *session.Session) {
		assert.False(t, s.Has("secret"))
		assert.Equal(t, "mallory", s.Subject())
	})
}

// A renewal was saved by the handler; then the save before the response fails.
// The client must still learn its new credential: the old one is dead.
func TestCookieOfAnEarlierSave(t *testing.T) {
	for _, mode := range []string{"stateless", "opaque"} {
		t.Run(mode, func(t *testing.T) {
			w := newWorld(t)
			b := newSite(t, w.Middleware(t, mode)).Browser()
			b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
			got := b.Get(func(rw http.ResponseWriter, r *http.Request, s *session.Session) {
				assert.NoError(t, s.Renew())
				assert.NoError(t, s.Save(r.Context()))
				assert.NoError(t, session.Key[any]("big").Set(s, strings.Repeat("x", 2<<20)))
				io.WriteString(rw, "ok")
			})
			assert.Equal(t, 500, got.StatusCode)
			sub, ok := b.Site.Opens(b.Credential())
			assert.Equal(t, "alice", sub, "%v", ok)
		})
	}
}

// A hijacked connection can't send the new cookie, so it isn't given away.
func TestHijackAfterRenewal(t *testing.T) {
	w := newWorld(t)
	b := newSite(t, w.Middleware(t, "opaque")).Browser()
	b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	b.Get(func(rw http.ResponseWriter, r *http.Request, s *session.Session) {
		assert.NoError(t, s.Renew())
		assert.NoError(t, s.Save(r.Context()))
		c, buf, err := http.NewResponseController(rw).Hijack()
		assert.ErrorIs(t, err, session.TooLate)
		if err == nil {
			buf.WriteString("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			buf.Flush()
			c.Close()
		}
	})
	sub, _ := b.Site.Opens(b.Credential())
	assert.Equal(t, "alice", sub)
}

// Planted cookies that push the real one out of sight are no way in.
func TestTooManyCookies(t *testing.T) {
	w := newWorld(t)
	site := newSite(t, w.Middleware(t, "opaque"))
	b, m := site.Browser(), site.Browser()
	b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	m.Do(func(s *session.Session) { assert.NoError(t, s.Login("mallory")) })
	v := "__Host-session="
	junk := ""
	for _, c := range "ABC" {
		junk += v + "cr1_" + strings.Repeat(string(c), 42) + "A; "
	}
	cookie := v + m.Credential() + "; " + junk + v + b.Credential()
	x := site.Browser()
	x.Send("GET", func(rw http.ResponseWriter, r *http.Request, s *session.Session) {
		assert.Equal(t, "", s.Subject())
	}, func(r *http.Request) { r.Header.Set("Cookie", cookie) })
}

type flaky struct {
	opaque.Store
	fail bool
}

func (f *flaky) Swap(ctx context.Context, key string, v uint64, item opaque.Item) (bool, error) {
	ok, err := f.Store.Swap(ctx, key, v, item)
	if f.fail {
		f.fail = false
		return false, fmt.Errorf("i/o timeout: %w", session.Unavailable)
	}
	return ok, err
}

// The store did it, but its answer got lost: nobody is logged out.
func TestSwapWhoseAnswerGetsLost(t *testing.T) {
	w := newWorld(t)
	f := &flaky{Store: w.memory}
	w.Store = f
	for _, op := range []string{"move", "renew"} {
		t.Run(op, func(t *testing.T) {
			b := newSite(t, w.Middleware(t, "opaque")).Browser()
			b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
			if op == "move" {
				b.Site.Run(w.Middleware(t, "stateless"))
			}
			f.fail = true
			b.Get(func(rw http.ResponseWriter, r *http.Request, s *session.Session) {
				if op == "move" {
					assert.NoError(t, session.Key[any]("a").Set(s, 1))
				} else {
					assert.NoError(t, s.Renew())
				}
			})
			sub, _ := b.Site.Opens(b.Credential())
			assert.Equal(t, "alice", sub)
		})
	}
	t.Run("auto: overflow goes back home", func(t *testing.T) {
		b := newSite(t, w.Middleware(t, "auto")).Browser()
		b.Do(func(s *session.Session) {
			assert.NoError(t, s.Login("alice"))
			assert.NoError(t, session.Key[any]("big").Set(s, strings.Repeat("x", 5000)))
		})
		require.Equal(t, "opaque", form(b.Credential()))
		f.fail = true
		b.Get(func(rw http.ResponseWriter, r *http.Request, s *session.Session) { session.Key[any]("big").Delete(s) })
		sub, _ := b.Site.Opens(b.Credential())
		assert.Equal(t, "alice", sub)
		b.Do(func(s *session.Session) {})
		w.Advance(2 * time.Minute)
		sub, _ = b.Site.Opens(b.Credential())
		assert.Equal(t, "alice", sub)
	})
}

// A logout that comes just after the deadline succeeds, and at once.
func TestLogoutAcrossTheDeadline(t *testing.T) {
	w := newWorld(t)
	b := newSite(t, w.Middleware(t, "opaque")).Browser()
	b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	w.Advance(20*time.Minute - time.Second)
	started := time.Now()
	b.Get(func(rw http.ResponseWriter, r *http.Request, s *session.Session) {
		w.Advance(2 * time.Second)
		assert.NoError(t, s.Destroy())
	})
	assert.Less(t, time.Since(started), time.Second)
}

// All sessions of the subject are ended while a login is under way, with the
// old password: the client gets no cookie, and isn't told that all is well.
func TestLoginInFlight(t *testing.T) {
	for _, mode := range modes {
		w := newWorld(t)
		b := newSite(t, w.Middleware(t, mode)).Browser()
		got := b.Get(func(_ http.ResponseWriter, _ *http.Request, s *session.Session) {
			require.NoError(t, w.List.EndSubject(context.Background(), "alice"))
			w.Advance(100 * time.Millisecond)
			assert.NoError(t, s.Login("alice"))
		})
		assert.Equal(t, http.StatusConflict, got.StatusCode)
		assert.Empty(t, got.Header["Set-Cookie"])
	}
}

type during struct {
	middleware.Carrier
	f func()
}

func (d *during) Save(
	ctx context.Context, c string, b *session.Record, ch *session.Changes,
) (*session.Record, string, error) {
	if f := d.f; f != nil {
		d.f = nil
		f()
	}
	return d.Carrier.Save(ctx, c, b, ch)
}

// Another goroutine of the request changes the session while it is being saved:
// either the change is kept, or its call has failed.
func TestSetDuringCommit(t *testing.T) {
	for _, mode := range []string{"stateless", "opaque"} {
		t.Run(mode, func(t *testing.T) {
			w := newWorld(t)
			var d *during
			m := w.Middleware(t, mode, func(c *middleware.Config) { d = &during{Carrier: c.Carrier}; c.Carrier = d })
			b := newSite(t, m).Browser()
			b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
			var err error
			b.Get(func(rw http.ResponseWriter, r *http.Request, s *session.Session) {
				d.f = func() { err = session.Key[any]("b").Set(s, 2) } // another goroutine of the request
				assert.NoError(t, session.Key[any]("a").Set(s, 1))
				io.WriteString(rw, "ok")
			})
			b.Do(func(s *session.Session) {
				assert.Equal(t, err == nil, s.Has("b"), "Set returned %v", err)
			})
		})
	}
}

// A long-lived handler that was told of the end sees an empty session.
func TestNoSubjectAfterEnd(t *testing.T) {
	w := newWorld(t)
	b := newSite(t, w.Middleware(t, "opaque")).Browser()
	b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	b.Get(func(rw http.ResponseWriter, r *http.Request, s *session.Session) {
		require.NoError(t, w.List.EndSubject(context.Background(), "alice"))
		assert.Error(t, s.Save(r.Context()))
		assert.Equal(t, "", s.Subject())
	})
}

// A logout is never lost without an error.
func TestDestroyAfterTheRequest(t *testing.T) {
	w := newWorld(t)
	b := newSite(t, w.Middleware(t, "opaque")).Browser()
	b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	var kept *session.Session
	b.Do(func(s *session.Session) { kept = s })
	err := kept.Destroy()
	sub, _ := b.Site.Opens(b.Credential())
	assert.False(t, err == nil && sub == "alice", "Destroy returned %v and the session lives", err)
}

// A goroutine that outlives a panicking handler saves nothing.
func TestSaveAfterPanic(t *testing.T) {
	w := newWorld(t)
	b := newSite(t, w.Middleware(t, "opaque")).Browser()
	b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	var kept *session.Session
	func() {
		page := b.Site.URL(func(rw http.ResponseWriter, r *http.Request, s *session.Session) {
			kept = s
			s.Renew()
			panic("x")
		})
		r, _ := http.NewRequest("GET", page, nil)
		_, err := b.Client.Do(r)
		assert.Error(t, err)
	}()
	assert.Error(t, kept.Renew())
	assert.NoError(t, kept.Save(context.Background()), "there is nothing to save")
	sub, _ := b.Site.Opens(b.Credential())
	assert.Equal(t, "alice", sub)
}

// A planted cookie doesn't keep a session alive through a logout.
func TestLogoutWithAmbiguousCookies(t *testing.T) {
	w := newWorld(t)
	site := newSite(t, w.Middleware(t, "opaque"))
	b, m := site.Browser(), site.Browser()
	b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	m.Do(func(s *session.Session) { assert.NoError(t, s.Login("mallory")) })
	x := site.Browser()
	x.Send("GET", func(rw http.ResponseWriter, r *http.Request, s *session.Session) {
		assert.NoError(t, s.Destroy())
	}, func(r *http.Request) {
		r.Header.Set("Cookie", "__Host-session="+b.Credential()+"; __Host-session="+m.Credential())
	})
	sub, _ := site.Opens(b.Credential())
	assert.Equal(t, "", sub)
}
