package config_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

// A sharedLog is what several instances append to.
type sharedLog struct {
	mu      sync.Mutex // guards entries
	entries []revocation.Entry
}

// A halfStore is the store of one instance. The sessions can always be reached,
// the log not if unread is set: as in a Redis cluster, in which they are on
// different servers.
type halfStore struct {
	opaque.Store
	log    *sharedLog
	unread atomic.Bool
}

func (*halfStore) InProcess() bool { return false }

func (s *halfStore) Append(_ context.Context, entries []revocation.Entry) error {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	s.log.entries = append(s.log.entries, entries...)
	return nil
}

func (s *halfStore) Read(_ context.Context, pos string, _ time.Duration) (revocation.Reading, error) {
	if s.unread.Load() {
		return revocation.Reading{}, errors.New("no log")
	}
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	from, _ := strconv.Atoi(pos)
	return revocation.Reading{
		Entries: slices.Clone(s.log.entries[from:]), Next: strconv.Itoa(len(s.log.entries)), Complete: true,
	}, nil
}

// An instance that reaches the sessions and not the log has not heard that all
// sessions of a subject were ended. Beyond the bound it refuses tokens. Opaque
// sessions go on there until it can read the log, or until an instance that has
// heard refuses them and removes them from the store. The instance is not
// ready, so a load balancer leaves it.
func TestEndOfSubjectWithoutTheLog(t *testing.T) {
	memory, err := opaque.NewMemoryStore(opaque.MemoryConfig{})
	require.NoError(t, err)
	defer memory.Close()
	for _, row := range []struct {
		mode config.Mode
		want int // beyond the bound
	}{
		{config.Stateless, http.StatusServiceUnavailable},
		{config.Opaque, http.StatusOK},
	} {
		t.Run(string(row.mode), func(t *testing.T) {
			var ahead atomic.Int64
			log, begun := new(sharedLog), time.Now()
			keys := keyFile(t)
			instance := func() (*config.App, *halfStore) {
				s := &halfStore{Store: memory, log: log}
				var c config.Config
				c.Mode, c.Keys.File, c.Store.SecretEnv = row.mode, keys, secretVariable
				o := with()
				o.Store, o.Now = s, func() time.Time { return begun.Add(time.Since(begun) + time.Duration(ahead.Load())) }
				app := build(t, c, o)
				require.Eventually(t, func() bool { return app.Ready(t.Context()) == nil }, 5*time.Second, time.Millisecond)
				return app, s
			}
			near, _ := instance()
			far, store := instance()
			cookie, other := login(t, near, "alice"), login(t, near, "alice")
			require.Equal(t, "alice", subjectOf(t, far, cookie))
			store.unread.Store(true)
			require.NoError(t, near.Revocations.EndSubject(t.Context(), "alice"))
			require.Empty(t, subjectOf(t, near, other))
			ahead.Store(int64(6 * time.Minute))
			require.Eventually(t, func() bool { return near.Ready(t.Context()) == nil }, 5*time.Second, time.Millisecond)
			require.ErrorIs(t, far.Ready(t.Context()), session.Unavailable)
			status, next := try(far, cookie, func(s *session.Session) {
				require.Equal(t, "alice", s.Subject())
			})
			require.Equal(t, row.want, status)
			require.Equal(t, cookie.Value, next.Value)
			store.unread.Store(false)
			require.Eventually(t, func() bool { return far.Ready(t.Context()) == nil }, 5*time.Second, time.Millisecond)
			require.Empty(t, subjectOf(t, far, cookie))
		})
	}
}
