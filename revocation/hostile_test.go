package revocation_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

// began is a session of the subject, which began at that instant and has not
// ended.
func began(id, subject string, at time.Time) *session.Record {
	rec := &session.Record{ID: id, Subject: subject, Generation: 1, CreatedAt: at, SeenAt: at,
		IdleDeadline: at.Add(time.Hour), Deadline: at.Add(12 * time.Hour)}
	if subject != "" {
		rec.AuthenticatedAt = at
	}
	return rec
}

// Whoever can write to the store can end sessions. Damaged entries have no
// effect, and no entry keeps later ends from counting.
func TestHostileEntries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog()
		l := shared(t, log, func(c *revocation.Config) { c.Skew = 5 * time.Second })
		synctest.Wait()
		until := time.Now().Add(time.Hour)
		var hostile []revocation.Entry
		for kind := range 256 {
			for _, size := range []int{0, 1, 15, 16, 17, 20, 32, 33, 39, 1000} {
				for _, value := range []int64{math.MinInt64, -1, 0, 1, 1 << 33, math.MaxInt64} {
					if kind != 'e' || size > 0 {
						key := string(append([]byte{byte(kind)}, make([]byte, size)...))
						hostile = append(hostile, revocation.Entry{Key: key, Value: value, Until: until})
					}
				}
			}
		}
		hostile = append(hostile, revocation.Entry{}, revocation.Entry{Key: "e", Value: math.MaxInt64},
			revocation.Entry{Key: "e", Value: math.MinInt64, Until: time.Unix(math.MaxInt64, 0)},
			revocation.Entry{Key: "e", Value: -1, Until: time.Unix(math.MinInt64, 0)})
		require.NoError(t, log.Append(t.Context(), hostile))
		time.Sleep(time.Second)
		alice := began("one", "alice", time.Now())
		require.NoError(t, l.Fresh())
		require.NoError(t, l.Check(alice))

		// An instant at the end of time ends what there is, but disables nothing.
		require.NoError(t, log.Append(t.Context(), []revocation.Entry{{Key: "e", Value: math.MaxInt64, Until: until}}))
		time.Sleep(time.Second)
		require.ErrorIs(t, l.Check(alice), session.Ended)
		next, err := l.Admit(began("two", "alice", time.Now()))
		require.NoError(t, err)
		require.NoError(t, l.Check(next))
		time.Sleep(time.Second)
		require.NoError(t, l.EndSubject(t.Context(), "alice"))
		require.ErrorIs(t, l.Check(next), session.Ended)
		require.ErrorIs(t, l.Check(alice), session.Ended)
		require.NoError(t, l.Close())
	})
}

// The clocks of two instances differ by Skew. Whoever logs in after all
// sessions were ended, on an instance that knows it, is logged in on both; and
// a second end ends that session, too. Negative control: without Admit it is
// dead.
func TestSkewOfTwoInstances(t *testing.T) {
	const skew = 5 * time.Second
	for _, ahead := range []time.Duration{-skew, -time.Second, 0, time.Second, skew} {
		for _, end := range []string{"subject", "everybody"} {
			t.Run(fmt.Sprint(end, ahead), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { endThenLogin(t, end, skew, ahead) })
			})
		}
	}
}

func endThenLogin(t *testing.T, end string, skew, ahead time.Duration) {
	log := newMemoryLog()
	theirs := func() time.Time { return time.Now().Add(ahead) }
	a := shared(t, log, func(c *revocation.Config) { c.Skew, c.Now = skew, theirs })
	b := shared(t, log, func(c *revocation.Config) { c.Skew = skew })
	synctest.Wait()
	endAll := func(l *revocation.List) error {
		if end == "everybody" {
			return l.EndAll(t.Context())
		}
		return l.EndSubject(t.Context(), "alice")
	}
	old := began("old", "alice", time.Now().Add(-time.Minute))
	running := began("running", "alice", time.Now())
	time.Sleep(10 * time.Millisecond)
	require.NoError(t, endAll(a))
	time.Sleep(10 * time.Millisecond)
	for _, l := range []*revocation.List{a, b} {
		require.ErrorIs(t, l.Check(old), session.Ended)
	}
	if ahead >= 0 {
		_, err := b.Admit(running)
		require.ErrorIs(t, err, session.Ended)
	}
	rec := began("new", "alice", time.Now())
	if ahead > -skew {
		require.ErrorIs(t, b.Check(rec), session.Ended, "the negative control")
	}
	rec, err := b.Admit(rec)
	require.NoError(t, err, "a login after the end")
	for _, l := range []*revocation.List{a, b} {
		require.NoError(t, l.Check(rec), "a login after the end")
	}
	for _, l := range []*revocation.List{b, a} {
		time.Sleep(10 * time.Millisecond)
		require.NoError(t, endAll(l))
		time.Sleep(10 * time.Millisecond)
		require.ErrorIs(t, a.Check(rec), session.Ended, "a second end")
		require.ErrorIs(t, b.Check(rec), session.Ended, "a second end")
		again, err := l.Admit(began("again", "alice", time.Now()))
		if l == b {
			require.NoError(t, err)
			rec = again
		}
	}
	require.NoError(t, a.Close())
	require.NoError(t, b.Close())
}

// A virtual machine that was suspended, or whose clock was set, does not take
// itself for fresh: the monotonic clock stood still.
func TestStalenessAfterSuspension(t *testing.T) {
	var offset atomic.Int64
	base := time.Now().Round(0) // a clock without a monotonic part, as after a suspension
	log := newMemoryLog()
	l := shared(t, log, func(c *revocation.Config) {
		c.MaxStaleness = time.Minute
		c.Now = func() time.Time { return base.Add(time.Duration(offset.Load())) }
	})
	require.Eventually(t, func() bool { return l.Fresh() == nil }, 5*time.Second, time.Millisecond)
	log.set(func() { log.unread = context.DeadlineExceeded; close(log.changed); log.changed = make(chan struct{}) })
	offset.Store(int64(2 * time.Minute))
	require.ErrorIs(t, l.Fresh(), session.Unavailable)
	log.set(func() { log.unread = nil })
	require.Eventually(t, func() bool { return l.Fresh() == nil }, 5*time.Second, time.Millisecond)
	offset.Store(int64(-time.Hour)) // set back
	require.GreaterOrEqual(t, l.Stats().Staleness, time.Duration(0))
	require.Eventually(t, func() bool { return l.Stats().Staleness < time.Minute }, 5*time.Second, time.Millisecond)
}

// Logs that say again and again that they are lost, that nothing is complete,
// or that don't wait, are not asked without a pause.
func TestNoBusyReader(t *testing.T) {
	for name, r := range map[string]revocation.Reading{
		"lost": {Lost: true}, "never complete": {Next: "1"}, "complete at once": {Next: "1", Complete: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := &constantLog{reading: r}
				l := shared(t, log)
				time.Sleep(time.Second)
				require.Equal(t, r.Complete, l.Fresh() == nil)
				require.NoError(t, l.Close())
				require.Less(t, log.reads.Load(), int64(300))
			})
		})
	}
}

type constantLog struct {
	reading revocation.Reading
	reads   atomic.Int64
	entries atomic.Int64
}

func (c *constantLog) Append(_ context.Context, entries []revocation.Entry) error {
	c.entries.Add(int64(len(entries)))
	return nil
}

func (c *constantLog) Read(context.Context, string, time.Duration) (revocation.Reading, error) {
	c.reads.Add(1)
	return c.reading, nil
}

// A bot that begins and ends anonymous sessions does not fill the log, which
// all instances share, and every end of somebody's session is still appended.
func TestFloodStaysOutOfTheLog(t *testing.T) {
	log := &constantLog{reading: revocation.Reading{Next: "1", Complete: true}}
	now := time.Now()
	var passed atomic.Int64
	l := shared(t, log, func(c *revocation.Config) {
		c.MaxEntries = 10_000
		c.Now = func() time.Time { return now.Add(time.Duration(passed.Load())) }
	})
	ends := func(n int, subject string) {
		for i := range n {
			rec := began(fmt.Sprint(subject, passed.Load(), i), subject, now)
			if subject != "" {
				rec.Subject = strconv.Itoa(i)
			}
			require.NoError(t, l.EndSession(t.Context(), rec))
		}
	}
	ends(4000, "")
	require.EqualValues(t, 1250, log.entries.Load(), "an eighth of MaxEntries at once")
	ends(100, "alice")
	require.EqualValues(t, 1350, log.entries.Load())
	passed.Store(int64(33 * time.Minute)) // half of what an entry lives: IdleTimeout, MaxStaleness and a minute
	ends(4000, "")
	require.InDelta(t, 1350+625, log.entries.Load(), 5)
}

// Hearing of more than a list may hold stops it: it goes stale, and refuses
// tokens, rather than forget.
func TestFloodFromTheLog(t *testing.T) {
	log := newMemoryLog()
	batch := make([]revocation.Entry, 30_000)
	for i := range batch {
		key := append([]byte{'u'}, make([]byte, 20)...)
		binary.BigEndian.PutUint64(key[1:], uint64(i))
		batch[i] = revocation.Entry{Key: string(key), Value: 1, Until: time.Now().Add(time.Hour)}
	}
	require.NoError(t, log.Append(t.Context(), batch))
	var problem atomic.Value
	l := shared(t, log, func(c *revocation.Config) {
		c.MaxEntries = 10_000
		c.OnProblem = func(err error) {
			if strings.Contains(err.Error(), "times MaxEntries") {
				problem.Store(err)
			}
		}
	})
	require.Eventually(t, func() bool { return problem.Load() != nil }, 5*time.Second, time.Millisecond)
	require.Equal(t, 20_000, l.Len())
	require.ErrorIs(t, l.Fresh(), session.Unavailable)
}

// After a Close, and after a crash, the log has every end that was answered
// without an error.
func TestCloseLosesNothing(t *testing.T) {
	log := newMemoryLog()
	l := shared(t, log)
	var ended []*session.Record
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 100_000 {
			rec := began(fmt.Sprint("session ", i), "alice"+strconv.Itoa(i), time.Now())
			if l.EndSession(context.Background(), rec) != nil {
				return
			}
			ended = append(ended, rec)
		}
	}()
	time.Sleep(20 * time.Millisecond)
	require.NoError(t, l.Close())
	<-done
	require.NotEmpty(t, ended)
	other := shared(t, log)
	require.Eventually(t, func() bool { return other.Fresh() == nil }, 5*time.Second, time.Millisecond)
	for _, rec := range ended {
		require.ErrorIs(t, other.Check(rec), session.Ended)
	}
}

// A hangingLog answers when the context ends.
type hangingLog struct{ appends bool }

func (h hangingLog) Append(ctx context.Context, _ []revocation.Entry) error {
	if h.appends {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (h hangingLog) Read(ctx context.Context, _ string, _ time.Duration) (revocation.Reading, error) {
	<-ctx.Done()
	return revocation.Reading{}, ctx.Err()
}

// A log that hangs delays nobody longer than they want to wait, and a Close
// only for two calls.
func TestCloseDuringAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := shared(t, hangingLog{})
		alice := began("one", "alice", time.Now())
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		begun := time.Now()
		require.ErrorIs(t, l.EndSession(ctx, alice), session.Unavailable)
		require.Equal(t, 300*time.Millisecond, time.Since(begun))
		require.ErrorIs(t, l.Check(alice), session.Ended)
		begun = time.Now()
		require.ErrorContains(t, l.Close(), "nothing else has it")
		require.LessOrEqual(t, time.Since(begun), 10*time.Second)
		require.NoError(t, l.Close())
		require.ErrorIs(t, l.EndSession(t.Context(), began("two", "alice", time.Now())), session.Unavailable)

		behind := shared(t, hangingLog{appends: true}) // it reads nothing, and tells all the same
		begun = time.Now()
		require.NoError(t, behind.EndSession(t.Context(), alice))
		require.Zero(t, time.Since(begun))
		require.NoError(t, behind.Close())
	})
}

// A halfLog is a log that its instance can't read.
type halfLog struct{ *memoryLog }

func (halfLog) Read(ctx context.Context, _ string, _ time.Duration) (revocation.Reading, error) {
	<-ctx.Done()
	return revocation.Reading{}, ctx.Err()
}

// Somebody logs in on one instance, and then logs out on another one that has
// not heard of the login, and takes the session for anonymous. The end is never
// forgotten as one of too many anonymous ones.
func TestEndByAnInstanceThatIsBehind(t *testing.T) {
	log, now := newMemoryLog(), time.Now()
	small := func(c *revocation.Config) { c.MaxEntries, c.Now = 10_000, func() time.Time { return now } }
	knows, behind := shared(t, log, small), shared(t, halfLog{log}, small)
	visitor := began("one", "", now)
	visitor.IdleDeadline = now.Add(time.Minute)
	ok, err := knows.EndBelow(t.Context(), visitor)
	require.NoError(t, err)
	require.True(t, ok)
	alice := began("one", "alice", now)
	alice.Generation = 2
	require.NoError(t, knows.Check(alice))
	require.NoError(t, behind.EndSession(t.Context(), visitor))
	require.Eventually(t, func() bool { return knows.Check(alice) != nil }, 5*time.Second, time.Millisecond)
	hasty, cancel := context.WithCancel(t.Context())
	cancel() // nobody waits for the log
	for i := range 20_000 {
		_ = knows.EndSession(hasty, began(fmt.Sprint("bot ", i), "", now))
	}
	require.ErrorIs(t, knows.Check(alice), session.Ended)
}
