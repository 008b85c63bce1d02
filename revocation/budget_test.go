package revocation_test

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

// A visitor logs in and out in one session.
func visit(id, subject string, at time.Time) *session.Record {
	rec := &session.Record{ID: id, Generation: 1, CreatedAt: at, SeenAt: at, IdleDeadline: at.Add(20 * time.Minute),
		Deadline: at.Add(lifetime)}
	if subject != "" {
		rec.Subject, rec.AuthenticatedAt, rec.Generation = subject, at, 2
	}
	return rec
}

func requireEnded(t *testing.T, l *revocation.List, rec *session.Record) {
	t.Helper()
	require.ErrorIs(t, l.Check(rec), session.Ended)
}

func TestEntriesAreSmall(t *testing.T) {
	n := 40_000
	if os.Getenv("CLOAKROOM_SOAK") != "" {
		n = 1_000_000
	}
	for _, part := range []int{100, 112, 125} { // percent: shards grow by a quarter
		before := heap()
		l := revocation.NewVolatile(revocation.Config{Lifetime: lifetime, MaxEntries: 2 * n})
		endMany(t, l, n*part/100)
		require.Equal(t, n*part/100, l.Len())
		size := float64(heap()-before) / float64(l.Len())
		t.Logf("%d entries: %.1f bytes each", l.Len(), size)
		require.Less(t, size, 55.0)
	}
}

// The soak test has the size of an attack of 20 minutes.
func TestFloodOfAnonymousEnds(t *testing.T) {
	ends, entries := 150_000, 100_000
	if os.Getenv("CLOAKROOM_SOAK") != "" {
		ends, entries = 10_000_000, 0
	}
	budget := cmp.Or(entries, 2_000_000) / 4
	c := newClock()
	l := revocation.NewVolatile(revocation.Config{Lifetime: lifetime, MaxEntries: entries, Now: c.Now})
	users := 500
	for i := range users {
		require.NoError(t, l.EndSession(t.Context(), visit(fmt.Sprint("user ", i), fmt.Sprint(i), c.Now())))
	}
	id, rec, flat := ids(1), visit("", "", c.Now()), uint64(0)
	var kept []string
	for i := range ends {
		rec.ID = id()
		if ends-i <= budget/5 { // half of it are sure, but some shards get more than others
			kept = append(kept, rec.ID)
		}
		require.NoError(t, l.EndSession(t.Context(), rec))
		if i == ends/2 {
			flat = heap()
		}
	}
	require.Less(t, float64(heap()), 1.1*float64(flat)+float64(24*len(kept)+1<<20), "memory is flat")
	require.LessOrEqual(t, l.Len(), users+budget)
	for _, id := range kept {
		rec.ID = id
		requireEnded(t, l, rec)
	}
	for i := range users {
		requireEnded(t, l, visit(fmt.Sprint("user ", i), fmt.Sprint(i), c.Now()))
	}
	require.NoError(t, l.Room(), "anonymous ends leave room for anonymous sessions")
}

// The journal has the list's bounds, and keeps the order in which entries go.
func TestFloodIsBoundedOnDisk(t *testing.T) {
	c, path := newClock(), journalPath(t)
	cfg := revocation.Config{Path: path, Lifetime: lifetime, MaxEntries: 40_000, Now: c.Now}
	l, err := revocation.Open(cfg)
	require.NoError(t, err)
	require.NoError(t, l.EndSession(t.Context(), visit("user", "alice", c.Now())))
	hasty, cancel := context.WithCancel(t.Context())
	cancel() // nobody waits for the disk
	id, last := ids(1), []*session.Record{}
	for i := range 40_000 {
		rec := visit(id(), "", c.Now())
		if i >= 39_000 {
			last = append(last, rec)
		}
		_ = l.EndSession(hasty, rec)
		if i%5_000 == 0 {
			require.NoError(t, l.EndSession(t.Context(), rec))
			info, err := os.Stat(path)
			require.NoError(t, err)
			require.Less(t, info.Size(), int64((5_000+2*10_000+1024)*40))
		}
	}
	require.NoError(t, l.Close())
	l, err = revocation.Open(cfg)
	require.NoError(t, err)
	defer l.Close()
	require.LessOrEqual(t, l.Len(), 1+10_000)
	requireEnded(t, l, visit("user", "alice", c.Now()))
	for range 4_000 { // the oldest go first, as before the restart
		_ = l.EndSession(hasty, visit(id(), "", c.Now()))
	}
	forgotten := 0
	for _, rec := range last {
		if l.Check(rec) == nil {
			forgotten++ // the shards are others after a restart
		}
	}
	require.Less(t, forgotten, 450)
}

// While the disk is stuck, entries don't pile up in memory.
func TestFloodWhileTheDiskIsStuck(t *testing.T) {
	c, path := newClock(), journalPath(t)
	stuck, free := make(chan struct{}), make(chan struct{})
	writes := 0
	cfg := revocation.Config{Path: path, Lifetime: lifetime, Now: c.Now}
	l, err := revocation.OpenStepwise(cfg, func(name string) error {
		if name == "write" {
			if writes++; writes == 1 {
				close(stuck)
				<-free
			}
		}
		return nil
	})
	require.NoError(t, err)
	hasty, cancel := context.WithCancel(t.Context())
	cancel()
	_ = l.EndSession(hasty, visit("first", "alice", c.Now()))
	<-stuck
	rec, id, before := visit("", "", c.Now()), ids(1), uint64(0)
	for i := range 90_000 {
		if rec.ID = id(); i == 70_000 {
			before = heap()
		}
		_ = l.EndSession(hasty, rec)
	}
	require.Less(t, heap(), before+20_000*60, "only what is in force")
	close(free)
	require.NoError(t, l.Close())
	require.Equal(t, 1, writes, "the others came with one new file")
	l = open(t, path, c)
	require.Equal(t, 90_001, l.Len())
	requireEnded(t, l, rec)
	requireEnded(t, l, visit("first", "alice", c.Now()))
}

// Somebody with an account logs in and out in a loop.
func TestLoopOfOneSubject(t *testing.T) {
	lists(t, func(t *testing.T, l *revocation.List, c *clock) {
		hasty, cancel := context.WithCancel(t.Context())
		cancel()
		bob, phone := visit("bob", "bob", c.Now()), visit("phone", "alice", c.Now())
		require.NoError(t, l.EndSession(t.Context(), visit("bob's other", "bob", c.Now())))
		var ended []*session.Record
		for i := range 2_000 {
			c.advance(time.Millisecond)
			rec := visit(fmt.Sprint(i), "alice", c.Now())
			c.advance(time.Millisecond)
			if i%3 == 0 { // renewed before
				ok, err := l.EndBelow(hasty, rec)
				require.True(t, ok, err)
				next := *rec
				next.Generation++
				ended = append(ended, &next)
			}
			if i < 64 {
				require.NoError(t, l.Check(phone), "64 ends are nothing unusual")
			}
			_ = l.EndSession(hasty, rec)
			ended = append(ended, rec)
		}
		for _, rec := range append(ended, phone, visit("bob's other", "bob", start)) {
			requireEnded(t, l, rec)
		}
		require.NoError(t, l.Check(bob))
		c.advance(time.Millisecond)
		require.NoError(t, l.Check(visit("new", "alice", c.Now())), "alice can log in again")
		require.Less(t, l.Len(), 1_000, "dead slots leave as others come")
	})
}

// Whatever the order, a session that is renewed goes on, or its renewal fails:
// no credential is dead when it is handed out.
func TestLoopEndsNoSessionThatIsRenewed(t *testing.T) {
	const n = 2000
	for name, order := range map[string]func(i int) int{
		"oldest first": func(i int) int { return i },
		"newest first": func(i int) int { return n - 1 - i },
		"mixed":        func(i int) int { return i * 1237 % n },
	} {
		t.Run(name, func(t *testing.T) {
			lists(t, func(t *testing.T, l *revocation.List, c *clock) {
				hasty, cancel := context.WithCancel(t.Context())
				cancel()
				c.advance(n * time.Second)
				renewed := 0
				for i := range n {
					c.advance(time.Millisecond)
					rec := visit(fmt.Sprint(order(i)), "alice", start.Add(time.Duration(order(i))*time.Second))
					if l.Check(rec) != nil {
						continue
					}
					ok, err := l.EndBelow(hasty, rec)
					requireEnded(t, l, rec)
					rec.Generation++
					require.Equal(t, ok, l.Check(rec) == nil, "%v", err)
					if !ok {
						require.ErrorIs(t, err, session.Ended)
						continue
					}
					renewed++
				}
				require.Greater(t, renewed, 128)
				require.Less(t, l.Len(), 1_000, "dead slots leave as others come")
			})
		})
	}
}

// A probe that logs in and out all day ends no session of its own that has just
// begun.
func TestProbeEndsNoYoungSession(t *testing.T) {
	lists(t, func(t *testing.T, l *revocation.List, c *clock) {
		hasty, cancel := context.WithCancel(t.Context()) // doesn't wait for the disk
		cancel()
		for i := range 200 {
			young := visit(fmt.Sprint("young", i), "probe", c.Now())
			c.advance(time.Millisecond)
			for j := range 20 {
				_ = l.EndSession(hasty, visit(fmt.Sprint(i, j), "probe", c.Now()))
				c.advance(time.Millisecond)
			}
			require.NoError(t, l.Check(young))
			_ = l.EndSession(hasty, young)
		}
	})
}

func TestLoopOfOneSubjectAfterARestart(t *testing.T) {
	c, path := newClock(), journalPath(t)
	l := open(t, path, c)
	hasty, cancel := context.WithCancel(t.Context())
	cancel()
	for i := range 500 {
		c.advance(time.Millisecond)
		_ = l.EndSession(hasty, visit(fmt.Sprint(i), "alice", c.Now()))
	}
	require.NoError(t, l.Close())
	l = open(t, path, c)
	for i := range 500 {
		requireEnded(t, l, visit(fmt.Sprint(i), "alice", start.Add(time.Duration(i+1)*time.Millisecond)))
	}
}

// A session that alice and then bob were logged in to stays ended for both when
// the entries of one of them are replaced.
func TestLoopRevivesNoSessionOfAnother(t *testing.T) {
	for _, first := range []string{"alice", "bob"} {
		l := revocation.NewVolatile(revocation.Config{Lifetime: lifetime, Now: newClock().Now})
		alice, bob := visit("shared", "alice", start), visit("shared", "bob", start)
		bob.Generation = 3
		for i := range 20 { // both are known to end many sessions
			require.NoError(t, l.EndSession(t.Context(), visit(fmt.Sprint("a", i), "alice", start)))
			require.NoError(t, l.EndSession(t.Context(), visit(fmt.Sprint("b", i), "bob", start)))
		}
		ok, err := l.EndBelow(t.Context(), alice) // bob logs in
		require.True(t, ok, err)
		require.NoError(t, l.EndSession(t.Context(), bob))
		for i := range 200 {
			require.NoError(t, l.EndSession(t.Context(), visit(fmt.Sprint(i), first, start)))
		}
		requireEnded(t, l, alice)
		requireEnded(t, l, bob)
	}
}

// A session whose login the caller did not know of is as one with a subject,
// and its deadline is not the one that the caller knows.
func TestEndOfASessionThatWasLoggedInToMeanwhile(t *testing.T) {
	c := newClock()
	l := revocation.NewVolatile(revocation.Config{Lifetime: lifetime, MaxEntries: 10_000, Now: c.Now})
	before := visit("a", "", start)
	before.Deadline = start.Add(time.Hour)
	after := visit("a", "alice", start)
	ok, err := l.EndBelow(t.Context(), before)
	require.True(t, ok, err)
	require.NoError(t, l.EndSession(t.Context(), before))
	c.advance(2 * time.Hour)
	rec, id := visit("", "", c.Now()), ids(1)
	for range 20_000 {
		rec.ID = id()
		require.NoError(t, l.EndSession(t.Context(), rec))
	}
	requireEnded(t, l, after)
}

func TestRoomForAnonymousSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := make(chan error, 10)
		l := revocation.NewVolatile(revocation.Config{
			Lifetime: lifetime, MaxEntries: 10_000, OnProblem: func(err error) { told <- err },
		})
		n := 0
		end := func(more int) {
			for range more {
				n++
				require.NoError(t, l.EndSession(t.Context(), visit(fmt.Sprint(n), fmt.Sprint(n), time.Now())))
			}
			synctest.Wait()
		}
		end(8_999)
		require.NoError(t, l.Room())
		require.Empty(t, told)
		end(1)
		require.ErrorIs(t, l.Room(), session.Unavailable)
		require.Len(t, told, 1)
		require.ErrorContains(t, <-told, "90 % of MaxEntries")
		end(3_000)
		require.Empty(t, told, "once")
		for i := range n {
			requireEnded(t, l, visit(fmt.Sprint(i+1), fmt.Sprint(i+1), time.Now()))
		}

		time.Sleep(lifetime)
		require.NoError(t, l.Room(), "all of them are over")
		end(9_000)
		require.ErrorIs(t, l.Room(), session.Unavailable)
		require.Len(t, told, 1, "again")
	})
}

func TestIDsOfAnyForm(t *testing.T) {
	const id = "mLZ0c5Yc1mXg3vJbq2tq9w"
	for _, one := range []string{id, id[:21] + "x", id + "w", id[:21], id[:21] + "\n", "\xff",
		string(make([]byte, 4096))} {
		l := revocation.NewVolatile(revocation.Config{})
		require.NoError(t, l.EndSession(t.Context(), until(one, 1, time.Time{})))
		for _, other := range []string{id, id[:21] + "x", id + "w", id[:21], id[:21] + "\n", "\xff",
			string(make([]byte, 4096))} {
			require.Equal(t, one == other, l.Check(record(other, 1)) != nil, "%q %q", one, other)
		}
	}
}
