package revocation_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

// A memoryLog is a Log in memory, which can be out of reach.
type memoryLog struct {
	mu       sync.Mutex // guards the rest
	entries  []revocation.Entry
	unread   error // what Read returns
	unwrit   error // what Append returns
	changed  chan struct{}
	ahead    time.Duration // the clock offset of each Reading
	appended int           // calls of Append
	taken    []revocation.Entry
	losses   int               // positions from before a loss are lost
	page     int               // how many entries a Reading has at most; 0 is all
	onRead   func(n int) error // called with the number of entries before the position, if not nil
}

func newMemoryLog() *memoryLog { return &memoryLog{changed: make(chan struct{})} }

func (m *memoryLog) Append(_ context.Context, entries []revocation.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.appended++
	if m.unwrit != nil {
		return m.unwrit
	}
	m.entries, m.taken = append(m.entries, entries...), append(m.taken, entries...)
	close(m.changed)
	m.changed = make(chan struct{})
	return nil
}

func (m *memoryLog) Read(ctx context.Context, pos string, wait time.Duration) (revocation.Reading, error) {
	for begun := time.Now(); ; {
		m.mu.Lock()
		r, changed, err, onRead := m.reading(pos), m.changed, m.unread, m.onRead
		m.mu.Unlock()
		if onRead != nil && err == nil {
			n, _, _ := strings.Cut(pos, "/")
			at, _ := strconv.Atoi(n)
			err = onRead(at)
		}
		switch {
		case err != nil:
			return revocation.Reading{}, err
		case r.Lost || len(r.Entries) > 0 || time.Since(begun) >= wait || pos == "":
			return r, nil
		}
		select {
		case <-changed:
		case <-time.After(wait):
		case <-ctx.Done():
			return revocation.Reading{}, ctx.Err()
		}
	}
}

// reading returns what is behind pos: the number of entries before it, and that
// of losses.
func (m *memoryLog) reading(pos string) revocation.Reading {
	first, losses, _ := strings.Cut(pos, "/")
	n, _ := strconv.Atoi(first)
	if pos != "" && losses != strconv.Itoa(m.losses) || n > len(m.entries) {
		return revocation.Reading{Lost: true}
	}
	end := len(m.entries)
	if m.page > 0 {
		end = min(end, n+m.page)
	}
	return revocation.Reading{Entries: m.entries[n:end:end], Next: strconv.Itoa(end) + "/" + strconv.Itoa(m.losses),
		Complete: end == len(m.entries), ClockOffset: m.ahead}
}

// lose drops all but the first n entries, and wakes those who read.
func (m *memoryLog) lose(n int) {
	m.set(func() {
		m.entries = slices.Clone(m.entries[:min(n, len(m.entries))])
		m.losses++
		close(m.changed)
		m.changed = make(chan struct{})
	})
}

func (m *memoryLog) set(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}

func shared(t *testing.T, log revocation.Log, change ...func(*revocation.Config)) *revocation.List {
	c := revocation.Config{Log: log, Lifetime: 12 * time.Hour, IdleTimeout: time.Hour}
	for _, f := range change {
		f(&c)
	}
	l, err := revocation.Open(c)
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

// What ends on one instance has ended on the other, whatever it is, and also
// for an instance that starts later.
func TestListsConverge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog()
		a, b := shared(t, log), shared(t, log)
		synctest.Wait()
		begun := func(id, subject string) *session.Record {
			now := time.Now()
			return &session.Record{ID: id, Subject: subject, Generation: 3, CreatedAt: now, AuthenticatedAt: now, SeenAt: now,
				IdleDeadline: now.Add(time.Hour), Deadline: now.Add(12 * time.Hour)}
		}
		one, two, nobody, renewed := begun("one", "alice"), begun("two", "bob"), begun("three", ""), begun("four", "carol")
		require.NoError(t, a.EndSession(t.Context(), one))
		require.NoError(t, b.EndSubject(t.Context(), "bob"))
		require.NoError(t, a.EndSession(t.Context(), nobody))
		ok, err := b.EndBelow(t.Context(), renewed)
		require.True(t, ok)
		require.NoError(t, err)
		synctest.Wait()
		c := shared(t, log)
		synctest.Wait()
		for _, l := range []*revocation.List{a, b, c} {
			require.NoError(t, l.Fresh())
			require.ErrorIs(t, l.Check(one), session.Ended)
			require.ErrorIs(t, l.Check(two), session.Ended)
			require.ErrorIs(t, l.Check(nobody), session.Ended)
			require.Error(t, l.Check(renewed))
			next := *renewed
			next.Generation++
			require.NoError(t, l.Check(&next))
			require.NoError(t, l.Check(begun("five", "dora")))
		}
		time.Sleep(time.Second)
		require.NoError(t, c.EndAll(t.Context()))
		synctest.Wait()
		require.ErrorIs(t, a.Check(renewed), session.Ended)
		for _, l := range []*revocation.List{a, b, c} {
			require.NoError(t, l.Close())
		}
	})
}

// A list that can't read the log is stale, says so, and heals. What ended
// meanwhile is told the caller as not known elsewhere, and is known when the
// log is back.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog()
		log.unread = errors.New("down")
		var problems []error
		var mu sync.Mutex
		a := shared(t, log, func(c *revocation.Config) {
			c.MaxStaleness = 10 * time.Second
			c.OnProblem = func(err error) { mu.Lock(); problems = append(problems, err); mu.Unlock() }
		})
		open := shared(t, log, func(c *revocation.Config) { c.InsecureServeStale = true })
		synctest.Wait()
		require.ErrorIs(t, a.Fresh(), session.Unavailable, "the log was never read")
		require.NoError(t, open.Fresh())
		log.set(func() { log.unread = nil })
		time.Sleep(2 * time.Second)
		require.NoError(t, a.Fresh())
		require.LessOrEqual(t, a.Stats().Staleness, 2*time.Second)

		log.set(func() { log.unread, log.unwrit = errors.New("down"), errors.New("down") })
		now := time.Now()
		rec := &session.Record{ID: "one", Subject: "alice", Generation: 1, CreatedAt: now, AuthenticatedAt: now, SeenAt: now,
			IdleDeadline: now.Add(time.Hour), Deadline: now.Add(12 * time.Hour)}
		require.ErrorIs(t, a.EndSession(t.Context(), rec), session.Unavailable)
		require.ErrorIs(t, a.Check(rec), session.Ended)
		require.ErrorIs(t, a.EndSession(t.Context(), rec), session.Unavailable, "still not known elsewhere")
		time.Sleep(8 * time.Second)
		require.NoError(t, a.Fresh())
		time.Sleep(4 * time.Second)
		require.ErrorIs(t, a.Fresh(), session.Unavailable)
		require.NoError(t, open.Check(rec))
		log.set(func() { log.unread, log.unwrit = nil, nil })
		time.Sleep(2 * time.Second)
		require.NoError(t, a.Fresh())
		require.NoError(t, a.EndSession(t.Context(), rec))
		require.ErrorIs(t, open.Check(rec), session.Ended)
		mu.Lock()
		require.Len(t, problems, 3, "%v", problems) // the first outage, and both sides of the second
		mu.Unlock()
		require.NoError(t, a.Close())
		require.NoError(t, open.Close())
	})
}

// A log that was emptied gets everything back from those who know it.
func TestLostLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog()
		a, b := shared(t, log), shared(t, log)
		synctest.Wait()
		require.NoError(t, a.EndSubject(t.Context(), "alice"))
		synctest.Wait()
		log.set(func() { log.entries = nil })
		time.Sleep(3 * time.Second)
		c := shared(t, log)
		synctest.Wait()
		now := time.Now().Add(-time.Hour)
		rec := &session.Record{ID: "one", Subject: "alice", CreatedAt: now, AuthenticatedAt: now}
		require.ErrorIs(t, c.Check(rec), session.Ended)
		for _, l := range []*revocation.List{a, b, c} {
			require.NoError(t, l.Close())
		}
	})
}

// A process that ended in an outage of the log appends at its next start what
// only its journal has.
func TestJournalReachesTheLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	log := newMemoryLog()
	log.unwrit = errors.New("down")
	withFile := func(c *revocation.Config) { c.Path = path }
	a, err := revocation.Open(revocation.Config{Path: path, Log: log, Lifetime: time.Hour})
	require.NoError(t, err)
	require.ErrorIs(t, a.EndSubject(t.Context(), "alice"), session.Unavailable)
	require.NoError(t, a.Close())
	log.set(func() { log.unwrit = nil })
	shared(t, log, withFile)
	require.Eventually(t, func() bool {
		log.mu.Lock()
		defer log.mu.Unlock()
		return len(log.entries) == 1
	}, 5*time.Second, time.Millisecond)
}

// offBy returns a clock that is ahead.
func offBy(d time.Duration) func(*revocation.Config) {
	return func(c *revocation.Config) {
		c.Skew = 5 * time.Second
		c.Now = func() time.Time { return time.Now().Add(d) }
	}
}

// loginAt is a login of alice whose request began at an instant.
func loginAt(at time.Time) *session.Record {
	return &session.Record{ID: "one", Subject: "alice", CreatedAt: at, AuthenticatedAt: at, SeenAt: at,
		IdleDeadline: at.Add(time.Hour), Deadline: at.Add(12 * time.Hour)}
}

// However the clocks of two instances differ within Skew, a login that begins
// after its instance has heard of an end is good on both, and one that began
// before is refused.
func TestLoginAfterAnEndElsewhere(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"fast": 5 * time.Second, "even": 0, "slow": -5 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := newMemoryLog()
				here, there := shared(t, log, offBy(0)), shared(t, log, offBy(ahead))
				synctest.Wait()
				for _, end := range []func(context.Context) error{
					there.EndAll, func(ctx context.Context) error { return there.EndSubject(ctx, "alice") },
				} {
					before := loginAt(time.Now())
					time.Sleep(time.Second)
					require.NoError(t, end(t.Context()))
					synctest.Wait()
					_, err := here.Admit(before)
					require.ErrorIs(t, err, session.Ended)
					time.Sleep(2 * time.Millisecond)
					after, err := here.Admit(loginAt(time.Now()))
					require.NoError(t, err)
					require.NoError(t, here.Check(after))
					require.NoError(t, there.Check(after))
				}
				require.NoError(t, here.Close())
				require.NoError(t, there.Close())
			})
		})
	}
}

// A second end ends the logins since the first, though it comes from an
// instance whose clock is behind, which has not heard of the first by itself.
func TestSecondEndOnASlowClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog()
		fast, slow := shared(t, log, offBy(5*time.Second)), shared(t, log, offBy(0))
		synctest.Wait()
		both := []func(l *revocation.List) error{
			func(l *revocation.List) error { return l.EndSubject(t.Context(), "alice") },
			func(l *revocation.List) error { return l.EndAll(t.Context()) },
		}
		for _, first := range both {
			for _, second := range both {
				require.NoError(t, first(fast))
				time.Sleep(2 * time.Millisecond)
				login, err := fast.Admit(loginAt(time.Now().Add(5 * time.Second)))
				require.NoError(t, err)
				require.NoError(t, fast.Check(login))
				time.Sleep(time.Second)
				require.NoError(t, second(slow))
				synctest.Wait()
				require.ErrorIs(t, slow.Check(login), session.Ended)
				require.ErrorIs(t, fast.Check(login), session.Ended)
				time.Sleep(time.Minute)
			}
		}
		require.NoError(t, fast.Close())
		require.NoError(t, slow.Close())
	})
}

// When one end of a subject replaces those of many sessions, tokens of these
// sessions from before the login stay ended: they are of nobody, or of somebody
// else, and the end of the subject does not reach them. The instances hear of
// everything in either order.
func TestEndOfASubjectKeepsWhatIsOfOthers(t *testing.T) {
	for _, reversed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			log := newMemoryLog()
			a := shared(t, log)
			synctest.Wait()
			var before []*session.Record
			for i := range 200 {
				rec := loginAt(time.Now())
				rec.ID, rec.Generation = "session "+strconv.Itoa(i), 2
				earlier := *rec
				earlier.Generation = 1
				if earlier.Subject = "bob"; i%2 == 0 {
					earlier.Subject, earlier.AuthenticatedAt = "", time.Time{}
				}
				before = append(before, &earlier)
				ok, err := a.EndBelow(t.Context(), &earlier)
				require.NoError(t, err)
				require.True(t, ok)
				require.NoError(t, a.EndSession(t.Context(), rec))
				time.Sleep(time.Second)
			}
			require.NoError(t, a.EndSubject(t.Context(), "alice"))
			if log.mu.Lock(); reversed {
				slices.Reverse(log.entries[:len(log.entries)-1]) // the end of all of alice comes last
			}
			log.mu.Unlock()
			b := shared(t, log)
			synctest.Wait()
			for _, l := range []*revocation.List{a, b} {
				for _, rec := range before {
					require.ErrorIs(t, l.Check(rec), session.Ended, "%s of %q, reversed %t", rec.ID, rec.Subject, reversed)
				}
			}
			require.NoError(t, a.Close())
			require.NoError(t, b.Close())
		})
	}
}

// An instance that has not heard of an end may have the session remembered
// meanwhile. That token has ended, too, as long as it lives.
func TestEndOutlivesWhatOthersMake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const remembered = 2 * time.Hour // an hour longer than others
		l := shared(t, newMemoryLog(), func(c *revocation.Config) {
			c.Lifetime, c.IdleTimeout, c.MaxStaleness = 12*time.Hour, remembered, time.Minute
		})
		synctest.Wait()
		rec := loginAt(time.Now())
		require.NoError(t, l.EndSession(t.Context(), rec))
		time.Sleep(remembered + time.Minute) // after the bound another instance makes no more tokens
		for i := range 4000 {                // so that entries that are over are dropped
			other := loginAt(time.Now())
			other.ID, other.Subject = "session "+strconv.Itoa(i), "subject "+strconv.Itoa(i)
			require.NoError(t, l.EndSession(t.Context(), other))
		}
		require.ErrorIs(t, l.Check(rec), session.Ended)
		require.NoError(t, l.Close())
	})
}
