package middleware_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

// A lateLog tells a list nothing by itself, after the first time: only a list
// that asks without waiting learns what was appended.
type lateLog struct {
	mu      sync.Mutex // guards entries
	entries []revocation.Entry
}

func (l *lateLog) Append(_ context.Context, entries []revocation.Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, entries...)
	return nil
}

func (l *lateLog) Read(ctx context.Context, pos string, wait time.Duration) (revocation.Reading, error) {
	if pos != "" && wait > 0 {
		<-ctx.Done()
		return revocation.Reading{}, ctx.Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return revocation.Reading{Entries: l.entries, Next: "1", Complete: true}, nil
}

// A password was reset on one instance, and somebody who has the session wants
// to keep it on another, by ending all others there before that one hears of
// the reset.
func TestEndOthersDoesNotEscapeAnEndElsewhere(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			w, log := newWorld(t), &lateLog{}
			list := func() *revocation.List {
				l, err := revocation.Open(revocation.Config{
					Log: log, Now: w.Now, Skew: 5 * time.Second, Lifetime: 12 * time.Hour,
				})
				require.NoError(t, err)
				t.Cleanup(func() { l.Close() })
				require.Eventually(t, func() bool { return l.Fresh() == nil }, 5*time.Second, time.Millisecond)
				return l
			}
			here, there := list(), list()
			w.List = there
			b := newSite(t, w.Middleware(t, mode)).Browser()
			b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
			w.Advance(time.Second)
			require.NoError(t, here.EndSubject(t.Context(), "alice"))
			w.Advance(time.Second)
			b.Get(func(_ http.ResponseWriter, r *http.Request, s *session.Session) {
				assert.Equal(t, "alice", s.Subject(), "the other instance has not heard of it yet")
				assert.ErrorIs(t, there.EndOthers(r.Context()), session.Ended)
			})
			_, ok := b.Site.Opens(b.Credential())
			assert.False(t, ok)
		})
	}
}
