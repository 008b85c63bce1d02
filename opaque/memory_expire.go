package opaque

import (
	"container/heap"
	"math"
	"runtime"
	"time"
)

const (
	// removeStep is how many entries are removed while a shard's lock is held
	// once: about 5 µs, so that a look-up that waits for the lock spins and is not
	// put to sleep.
	removeStep = 4

	// After removeBurst entries the remover rests. When half a million sessions
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

// remove runs until Close and removes expired entries.
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

// round removes every entry that has expired and returns when to look again.
func (s *MemoryStore) round() time.Duration {
	// An entry that is added during this round asks for another round: the round
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

// clear removes the expired entries of one shard, step by step, and returns
// when the next one is due. ok is false if the store was closed meanwhile.
func (s *MemoryStore) clear(sh *shard, now int64) (next int64, ok bool) {
	var expired [removeStep]*entry
	for {
		n, next := s.step(sh, now, &expired)
		for _, e := range expired[:n] {
			if !s.open.Load() {
				return 0, false
			}
			// The entry has left the store, so it can be read without the lock.
			if s.cfg.OnExpire != nil {
				s.cfg.OnExpire(e.key, e.item())
			}
		}
		if next > now {
			return next, true
		}
		s.yield(n)
	}
}

// yield lets waiting requests run, after n more entries were removed.
func (s *MemoryStore) yield(n int) {
	if s.burst += n; s.burst < removeBurst {
		runtime.Gosched()
		return
	}
	s.burst = 0
	time.Sleep(removeRest)
}

// step removes at most removeStep entries, and returns when the next one is
// due.
func (s *MemoryStore) step(sh *shard, now int64, expired *[removeStep]*entry) (n int, next int64) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for range removeStep {
		if len(sh.queue) == 0 {
			return n, math.MaxInt64
		}
		first := sh.queue[0]
		if due := first.over + s.linger; due > now {
			return n, due
		}
		if first.e.over()+s.linger > now {
			sh.queue.fix(0) // it was touched or saved since it was queued
			continue
		}
		sh.drop(first.e)
		s.limits.leave(first.e)
		expired[n] = first.e
		n++
	}
	return n, now
}

// notice wakes the remover if it is late at now, or would be late for an entry
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

// A queue is a heap of entries (container/heap): the one that expires first is
// in front. Each entry knows its position, so that a deleted one is removed at
// once. An entry may expire later than the queue says, never earlier.
type queue []queued

type queued struct {
	over int64 // unix second
	e    *entry
}

// advance moves e forward if it expires earlier than the queue says.
func (q *queue) advance(e *entry) {
	if i := int(e.pos); e.over() < (*q)[i].over {
		q.fix(i)
	}
}

// fix moves the entry at i to where it belongs.
func (q *queue) fix(i int) {
	(*q)[i].over = (*q)[i].e.over()
	heap.Fix(q, i)
}

// Len implements heap.Interface, and so do the methods below.
func (q queue) Len() int { return len(q) }

func (q queue) Less(i, j int) bool { return q[i].over < q[j].over }

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].e.pos, q[j].e.pos = int32(i), int32(j)
}

func (q *queue) Push(x any) {
	e := x.(*entry) // not a queued: the conversion to any would allocate
	e.pos = int32(len(*q))
	*q = append(*q, queued{e.over(), e})
}

func (q *queue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last].e
	(*q)[last] = queued{}
	*q = (*q)[:last]
	return e
}
