package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Each test here is a scenario in which a promise was once broken.

// Two instances, each with a list of its own: on each somebody else logs in
// with one planted token. Neither is ever shown the other's session.
func TestTwoInstancesOneGeneration(t *testing.T) {
	w := newWorld(t)
	siteA := newSite(t, w.middleware(t, "stateless"))
	w.list = revocation.NewVolatile(revocation.Config{Now: w.Now})
	siteB := newSite(t, w.middleware(t, "stateless"))

	attacker := siteA.browser()
	attacker.do(func(s *session.Session) { assert.NoError(t, s.Set("lang", "de")) })
	planted := attacker.credential()

	victim := siteA.holding(planted)
	victim.do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	victim.do(func(s *session.Session) { assert.NoError(t, s.Set("secret", "of alice")) })

	w.Advance(time.Second)
	evil := siteB.holding(planted)
	evil.do(func(s *session.Session) { assert.NoError(t, s.Login("mallory")) })
	mine := evil.credential()

	onA := siteA.holding(mine)
	onA.do(func(s *session.Session) {
		var v string
		s.Get("secret", &v)
		assert.Equal(t, "mallory", s.Subject())
	})
}

// A renewal was saved by the handler; then the save before the response fails.
// The client must still learn its new credential: the old one is dead.
func TestCookieOfAnEarlierSave(t *testing.T) {
	for _, mode := range []string{"stateless", "opaque"} {
		t.Run(mode, func(t *testing.T) {
			w := newWorld(t)
			b := newSite(t, w.middleware(t, mode)).browser()
			b.do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
			got := b.get(func(rw http.ResponseWriter, r *http.Request, s *session.Session) {
				assert.NoError(t, s.Renew())
				assert.NoError(t, s.Save(r.Context()))
				assert.NoError(t, s.Set("big", strings.Repeat("x", 2<<20)))
				io.WriteString(rw, "ok")
			})
			assert.Equal(t, 500, got.StatusCode)
			sub, ok := b.site.opens(b.credential())
			assert.Equal(t, "alice", sub, "%v", ok)
		})
	}
}

// A hijacked connection can't send the new cookie, so it isn't given away.
func TestHijackAfterRenewal(t *testing.T) {
	w := newWorld(t)
	b := newSite(t, w.middleware(t, "opaque")).browser()
	b.do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	b.get(func(rw http.ResponseWriter, r *http.Request, s *session.Session) {
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
	sub, _ := b.site.opens(b.credential())
	assert.Equal(t, "alice", sub)
}

// Planted cookies that push the real one out of sight are no way in.
func TestTooManyCookies(t *testing.T) {
	w := newWorld(t)
	site := newSite(t, w.middleware(t, "opaque"))
	b, m := site.browser(), site.browser()
	b.do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	m.do(func(s *session.Session) { assert.NoError(t, s.Login("mallory")) })
	v := "__Host-session="
	junk := ""
	for _, c := range "ABC" {
		junk += v + "cr1_" + strings.Repeat(string(c), 42) + "A; "
	}
	cookie := v + m.credential() + "; " + junk + v + b.credential()
	x := site.browser()
	x.send("GET", func(rw http.ResponseWriter, r *http.Request, s *session.Session) {
		assert.Equal(t, "", s.Subject())
	}, func(r *http.Request) { r.Header.Set("Cookie", cookie) })
}

type flaky struct {
	opaque.Store
	fail bool
}

func (f *flaky) InProcess() bool { return true }

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
	w.store = f
	for _, op := range []string{"move", "renew"} {
		t.Run(op, func(t *testing.T) {
			b := newSite(t, w.middleware(t, "opaque")).browser()
			b.do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
			if op == "move" {
				b.site.run(w.middleware(t, "stateless"))
			}
			f.fail = true
			b.get(func(rw http.ResponseWriter, r *http.Request, s *session.Session) {
				if op == "move" {
					assert.NoError(t, s.Set("a", 1))
				} else {
					assert.NoError(t, s.Renew())
				}
			})
			sub, _ := b.site.opens(b.credential())
			assert.Equal(t, "alice", sub)
		})
	}
	t.Run("auto: overflow goes back home", func(t *testing.T) {
		b := newSite(t, w.middleware(t, "auto")).browser()
		b.do(func(s *session.Session) {
			assert.NoError(t, s.Login("alice"))
			assert.NoError(t, s.Set("big", strings.Repeat("x", 5000)))
		})
		require.Equal(t, "opaque", form(b.credential()))
		f.fail = true
		b.get(func(rw http.ResponseWriter, r *http.Request, s *session.Session) { s.Delete("big") })
		sub, _ := b.site.opens(b.credential())
		assert.Equal(t, "alice", sub)
		b.do(func(s *session.Session) {})
		w.Advance(2 * time.Minute)
		sub, _ = b.site.opens(b.credential())
		assert.Equal(t, "alice", sub)
	})
}

// A logout that comes just after the deadline succeeds, and at once.
func TestLogoutAcrossTheDeadline(t *testing.T) {
	w := newWorld(t)
	b := newSite(t, w.middleware(t, "opaque")).browser()
	b.do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	w.Advance(20*time.Minute - time.Second)
	started := time.Now()
	b.get(func(rw http.ResponseWriter, r *http.Request, s *session.Session) {
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
		b := newSite(t, w.middleware(t, mode)).browser()
		got := b.get(func(_ http.ResponseWriter, _ *http.Request, s *session.Session) {
			require.NoError(t, w.list.EndSubject(context.Background(), "alice"))
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

func (d *during) Save(ctx context.Context, c string, b *session.Record, ch *session.Changes) (*session.Record, string, error) {
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
			m := w.middleware(t, mode, func(c *middleware.Config) { d = &during{Carrier: c.Carrier}; c.Carrier = d })
			b := newSite(t, m).browser()
			b.do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
			var err error
			b.get(func(rw http.ResponseWriter, r *http.Request, s *session.Session) {
				d.f = func() { err = s.Set("b", 2) } // another goroutine of the request
				assert.NoError(t, s.Set("a", 1))
				io.WriteString(rw, "ok")
			})
			b.do(func(s *session.Session) {
				assert.Equal(t, err == nil, s.Has("b"), "Set returned %v", err)
			})
		})
	}
}

// A long-lived handler that was told of the end sees an empty session.
func TestNoSubjectAfterEnd(t *testing.T) {
	w := newWorld(t)
	b := newSite(t, w.middleware(t, "opaque")).browser()
	b.do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	b.get(func(rw http.ResponseWriter, r *http.Request, s *session.Session) {
		require.NoError(t, w.list.EndSubject(context.Background(), "alice"))
		assert.Error(t, s.Save(r.Context()))
		assert.Equal(t, "", s.Subject())
	})
}

// A logout is never lost without an error.
func TestDestroyAfterTheRequest(t *testing.T) {
	w := newWorld(t)
	b := newSite(t, w.middleware(t, "opaque")).browser()
	b.do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	var kept *session.Session
	b.do(func(s *session.Session) { kept = s })
	err := kept.Destroy()
	sub, _ := b.site.opens(b.credential())
	assert.False(t, err == nil && sub == "alice", "Destroy returned %v and the session lives", err)
}

// A goroutine that outlives a panicking handler saves nothing.
func TestSaveAfterPanic(t *testing.T) {
	w := newWorld(t)
	b := newSite(t, w.middleware(t, "opaque")).browser()
	b.do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	var kept *session.Session
	func() {
		r, _ := http.NewRequest("GET", b.site.server.URL+b.site.path(func(rw http.ResponseWriter, r *http.Request, s *session.Session) {
			kept = s
			s.Renew()
			panic("x")
		}), nil)
		_, err := b.client.Do(r)
		assert.Error(t, err)
	}()
	assert.Error(t, kept.Renew())
	assert.NoError(t, kept.Save(context.Background()), "there is nothing to save")
	sub, _ := b.site.opens(b.credential())
	assert.Equal(t, "alice", sub)
}

// A planted cookie doesn't keep a session alive through a logout.
func TestLogoutWithAmbiguousCookies(t *testing.T) {
	w := newWorld(t)
	site := newSite(t, w.middleware(t, "opaque"))
	b, m := site.browser(), site.browser()
	b.do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	m.do(func(s *session.Session) { assert.NoError(t, s.Login("mallory")) })
	x := site.browser()
	x.send("GET", func(rw http.ResponseWriter, r *http.Request, s *session.Session) {
		assert.NoError(t, s.Destroy())
	}, func(r *http.Request) {
		r.Header.Set("Cookie", "__Host-session="+b.credential()+"; __Host-session="+m.credential())
	})
	sub, _ := site.opens(b.credential())
	assert.Equal(t, "", sub)
}

type badList struct {
	*revocation.List
	fail bool
}

func (l *badList) EndBelow(ctx context.Context, rec *session.Record) (bool, error) {
	ok, err := l.List.EndBelow(ctx, rec)
	if l.fail {
		l.fail = false
		return ok, errors.Join(errors.New("in force, but not in the journal"), session.Unavailable)
	}
	return ok, err
}

// A key with longer signatures comes in, and a session no longer fits its
// cookie.
func TestTouchOutgrowsCookie(t *testing.T) {
	w := newWorld(t, keys.ES256)
	b := newSite(t, w.middleware(t, "auto")).browser()
	b.do(func(s *session.Session) {
		assert.NoError(t, s.Login("alice"))
		assert.NoError(t, s.Set("big", strings.Repeat("x", 2500)))
	})
	require.Equal(t, "token", form(b.credential()))
	// rotate to RSA
	now := w.Now().Truncate(time.Second)
	k, err := keys.Generate(keys.PS256, keys.Dates{Created: now, PublishAt: now, SignFrom: now})
	require.NoError(t, err)
	require.NoError(t, w.ring.Replace(append(w.ring.Set().Keys(), k)...))
	for range 5 {
		w.Advance(6 * time.Minute)
		b.do(func(s *session.Session) { assert.Equal(t, "alice", s.Subject()) })
	}
	b.do(func(s *session.Session) { assert.Equal(t, "alice", s.Subject()) })
}

type counting struct {
	opaque.Store
	swaps int
}

func (c *counting) InProcess() bool { return true }

func (c *counting) Swap(ctx context.Context, key string, v uint64, item opaque.Item) (bool, error) {
	c.swaps++
	return c.Store.Swap(ctx, key, v, item)
}

// A store whose clock is ahead is not asked again and again.
func TestRenewAgainstAClockAhead(t *testing.T) {
	w := newWorld(t)
	mem, err := opaque.NewMemoryStore(opaque.MemoryConfig{Now: func() time.Time { return w.Now().Add(5 * time.Second) }})
	require.NoError(t, err)
	defer mem.Close()
	c := &counting{Store: mem}
	w.store = c
	b := newSite(t, w.middleware(t, "opaque")).browser()
	b.do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	w.Advance(20*time.Minute - 3*time.Second)
	started := time.Now()
	b.get(func(rw http.ResponseWriter, r *http.Request, s *session.Session) { assert.NoError(t, s.Renew()) })
	assert.Less(t, time.Since(started), time.Second)
}

// A journal that can't be written logs nobody out.
func TestJournalFailsDuringRenewal(t *testing.T) {
	w := newWorld(t)
	l := &badList{List: w.list}
	carrier, err := token.NewCarrier(token.CarrierConfig{Ring: w.ring, Issuer: "https://app.example", Revocations: l, Now: w.Now})
	require.NoError(t, err)
	b := newSite(t, w.middleware(t, "stateless", func(c *middleware.Config) { c.Carrier = carrier })).browser()
	b.do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	l.fail = true
	b.get(func(rw http.ResponseWriter, r *http.Request, s *session.Session) { assert.NoError(t, s.Renew()) })
	sub, _ := b.site.opens(b.credential())
	assert.Equal(t, "alice", sub)
}

type slow struct {
	opaque.Store
	after func()
}

func (s *slow) InProcess() bool { return true }

func (s *slow) Get(ctx context.Context, key string) (opaque.Item, bool, error) {
	item, ok, err := s.Store.Get(ctx, key)
	if f := s.after; f != nil {
		s.after = nil
		f()
	}
	return item, ok, err
}

// A look-up that took until after the deadline doesn't end a session that was
// active in time.
func TestLookUpAcrossTheDeadline(t *testing.T) {
	w := newWorld(t)
	st := &slow{Store: w.memory}
	w.store = st
	b := newSite(t, w.middleware(t, "opaque")).browser()
	b.do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	w.Advance(20*time.Minute - 500*time.Millisecond)
	st.after = func() {
		b.do(func(s *session.Session) { assert.Equal(t, "alice", s.Subject()) }) // active in time
		w.Advance(time.Second)
	}
	b.do(func(s *session.Session) {})
	sub, _ := b.site.opens(b.credential())
	assert.Equal(t, "alice", sub)
}

type panics struct {
	middleware.Carrier
	fail bool
}

func (p *panics) Issue(ctx context.Context, rec *session.Record, old string) (string, error) {
	if p.fail {
		p.fail = false
		panic("bug in a callback")
	}
	return p.Carrier.Issue(ctx, rec, old)
}

// A panic while saving, recovered by the handler: nothing is saved later
// either.
func TestPanicDuringCommit(t *testing.T) {
	w := newWorld(t)
	var p *panics
	b := newSite(t, w.middleware(t, "opaque", func(c *middleware.Config) { p = &panics{Carrier: c.Carrier}; c.Carrier = p })).browser()
	b.do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	p.fail = true
	b.get(func(rw http.ResponseWriter, r *http.Request, s *session.Session) {
		defer func() {
			if recover() != nil {
				http.Error(rw, "recovered", 500)
			}
		}()
		assert.NoError(t, s.Renew())
		io.WriteString(rw, "ok")
	})
	sub, _ := b.site.opens(b.credential())
	assert.Equal(t, "alice", sub)
}

// The token of a long request expires, while its visitor is active in others.
func TestLongHandlerOfAnActiveVisitor(t *testing.T) {
	for _, mode := range []string{"stateless", "opaque"} {
		t.Run(mode, func(t *testing.T) {
			w := newWorld(t)
			b := newSite(t, w.middleware(t, mode)).browser()
			b.do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
			b.get(func(rw http.ResponseWriter, r *http.Request, s *session.Session) {
				http.NewResponseController(rw).Flush()
				for range 5 {
					w.Advance(5 * time.Minute)
					b.do(func(s *session.Session) { assert.Equal(t, "alice", s.Subject()) })
				}
				assert.NoError(t, s.Save(r.Context()))
			})
		})
	}
}

// A prompt store drops what is over at once.
type prompt struct {
	opaque.Store
	w *world
}

func (p prompt) Get(ctx context.Context, key string) (opaque.Item, bool, error) {
	item, ok, err := p.Store.Get(ctx, key)
	return item, ok && p.w.Now().Before(item.OverAt()), err
}

// A logout that began before a renewal follows it, however old the renewing
// request's own look at the session was. No list helps here.
func TestLogoutFollowsALateRenewal(t *testing.T) {
	w := newWorld(t)
	c, err := opaque.NewCarrier(opaque.CarrierConfig{Store: prompt{w.memory, w}, Now: w.Now})
	require.NoError(t, err)
	b := newSite(t, w.middleware(t, "opaque", func(cfg *middleware.Config) { cfg.Carrier = c; cfg.Accept = nil })).browser()
	b.do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	old := b.credential()
	long := b.site.holding(old)
	logout := b.site.holding(old)
	long.do(func(r *session.Session) {
		w.Advance(19 * time.Minute)
		b.do(func(s *session.Session) {}) // touch: lives until +39 min
		w.Advance(30 * time.Second)
		logout.do(func(l *session.Session) { // has opened the old credential
			require.Equal(t, "alice", l.Subject())
			assert.NoError(t, r.Renew())
			assert.NoError(t, r.Save(context.Background()))
			w.Advance(45 * time.Second)
			assert.NoError(t, l.Destroy())
		})
	})
	sub, _ := b.site.opens(long.credential())
	assert.Equal(t, "", sub, "logged out, and the renewed session lives")
}

// A handler renews, saves and panics, and somebody outside answers: with the
// cookie.
func TestRecoveryOutside(t *testing.T) {
	w := newWorld(t)
	m := w.middleware(t, "opaque")
	site := newSite(t, m)
	b := site.browser()
	b.do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	inner := site.current
	site.current = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		defer func() {
			if recover() != nil {
				http.Error(rw, "recovered", 500)
			}
		}()
		inner.ServeHTTP(rw, r)
	})
	b.get(func(rw http.ResponseWriter, r *http.Request, s *session.Session) {
		assert.NoError(t, s.Renew())
		assert.NoError(t, s.Save(r.Context()))
		panic("x")
	})
	sub, _ := site.opens(b.credential())
	assert.Equal(t, "alice", sub)
}
