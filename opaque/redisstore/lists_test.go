package redisstore_test

import (
	"context"
	"errors"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/internal/servertest"
	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/opaque/redisstore"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

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
		require.NoError(t, c.Close())
	}
	// As long as there is a server: one of them may not have made good the loss.
	require.NoError(t, errors.Join(a.Close(), b.Close()))
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
			require.Greater(t, b.Stats().Staleness, 2*time.Second)
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

// instances returns two instances that keep sessions in tokens, and have a log
// in common.
func instances(t *testing.T) (a, b *middleware.Middleware) {
	s := startServer(t)
	w := *apptest.NewWorld(t, apptest.NewClock(time.Now()), open(t, s.config()))
	instance := func(w apptest.World) *middleware.Middleware {
		store := open(t, s.config())
		w.Store, w.List = store, openList(t, store)
		return w.Middleware(t, "stateless")
	}
	return instance(w), instance(w)
}

// A logout on one instance is refused on the other, whose token is still good.
func TestLogoutOnAnotherInstance(t *testing.T) {
	a, b := instances(t)
	for range 20 {
		alice, bob := apptest.Begin(t, a, "alice"), apptest.Begin(t, a, "bob")
		require.Equal(t, "alice", apptest.SubjectOf(b, alice))
		status, _ := apptest.Visit(a, alice, func(s *session.Session) { require.NoError(t, s.Destroy()) })
		require.Equal(t, 200, status)
		require.Eventually(t, func() bool { return apptest.SubjectOf(b, alice) == "" }, patience, time.Millisecond)
		require.Equal(t, "bob", apptest.SubjectOf(b, bob))
	}
}

// Another instance refuses a token within milliseconds after the answer to the
// logout.
func TestLogLatencySoak(t *testing.T) {
	a, b := instances(t)
	n := 200
	if os.Getenv("CLOAKROOM_SOAK") == "1" {
		n = 5000
	}
	took := apptest.MeasureLogout(t, a, b, n, 0)
	apptest.Account(t, "%d logouts, in force on another instance over Redis: %v", n, took)
	require.Less(t, took.P50, 5*time.Millisecond) // P99, too, if nothing else runs
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
	require.Less(t, best, 10*time.Second) // 1.5 s if nothing else runs
	require.Less(t, most, int64(64<<20))
}

// A flood of ends stays within the bounds of the lists, and of the stream.
func TestFloodThroughTheLog(t *testing.T) {
	s := startServer(t)
	f := apptest.Flood{
		Ends: apptest.FloodSize(1_500_000),
		Open: func(now func() time.Time) revocation.Log {
			cfg := s.config()
			cfg.Now = now
			return open(t, cfg)
		},
		Length: func() int { return s.number(t, "XLEN", "cloakroom:{feed}:log") },
	}
	f.Run(t)
	t.Logf("%d bytes in the server", s.number(t, "MEMORY", "USAGE", "cloakroom:{feed}:log", "SAMPLES", "0"))
}

// heap returns the bytes in use after a collection.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
