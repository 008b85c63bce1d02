package redisstore_test

import (
	"context"
	"errors"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/itemtest"
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
		err := s.Create(ctx, itemtest.Key(), itemtest.New(1, "created"))
		return err == nil, err
	}},
	{"swap", func(ctx context.Context, s *redisstore.Store, key string) (bool, error) {
		return s.Swap(ctx, key, 1, itemtest.New(2, "swapped"))
	}},
	{"touch", func(ctx context.Context, s *redisstore.Store, key string) (bool, error) {
		return s.Touch(ctx, key, time.Now().Add(time.Minute), time.Now().Add(90*time.Minute))
	}},
}

func put(t *testing.T, s *redisstore.Store, item opaque.Item) string {
	t.Helper()
	key := itemtest.Key()
	require.NoError(t, s.Create(t.Context(), key, item))
	return key
}

// An administrator may flush the scripts, and a restart does.
func TestScriptsAreLoadedAgain(t *testing.T) {
	s := startServer(t)
	store := open(t, s.config())
	for _, w := range writes {
		key := put(t, store, itemtest.New(1, "x"))
		s.command(t, "SCRIPT", "FLUSH")
		done, err := w.do(t.Context(), store, key)
		require.NoError(t, err, w.name)
		require.True(t, done, w.name)
	}
}

// A server that refuses does nothing, and works again as soon as it takes
// writes.
func TestRefusedWrites(t *testing.T) {
	s := startServer(t, "--replica-serve-stale-data", "yes")
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
			store := open(t, s.config())
			for _, w := range writes {
				item := itemtest.New(1, "x")
				key := put(t, store, item)
				s.command(t, row.spoil...)
				done, err := w.do(t.Context(), store, key)
				if w.name == "touch" && row.code == "OOM" { // which takes no memory
					require.NoError(t, err)
					require.True(t, done)
					continue
				}
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

// Whatever happens to the server or to the way there: many requests that share
// the connection get an error by their deadline, and nobody is logged out. What
// the server got may take effect later, and once. It works again within a
// second after the fault ends, and no goroutine and no connection is left over.
func TestTrouble(t *testing.T) {
	type place struct {
		server server
		proxy  *servertest.Proxy
	}
	through := func(mode servertest.Mode) func(*testing.T, place) {
		return func(_ *testing.T, p place) { p.proxy.Set(mode) }
	}
	command := func(args ...string) func(*testing.T, place) {
		return func(t *testing.T, p place) { p.server.command(t, args...) }
	}
	s := startServer(t)
	for _, row := range []struct {
		name        string
		spoil, mend func(*testing.T, place)
	}{
		{"paused", func(_ *testing.T, p place) { p.server.process.Pause() },
			func(_ *testing.T, p place) { p.server.process.Continue() }},
		{"swallowed", through(servertest.Swallow), through(servertest.Pass)},
		{"cut", through(servertest.Cut), through(servertest.Pass)},
		{"refused", through(servertest.Refuse), through(servertest.Pass)},
		{"read-only", command("REPLICAOF", "127.0.0.1", "1"), command("REPLICAOF", "NO", "ONE")},
		{"out of memory", command("CONFIG", "SET", "maxmemory", "1"), command("CONFIG", "SET", "maxmemory", "0")},
	} {
		for name, cacheFor := range map[string]time.Duration{"": 0, " with cache": longCache} {
			t.Run(row.name+name, func(t *testing.T) {
				p := place{server: s, proxy: servertest.NewProxy(t, s.addr)}
				without := countLeft(t, p.server)
				cfg := withCache(p.server.config(), cacheFor)
				cfg.Addrs = []string{p.proxy.Addr()}
				store := open(t, cfg)
				var keys []string
				for range 32 {
					keys = append(keys, put(t, store, itemtest.New(1, "x")))
				}
				swapAll := func(from uint64) []error {
					return each(keys, func(key string) error {
						return within(t, deadline, func(ctx context.Context) error {
							_, err := store.Swap(ctx, key, from, itemtest.New(from+1, "y"))
							return err
						})
					})
				}
				for _, err := range swapAll(1) {
					require.NoError(t, err)
				}
				with := countLeft(t, p.server)

				row.spoil(t, p)
				for _, err := range swapAll(2) {
					require.ErrorIs(t, err, session.Unavailable)
				}
				row.mend(t, p)
				heals(t, store)
				for _, key := range keys {
					version := versionOf(t, store, key)
					require.True(t, version == 2 || version == 3, version)
				}
				for _, err := range swapAll(3) {
					require.NoError(t, err)
				}
				with.awaits(t, p.server)
				require.NoError(t, store.Close())
				without.awaits(t, p.server)
			})
		}
	}
}

// each runs do for all keys at once.
func each(keys []string, do func(key string) error) []error {
	errs := make([]error, len(keys))
	var running sync.WaitGroup
	for i, key := range keys {
		running.Go(func() { errs[i] = do(key) })
	}
	running.Wait()
	return errs
}

// A count of what must not be left over.
type count struct{ goroutines, connections int }

func countLeft(t *testing.T, s server) count {
	t.Helper()
	_, rest, _ := strings.Cut(s.command(t, "INFO", "clients"), "connected_clients:")
	line, _, _ := strings.Cut(rest, "\r\n")
	connections, err := strconv.Atoi(line)
	require.NoError(t, err)
	return count{goroutines: runtime.NumGoroutine(), connections: connections}
}

// awaits waits until there is not more than c, except the goroutine that looks.
func (c count) awaits(t *testing.T, s server) {
	t.Helper()
	var now count
	require.Eventually(t, func() bool {
		now = countLeft(t, s)
		return now.goroutines <= c.goroutines+1 && now.connections <= c.connections
	}, 5*time.Second, time.Millisecond, "more than %+v: %+v", c, &now)
}

// heals expects that writes work again within a second.
func heals(t *testing.T, store *redisstore.Store) {
	t.Helper()
	require.Eventually(t, func() bool {
		return within(t, deadline, func(ctx context.Context) error {
			return store.Create(ctx, itemtest.Key(), itemtest.New(1, "x"))
		}) == nil
	}, time.Second, time.Millisecond)
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
			_, _, _ = store.Get(t.Context(), itemtest.Key())
		}
	}()
	// Each question takes a number; the patient one's new connection takes one.
	asked := int64(0)
	require.Eventually(t, func() bool { asked++; return s.nextID(t) > before+asked }, 5*time.Second, time.Millisecond)

	require.ErrorIs(t, within(t, deadline, func(ctx context.Context) error {
		_, _, err := store.Get(ctx, itemtest.Key())
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
	_, _, err := store.Get(t.Context(), itemtest.Key())
	require.ErrorIs(t, err, session.Unavailable)
	require.Less(t, time.Since(start), deadline+slack)
}

// A server that is gone is an error. When it is back without what it had, the
// sessions are gone, and the scripts are loaded again.
func TestRestart(t *testing.T) {
	s := startServer(t)
	store := open(t, s.config())
	key := put(t, store, itemtest.New(1, "x"))
	s.process.Kill()
	require.Eventually(t, func() bool { // the first may still be sent over the old connection
		_, err := store.Swap(t.Context(), key, 1, itemtest.New(2, "y"))
		require.ErrorIs(t, err, session.Unavailable)
		return errors.Is(err, opaque.ErrNotDone)
	}, time.Second, time.Millisecond)

	startServerAt(t, s.addr)
	heals(t, store)
	for _, w := range writes[1:] { // nothing brings the session back
		done, err := w.do(t.Context(), store, key)
		require.NoError(t, err, w.name)
		require.False(t, done, w.name)
	}
	require.Zero(t, versionOf(t, store, key))
}

// What the server has written to its disk is back after a crash. While the
// server reads it, requests are refused, and not told that there is no session.
func TestRestartWithPersistence(t *testing.T) {
	dir, addr := servertest.Dir(t, nil), servertest.FreeAddr(t)
	s := startServerAt(t, addr, "--dir", dir)
	store := open(t, s.config())
	var keys []string
	for range 50 {
		keys = append(keys, put(t, store, itemtest.New(1, strings.Repeat("x", 200))))
	}
	require.NoError(t, store.Delete(t.Context(), keys[0]))
	s.command(t, "SAVE")
	s.process.Kill()
	// It takes 20 ms for each key, and answers after each 1024 bytes.
	startServerAt(t, addr, "--dir", dir, "--key-load-delay", "20000", "--loading-process-events-interval-bytes", "1024")
	isLoading := false
	require.Eventually(t, func() bool {
		_, ok, err := store.Get(t.Context(), keys[1])
		if err != nil {
			require.ErrorIs(t, err, session.Unavailable)
			isLoading = isLoading || strings.Contains(err.Error(), "LOADING")
			return false
		}
		require.True(t, ok)
		return true
	}, 20*time.Second, time.Millisecond)
	require.True(t, isLoading)
	for _, key := range keys[1:] {
		require.Equal(t, uint64(1), versionOf(t, store, key))
	}
	require.Zero(t, versionOf(t, store, keys[0]), "a session that was ended is back")
}

func TestWrongPassword(t *testing.T) {
	cfg := startServer(t, "--requirepass", "secret").config()
	_, err := redisstore.New(t.Context(), cfg)
	require.ErrorContains(t, err, "NOAUTH")
	require.ErrorIs(t, err, session.Unavailable)
	cfg.Password = "secret"
	open(t, cfg)
}
