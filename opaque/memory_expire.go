package opaque

import (
	"math"
	"runtime"
	"slices"
	"time"
)

const (
	// removeStep is how many items are removed while a shard's lock is held
	// once: about 5 µs, so that a look-up that waits for the lock spins and is not
	// put to sleep.
	removeStep = 4

	// After removeBurst items the remover rests. When half a million sessions
	// expire at the same second, it removes some 200,000 a second, and takes a
	// third of a processor. Without rests the scheduler would preempt it for some
	// milliseconds, perhaps while it holds a lock.
	removeBurst = 64
	removeRest  = 100 * time.Microsecond

	// lookEvery is how late the remover notices that somebody has set the clock.
	lookEvery = time.Minute

	// minPause keeps the remover from looking in a busy loop while a clock that
	// stands still (in a test) is just before a full second.
	minPause = 10 * time.Millisecond
)

// remove runs until Close and removes expired items.
func (s *MemoryStore) remove() {
	defer close(s.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-s.wake:
		case <-timer.C:
		}
		timer.Reset(s.round())
	}
}

// round removes every item that has expired and returns when to look again.
func (s *MemoryStore) round() time.Duration {
	// An item that is added during this round asks for another round: the round
	// may have passed its shard already.
	s.due.Store(math.MaxInt64)
	now, due := s.cfg.Now(), int64(math.MaxInt64)
	for i := range s.shards {
		next, ok := s.clear(&s.shards[i], now.Unix())
		if !ok {
			return 0
		}
		due = min(due, next)
	}
	s.due.Store(due)
	if due >= now.Add(lookEvery).Unix() {
		return lookEvery
	}
	return max(time.Unix(due, 0).Sub(now), minPause)
}

// clear removes the expired items of one shard, step by step, and returns
// when the next one is due. ok is false if the store was closed meanwhile.
func (s *MemoryStore) clear(sh *shard, now int64) (next int64, ok bool) {
	var gone [removeStep]expired
	for {
		n, next := s.step(sh, now, &gone)
		for _, e := range gone[:n] {
			if !s.open.Load() {
				return 0, false
			}
			if s.cfg.OnExpire != nil {
				s.cfg.OnExpire(string(e.key), e.slot.item(slices.Clone(e.data)))
			}
		}
		if next > now {
			return next, true
		}
		s.yield(n)
	}
}

// yield lets waiting requests run, after n more items were removed.
func (s *MemoryStore) yield(n int) {
	if s.burst += n; s.burst < removeBurst {
		runtime.Gosched()
		return
	}
	s.burst = 0
	time.Sleep(removeRest)
}

// step removes at most removeStep items, and returns when the next one is due.
func (s *MemoryStore) step(sh *shard, now int64, gone *[removeStep]expired) (n int, next int64) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for range removeStep {
		if sh.queue.n == 0 {
			return n, math.MaxInt64
		}
		first := *sh.queue.at(0)
		if due := first.over + s.linger; due > now {
			return n, due
		}
		sl := sh.slot(first.slot)
		if sl.over()+s.linger > now {
			sh.requeue(first.slot) // it was touched or saved since it was queued
			continue
		}
		key, data := sh.chunks.read(sl.at)
		gone[n] = expired{*sl, key, data}
		s.drop(sh, first.slot, len(key), data)
		n++
	}
	return n, now
}

// An expired item has left the store. The key and the data don't change, so
// they can be read without the lock.
type expired struct {
	slot      slot
	key, data []byte
}

// notice wakes the remover if it is late at now, or would be late for an item
// that is due at the given second. It is late if a test has set its clock.
func (s *MemoryStore) notice(now, at int64) {
	if due := s.due.Load(); now < due && at >= due {
		return
	}
	select {
	case s.wake <- struct{}{}:
	default: // it is about to look anyway
	}
}
