//go:build unix

package apptest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/servertest"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
)

// A Backend is where a store keeps its sessions.
type Backend struct {
	// Addr is the address of the server. If "", there is none, and faults are
	// those of the store's methods.
	Addr string

	// Open makes a store on the server at addr. It registers what must be closed
	// with t.Cleanup.
	Open func(t testing.TB, addr string, now func() time.Time) opaque.Store

	// Record reports whether an answer is one session and nothing else. If nil,
	// those of 120 bytes and more are.
	Record func(answer []byte) bool

	// Named says that answers contain the key, so that the store itself finds out
	// that one was meant for another request.
	Named bool
}

// Load runs [Interleavings], [Mixups] and [Errors] over a store, one after the
// other: Errors measures how long answers take.
func Load(t *testing.T, b Backend) {
	t.Helper()
	t.Run("interleavings", func(t *testing.T) {
		Interleavings(t, func(t testing.TB, now func() time.Time) opaque.Store { return b.Open(t, b.Addr, now) })
	})
	t.Run("mix-ups", func(t *testing.T) { Mixups(t, b) })
	t.Run("errors", func(t *testing.T) { Errors(t, b) })
}

// A line is the way to the stores of some instances.
type line struct {
	stores  []opaque.Store
	spoil   func(chooser) // nil ends the faults
	crossed func() int    // answers that went to the wrong request
}

func (b Backend) open(t testing.TB, instances int, now func() time.Time) *line {
	t.Helper()
	if b.Addr == "" {
		s := &faulty{Store: b.Open(t, "", now), crossing: make(chan crossing)}
		return &line{[]opaque.Store{s}, s.set, func() int { return int(s.crossed.Load()) }}
	}
	proxy := servertest.NewProxy(t, b.Addr)
	l := &line{crossed: proxy.Crossed}
	for range instances {
		l.stores = append(l.stores, b.Open(t, proxy.Addr(), now))
	}
	l.spoil = func(c chooser) {
		if c == nil {
			proxy.Set(servertest.Pass)
			return
		}
		proxy.SetFunc(func(isAnswer bool, piece []byte) servertest.Mode {
			if !isAnswer {
				return servertest.Pass
			}
			mode, delay := c(piece)
			time.Sleep(delay)
			return mode
		})
	}
	return l
}

// A chooser says what happens to an answer.
type chooser = func(answer []byte) (mode servertest.Mode, delay time.Duration)

// record is how many bytes at least an answer with a session has. Shorter ones
// ("not found", "one row changed") look like any other, so that nobody could
// tell that they were mixed up.
const record = 120

func (b Backend) isRecord(answer []byte) bool {
	if b.Record != nil && b.Addr != "" {
		return b.Record(answer)
	}
	return len(answer) >= record
}

// mixingUp returns a chooser of rare faults. In one of so many moments it mixes
// up all sessions that are read.
func (b Backend) mixingUp(every int64) chooser {
	const moment = 40 // ms
	return func(answer []byte) (servertest.Mode, time.Duration) {
		now := time.Now().UnixMilli() / moment
		switch n := rand.IntN(400); {
		case b.isRecord(answer) && now%every == 0:
			return servertest.Cross, 0
		case b.isRecord(answer) && now%every == every/2:
			return servertest.Reorder, 0
		case n == 0:
			return servertest.Cut, 0
		case n == 1:
			return servertest.Swallow, 0
		case n < 30:
			return servertest.Pass, rand.N(10 * time.Millisecond)
		}
		return servertest.Pass, 0
	}
}

// Mixups sends 2,000 requests of many visitors, with CLOAKROOM_SOAK=1 in the
// environment 100,000, while answers of the store are delayed, lost, cut off,
// reordered, and crossed with those of other requests. Nobody gets another
// visitor's session, everything that was crossed is refused, and nobody is
// logged out.
func Mixups(t *testing.T, b Backend) {
	t.Helper()
	requests := 2000
	if soaks() {
		requests = 100_000
	}
	c, crossed := mixUp(t, b, requests, 10, false)
	t.Logf("%d answers crossed, %d sessions read from the wrong key, %d requests refused for that; "+
		"answers %v, the slowest after %v", crossed, c.mixedUp.Load(), c.detected.Load(), c.statuses(), c.slowest)
	c.fails(t)
	require.Positive(t, crossed)
	require.Positive(t, c.statuses()[http.StatusServiceUnavailable], "no answers were lost")
	if b.Named {
		require.Zero(t, c.mixedUp.Load())
		return
	}
	require.Positive(t, c.mixedUp.Load())

	// The same without encryption must show sessions to the wrong visitors:
	// otherwise this proves nothing.
	c, _ = mixUp(t, b, 1000, 3, true)
	require.NotEmpty(t, c.violations)
}

func mixUp(t *testing.T, b Backend, requests int, every int64, unsealed bool) (c *crowd, crossed int) {
	t.Helper()
	clock := NewClock(time.Now())
	l := b.open(t, 4, clock.Now)
	c = newCrowd(t, clock, 32, 600*time.Millisecond, unsealed, l.stores...)
	l.spoil(b.mixingUp(every))
	isEnough := func() bool { // a fast machine may have done all before the first moment
		return l.crossed() > 0 && c.statuses()[http.StatusServiceUnavailable] > 0 && (!unsealed || c.isWrong())
	}
	var sent atomic.Int64
	var all sync.WaitGroup
	for _, v := range c.visitors {
		all.Go(func() {
			for n := sent.Add(1); n <= int64(requests) || n <= 50*int64(requests) && !isEnough(); n = sent.Add(1) {
				if n%100 == 0 {
					clock.Advance(time.Second)
				}
				c.request(v)
			}
		})
	}
	all.Wait()
	l.spoil(nil)
	if !unsealed {
		c.recover(t, time.Minute)
		c.judge()
	}
	return c, l.crossed()
}

// recover waits for the first good answer, and returns how long that took.
func (c *crowd) recover(t testing.TB, within time.Duration) time.Duration {
	t.Helper()
	start := time.Now()
	for {
		var wrong int
		for _, m := range c.instances {
			if status, _ := Visit(m, UnknownID(), func(*session.Session) {}); status != http.StatusOK {
				wrong = status
			}
		}
		took := time.Since(start)
		if wrong == 0 {
			return took
		}
		require.Less(t, took, within, "the store doesn't recover")
	}
}

// faulty has the faults of a chooser, for a store without a server.
type faulty struct {
	opaque.Store
	choose   atomic.Pointer[chooser]
	crossing chan crossing
	crossed  atomic.Int64
}

func (f *faulty) set(c chooser) { f.choose.Store(&c) }

type crossing struct {
	answer answer
	other  chan answer
}

type answer struct {
	item opaque.Item
	ok   bool
}

// call does one call, or fails.
func (f *faulty) call(ctx context.Context, answer []byte, do func() error) (servertest.Mode, error) {
	mode, delay := servertest.Pass, time.Duration(0)
	if choose := f.choose.Load(); choose != nil && *choose != nil {
		mode, delay = (*choose)(answer)
	}
	lost := fmt.Errorf("i/o timeout: %w", session.Unavailable)
	select {
	case <-ctx.Done():
		return mode, lost
	case <-time.After(delay):
	}
	if mode == servertest.Refuse {
		return mode, lost
	}
	err := do()
	if mode == servertest.Cut || mode == servertest.Swallow {
		err = lost
	}
	return mode, err
}

func (f *faulty) Get(ctx context.Context, key string) (opaque.Item, bool, error) {
	var a answer
	mode, err := f.call(ctx, make([]byte, record), func() (err error) {
		a.item, a.ok, err = f.Store.Get(ctx, key)
		return err
	})
	if err != nil {
		return opaque.Item{}, false, err
	}
	if a.ok && (mode == servertest.Cross || mode == servertest.Reorder) {
		mine := crossing{a, make(chan answer, 1)}
		select {
		case f.crossing <- mine:
			a = <-mine.other
		case theirs := <-f.crossing:
			theirs.other <- a
			a = theirs.answer
			f.crossed.Add(2)
		case <-time.After(30 * time.Millisecond):
		}
	}
	return a.item, a.ok, nil
}

func (f *faulty) Create(ctx context.Context, key string, item opaque.Item) error {
	_, err := f.call(ctx, nil, func() error { return f.Store.Create(ctx, key, item) })
	return err
}

func (f *faulty) Swap(ctx context.Context, key string, version uint64, item opaque.Item) (ok bool, err error) {
	_, err = f.call(ctx, nil, func() (err error) {
		ok, err = f.Store.Swap(ctx, key, version, item)
		return err
	})
	return ok && err == nil, err
}

func (f *faulty) Touch(ctx context.Context, key string, seenAt, idleDeadline time.Time) (ok bool, err error) {
	_, err = f.call(ctx, nil, func() (err error) {
		ok, err = f.Store.Touch(ctx, key, seenAt, idleDeadline)
		return err
	})
	return ok && err == nil, err
}

func (f *faulty) Delete(ctx context.Context, key string) error {
	_, err := f.call(ctx, nil, func() error { return f.Store.Delete(ctx, key) })
	return err
}
