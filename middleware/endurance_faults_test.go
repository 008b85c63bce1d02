package middleware_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
)

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
	b := newSite(t, w.Middleware(t, "auto")).Browser()
	b.Do(func(s *session.Session) {
		assert.NoError(t, s.Login("alice"))
		assert.NoError(t, session.Key[any]("big").Set(s, strings.Repeat("x", 2500)))
	})
	require.Equal(t, "token", form(b.Credential()))
	// rotate to RSA
	now := w.Now().Truncate(time.Second)
	k, err := keys.Generate(keys.PS256, keys.Dates{Created: now, PublishAt: now, SignFrom: now})
	require.NoError(t, err)
	require.NoError(t, w.Ring.Replace(append(w.Ring.Set().Keys(), k)...))
	for range 5 {
		w.Advance(6 * time.Minute)
		b.Do(func(s *session.Session) { assert.Equal(t, "alice", s.Subject()) })
	}
	b.Do(func(s *session.Session) { assert.Equal(t, "alice", s.Subject()) })
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
	w.Store = c
	b := newSite(t, w.Middleware(t, "opaque")).Browser()
	b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	w.Advance(20*time.Minute - 3*time.Second)
	started := time.Now()
	b.Get(func(rw http.ResponseWriter, r *http.Request, s *session.Session) { assert.NoError(t, s.Renew()) })
	assert.Less(t, time.Since(started), time.Second)
}

// A journal that can't be written logs nobody out.
func TestJournalFailsDuringRenewal(t *testing.T) {
	w := newWorld(t)
	l := &badList{List: w.List}
	carrier, err := token.NewCarrier(token.CarrierConfig{
		Ring: w.Ring, Issuer: "https://app.example", Revocations: l, Now: w.Now,
	})
	require.NoError(t, err)
	b := newSite(t, w.Middleware(t, "stateless", func(c *middleware.Config) { c.Carrier = carrier })).Browser()
	b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	l.fail = true
	b.Get(func(rw http.ResponseWriter, r *http.Request, s *session.Session) { assert.NoError(t, s.Renew()) })
	sub, _ := b.Site.Opens(b.Credential())
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
	w.Store = st
	b := newSite(t, w.Middleware(t, "opaque")).Browser()
	b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	w.Advance(20*time.Minute - 500*time.Millisecond)
	st.after = func() {
		b.Do(func(s *session.Session) { assert.Equal(t, "alice", s.Subject()) }) // active in time
		w.Advance(time.Second)
	}
	b.Do(func(s *session.Session) {})
	sub, _ := b.Site.Opens(b.Credential())
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
	m := w.Middleware(t, "opaque", func(c *middleware.Config) { p = &panics{Carrier: c.Carrier}; c.Carrier = p })
	b := newSite(t, m).Browser()
	b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	p.fail = true
	b.Get(func(rw http.ResponseWriter, r *http.Request, s *session.Session) {
		defer func() {
			if recover() != nil {
				http.Error(rw, "recovered", 500)
			}
		}()
		assert.NoError(t, s.Renew())
		io.WriteString(rw, "ok")
	})
	sub, _ := b.Site.Opens(b.Credential())
	assert.Equal(t, "alice", sub)
}

// The token of a long request expires, while its visitor is active in others.
func TestLongHandlerOfAnActiveVisitor(t *testing.T) {
	for _, mode := range []string{"stateless", "opaque"} {
		t.Run(mode, func(t *testing.T) {
			w := newWorld(t)
			b := newSite(t, w.Middleware(t, mode)).Browser()
			b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
			b.Get(func(rw http.ResponseWriter, r *http.Request, s *session.Session) {
				http.NewResponseController(rw).Flush()
				for range 5 {
					w.Advance(5 * time.Minute)
					b.Do(func(s *session.Session) { assert.Equal(t, "alice", s.Subject()) })
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
	c, err := opaque.NewCarrier(opaque.CarrierConfig{Store: prompt{w.memory, w}, Secrets: apptest.Secrets(), Now: w.Now})
	require.NoError(t, err)
	m := w.Middleware(t, "opaque", func(cfg *middleware.Config) { cfg.Carrier = c; cfg.Accept = nil })
	b := newSite(t, m).Browser()
	b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	old := b.Credential()
	long := b.Site.Holding(old)
	logout := b.Site.Holding(old)
	long.Do(func(r *session.Session) {
		w.Advance(19 * time.Minute)
		b.Do(func(s *session.Session) {}) // touch: lives until +39 min
		w.Advance(30 * time.Second)
		logout.Do(func(l *session.Session) { // has opened the old credential
			require.Equal(t, "alice", l.Subject())
			assert.NoError(t, r.Renew())
			assert.NoError(t, r.Save(context.Background()))
			w.Advance(45 * time.Second)
			assert.NoError(t, l.Destroy())
		})
	})
	sub, _ := b.Site.Opens(long.Credential())
	assert.Equal(t, "", sub, "logged out, and the renewed session lives")
}

// A handler renews, saves and panics, and somebody outside answers: with the
// cookie.
func TestRecoveryOutside(t *testing.T) {
	w := newWorld(t)
	m := w.Middleware(t, "opaque")
	site := newSite(t, m)
	b := site.Browser()
	b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	site.Wrap(func(inner http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			defer func() {
				if recover() != nil {
					http.Error(rw, "recovered", 500)
				}
			}()
			inner.ServeHTTP(rw, r)
		})
	})
	b.Get(func(rw http.ResponseWriter, r *http.Request, s *session.Session) {
		assert.NoError(t, s.Renew())
		assert.NoError(t, s.Save(r.Context()))
		panic("x")
	})
	sub, _ := site.Opens(b.Credential())
	assert.Equal(t, "alice", sub)
}
