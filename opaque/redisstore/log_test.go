package redisstore_test

import (
	"context"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/internal/servertest"
	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/opaque/redisstore"
	"github.com/cloakroom-go/cloakroom/revocation"
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
	follows(t, open(t, cfg), open(t, cfg))
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

// A list over a store of its own, as another instance has it.
func openList(t testing.TB, store *redisstore.Store, change ...func(*revocation.Config)) *revocation.List {
	t.Helper()
	c := revocation.Config{Log: store, Lifetime: 12 * time.Hour, IdleTimeout: time.Hour}
	for _, f := range change {
		f(&c)
	}
	l, err := revocation.Open(c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	require.Eventually(t, func() bool { return l.Fresh() == nil }, patience, 100*time.Microsecond)
	return l
}

func sessionOf(subject string) *session.Record {
	now := time.Now()
	return &session.Record{ID: apptest.B64(apptest.Random(16)), Subject: subject, Generation: 1, CreatedAt: now,
		AuthenticatedAt: now, SeenAt: now, IdleDeadline: now.Add(time.Hour), Deadline: now.Add(12 * time.Hour)}
}

func hears(t *testing.T, l *revocation.List, rec *session.Record, within time.Duration) {
	t.Helper()
	require.Eventually(t, func() bool { return l.Check(rec) != nil }, within, time.Millisecond)
	require.ErrorIs(t, l.Check(rec), session.Ended)
}

// What ends on one instance has ended on the other within milliseconds. The
// time runs from the call of EndSession until Check refuses.
func TestLogLatencySoak(t *testing.T) {
	s := startServer(t)
	a, b := openList(t, open(t, s.config())), openList(t, open(t, s.config()))
	rounds := 200
	if os.Getenv("CLOAKROOM_SOAK") == "1" {
		rounds = 5000
	}
	var took []time.Duration
	tick := time.NewTicker(20 * time.Microsecond)
	defer tick.Stop()
	for range rounds {
		rec := sessionOf("alice")
		start := time.Now()
		appended := make(chan error, 1)
		go func() { appended <- a.EndSession(t.Context(), rec) }()
		for b.Check(rec) == nil && time.Since(start) < patience {
			<-tick.C
		}
		took = append(took, time.Since(start))
		require.NoError(t, <-appended)
	}
	slices.Sort(took)
	p50, p99, worst := took[rounds/2], took[rounds*99/100], took[rounds-1]
	t.Logf("in force on the other instance: p50 %v, p99 %v, worst %v", p50, p99, worst)
	require.Less(t, p50, 50*time.Millisecond)
	if os.Getenv("CLOAKROOM_SOAK") == "1" {
		require.LessOrEqual(t, p99, 5*time.Millisecond)
	}
}

// A server that comes back empty gets everything again from the lists, also for
// an instance that starts then.
func TestLogHeals(t *testing.T) {
	s := startServer(t)
	a, b := openList(t, open(t, s.config())), openList(t, open(t, s.config()))
	var gone []*session.Record
	for i, lose := range []func(){
		func() { s.command(t, "FLUSHALL") },
		func() { s.process.Kill(); s = startServerAt(t, s.addr) },
	} {
		mine, theirs := sessionOf("alice"+strconv.Itoa(i)), sessionOf("bob"+strconv.Itoa(i))
		require.NoError(t, a.EndSubject(t.Context(), mine.Subject))
		require.NoError(t, b.EndSession(t.Context(), theirs))
		hears(t, a, theirs, patience)
		hears(t, b, mine, patience)
		gone = append(gone, mine, theirs)
		lose()
		require.Eventually(t, func() bool {
			return s.number(t, "XLEN", "cloakroom:{feed}:log") >= len(gone)
		}, patience, 10*time.Millisecond)
		c := openList(t, open(t, s.config()))
		for _, rec := range gone {
			hears(t, c, rec, patience)
		}
		require.NoError(t, c.Check(sessionOf("carol")))
	}
}

// An instance that can't reach the server, or gets no answer, is stale, refuses
// beyond the bound, and heals. What ended meanwhile is known then.
func TestLogOutOfReach(t *testing.T) {
	for _, row := range []struct {
		name        string
		spoil, mend func(server, *servertest.Proxy)
	}{
		{"paused", func(s server, _ *servertest.Proxy) { s.process.Pause() },
			func(s server, _ *servertest.Proxy) { s.process.Continue() }},
		{"half open", func(_ server, p *servertest.Proxy) { p.Set(servertest.Swallow) },
			func(_ server, p *servertest.Proxy) { p.Set(servertest.Pass) }},
		{"refused", func(_ server, p *servertest.Proxy) { p.Set(servertest.Refuse) },
			func(_ server, p *servertest.Proxy) { p.Set(servertest.Pass) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t)
			proxy := servertest.NewProxy(t, s.addr)
			cfg := s.config()
			cfg.Addrs, cfg.Timeout = []string{proxy.Addr()}, time.Second
			a := openList(t, open(t, s.config()))
			b := openList(t, open(t, cfg), func(c *revocation.Config) { c.MaxStaleness = 2 * time.Second })
			rec := sessionOf("alice")
			row.spoil(s, proxy)
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			_ = a.EndSession(ctx, rec) // in force here, and appended sooner or later
			cancel()
			require.Eventually(t, func() bool { return b.Fresh() != nil }, patience, 10*time.Millisecond)
			require.ErrorIs(t, b.Fresh(), session.Unavailable)
			require.Greater(t, b.Staleness(), 2*time.Second)
			row.mend(s, proxy)
			require.Eventually(t, func() bool { return b.Fresh() == nil }, patience, 10*time.Millisecond)
			hears(t, b, rec, patience)
		})
	}
}

// A failover loses the end that the old master has acknowledged. Who knows it
// appends it to the new one.
func TestLogAfterFailover(t *testing.T) {
	t.Parallel()
	master, replica, _, cfg := startReplicated(t)
	a := openList(t, open(t, cfg))
	rec := sessionOf("bob")
	require.NoError(t, a.EndSession(t.Context(), sessionOf("alice")))
	require.NoError(t, a.EndSession(t.Context(), rec))
	require.Eventually(t, func() bool { return replica.number(t, "XLEN", "cloakroom:{feed}:log") == 2 },
		patience, 10*time.Millisecond)
	master.process.Kill()
	replica.command(t, "CONFIG", "SET", "replica-read-only", "no")
	replica.command(t, "XDEL", "cloakroom:{feed}:log", replica.lastID(t)) // as if it had not got it
	require.Eventually(t, func() bool {
		return replica.has(t, "role:master") && replica.number(t, "XLEN", "cloakroom:{feed}:log") > 1
	}, 60*time.Second, 10*time.Millisecond)
	hears(t, openList(t, open(t, cfg)), rec, patience)
}

// A logout on one instance is refused on the other, whose token is still good.
func TestLogoutOnAnotherInstance(t *testing.T) {
	s := startServer(t)
	instance := func(w apptest.World) *middleware.Middleware {
		store := open(t, s.config())
		w.Store, w.List = store, openList(t, store)
		return w.Middleware(t, "stateless")
	}
	w := *apptest.NewWorld(t, apptest.NewClock(time.Now()), open(t, s.config()))
	a, b := instance(w), instance(w)
	for range 20 {
		alice, bob := apptest.Begin(t, a, "alice"), apptest.Begin(t, a, "bob")
		require.Equal(t, "alice", apptest.SubjectOf(b, alice))
		status, _ := apptest.Visit(a, alice, func(s *session.Session) { require.NoError(t, s.Destroy()) })
		require.Equal(t, 200, status)
		require.Eventually(t, func() bool { return apptest.SubjectOf(b, alice) == "" }, patience, time.Millisecond)
		require.Equal(t, "bob", apptest.SubjectOf(b, bob))
	}
}

// A new instance reads a million ends: the best of three, since other tests may
// run on the machine.
func TestLogStartSoak(t *testing.T) {
	n := 20_000
	if os.Getenv("CLOAKROOM_SOAK") == "1" {
		n = 1_000_000
	}
	s := startServer(t)
	a := open(t, s.config())
	start := time.Now()
	for range n / 1000 {
		require.NoError(t, a.Append(t.Context(), ended(1000)))
	}
	t.Logf("%d entries appended in %v, %d bytes in the server", n, time.Since(start),
		s.number(t, "MEMORY", "USAGE", "cloakroom:{feed}:log", "SAMPLES", "0"))
	best, most := time.Hour, int64(0)
	for range 3 {
		before := heap()
		start = time.Now()
		b := openList(t, open(t, s.config()))
		best = min(best, time.Since(start))
		require.Equal(t, n, b.Len())
		most = max(most, heap()-before)
		require.NoError(t, b.Close())
	}
	t.Logf("read in %v, %d MB", best, most>>20)
	require.Less(t, best, 1500*time.Millisecond)
	require.Less(t, most, int64(64<<20))
}

// heap returns the bytes in use after a collection.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
