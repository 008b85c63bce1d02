package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

// A steppedLog is a lateLog as one instance sees it. Each step is a read that
// does not wait, or an append of an end of a subject.
type steppedLog struct {
	*lateLog
	mu   sync.Mutex // guards step
	step func(name string)
}

func (l *steppedLog) at(name string) {
	l.mu.Lock()
	step := l.step
	l.mu.Unlock()
	if step != nil {
		step(name)
	}
}

// on sets step.
func (l *steppedLog) on(step func(name string)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.step = step
}

func (l *steppedLog) Append(ctx context.Context, entries []revocation.Entry) error {
	for _, e := range entries {
		if e.Key[0] == 'u' {
			l.at("append")
		}
	}
	return l.lateLog.Append(ctx, entries)
}

func (l *steppedLog) Read(ctx context.Context, pos string, wait time.Duration) (revocation.Reading, error) {
	r, err := l.lateLog.Read(ctx, pos, wait)
	if wait == 0 {
		l.at("read")
		err = errors.Join(err, ctx.Err())
	}
	return r, err
}

// once calls f at the nth step with this name.
func once(name string, n int, f func()) func(string) {
	var mu sync.Mutex
	return func(at string) {
		mu.Lock()
		if at == name {
			n--
		}
		now := at == name && n == 0
		mu.Unlock()
		if now {
			f()
		}
	}
}

// Two instances share a log, and a session in which alice has logged in with a
// tag. The clock of the second one is behind.
type keepingWorld struct {
	*world
	log           *steppedLog // of here
	here, there   *revocation.List
	near, distant *site
}

func newKeepingWorld(t *testing.T, mode string, skew, behind time.Duration) *keepingWorld {
	k := &keepingWorld{world: newWorld(t)}
	k.log = &steppedLog{lateLog: &lateLog{}}
	list := func(log revocation.Log, now func() time.Time) *revocation.List {
		l, err := revocation.Open(revocation.Config{Log: log, Now: now, Skew: skew, Lifetime: 12 * time.Hour})
		require.NoError(t, err)
		t.Cleanup(func() { l.Close() })
		require.Eventually(t, func() bool { return l.Fresh() == nil }, 5*time.Second, time.Millisecond)
		return l
	}
	k.here = list(k.log, k.Now)
	k.there = list(k.log.lateLog, func() time.Time { return k.Now().Add(-behind) })
	k.List = k.here
	k.near = newSite(t, k.Middleware(t, mode))
	k.List = k.there
	k.distant = newSite(t, k.Middleware(t, mode))
	return k
}

func (k *keepingWorld) login(t *testing.T, at *site) *browser {
	b := at.Browser()
	b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice", session.Tag("tenant", "acme"))) })
	k.Advance(10 * time.Second)
	return b
}

// Whoever has a session can't keep it by ending the others just when all are
// ended on another instance, whatever that one's clock says: before EndOthers
// has renewed the session, before the log has its end, and after that.
func TestEndOthersWhileOneEndsElsewhere(t *testing.T) {
	steps := map[string]func(f func()) func(string){
		"before the renewal": func(f func()) func(string) { return once("read", 1, f) },
		"before the end":     func(f func()) func(string) { return once("read", 2, f) },
		"before the append":  func(f func()) func(string) { return once("append", 1, f) },
	}
	ends := map[string]func(l *revocation.List) error{
		"subject": func(l *revocation.List) error { return l.EndSubject(context.Background(), "alice") },
		"tag":     func(l *revocation.List) error { return l.EndTag(context.Background(), "tenant", "acme") },
		"all":     func(l *revocation.List) error { return l.EndAll(context.Background()) },
	}
	skews := [][2]time.Duration{{0, 0}, {5 * time.Second, 0}, {5 * time.Second, 4 * time.Second}}
	for _, skew := range skews {
		for step, when := range steps {
			for kind, end := range ends {
				for _, mode := range modes {
					t.Run(fmt.Sprint(skew, step, kind, mode), func(t *testing.T) {
						k := newKeepingWorld(t, mode, skew[0], skew[1])
						b := k.login(t, k.near)
						k.log.on(when(func() {
							k.Advance(time.Second)
							assert.NoError(t, end(k.there))
							k.Advance(time.Second)
						}))
						b.Do(func(s *session.Session) { assert.ErrorIs(t, k.here.EndOthers(contextOf(s)), session.Ended) })
						assert.Empty(t, b.Credential())
					})
				}
			}
		}
	}
}

// Of two sessions of a subject that end the others at once, on two instances,
// neither outlives the other's end.
func TestTwoEndOthers(t *testing.T) {
	for _, behind := range []time.Duration{0, 4 * time.Second} {
		for _, step := range []string{"read", "append"} {
			k := newKeepingWorld(t, "stateless", 5*time.Second, behind)
			one, two := k.login(t, k.near), k.login(t, k.distant)
			k.log.on(once(step, 1, func() {
				k.Advance(time.Second)
				two.Do(func(s *session.Session) { assert.NoError(t, k.there.EndOthers(contextOf(s))) })
				k.Advance(time.Second)
			}))
			one.Do(func(s *session.Session) { assert.ErrorIs(t, k.here.EndOthers(contextOf(s)), session.Ended) })
			assert.Empty(t, one.Credential())
			require.NoError(t, k.there.EndTag(t.Context(), "tenant", "other")) // so that it hears of everything
			_, ok := k.distant.Opens(two.Credential())
			assert.False(t, ok, "all sessions were ended after it")
		}
	}
}

// Nothing else has ended, however often the log repeats what it has: the
// session is kept. If the log can't be read when the end is in force, the
// others have ended.
func TestEndOthersKeepsWithALog(t *testing.T) {
	for _, skew := range []time.Duration{0, 5 * time.Second} {
		k := newKeepingWorld(t, "stateless", skew, 0)
		require.NoError(t, k.there.EndSubject(t.Context(), "alice"))
		require.NoError(t, k.there.EndTag(t.Context(), "tenant", "acme"))
		k.Advance(time.Minute)
		b, other := k.login(t, k.near), k.login(t, k.near)
		for range 3 {
			b.Do(func(s *session.Session) { assert.NoError(t, k.here.EndOthers(contextOf(s))) })
			k.Advance(2*skew + time.Second)
		}
		subject, _ := k.near.Opens(b.Credential())
		assert.Equal(t, "alice", subject)
		_, ok := k.near.Opens(other.Credential())
		assert.False(t, ok)
		other = k.login(t, k.near)
		b.Do(func(s *session.Session) {
			ctx, cancel := context.WithCancel(contextOf(s))
			k.log.on(once("read", 3, cancel))
			assert.ErrorIs(t, k.here.EndOthers(ctx), session.Unavailable)
		})
		_, ok = k.near.Opens(other.Credential())
		assert.False(t, ok)
	}
}
