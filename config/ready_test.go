package config_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

// A loggedStore is a store with a log, of which each can be out of reach.
type loggedStore struct {
	opaque.Store
	down, unread *atomic.Bool
	ahead        *atomic.Int64 // nanoseconds by which the clock of the log is ahead
}

func (loggedStore) InProcess() bool { return false }

func (s loggedStore) Get(ctx context.Context, key string) (opaque.Item, bool, error) {
	if s.down.Load() {
		return opaque.Item{}, false, errors.New("shelf: down")
	}
	return s.Store.Get(ctx, key)
}

func (loggedStore) Append(context.Context, []revocation.Entry) error { return nil }

func (s loggedStore) Read(ctx context.Context, _ string, wait time.Duration) (revocation.Reading, error) {
	if s.unread.Load() {
		return revocation.Reading{}, errors.New("shelf: no log")
	}
	select {
	case <-time.After(wait / 50):
		return revocation.Reading{Next: "1", Complete: true, ClockOffset: time.Duration(s.ahead.Load())}, nil
	case <-ctx.Done():
		return revocation.Reading{}, ctx.Err()
	}
}

// An App is ready when its store answers, its log was read lately, and a key
// signs.
func TestReady(t *testing.T) {
	memory, err := opaque.NewMemoryStore(opaque.MemoryConfig{})
	require.NoError(t, err)
	defer memory.Close()
	s := loggedStore{memory, new(atomic.Bool), new(atomic.Bool), new(atomic.Int64)}
	s.unread.Store(true)
	var ahead atomic.Int64
	c := stored("")
	c.Mode, c.Keys.File, c.Store.SecretEnv = config.Stateless, keyFile(t), secretVariable
	c.Revocations = config.RevocationsConfig{MaxStaleness: config.Duration(time.Minute)}
	o := with()
	o.Store, o.Now = s, func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	app := build(t, c, o)
	soon := func(text string) {
		t.Helper()
		var err error
		require.Eventually(t, func() bool {
			err = app.Ready(t.Context())
			return text == "" && err == nil || text != "" && err != nil && strings.Contains(err.Error(), text)
		}, 5*time.Second, time.Millisecond, "%s", text)
		if text != "" {
			require.ErrorIs(t, err, session.Unavailable)
		}
	}
	soon("config: not ready: the log of the instances has not been read yet: unavailable")
	s.unread.Store(false)
	soon("")
	s.down.Store(true)
	soon("the store does not answer: shelf: down")
	s.down.Store(false)
	soon("")
	s.unread.Store(true)
	ahead.Store(int64(40 * time.Second))
	soon("what has ended on other instances was last read 40s ago")
	ahead.Store(int64(2 * time.Minute))
	soon("could not be read for longer than 1m0s")
	ahead.Store(0)
	s.unread.Store(false)
	soon("")
	s.ahead.Store(int64(5 * time.Second))
	require.Eventually(t, func() bool { return app.Revocations.Stats().ClockOffset == 5*time.Second },
		5*time.Second, time.Millisecond)
	require.NoError(t, app.Ready(t.Context()))
	for offset, shown := range map[time.Duration]string{5001 * time.Millisecond: "5.001s", -6 * time.Second: "-6s"} {
		s.ahead.Store(int64(offset))
		soon("the clock of the store's server is " + shown + " ahead of the one here, or behind if negative: more than " +
			"revocations.skew, 5s")
		require.NoError(t, app.Revocations.Fresh())
	}
	s.ahead.Store(0)
	soon("")
	app.Keys, err = keys.NewRing()
	require.NoError(t, err)
	require.ErrorContains(t, app.Ready(t.Context()), "no active key that signs")
}

// An App with the shortest bound is ready all the time while its log answers,
// and one that serves although it is stale is ready without its log.
func TestReadyWhileStalenessIsNormal(t *testing.T) {
	memory, err := opaque.NewMemoryStore(opaque.MemoryConfig{})
	require.NoError(t, err)
	defer memory.Close()
	rows := map[string]struct {
		serve bool
		later time.Duration
		ready bool
	}{
		"normal":               {later: 1200 * time.Millisecond, ready: true},
		"stale":                {later: 1900 * time.Millisecond},
		"stale, but it serves": {serve: true, later: time.Hour, ready: true},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			s := loggedStore{memory, new(atomic.Bool), new(atomic.Bool), new(atomic.Int64)}
			var ahead atomic.Int64
			now := time.Now()
			c := stored("")
			c.Mode, c.Keys.File, c.Store.SecretEnv = config.Stateless, keyFile(t), secretVariable
			c.Revocations = config.RevocationsConfig{
				MaxStaleness: config.Duration(2 * time.Second), InsecureServeStale: row.serve,
			}
			o := with()
			o.Store, o.Now = s, func() time.Time { return now.Add(time.Duration(ahead.Load())) }
			app := build(t, c, o)
			require.Eventually(t, func() bool { return app.Ready(t.Context()) == nil }, 5*time.Second, time.Millisecond)
			s.unread.Store(true) // no read heals it meanwhile
			ahead.Store(int64(row.later))
			require.Equal(t, row.ready, app.Ready(t.Context()) == nil)
		})
	}
}
