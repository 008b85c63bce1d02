package apptest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

const (
	floodLife  = 2 * time.Hour // no entry of a flood lives longer
	floodUsers = 500           // one end in so many is that of a user like any other
	mallory    = "mallory"
)

// A Flood is what bots do to two instances that share a log. They end two
// thirds of all sessions without having logged in, and one third as one
// subject.
type Flood struct {
	Ends   int                                       // in each of two rounds; entries of the first are over in the second
	Open   func(now func() time.Time) revocation.Log // of one instance
	Length func() int                                // how many entries the log has
	Clean  func()                                    // removes entries that are over; nil if Append does so

	passed atomic.Int64 // nanoseconds by which the clock is ahead
	before int64        // bytes in use
	lists  [2]*revocation.List

	mu   sync.Mutex // guards kept
	kept []*session.Record
}

// FloodSize returns n in a soak test, and otherwise a number of ends that takes
// little time.
func FloodSize(n int) int {
	if os.Getenv("CLOAKROOM_SOAK") == "1" {
		return n
	}
	return 6000
}

// Run expects that the lists and the log stay within their bounds, and that
// nobody who had logged in loses the end of a session.
func (f *Flood) Run(t *testing.T) {
	f.before = inUse()
	for i := range f.lists {
		l, err := revocation.Open(revocation.Config{Log: f.Open(f.now), Lifetime: 12 * time.Hour, IdleTimeout: time.Hour,
			MaxEntries: f.maxEntries(), Now: f.now})
		require.NoError(t, err)
		t.Cleanup(func() { _ = l.Close() })
		f.lists[i] = l
	}
	f.await(t, func() bool { return f.lists[0].Fresh() == nil && f.lists[1].Fresh() == nil })
	for round := range 2 {
		begun := time.Now()
		f.kept = nil
		f.round(t)
		f.meet(t)
		t.Logf("round %d: %d ends in %v", round+1, f.Ends, time.Since(begun))
		if f.Clean != nil {
			f.Clean()
		}
		f.judge(t)
		f.passed.Add(int64(floodLife))
	}
}

func (f *Flood) now() time.Time { return time.Now().Add(time.Duration(f.passed.Load())) }

func (f *Flood) maxEntries() int { return max(10_000, f.Ends*2/3) }

func (f *Flood) await(t *testing.T, is func() bool) {
	t.Helper()
	require.Eventually(t, is, 5*time.Minute, 10*time.Millisecond)
}

// round ends the sessions, 64 at once.
func (f *Flood) round(t *testing.T) {
	var next atomic.Int64
	var group sync.WaitGroup
	failed := make(chan error, 64)
	for range cap(failed) {
		group.Go(func() {
			for i := int(next.Add(1)); i <= f.Ends; i = int(next.Add(1)) {
				if err := f.end(i); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	group.Wait()
	close(failed)
	require.NoError(t, <-failed)
}

// end ends one session, by turns on one and on the other instance.
func (f *Flood) end(i int) error {
	subject := ""
	switch {
	case i%floodUsers == 0:
		subject = fmt.Sprint("user ", i)
	case i%3 == 0:
		subject = mallory
	}
	rec := f.session(subject)
	if subject != "" && (subject != mallory || i%100 == 0) {
		f.mu.Lock()
		f.kept = append(f.kept, rec)
		f.mu.Unlock()
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return f.lists[i/3%2].EndSession(ctx, rec)
}

func (f *Flood) session(subject string) *session.Record {
	now := f.now()
	rec := &session.Record{ID: B64(Random(16)), Subject: subject, Generation: 1, CreatedAt: now, SeenAt: now,
		IdleDeadline: now.Add(time.Hour), Deadline: now.Add(12 * time.Hour)}
	if subject != "" {
		rec.AuthenticatedAt = now
	}
	return rec
}

// meet waits until each list has heard of all that ended on the other.
func (f *Flood) meet(t *testing.T) {
	for i, l := range f.lists {
		last := f.session("last")
		require.NoError(t, l.EndSession(t.Context(), last))
		f.await(t, func() bool { return errors.Is(f.lists[1-i].Check(last), session.Ended) })
	}
}

func (f *Flood) judge(t *testing.T) {
	f.passed.Add(int64(time.Second))
	again := f.session(mallory) // a login after all that
	budget, others := f.maxEntries()/4, f.Ends/floodUsers+2
	for _, l := range f.lists {
		for _, rec := range f.kept {
			require.ErrorIs(t, l.Check(rec), session.Ended)
		}
		require.NoError(t, l.Check(again))
		require.LessOrEqual(t, l.Len(), budget+2*others+1000, "entries of a list")
	}
	n, bytes := f.Length(), inUse()-f.before
	t.Logf("lists of %d and %d entries, %d MB together; %d entries in the log", f.lists[0].Len(), f.lists[1].Len(),
		bytes>>20, n)
	// Each list appends half of its budget at once, and of one subject's ends also
	// those that cover others.
	most := 2*(budget/2+1) + f.Ends/3*17/16 + others
	require.LessOrEqual(t, n, most+most/10, "entries of the log")
	require.Less(t, bytes, int64(2*(55*(budget+2*others+1000)+2*f.maxEntries())+16<<20), "bytes in use")
}

func inUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
