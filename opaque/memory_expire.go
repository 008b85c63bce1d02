package opaque

import (
	"math"
	"runtime"
	"time"
)

const (
	// removeStep bounds how much is removed under one hold of a shard's lock: some
	// 5 µs, so that a look-up that meets it spins, and needn't be put to sleep.
	removeStep = 4

	// After removeBurst entries the remover rests. When half a million sessions are
	// over at once they leave at some 200,000 a second, and take a third of a
	// processor. A goroutine that never rests is preempted in the end while it holds
	// a lock, for some milliseconds.
	removeBurst = 64
	removeRest  = 100 * time.Microsecond

	// lookEvery bounds how late the remover notices that the clock was set.
	lookEvery = time.Minute

	// lookAtMost bounds how often it looks at a clock that stands still before a
	// full second.
	lookAtMost = 10 * time.Millisecond
)

// remove runs until Close and removes what is due.
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

// round removes all that is due by now and returns when to look again.
func (s *MemoryStore) round() time.Duration {
	// Until the round is over, whatever is added asks for another one: its shard
	// may have been passed already.
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
	return max(time.Unix(due, 0).Sub(now), lookAtMost)
}

// clear removes what is due in one shard, step by step, and returns when the next
// is. ok is false if the store was closed meanwhile.
func (s *MemoryStore) clear(sh *shard, now int64) (next int64, ok bool) {
	var expired [removeStep]*entry
	for {
		n, next := s.step(sh, now, &expired)
		for _, e := range expired[:n] {
			if !s.open.Load() {
				return 0, false
			}
			// The entry has left the store, so nobody else sees it any more.
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

// yield lets requests go first after n more entries were removed.
func (s *MemoryStore) yield(n int) {
	if s.burst += n; s.burst < removeBurst {
		runtime.Gosched()
		return
	}
	s.burst = 0
	time.Sleep(removeRest)
}

// step removes at most removeStep entries, and returns when the next one is due.
func (s *MemoryStore) step(sh *shard, now int64, expired *[removeStep]*entry) (n int, next int64) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for range removeStep {
		if len(sh.queue) == 0 {
			return n, math.MaxInt64
		}
		first := sh.queue[0]
		if first.at > now {
			return n, first.at
		}
		if at := first.e.over() + s.linger; at > now {
			sh.queue.postpone(at) // it was touched or saved since it was queued
			continue
		}
		sh.drop(first.e)
		s.limits.leave(first.e)
		expired[n] = first.e
		n++
	}
	return n, now
}

// notice wakes the remover if, at now, it is late, or would be for an entry that is
// due at the given second. The first happens with a clock that is set by a test.
func (s *MemoryStore) notice(now, at int64) {
	if due := s.due.Load(); now < due && at >= due {
		return
	}
	select {
	case s.wake <- struct{}{}:
	default: // it has been asked already
	}
}

// A queue is a heap of entries, the one that is due first at the front. Each entry
// knows its place in it, so that a deleted one can leave at once. The front may be
// due later than the queue says, never earlier.
type queue []queued

type queued struct {
	at int64 // unix second
	e  *entry
}

func (q *queue) push(e *entry, at int64) {
	*q = append(*q, queued{at, e})
	q.up(len(*q) - 1)
}

// drop takes e out, wherever it stands.
func (q *queue) drop(e *entry) {
	h := *q
	i, last := int(e.pos), len(h)-1
	moved := h[last]
	h[last] = queued{}
	*q = h[:last]
	if i == last {
		return
	}
	h[i] = moved
	q.down(i)
	q.up(int(moved.e.pos))
}

// advance moves e forward if it is due at an earlier second than it stands for.
func (q queue) advance(e *entry, at int64) {
	if i := int(e.pos); at < q[i].at {
		q[i].at = at
		q.up(i)
	}
}

// postpone moves the front back to where it belongs.
func (q queue) postpone(at int64) {
	q[0].at = at
	q.down(0)
}

func (q queue) up(i int) {
	x := q[i]
	for i > 0 {
		parent := (i - 1) / 2
		if q[parent].at <= x.at {
			break
		}
		q.put(i, q[parent])
		i = parent
	}
	q.put(i, x)
}

func (q queue) down(i int) {
	x := q[i]
	for {
		child := 2*i + 1
		if child >= len(q) {
			break
		}
		if right := child + 1; right < len(q) && q[right].at < q[child].at {
			child = right
		}
		if x.at <= q[child].at {
			break
		}
		q.put(i, q[child])
		i = child
	}
	q.put(i, x)
}

func (q queue) put(i int, x queued) {
	q[i] = x
	x.e.pos = int32(i)
}
