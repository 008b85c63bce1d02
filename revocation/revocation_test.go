package revocation_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

const lifetime = 12 * time.Hour

var start = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

// A clock stands still until a test moves it.
type clock struct{ ms atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.ms.Store(start.UnixMilli())
	return c
}

func (c *clock) Now() time.Time          { return time.UnixMilli(c.ms.Load()).UTC() }
func (c *clock) advance(d time.Duration) { c.ms.Add(d.Milliseconds()) }

func journalPath(t testing.TB) string { return filepath.Join(t.TempDir(), "revocations") }

func open(t testing.TB, path string, c *clock) *revocation.List {
	t.Helper()
	l, err := revocation.Open(revocation.Config{Path: path, Lifetime: lifetime, Now: c.Now})
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

// lists are the two kinds; each rule holds for both.
func lists(t *testing.T, test func(t *testing.T, l *revocation.List, c *clock)) {
	t.Run("journal", func(t *testing.T) {
		c := newClock()
		test(t, open(t, journalPath(t), c), c)
	})
	t.Run("volatile", func(t *testing.T) {
		c := newClock()
		test(t, revocation.NewVolatile(revocation.Config{Lifetime: lifetime, Now: c.Now}), c)
	})
}

func record(id string, generation uint64) *session.Record {
	return &session.Record{ID: id, Generation: generation, CreatedAt: start, Deadline: start.Add(lifetime)}
}

// until is a record of a session that is over at deadline.
func until(id string, generation uint64, deadline time.Time) *session.Record {
	return &session.Record{ID: id, Generation: generation, Deadline: deadline}
}

func login(subject string, at time.Time) *session.Record {
	return &session.Record{ID: "s", Subject: subject, CreatedAt: start, AuthenticatedAt: at}
}

func anonymous(at time.Time) *session.Record {
	return &session.Record{ID: "s", CreatedAt: at}
}

func TestCheckDecides(t *testing.T) {
	ms := time.Millisecond
	sessionOver := func(l *revocation.List) error { return l.EndSession(t.Context(), until("a", 0, start.Add(lifetime))) }
	belowThree := func(l *revocation.List) error {
		_, err := l.EndBelow(t.Context(), until("a", 2, start.Add(lifetime)))
		return err
	}
	subjectOver := func(l *revocation.List) error { return l.EndSubject(t.Context(), "alice") }
	allOver := func(l *revocation.List) error { return l.EndAll(t.Context()) }
	nothing := func(*revocation.List) error { return nil }

	tests := []struct {
		name  string
		do    func(*revocation.List) error
		rec   *session.Record
		ended bool
	}{
		{"empty list", nothing, login("alice", start), false},
		{"session", sessionOver, record("a", 1), true},
		{"session, any generation", sessionOver, record("a", 1<<64-1), true},
		{"session, another", sessionOver, record("b", 1), false},
		{"session, longer ID", sessionOver, record("aa", 1), false},
		{"below, zero", belowThree, record("a", 0), true},
		{"below", belowThree, record("a", 2), true},
		{"below, the new generation", belowThree, record("a", 3), false},
		{"below, a later one", belowThree, record("a", 4), false},
		{"below, another session", belowThree, record("b", 2), false},
		{"subject, before", subjectOver, login("alice", start.Add(-time.Hour)), true},
		{"subject, the same instant", subjectOver, login("alice", start), true},
		{"subject, one ms later", subjectOver, login("alice", start.Add(ms)), false},
		{"subject, other subject", subjectOver, login("bob", start), false},
		{"subject, by case", subjectOver, login("Alice", start), false},
		{"subject, nobody", subjectOver, anonymous(start), false},
		{"subject, no login time", subjectOver, login("alice", time.Time{}), true},
		{"all, before", allOver, login("alice", start.Add(-time.Hour)), true},
		{"all, the same instant", allOver, login("alice", start), true},
		{"all, login later", allOver, login("alice", start.Add(ms)), false},
		{"all, anonymous", allOver, anonymous(start), true},
		{"all, anonymous, later", allOver, anonymous(start.Add(time.Second)), false},
		{"all, login under way", allOver, &session.Record{ID: "s", CreatedAt: start.Add(time.Second), Subject: "alice", AuthenticatedAt: start}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			lists(t, func(t *testing.T, l *revocation.List, _ *clock) {
				require.NoError(t, tt.do(l))
				if err := l.Check(tt.rec); tt.ended {
					require.ErrorIs(t, err, session.Ended)
				} else {
					require.NoError(t, err)
				}
			})
		})
	}
}

func TestSkewReachesFurther(t *testing.T) {
	c := newClock()
	l := revocation.NewVolatile(revocation.Config{Lifetime: lifetime, Skew: 2 * time.Second, Now: c.Now})
	require.NoError(t, l.EndSubject(t.Context(), "alice"))
	require.ErrorIs(t, l.Check(login("alice", start.Add(2*time.Second))), session.Ended)
	require.NoError(t, l.Check(login("alice", start.Add(2*time.Second+time.Millisecond))))

	require.NoError(t, l.EndAll(t.Context()))
	require.ErrorIs(t, l.Check(anonymous(start.Add(2*time.Second))), session.Ended)
	require.NoError(t, l.Check(anonymous(start.Add(3*time.Second))))
}

func TestSubjectsOfAnyLength(t *testing.T) {
	for _, n := range []int{1, 127, 128, 129, 4096} {
		l := revocation.NewVolatile(revocation.Config{})
		subject := strings.Repeat("x", n)
		require.NoError(t, l.EndSubject(t.Context(), subject))
		require.ErrorIs(t, l.Check(login(subject, start)), session.Ended, "length %d", n)
		require.NoError(t, l.Check(login(subject+"x", start)), "length %d", n)
	}
}

func TestEndBelowGoesToTheFirst(t *testing.T) {
	lists(t, func(t *testing.T, l *revocation.List, _ *clock) {
		steps := []struct {
			name       string
			generation uint64
			ok         bool
		}{
			{"first", 2, true},
			{"the same again", 2, false},
			{"an older one", 1, false},
			{"a higher one", 5, true},
			{"between", 3, false},
		}
		for _, s := range steps {
			ok, err := l.EndBelow(t.Context(), until("a", s.generation-1, start.Add(lifetime)))
			require.NoError(t, err, s.name)
			require.Equal(t, s.ok, ok, s.name)
		}
		require.NoError(t, l.EndSession(t.Context(), until("a", 0, start.Add(lifetime))))
		ok, err := l.EndBelow(t.Context(), until("a", 8, start.Add(lifetime)))
		require.NoError(t, err)
		require.False(t, ok, "the session has ended")
		require.ErrorIs(t, l.Check(record("a", 9)), session.Ended)
	})
}

func TestEndBelowHasOneWinner(t *testing.T) {
	lists(t, func(t *testing.T, l *revocation.List, _ *clock) {
		const rounds, callers = 20, 8
		for round := range rounds {
			var wins atomic.Int32
			var group sync.WaitGroup
			for range callers {
				group.Go(func() {
					ok, err := l.EndBelow(context.Background(), until(fmt.Sprint(round), 1, start.Add(lifetime)))
					if err == nil && ok {
						wins.Add(1)
					}
				})
			}
			group.Wait()
			require.EqualValues(t, 1, wins.Load())
		}
	})
}

func TestEntriesOutliveTheSession(t *testing.T) {
	tests := []struct {
		name     string
		deadline time.Duration
		lives    time.Duration
	}{
		{"deadline sooner than lifetime", time.Hour, time.Hour},
		{"deadline later than lifetime", 2 * lifetime, 2 * lifetime},
		{"deadline that is over", -time.Hour, time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, path := newClock(), journalPath(t)
			l := open(t, path, c)
			require.NoError(t, l.EndSession(t.Context(), until("a", 0, start.Add(tt.deadline))))
			require.NoError(t, l.Close())

			c.advance(tt.lives - time.Second)
			l = open(t, path, c)
			require.ErrorIs(t, l.Check(record("a", 1)), session.Ended)
			require.NoError(t, l.Close())

			c.advance(time.Second)
			l = open(t, path, c)
			require.NoError(t, l.Check(record("a", 1)), "dropped: every session of that time is over")
			require.Zero(t, l.Len())
		})
	}
}

// One instance makes no token after the end, so the end is needed only as long
// as the newest token lives without activity.
func TestEntriesOfOneInstance(t *testing.T) {
	const idle, longest = 20 * time.Minute, 2 * time.Hour
	seen := func(deadline time.Duration) *session.Record {
		rec := until("a", 1, start.Add(deadline))
		rec.SeenAt = start.Add(-time.Minute)
		rec.IdleDeadline = rec.SeenAt.Add(idle)
		if rec.IdleDeadline.After(rec.Deadline) {
			rec.IdleDeadline = rec.Deadline
		}
		return rec
	}
	remembered := seen(lifetime)
	remembered.IdleDeadline = remembered.SeenAt.Add(longest)
	session := func(rec *session.Record) func(*revocation.List) error {
		return func(l *revocation.List) error { return l.EndSession(t.Context(), rec) }
	}
	tests := []struct {
		name  string
		end   func(*revocation.List) error
		lives time.Duration
	}{
		{"session", session(seen(lifetime)), idle},
		{"session under a longer idle timeout", session(remembered), longest},
		{"session near its deadline", session(seen(10 * time.Minute)), 10 * time.Minute},
		{"session without deadlines", session(until("a", 1, time.Time{})), longest},
		{"tokens before a login", func(l *revocation.List) error {
			_, err := l.EndBelow(t.Context(), seen(lifetime))
			return err
		}, idle},
		{"subject", func(l *revocation.List) error { return l.EndSubject(t.Context(), "alice") }, longest},
		{"everything", func(l *revocation.List) error { return l.EndAll(t.Context()) }, longest},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, skew := range []time.Duration{0, time.Minute} {
				c := newClock()
				cfg := revocation.Config{
					Path: journalPath(t), Lifetime: lifetime, SingleInstance: true, IdleTimeout: longest, Skew: skew, Now: c.Now,
				}
				count := func() int {
					l, err := revocation.Open(cfg)
					require.NoError(t, err)
					defer l.Close()
					return l.Len()
				}
				l, err := revocation.Open(cfg)
				require.NoError(t, err)
				require.NoError(t, tt.end(l))
				require.NoError(t, l.Close())
				c.advance(tt.lives + skew - time.Second)
				require.Equal(t, 1, count())
				c.advance(time.Second)
				require.Zero(t, count())
			}
		})
	}
}

func TestEndingAgainExtends(t *testing.T) {
	c, path := newClock(), journalPath(t)
	l := open(t, path, c)
	require.NoError(t, l.EndSession(t.Context(), until("a", 0, start.Add(lifetime))))
	require.NoError(t, l.EndSession(t.Context(), until("a", 0, start.Add(2*lifetime))))
	require.NoError(t, l.Close())
	c.advance(2*lifetime - time.Minute)
	require.ErrorIs(t, open(t, path, c).Check(record("a", 1)), session.Ended)
}

func TestDeadEntriesLeaveStepByStep(t *testing.T) {
	c := newClock()
	l := revocation.NewVolatile(revocation.Config{Lifetime: time.Hour, Now: c.Now})
	const n = 20_000
	for i := range n {
		require.NoError(t, l.EndSession(t.Context(), until(fmt.Sprintf("early %d", i), 0, time.Time{})))
	}
	require.Equal(t, n, l.Len())
	c.advance(time.Hour)
	for i := range n / 2 {
		require.NoError(t, l.EndSession(t.Context(), until(fmt.Sprintf("late %d", i), 0, time.Time{})))
	}
	require.Less(t, l.Len(), n*3/4, "half of them are alive")
}

func TestExtendedEntriesStay(t *testing.T) {
	c := newClock()
	l := revocation.NewVolatile(revocation.Config{Lifetime: time.Hour, Now: c.Now})
	require.NoError(t, l.EndSession(t.Context(), until("long", 0, time.Time{})))
	c.advance(30 * time.Minute)
	require.NoError(t, l.EndSession(t.Context(), until("long", 0, time.Time{})))
	c.advance(45 * time.Minute)
	for i := range 1000 { // visits every shard
		require.NoError(t, l.EndSession(t.Context(), until(fmt.Sprint(i), 0, time.Time{})))
	}
	require.ErrorIs(t, l.Check(record("long", 1)), session.Ended)
	require.Equal(t, 1001, l.Len())
}

func TestMistakesOfTheCaller(t *testing.T) {
	lists(t, func(t *testing.T, l *revocation.List, _ *clock) {
		tests := []struct {
			name string
			do   func() error
		}{
			{"no ID", func() error { return l.EndSession(t.Context(), until("", 0, start.Add(lifetime))) }},
			{"the last generation", func() error { _, err := l.EndBelow(t.Context(), until("a", 1<<30-2, start.Add(lifetime))); return err }},
			{"no subject", func() error { return l.EndSubject(t.Context(), "") }},
		}
		for _, tt := range tests {
			require.ErrorIs(t, tt.do(), session.BadValue, tt.name)
		}
		require.Zero(t, l.Len())
	})
}

func TestOpenReportsEveryMistake(t *testing.T) {
	l, err := revocation.Open(revocation.Config{Skew: -1, Wait: -1, IdleTimeout: -1, MaxEntries: 9_999})
	require.Nil(t, l)
	for _, field := range []string{"Path", "Lifetime", "Skew", "Wait", "IdleTimeout", "MaxEntries"} {
		require.ErrorContains(t, err, "Config."+field)
	}
	_, err = revocation.Open(revocation.Config{Path: filepath.Join(t.TempDir(), "missing", "file"), Lifetime: lifetime})
	require.ErrorContains(t, err, "in a directory that doesn't exist")
}

func TestZeroListIsClosed(t *testing.T) {
	var l revocation.List
	_, below := l.EndBelow(t.Context(), until("a", 0, start.Add(lifetime)))
	for _, err := range []error{l.Check(record("a", 1)), l.EndSession(t.Context(), until("a", 0, start.Add(lifetime))),
		below, l.EndSubject(t.Context(), "alice"), l.EndAll(t.Context()), l.Room()} {
		require.ErrorIs(t, err, session.Unavailable)
	}
	require.Zero(t, l.Len())
	require.NoError(t, l.Close())
}

func TestErrorsKeepNamesToThemselves(t *testing.T) {
	l := revocation.NewVolatile(revocation.Config{})
	require.NoError(t, l.EndSubject(t.Context(), "alice@example.org"))
	err := l.Check(login("alice@example.org", start))
	require.Error(t, err)
	require.NotContains(t, err.Error(), "alice")
}

func TestCheckAllocatesNothing(t *testing.T) {
	l := revocation.NewVolatile(revocation.Config{})
	for i := range 1000 {
		require.NoError(t, l.EndSession(t.Context(), until(fmt.Sprint(i), 0, start.Add(lifetime))))
		require.NoError(t, l.EndSubject(t.Context(), fmt.Sprint(i)))
	}
	rec := login("alice@example.org", start)
	var err error
	require.Zero(t, testing.AllocsPerRun(1000, func() { err = errors.Join(err, l.Check(rec)) }))
	require.NoError(t, err)
}

func TestConcurrentUse(t *testing.T) {
	lists(t, func(t *testing.T, l *revocation.List, _ *clock) {
		var group sync.WaitGroup
		for i := range 8 {
			group.Go(func() {
				for j := range 20 {
					id := fmt.Sprint(i, j)
					if err := l.EndSession(context.Background(), until(id, 0, start.Add(lifetime))); err != nil {
						t.Error(err)
					}
					if err := l.EndSubject(context.Background(), id); err != nil {
						t.Error(err)
					}
					if l.Check(record(id, 1)) == nil || l.Check(login(id, start)) == nil {
						t.Errorf("%s: ended, but Check doesn't know", id)
					}
				}
			})
		}
		group.Wait()
		require.Equal(t, 320, l.Len())
	})
}
