package revocation

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cloakroom-go/cloakroom/session"
)

// maxBatch bounds the entries that wait for a disk or a log that does not
// answer. Beyond it everything is written anew from the list, which is bounded
// itself.
const maxBatch = 1 << 16

// A queue hands entries to the goroutine that makes them durable. Entries that
// come while that is busy share the next batch. The nil queue keeps nothing.
type queue struct {
	name string // of what the goroutine writes, for errors

	mu      sync.Mutex // guards what follows
	pending *batch     // what the next write takes; nil if nothing
	last    uint64     // number of the last batch
	closed  bool

	committed atomic.Uint64 // this batch and all before it are durable

	wake chan struct{}
	stop chan struct{}
	done chan struct{}
}

func (q *queue) init(name string) {
	q.name, q.wake, q.stop, q.done = name, make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
}

// A batch becomes durable as a whole. The nil batch is so already.
type batch struct {
	in      string // the name of its queue
	number  uint64
	entries []entry
	whole   bool          // more than entries; write everything in force
	done    chan struct{} // closed when err is known
	err     error
}

func (b *batch) id() uint64 {
	if b == nil {
		return 0
	}
	return b.number
}

func (b *batch) wait(ctx context.Context) error {
	if b == nil {
		return nil
	}
	select {
	case <-b.done:
		return b.err
	default:
	}
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return fmt.Errorf("revocation: in force, but not known to be in the %s yet: %w: %w",
			b.in, ctx.Err(), session.Unavailable)
	}
}

// finish says whether the batch is durable.
func (b *batch) finish(q *queue, err error) {
	if err != nil {
		b.err = fmt.Errorf("revocation: in force, but not in the %s: %w: %w", b.in, err, session.Unavailable)
	} else {
		q.committed.Store(b.number)
	}
	close(b.done)
}

// has reports whether batch number n is durable.
func (q *queue) has(n uint64) bool { return q == nil || n <= q.committed.Load() }

// flush returns a batch to wait for until batch number n is durable: it may be
// under way, or may have failed.
func (q *queue) flush(n uint64) *batch {
	if q.has(n) {
		return nil
	}
	return q.enqueue()
}

// enqueue adds entries to the next write.
func (q *queue) enqueue(entries ...entry) *batch {
	if q == nil {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.pending == nil {
		q.last++
		q.pending = &batch{in: q.name, number: q.last, done: make(chan struct{})}
		if q.closed {
			return q.refuse()
		}
	}
	if !q.pending.whole {
		q.pending.entries = append(q.pending.entries, entries...)
	}
	if len(q.pending.entries) > maxBatch {
		q.pending.entries, q.pending.whole = nil, true
	}
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return q.pending
}

// refuse returns a batch that has failed. mu is held.
func (q *queue) refuse() *batch {
	b := q.pending
	q.pending = nil
	b.err = fmt.Errorf("revocation: in force, but the %s is closed: %w", q.name, session.Unavailable)
	close(b.done)
	return b
}

func (q *queue) take() *batch {
	q.mu.Lock()
	defer q.mu.Unlock()
	b := q.pending
	q.pending = nil
	return b
}

// close lets the goroutine write what is left, and waits for its end. first is
// false for a second close.
func (q *queue) close() (first bool) {
	q.mu.Lock()
	if first = !q.closed; first {
		q.closed = true
		close(q.stop)
	}
	q.mu.Unlock()
	<-q.done
	return first
}
