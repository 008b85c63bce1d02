package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
)

// raceRules are the rules about concurrent callers.
func raceRules() []rule {
	return []rule{
		{"one create wins", "two visitors must not share one record", rounds(20, oneCreateWins)},
		{"one swap wins", "a login that lost must know it, or two credentials open one session", rounds(20, oneSwapWins)},
		{"no update lost", "a visitor's cart, a counter of failed attempts", rounds(3, noUpdateLost)},
		{"swap against delete", "a save must not bring back a session that was logged out",
			rounds(30, swapAgainstDelete)},
		{"touch against delete", "activity must not bring back a session that was logged out",
			rounds(30, touchAgainstDelete)},
		{"touch against swap", "activity must not undo a save", rounds(3, touchAgainstSwap)},
		{"touch forward", "a session must not get shorter while it is used", rounds(3, touchForward)},
		{"histories", "the carrier's proofs rest on each operation taking effect at one instant", rounds(40, history)},
	}
}

// A race is what several callers do at once with one key.
type race func(ctx context.Context, s opaque.Store, key string) error

// rounds repeats a race, on a new key each time.
func rounds(n int, race race) func(context.Context, opaque.Store) error {
	return func(ctx context.Context, s opaque.Store) error {
		for round := range soak(n) {
			if err := race(ctx, s, newKey()); err != nil {
				return fmt.Errorf("round %d: %w", round+1, err)
			}
		}
		return nil
	}
}

// atOnce runs f for each of n callers, all together, and joins their errors.
func atOnce(n int, f func(caller int) error) error {
	errs := make([]error, n)
	begin := make(chan struct{})
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			<-begin
			errs[i] = f(i)
		})
	}
	close(begin)
	group.Wait()
	return errors.Join(errs...)
}

const callers = 8

func oneCreateWins(ctx context.Context, s opaque.Store, key string) error {
	var wins, winner atomic.Int64
	err := atOnce(callers, func(i int) error {
		err := s.Create(ctx, key, newItem(uint64(i+1), strconv.Itoa(i)))
		switch {
		case err == nil:
			wins.Add(1)
			winner.Store(int64(i))
		case !errors.Is(err, session.Conflict):
			return failed("Create", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return oneWinner(ctx, s, key, "creates", wins.Load(), winner.Load())
}

func oneSwapWins(ctx context.Context, s opaque.Store, key string) error {
	if err := s.Create(ctx, key, newItem(1, "base")); err != nil {
		return failed("Create", err)
	}
	var wins, winner atomic.Int64
	err := atOnce(callers, func(i int) error {
		ok, err := s.Swap(ctx, key, 1, newItem(uint64(i+2), strconv.Itoa(i)))
		if ok {
			wins.Add(1)
			winner.Store(int64(i))
		}
		return err
	})
	if err != nil {
		return failed("Swap", err)
	}
	return oneWinner(ctx, s, key, "swaps from one version", wins.Load(), winner.Load())
}

func oneWinner(ctx context.Context, s opaque.Store, key, what string, wins, winner int64) error {
	if wins != 1 {
		return fmt.Errorf("%d of %d concurrent %s succeeded, want 1", wins, callers, what)
	}
	p := &probe{ctx: ctx, store: s}
	item := p.exists(key, "after the race")
	p.expect(string(item.Data) == strconv.FormatInt(winner, 10),
		"of concurrent %s, that of caller %d succeeded, but that of %q is stored", what, winner, item.Data)
	return p.err
}

// patience is how often a caller tries to swap. In a store that works, one of
// eight callers succeeds each time, so that none of them needs nearly as many
// tries.
const patience = 10_000

// increment adds one to the number under key, as often as it takes.
func increment(ctx context.Context, s opaque.Store, key string) error {
	for range patience {
		item, ok, err := s.Get(ctx, key)
		if err != nil || !ok {
			return missed("Get", err)
		}
		n, err := strconv.Atoi(string(item.Data))
		if err != nil {
			return fmt.Errorf("the item's data is %q, not one of those that were written", item.Data)
		}
		pause(3)
		version := item.Version
		item.Version, item.Data = version+1, []byte(strconv.Itoa(n+1))
		ok, err = s.Swap(ctx, key, version, item)
		if err != nil {
			return failed("Swap", err)
		}
		if ok {
			return nil
		}
	}
	return fmt.Errorf("%d swaps from the version that was just read have failed: nobody makes progress", patience)
}

func noUpdateLost(ctx context.Context, s opaque.Store, key string) error {
	const each = 20
	if err := s.Create(ctx, key, newItem(1, "0")); err != nil {
		return failed("Create", err)
	}
	err := atOnce(callers, func(int) error {
		for range each {
			if err := increment(ctx, s, key); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	p := &probe{ctx: ctx, store: s}
	item := p.exists(key, "after the increments")
	p.expect(string(item.Data) == strconv.Itoa(callers*each),
		"%d swaps that each added one succeeded, and the number is %s", callers*each, item.Data)
	p.expect(item.Version == callers*each+1, "after %d swaps, the version is %d", callers*each, item.Version)
	return p.err
}

// againstDelete lets callers repeat f while one deletes the item. It expects
// that no item is there once Delete has returned, then or later.
func againstDelete(ctx context.Context, s opaque.Store, key string, f func() error) error {
	if err := s.Create(ctx, key, newItem(1, "0")); err != nil {
		return failed("Create", err)
	}
	var deleted atomic.Bool
	err := atOnce(callers, func(i int) error {
		if i == 0 {
			pause(20)
			if err := s.Delete(ctx, key); err != nil {
				return failed("Delete", err)
			}
			deleted.Store(true)
			return nil
		}
		for last := false; !last; {
			last = deleted.Load() // one more after the deletion
			if err := f(); err != nil {
				return err
			}
			pause(3)
		}
		return nil
	})
	if err != nil {
		return err
	}
	p := &probe{ctx: ctx, store: s}
	p.absent(key, "after Delete has returned, and all who were at work")
	return p.err
}

func swapAgainstDelete(ctx context.Context, s opaque.Store, key string) error {
	return againstDelete(ctx, s, key, func() error {
		item, ok, err := s.Get(ctx, key)
		if err != nil {
			return failed("Get", err)
		}
		if !ok {
			item = newItem(1, "0")
		}
		version := item.Version
		item.Version++
		if _, err = s.Swap(ctx, key, version, item); err != nil {
			return failed("Swap", err)
		}
		return nil
	})
}

func touchAgainstDelete(ctx context.Context, s opaque.Store, key string) error {
	var seconds atomic.Int64
	start := time.Now()
	return againstDelete(ctx, s, key, func() error {
		later := time.Duration(seconds.Add(1)) * time.Second
		if _, err := s.Touch(ctx, key, start.Add(later), start.Add(time.Hour+later)); err != nil {
			return failed("Touch", err)
		}
		return nil
	})
}

func touchAgainstSwap(ctx context.Context, s opaque.Store, key string) error {
	const each = 30
	if err := s.Create(ctx, key, newItem(1, "0")); err != nil {
		return failed("Create", err)
	}
	start := time.Now()
	err := atOnce(4, func(i int) error {
		for n := range each {
			if i == 0 {
				if err := increment(ctx, s, key); err != nil {
					return err
				}
				continue
			}
			later := time.Duration(n) * time.Second
			if ok, err := s.Touch(ctx, key, start.Add(later), start.Add(time.Hour+later)); err != nil || !ok {
				return missed("Touch", err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	p := &probe{ctx: ctx, store: s}
	item := p.exists(key, "after swaps and touches")
	p.expect(string(item.Data) == strconv.Itoa(each) && item.Version == each+1,
		"after %d swaps amid touches, the number is %s and the version %d", each, item.Data, item.Version)
	return p.err
}

func touchForward(ctx context.Context, s opaque.Store, key string) error {
	item := newItem(1, "x")
	if err := s.Create(ctx, key, item); err != nil {
		return failed("Create", err)
	}
	const each = 30
	err := atOnce(callers, func(i int) error {
		var last opaque.Item
		for range each {
			later := time.Duration(rand.IntN(1800)) * time.Second
			if ok, err := s.Touch(ctx, key, item.SeenAt.Add(later), item.IdleDeadline.Add(later)); err != nil || !ok {
				return missed("Touch", err)
			}
			pause(3)
			got, ok, err := s.Get(ctx, key)
			if err != nil || !ok {
				return missed("Get", err)
			}
			back := got.SeenAt.Before(last.SeenAt) || got.IdleDeadline.Before(last.IdleDeadline)
			if back || got.SeenAt.Before(item.SeenAt.Add(later)) {
				return fmt.Errorf("after a Touch by %v the item went from %s to %s", later, text(last), text(got))
			}
			last = got
		}
		return nil
	})
	return err
}

// pause lets others run for up to n turns.
func pause(n int) {
	for range rand.IntN(n) {
		runtime.Gosched()
	}
}
