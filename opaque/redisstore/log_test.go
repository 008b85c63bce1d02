package redisstore_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/internal/servertest"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/opaque/redisstore"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/revocation/logtest"
	"github.com/cloakroom-go/cloakroom/session"
)

var _ revocation.Log = (*redisstore.Store)(nil)

// ended returns n entries that live for an hour.
func ended(n int) []revocation.Entry {
	entries := make([]revocation.Entry, n)
	for i := range entries {
		key := "s" + string(apptest.Random(16))
		until := time.Now().Add(time.Hour).Truncate(time.Second)
		entries[i] = revocation.Entry{Key: key, Value: int64(i) << 33, Until: until}
	}
	return entries
}

// readAll reads from pos until the reading is complete.
func readAll(t *testing.T, log revocation.Log, pos string) (entries []revocation.Entry, next string) {
	t.Helper()
	for {
		r, err := log.Read(t.Context(), pos, 100*time.Millisecond)
		require.NoError(t, err)
		require.False(t, r.Lost)
		entries, pos = append(entries, r.Entries...), r.Next
		if r.Complete {
			return entries, pos
		}
	}
}

// follows expects what every Log must do.
func follows(t *testing.T, a, b *redisstore.Store) {
	t.Helper()
	_, pos := readAll(t, b, "")
	entries := ended(5000) // more than one Read returns
	require.NoError(t, a.Append(t.Context(), entries[:4000]))
	require.NoError(t, a.Append(t.Context(), nil))
	require.NoError(t, b.Append(t.Context(), entries[4000:]))
	got, next := readAll(t, b, pos)
	require.Equal(t, entries, got)
	all, _ := readAll(t, a, "")
	require.Equal(t, entries, all[len(all)-5000:])

	start := time.Now()
	r, err := b.Read(t.Context(), next, 50*time.Millisecond)
	require.NoError(t, err)
	require.Equal(t, revocation.Reading{Next: next, Complete: true}, r)
	require.GreaterOrEqual(t, time.Since(start), 50*time.Millisecond)

	woken := make(chan revocation.Reading)
	go func() {
		r, _ := b.Read(t.Context(), next, patience)
		woken <- r
	}()
	one := ended(1)
	one[0].Key, one[0].Value = "e", 1<<62
	require.NoError(t, a.Append(t.Context(), one))
	r = <-woken
	require.Equal(t, one, r.Entries)
	require.True(t, r.Complete)
}

func TestLogContract(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	logContract(t, s.config(), s)
}

// logContract runs the tests of package logtest. Each has an empty log.
func logContract(t *testing.T, cfg redisstore.Config, servers ...server) {
	empty := func() {
		for _, s := range servers {
			s.command(t, "FLUSHALL")
		}
	}
	newLog := func(t *testing.T) (log func() revocation.Log) {
		empty()
		return func() revocation.Log { return open(t, cfg) }
	}
	logtest.Run(t, newLog)
	logtest.RunLost(t, func(t *testing.T) (log func() revocation.Log, lose func()) { return newLog(t), empty })
	logtest.RunClock(t, func(t *testing.T, now func() time.Time) revocation.Log {
		empty()
		cfg := cfg
		cfg.Now = now
		return open(t, cfg)
	})
}

func TestLog(t *testing.T) {
	t.Run("least rights", func(t *testing.T) {
		cfg := startTLS(t)
		follows(t, open(t, cfg), open(t, cfg))
	})
	t.Run("cache, another prefix", func(t *testing.T) {
		cfg := withCache(startServer(t).config(), longCache)
		other := open(t, cfg)
		require.NoError(t, other.Append(t.Context(), ended(3)))
		cfg.Prefix = "shop:"
		follows(t, open(t, cfg), open(t, cfg))
		got, _ := readAll(t, other, "")
		require.Len(t, got, 3)
	})
	var closed redisstore.Store
	require.ErrorIs(t, closed.Append(t.Context(), ended(1)), opaque.ErrNotDone)
	_, err := closed.Read(t.Context(), "", time.Second)
	require.ErrorIs(t, err, opaque.ErrNotDone)
}

func logInCluster(t *testing.T, servers []server) {
	var cfg redisstore.Config
	for _, s := range servers {
		cfg = s.allow(t, "+cluster|slots", "+cluster|shards", "+asking")
	}
	cfg.Cluster = true
	logContract(t, cfg, servers...)
}

// A Read ends with its context, and keeps nobody waiting: neither those who use
// the store at the same time, nor Close.
func TestLogReadIsCancelled(t *testing.T) {
	s := startServer(t)
	without := countLeft(t, s)
	store, err := redisstore.New(t.Context(), s.config())
	require.NoError(t, err)
	_, pos := readAll(t, store, "")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	read := make(chan error)
	go func() {
		_, err := store.Read(ctx, pos, patience)
		read <- err
	}()
	require.Eventually(t, func() bool { return strings.Contains(s.command(t, "INFO", "clients"), "blocked_clients:1") },
		patience, time.Millisecond)
	start := time.Now()
	_, _, err = store.Get(t.Context(), "x")
	require.NoError(t, err)
	cancel()
	require.ErrorIs(t, <-read, context.Canceled)
	require.NoError(t, store.Close())
	require.Less(t, time.Since(start), patience/4)
	without.awaits(t, s)
}

// Calls that give up while the connection is being made leave nothing behind
// that disturbs others.
func TestLogIsGivenUp(t *testing.T) {
	s := startServer(t)
	proxy := servertest.NewProxy(t, s.addr)
	cfg := s.config()
	cfg.Addrs, cfg.Timeout = []string{proxy.Addr()}, 5*time.Second
	store := open(t, cfg)
	require.NoError(t, store.Append(t.Context(), ended(1)))
	_, pos := readAll(t, store, "")
	proxy.Set(servertest.Swallow)
	proxy.CloseConnections()
	for range 2 {
		require.ErrorIs(t, within(t, deadline, func(ctx context.Context) error {
			return store.Append(ctx, ended(1))
		}), session.Unavailable)
		require.ErrorIs(t, within(t, deadline, func(ctx context.Context) error {
			_, err := store.Read(ctx, pos, 0)
			return err
		}), session.Unavailable)
	}
	proxy.Set(servertest.Pass)
	proxy.CloseConnections()
	require.Eventually(t, func() bool { return store.Append(t.Context(), ended(1)) == nil }, patience, time.Millisecond)
	got, _ := readAll(t, store, "")
	require.GreaterOrEqual(t, len(got), 2)
}

// A log that lacks what a reader knows says that it has lost something, once,
// and can be read from the beginning.
func TestLogLost(t *testing.T) {
	s := startServer(t)
	key := "cloakroom:{feed}:log"
	for _, row := range []struct {
		name string
		lose func(t *testing.T, a *redisstore.Store, last string)
	}{
		{"emptied", func(t *testing.T, _ *redisstore.Store, _ string) { s.command(t, "FLUSHALL") }},
		{"trimmed", func(t *testing.T, _ *redisstore.Store, _ string) { s.command(t, "XTRIM", key, "MAXLEN", "0") }},
		{"emptied and written", func(t *testing.T, _ *redisstore.Store, _ string) {
			s.command(t, "FLUSHALL")
			require.NoError(t, open(t, s.config()).Append(t.Context(), ended(1)))
		}},
		{"emptied after somebody else's entry", func(t *testing.T, _ *redisstore.Store, _ string) {
			s.command(t, "FLUSHALL")
		}},
		{"without the last", func(t *testing.T, _ *redisstore.Store, last string) {
			s.command(t, "XDEL", key, last)
			require.NoError(t, open(t, s.config()).Append(t.Context(), ended(1)))
		}},
		{"another with the same ID", func(t *testing.T, _ *redisstore.Store, last string) {
			s.command(t, "DEL", key)
			s.command(t, "XADD", key, last, "e", "something else of our form")
		}},
		{"without what was appended and not read", func(t *testing.T, a *redisstore.Store, _ string) {
			require.NoError(t, a.Append(t.Context(), ended(2)))
			s.command(t, "XDEL", key, s.lastID(t))
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			s.command(t, "FLUSHALL")
			a := open(t, s.config())
			require.NoError(t, a.Append(t.Context(), ended(10)))
			if strings.Contains(row.name, "somebody else's") {
				require.NoError(t, open(t, s.config()).Append(t.Context(), ended(1)))
			}
			_, pos := readAll(t, a, "")
			row.lose(t, a, s.lastID(t))
			r, err := a.Read(t.Context(), pos, time.Millisecond)
			require.NoError(t, err)
			require.Equal(t, revocation.Reading{Lost: true}, r)
			_, pos = readAll(t, a, "")
			readAll(t, a, pos)
			require.NoError(t, a.Append(t.Context(), ended(1)))
			got, _ := readAll(t, a, pos)
			require.Len(t, got, 1)
		})
	}
}

// lastID returns the ID of the last entry in the log.
func (s server) lastID(t *testing.T) string {
	t.Helper()
	script := "return redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1][1]"
	return s.command(t, "EVAL", script, "1", "cloakroom:{feed}:log")
}

// A server that takes no writes may lack what another one has, so it is not
// believed. One whose memory is full lacks nothing.
func TestLogOfReadOnlyServer(t *testing.T) {
	s := startServer(t, "--replica-serve-stale-data", "yes")
	a := open(t, s.config())
	entries := ended(1)
	require.NoError(t, a.Append(t.Context(), entries))
	for _, row := range []struct {
		code        string
		spoil, mend []string
	}{
		{"READONLY", []string{"REPLICAOF", "127.0.0.1", "1"}, []string{"REPLICAOF", "NO", "ONE"}},
		{"NOREPLICAS", []string{"CONFIG", "SET", "min-replicas-to-write", "1"},
			[]string{"CONFIG", "SET", "min-replicas-to-write", "0"}},
		{"", []string{"CONFIG", "SET", "maxmemory", "1"}, []string{"CONFIG", "SET", "maxmemory", "0"}},
	} {
		s.command(t, row.spoil...)
		r, err := a.Read(t.Context(), "", time.Second)
		if row.code != "" {
			require.ErrorContains(t, err, row.code)
			require.ErrorIs(t, err, session.Unavailable)
			require.Zero(t, r)
		} else {
			require.NoError(t, err)
			require.Equal(t, entries, r.Entries)
			require.ErrorContains(t, a.Append(t.Context(), entries), "OOM")
		}
		s.command(t, row.mend...)
	}
	got, _ := readAll(t, a, "")
	require.Equal(t, entries, got)
}

// The log forgets what is over and nothing else, also behind an entry that
// lives long.
func TestLogForgetsWhatIsOver(t *testing.T) {
	s := startServer(t)
	var ahead atomic.Int64
	cfg := s.config()
	cfg.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	a := open(t, cfg)
	length := func() int { return s.number(t, "XLEN", "cloakroom:{feed}:log") }
	long := ended(1)
	long[0].Until = long[0].Until.Add(100 * time.Hour)
	require.NoError(t, a.Append(t.Context(), long))
	for range 10 {
		require.NoError(t, a.Append(t.Context(), ended(200)))
	}
	ahead.Store(int64(time.Hour + time.Minute))
	got, _ := readAll(t, a, "")
	require.Equal(t, long, got)
	var young []revocation.Entry
	one := func() {
		young = append(young, ended(1)...)
		young[len(young)-1].Until = long[0].Until
		require.NoError(t, a.Append(t.Context(), young[len(young)-1:]))
	}
	for range 50 {
		one()
	}
	require.Equal(t, 2051, length(), "they linger")
	ahead.Store(int64(time.Hour + 3*time.Minute))
	for range 500 {
		one()
	}
	require.Equal(t, 551, length())
	got, _ = readAll(t, a, "")
	require.Equal(t, append(long, young...), got)
}

// What has ended on one instance opens on none that has heard of it.
func TestSeveralInstancesSoak(t *testing.T) {
	cfg := startServer(t).config()
	apptest.SharedLog(t, func(t testing.TB, now func() time.Time) opaque.Store {
		cfg.Now = now
		return open(t, cfg)
	})
}
