package redisstore_test

import (
	"context"
	"errors"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/servertest"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/opaque/redisstore"
	"github.com/cloakroom-go/cloakroom/session"
)

// A call is one of the methods that write, on an item of its own that is stored
// at version 1, except for Create.
type call struct {
	name string
	do   func(ctx context.Context, s *redisstore.Store, key string) (done bool, err error)
}

var writes = []call{
	{"create", func(ctx context.Context, s *redisstore.Store, _ string) (bool, error) {
		err := s.Create(ctx, newKey(), newItem(1, "created"))
		return err == nil, err
	}},
	{"swap", func(ctx context.Context, s *redisstore.Store, key string) (bool, error) {
		return s.Swap(ctx, key, 1, newItem(2, "swapped"))
	}},
	{"touch", func(ctx context.Context, s *redisstore.Store, key string) (bool, error) {
		return s.Touch(ctx, key, time.Now().Add(time.Minute), time.Now().Add(90*time.Minute))
	}},
}

func put(t *testing.T, s *redisstore.Store, item opaque.Item) string {
	t.Helper()
	key := newKey()
	require.NoError(t, s.Create(t.Context(), key, item))
	return key
}

// An administrator may flush the scripts, and a restart does.
func TestScriptsAreLoadedAgain(t *testing.T) {
	s := startServer(t)
	store := open(t, s.config())
	for _, w := range writes {
		key := put(t, store, newItem(1, "x"))
		s.command(t, "SCRIPT", "FLUSH")
		done, err := w.do(t.Context(), store, key)
		require.NoError(t, err, w.name)
		require.True(t, done, w.name)
	}
}

// A server that refuses does nothing, and works again as soon as it takes
// writes.
func TestRefusedWrites(t *testing.T) {
	set := func(setting, value string) []string { return []string{"CONFIG", "SET", setting, value} }
	for _, row := range []struct {
		code        string
		spoil, mend []string
	}{
		{"READONLY", []string{"REPLICAOF", "127.0.0.1", "1"}, []string{"REPLICAOF", "NO", "ONE"}},
		{"NOREPLICAS", set("min-replicas-to-write", "1"), set("min-replicas-to-write", "0")},
		{"OOM", set("maxmemory", "1"), set("maxmemory", "0")},
	} {
		t.Run(row.code, func(t *testing.T) {
			s := startServer(t, "--replica-serve-stale-data", "yes")
			store := open(t, s.config())
			for _, w := range writes {
				item := newItem(1, "x")
				key := put(t, store, item)
				s.command(t, row.spoil...)
				done, err := w.do(t.Context(), store, key)
				require.ErrorIs(t, err, opaque.ErrNotDone, w.name)
				require.ErrorContains(t, err, row.code, w.name)
				require.NotContains(t, err.Error(), key, w.name)
				require.False(t, done, w.name)

				got, ok, err := store.Get(t.Context(), key)
				require.NoError(t, err, w.name)
				require.True(t, ok, w.name)
				require.Equal(t, uint64(1), got.Version, w.name)
				require.True(t, got.IdleDeadline.Equal(item.IdleDeadline), w.name)

				s.command(t, row.mend...)
				done, err = w.do(t.Context(), store, key)
				require.NoError(t, err, w.name)
				require.True(t, done, w.name)
			}
		})
	}
}

const (
	deadline = 200 * time.Millisecond
	slack    = 300 * time.Millisecond // of a busy machine with the race detector
)

func within(t *testing.T, limit time.Duration, do func(ctx context.Context) error) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	start := time.Now()
	err := do(ctx)
	require.Less(t, time.Since(start), limit+slack)
	return err
}

// A server that stands still is an error within the deadline, also when many
// requests share the connection. What it got meanwhile may take effect later,
// and the store never sends it twice. When it goes on, so does the store.
func TestPausedServer(t *testing.T) {
	s := startServer(t)
	before := runtime.NumGoroutine()
	store := open(t, s.config())
	key := put(t, store, newItem(1, "x"))
	s.process.Pause()
	errs := make(chan error)
	for range 32 {
		go func() {
			errs <- within(t, deadline, func(ctx context.Context) error {
				_, err := store.Swap(ctx, key, 1, newItem(2, "y"))
				return err
			})
		}()
	}
	for range 32 {
		require.ErrorIs(t, <-errs, session.Unavailable)
	}
	s.process.Continue()
	heals(t, store, key)
	got, ok, err := store.Get(t.Context(), key)
	require.NoError(t, err)
	require.True(t, ok)
	require.LessOrEqual(t, got.Version, uint64(2))
	require.NoError(t, store.Close())
	before++ // the one that asks
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= before }, 5*time.Second, time.Millisecond,
		"goroutines are left over")
}

// heals expects an answer within a second.
func heals(t *testing.T, store *redisstore.Store, key string) {
	t.Helper()
	require.Eventually(t, func() bool {
		return within(t, deadline, func(ctx context.Context) error {
			_, _, err := store.Get(ctx, key)
			return err
		}) == nil
	}, time.Second, time.Millisecond)
}

// A lost answer is an error and never a "no", and the effect happens once. The
// connection that lost it is given up, and the next call gets an answer.
func TestLostAnswers(t *testing.T) {
	s := startServer(t)
	for name, mode := range map[string]servertest.Mode{
		"cut": servertest.Cut, "swallow": servertest.Swallow, "refuse": servertest.Refuse,
	} {
		t.Run(name, func(t *testing.T) {
			proxy := servertest.NewProxy(t, s.addr)
			cfg := s.config()
			cfg.Addrs = []string{proxy.Addr()}
			store := open(t, cfg)
			for _, w := range writes {
				key := put(t, store, newItem(1, "x"))
				proxy.Set(mode)
				err := within(t, deadline, func(ctx context.Context) error {
					done, err := w.do(ctx, store, key)
					require.False(t, done, w.name)
					return err
				})
				require.ErrorIs(t, err, session.Unavailable, w.name)
				require.True(t, name == "refuse" || !errors.Is(err, opaque.ErrNotDone), w.name)
				require.NotContains(t, err.Error(), key, w.name)
				proxy.Set(servertest.Pass)
				err = within(t, deadline, func(ctx context.Context) error {
					_, _, err := store.Get(ctx, key)
					return err
				})
				require.NoError(t, err, "the first call after the fault (%s)", w.name)
			}
		})
	}
}

// A request does not wait longer than its own deadline for the connection that
// another one makes.
func TestOthersConnection(t *testing.T) {
	s := startServer(t)
	proxy := servertest.NewProxy(t, s.addr)
	cfg := s.config()
	cfg.Addrs, cfg.Timeout = []string{proxy.Addr()}, 5*time.Second
	store := open(t, cfg)
	proxy.Set(servertest.Swallow)
	proxy.CloseConnections()
	before := s.nextID(t)
	patient := make(chan struct{})
	go func() {
		defer close(patient)
		for range 2 { // the first one finds out that the connection is closed
			_, _, _ = store.Get(t.Context(), newKey())
		}
	}()
	// Each question takes a number; the patient one's new connection takes one.
	asked := int64(0)
	require.Eventually(t, func() bool { asked++; return s.nextID(t) > before+asked }, 5*time.Second, time.Millisecond)

	require.ErrorIs(t, within(t, deadline, func(ctx context.Context) error {
		_, _, err := store.Get(ctx, newKey())
		return err
	}), session.Unavailable)
	proxy.CloseConnections()
	<-patient
}

// nextID returns the number that the server gives to a new connection.
func (s server) nextID(t *testing.T) int64 {
	t.Helper()
	n, err := strconv.ParseInt(strings.TrimPrefix(s.command(t, "CLIENT", "ID"), ":"), 10, 64)
	require.NoError(t, err)
	return n
}

// Without a deadline in the context, Timeout is the limit.
func TestTimeout(t *testing.T) {
	s := startServer(t)
	cfg := s.config()
	cfg.Timeout = deadline
	store := open(t, cfg)
	s.process.Pause()
	start := time.Now()
	_, _, err := store.Get(t.Context(), newKey())
	require.ErrorIs(t, err, session.Unavailable)
	require.Less(t, time.Since(start), deadline+slack)
}

// A server that is gone is an error. When it is back without what it had, the
// sessions are gone, and the scripts are loaded again.
func TestRestart(t *testing.T) {
	s := startServer(t)
	store := open(t, s.config())
	key := put(t, store, newItem(1, "x"))
	s.process.Kill()
	require.Eventually(t, func() bool { // the first may still be sent over the old connection
		_, err := store.Swap(t.Context(), key, 1, newItem(2, "y"))
		require.ErrorIs(t, err, session.Unavailable)
		return errors.Is(err, opaque.ErrNotDone)
	}, time.Second, time.Millisecond)

	startServerAt(t, s.addr)
	heals(t, store, key)
	ok, err := store.Swap(t.Context(), key, 1, newItem(2, "y"))
	require.NoError(t, err)
	require.False(t, ok)
}

func TestWrongPassword(t *testing.T) {
	cfg := startServer(t, "--requirepass", "secret").config()
	_, err := redisstore.New(t.Context(), cfg)
	require.ErrorContains(t, err, "NOAUTH")
	require.ErrorIs(t, err, session.Unavailable)
	cfg.Password = "secret"
	open(t, cfg)
}
