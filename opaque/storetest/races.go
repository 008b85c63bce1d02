package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/itemtest"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
)

// raceRules are the rules about concurrent callers.
func raceRules() []rule {
	return []rule{
		{"one create wins", "two visitors must not share one record", rounds(20, oneCreateWins)},
		{"one swap wins", "a login that lost must know it, or two credentials open one session", rounds(20, oneSwapWins)},
		{"no update lost", "a visitor's cart, a counter of failed attempts", rounds(3, noUpdateLost)},
		{"swap against delete", "a save must not bring back a session that was logged out", rounds(30, swapAgainstDelete)},
		{"touch against delete", "activity must not bring back what was logged out", rounds(30, touchAgainstDelete)},
		{"touch against swap", "activity must not undo a save", rounds(3, touchAgainstSwap)},
		{"touch forward", "a session must not get shorter while it is used", rounds(3, touchForward)},
		{"histories", "the carrier's proofs rest on each operation taking effect at one instant", histories(20, historyLost)},
	}
}

// A race is what several callers do at once with one key.
type race func(p *probe, key string)

// rounds repeats a race, on a new key each time: a store that is wrong is wrong
// only in some of them. Races of many steps have fewer rounds.
func rounds(n int, race race) func(*probe) {
	return func(p *probe) {
		for round := range soak(n) {
			if race(p, itemtest.Key()); p.err != nil {
				p.err = fmt.Errorf("round %d: %w", round+1, p.err)
				return
			}
		}
	}
}

// atOnce runs f for each of n callers, all together, and joins their errors. f
// must not use the methods of the probe, which only one goroutine may call.
func (p *probe) atOnce(n int, f func(caller int) error) {
	if p.err != nil {
		return
	}
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
	p.err = errors.Join(errs...)
}

// callers is a little more than the requests that a browser sends at once to
// one host: six over HTTP/1.1.
const callers = 8

func oneCreateWins(p *probe, key string) {
	p.oneWins(key, "creates", func(i int) (bool, error) {
		err := p.store.Create(p.ctx, key, itemtest.New(uint64(i+1), strconv.Itoa(i)))
		if errors.Is(err, session.Conflict) {
			return false, nil
		}
		return err == nil, failed("Create", err)
	})
}

func oneSwapWins(p *probe, key string) {
	p.create(key, itemtest.New(1, "base"))
	p.oneWins(key, "swaps from one version", func(i int) (bool, error) {
		ok, err := p.store.Swap(p.ctx, key, 1, itemtest.New(uint64(i+2), strconv.Itoa(i)))
		return ok, failed("Swap", err)
	})
}

// oneWins lets all callers try to write their number, and expects that one of
// them succeeds and that its number is stored: whoever lost must not have
// written.
func (p *probe) oneWins(key, what string, try func(caller int) (bool, error)) {
	var wins, winner atomic.Int64
	p.atOnce(callers, func(i int) error {
		ok, err := try(i)
		if ok {
			wins.Add(1)
			winner.Store(int64(i))
		}
		return err
	})
	p.expect(wins.Load() == 1, "%d of %d concurrent %s succeeded, want 1", wins.Load(), callers, what)
	item := p.exists(key, "after the race")
	p.expect(string(item.Data) == strconv.FormatInt(winner.Load(), 10),
		"of concurrent %s, that of caller %d succeeded, but that of %q is stored", what, winner.Load(), item.Data)
}

// patience is how often a caller tries to swap. In a store that works, one of
// eight callers succeeds each time, so that none of them needs nearly as many
// tries.
const patience = 10_000

// increment adds one to the number under key, as often as it takes.
func (p *probe) increment(key string) error {
	for range patience {
		item, ok, err := p.store.Get(p.ctx, key)
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
		if ok, err = p.store.Swap(p.ctx, key, version, item); ok || err != nil {
			return failed("Swap", err)
		}
	}
	return fmt.Errorf("%d swaps from the version that was just read have failed: nobody makes progress", patience)
}

func noUpdateLost(p *probe, key string) {
	const each = 20
	p.create(key, itemtest.New(1, "0"))
	p.atOnce(callers, func(int) error {
		for range each {
			if err := p.increment(key); err != nil {
				return err
			}
		}
		return nil
	})
	item := p.exists(key, "after the increments")
	p.expect(string(item.Data) == strconv.Itoa(callers*each),
		"%d swaps that each added one succeeded, and the number is %s", callers*each, item.Data)
	p.expect(item.Version == callers*each+1, "after %d swaps, the version is %d", callers*each, item.Version)
}

// againstDelete lets callers repeat f while one deletes the item. It expects
// that no item is there once Delete has returned, then or later.
func (p *probe) againstDelete(key string, f func() error) {
	p.create(key, itemtest.New(1, "0"))
	var deleted atomic.Bool
	p.atOnce(callers, func(i int) error {
		if i == 0 {
			pause(20)
			err := p.store.Delete(p.ctx, key)
			deleted.Store(true)
			return failed("Delete", err)
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
	p.absent(key, "after Delete has returned, and all who were at work")
}

func swapAgainstDelete(p *probe, key string) {
	p.againstDelete(key, func() error {
		item, ok, err := p.store.Get(p.ctx, key)
		if err != nil {
			return failed("Get", err)
		}
		if !ok {
			item = itemtest.New(1, "0") // as a request that has read it before the deletion
		}
		version := item.Version
		item.Version++
		_, err = p.store.Swap(p.ctx, key, version, item)
		return failed("Swap", err)
	})
}

func touchAgainstDelete(p *probe, key string) {
	var seconds atomic.Int64
	start := time.Now()
	p.againstDelete(key, func() error {
		later := time.Duration(seconds.Add(1)) * time.Second
		_, err := p.store.Touch(p.ctx, key, start.Add(later), start.Add(time.Hour+later))
		return failed("Touch", err)
	})
}

func touchAgainstSwap(p *probe, key string) {
	const each = 30
	p.create(key, itemtest.New(1, "0"))
	start := time.Now()
	p.atOnce(4, func(i int) error {
		for n := range each {
			if i == 0 {
				if err := p.increment(key); err != nil {
					return err
				}
				continue
			}
			later := time.Duration(n) * time.Second
			if ok, err := p.store.Touch(p.ctx, key, start.Add(later), start.Add(time.Hour+later)); err != nil || !ok {
				return missed("Touch", err)
			}
		}
		return nil
	})
	item := p.exists(key, "after swaps and touches")
	p.expect(string(item.Data) == strconv.Itoa(each) && item.Version == each+1,
		"after %d swaps amid touches, the number is %s and the version %d", each, item.Data, item.Version)
}

// touchForward has callers with activity of random instants. No caller may see
// the item go back from what it has seen, or from what it has itself recorded.
func touchForward(p *probe, key string) {
	item := itemtest.New(1, "x")
	p.create(key, item)
	const each = 30
	p.atOnce(callers, func(int) error {
		var last opaque.Item
		for range each {
			later := time.Duration(rand.IntN(1800)) * time.Second
			if ok, err := p.store.Touch(p.ctx, key, item.SeenAt.Add(later), item.IdleDeadline.Add(later)); err != nil || !ok {
				return missed("Touch", err)
			}
			pause(3)
			got, ok, err := p.store.Get(p.ctx, key)
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
}

// pause lets others run for up to n turns: without it, a store in memory would
// serve one caller to the end before the next.
func pause(n int) {
	for range rand.IntN(n) {
		runtime.Gosched()
	}
}
