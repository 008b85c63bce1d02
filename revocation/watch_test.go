package revocation_test

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

// recordOf returns the record of a session that begins now.
func recordOf(id, subject string) *session.Record {
	now := time.Now()
	return &session.Record{ID: id, Subject: subject, Generation: 1, CreatedAt: now, AuthenticatedAt: now, SeenAt: now,
		IdleDeadline: now.Add(time.Hour), Deadline: now.Add(12 * time.Hour)}
}

// A watched is a session that a test watches.
type watched struct {
	rec   *session.Record
	err   atomic.Pointer[error] // of looks; nil for none
	looks atomic.Int32
	ended atomic.Int32
	stop  func()
}

func (w *watched) look() (*session.Record, error) {
	w.looks.Add(1)
	if err := w.err.Load(); err != nil {
		return w.rec, *err
	}
	return w.rec, nil
}

func watch(l *revocation.List, rec *session.Record) *watched {
	w := &watched{rec: rec}
	w.stop = l.Watch(rec, w.look, func() { w.ended.Add(1) })
	return w
}

// A look that can't find out anything is repeated, and ends nothing; nobody
// waits for another look meanwhile.
func TestWatchInAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := revocation.NewVolatile(revocation.Config{})
		var all []*watched
		down, gone := error(session.Unavailable), error(session.Ended)
		for i := range 100 {
			w := &watched{rec: recordOf(fmt.Sprint(i), "alice")}
			w.err.Store(&down)
			w.stop = l.Watch(w.rec, w.look, func() { w.ended.Add(1) })
			all = append(all, w)
		}
		time.Sleep(10 * time.Second)
		var looks int32
		for _, w := range all {
			require.Zero(t, w.ended.Load())
			looks += w.looks.Load()
		}
		require.InDelta(t, 10, looks, 2, "one look a second, however many watch")
		for i, w := range all {
			w.err.Store(nil)
			if i%2 == 0 {
				w.err.Store(&gone)
			}
		}
		time.Sleep(2 * time.Second)
		for i, w := range all {
			require.EqualValues(t, (i+1)%2, w.ended.Load())
			w.stop()
		}
	})
}

// Those who watch never wait for longer than the bound: when the log could not
// be read for so long, all are told.
func TestWatchWithoutTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog()
		denies := shared(t, log, func(c *revocation.Config) { c.MaxStaleness = 10 * time.Second })
		serves := shared(t, log, func(c *revocation.Config) {
			c.MaxStaleness, c.InsecureServeStale = 10*time.Second, true
		})
		synctest.Wait()
		one, two := watch(denies, recordOf("one", "alice")), watch(serves, recordOf("one", "alice"))
		log.set(func() { log.unread = errors.New("down") })
		time.Sleep(9 * time.Second)
		require.Zero(t, one.ended.Load())
		time.Sleep(2 * time.Second)
		require.EqualValues(t, 1, one.ended.Load())
		require.ErrorIs(t, denies.Fresh(), session.Unavailable)
		next := watch(denies, recordOf("two", "alice"))
		time.Sleep(time.Minute)
		require.Zero(t, two.ended.Load())
		require.Zero(t, next.ended.Load(), "opened when this was known already")
		log.set(func() { log.unread = nil })
		time.Sleep(time.Second)
		log.set(func() { log.unread = errors.New("down again") })
		time.Sleep(12 * time.Second)
		require.EqualValues(t, 1, next.ended.Load())
		two.stop()
	})
}

// What one instance announces reaches the others in any order, and late: the
// newest state counts.
func TestWatchChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog()
		a, b := shared(t, log), shared(t, log)
		synctest.Wait()
		first := recordOf("one", "alice")
		time.Sleep(time.Second)
		next := *first
		next.Generation, next.Since = 2, time.Now()
		here, there, late := watch(a, first), watch(b, first), watch(b, &next)
		a.Changed(first, &next, nil)
		time.Sleep(time.Second)
		entries := log.all()
		require.Len(t, entries, 1)
		require.LessOrEqual(t, len(entries[0].Key), 40)
		require.Less(t, time.Until(entries[0].Until), 15*time.Minute)
		require.NoError(t, log.Append(t.Context(), entries))

		// The instant of EndOthers is before next counts from.
		require.NoError(t, log.Append(t.Context(), []revocation.Entry{subjectUpTo(t, "alice", first.CreatedAt)}))
		time.Sleep(time.Second)
		require.ErrorIs(t, b.Check(first), session.Ended)
		for _, w := range []*watched{here, there, late} {
			require.Zero(t, w.ended.Load())
		}
		last := next
		last.Generation, last.Subject, last.AuthenticatedAt = 3, "bob", time.Now()
		newest := watch(b, &last)
		a.Changed(&next, &last, nil)
		time.Sleep(time.Second)
		for _, w := range []*watched{here, there, late} {
			require.EqualValues(t, 1, w.ended.Load(), "somebody else has logged in")
		}
		require.Zero(t, newest.ended.Load())
		// A change without a login or an end of others is no business of others.
		again := last
		again.Generation = 4
		entries = log.all()
		a.Changed(&last, &again, nil)
		time.Sleep(time.Second)
		require.Equal(t, entries, log.all())
		newest.stop()
	})
}

// all returns the entries.
func (m *memoryLog) all() (entries []revocation.Entry) {
	m.set(func() { entries = slices.Clone(m.entries) })
	return entries
}

// subjectUpTo returns the entry of a list that has ended a subject's sessions.
func subjectUpTo(t *testing.T, subject string, at time.Time) revocation.Entry {
	log := newMemoryLog()
	l := shared(t, log)
	require.NoError(t, l.EndSubject(t.Context(), subject))
	e := log.all()[0]
	e.Value = at.UnixMilli()
	return e
}

// Thousands watch, and end in all ways at once: each is told once or has
// stopped, and nothing is left of them.
func TestWatchRace(t *testing.T) {
	n := 1000
	if os.Getenv("CLOAKROOM_SOAK") != "" {
		n = 100_000
	}
	log := newMemoryLog()
	a, b := shared(t, log), shared(t, log)
	before := runtime.NumGoroutine()
	memory := heapInUse()
	all := make([]*watched, n)
	for i := range all {
		all[i] = watch(b, recordOf(fmt.Sprint("s", i), fmt.Sprint("u", i%800)))
	}
	t.Logf("%d bytes a watcher", (heapInUse()-memory)/uint64(n))
	require.LessOrEqual(t, runtime.NumGoroutine(), before+2)
	var group sync.WaitGroup
	for part := range 4 {
		group.Go(func() {
			for i := part; i < n; i += 4 {
				w := all[i]
				switch {
				case i%8 < 4:
					w.stop()
				case i%8 == 4:
					a.Changed(w.rec, nil, nil) // not known to b
					b.Changed(w.rec, nil, nil)
				case i%800 == 799:
					_ = a.EndSubject(t.Context(), w.rec.Subject)
				default:
					_ = a.EndSession(t.Context(), w.rec)
				}
			}
		})
	}
	group.Wait()
	require.Eventually(t, func() bool { return b.Watching() == 0 }, 20*time.Second, time.Millisecond)
	require.Eventually(t, func() bool {
		ended := 0
		for _, w := range all {
			ended += int(w.ended.Load())
		}
		return ended == n/2
	}, 20*time.Second, time.Millisecond)
	for i, w := range all {
		require.Equal(t, i%8 >= 4, w.ended.Load() == 1, "%d", i)
		w.stop()
	}
	require.Zero(t, b.Watching())
	// Eventually has goroutines of its own, and a look may be under way.
	require.LessOrEqual(t, runtime.NumGoroutine(), before+3)
}

func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
