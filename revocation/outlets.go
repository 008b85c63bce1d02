package revocation

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Outlets are where a list keeps what has ended, besides its memory: the
// journal of this process, and the log that instances share. Each may be nil.
type outlets struct {
	journal, log *queue
	anonymous    *allowance // what the log takes of ends of sessions in which nobody logged in
	recent       *recent    // for services that verify tokens
}

// An allowance bounds how many entries there are at any time, if each lives for
// a known time. The nil allowance has no bound.
type allowance struct {
	most float64       // entries
	life time.Duration // of each
	now  func() time.Time

	mu   sync.Mutex // guards what follows
	left float64
	at   time.Time // when left was right
}

// take reports whether one more may be made. At first half of all may; they
// become available again within the life of an entry, and so does the other
// half.
func (a *allowance) take() bool {
	if a == nil {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	if passed := now.Sub(a.at); passed > 0 {
		a.left = min(a.left+a.most/2*float64(passed)/float64(a.life), a.most/2)
	}
	if a.at = now; a.left < 1 {
		return false
	}
	a.left--
	return true
}

// A receipt is what a caller waits for. The zero receipt is complete.
type receipt struct {
	journal, log *batch
}

// A stamp names the batches of a receipt.
type stamp struct {
	journal, log uint64
}

func (o outlets) enqueue(e entry) receipt {
	o.recent.add(e)
	r := receipt{journal: o.journal.enqueue(e)}
	if o.log != nil && (e.kind != ofNobody || o.anonymous.take()) {
		r.log = o.log.enqueue(e)
	}
	return r
}

// flush returns what to wait for until the batches of s are kept: they may be
// under way, or may have failed.
func (o outlets) flush(s stamp) receipt {
	return receipt{o.journal.flush(s.journal), o.log.flush(s.log)}
}

// stamp returns the batches of r, or those of old where r has none.
func (r receipt) stamp(old stamp) stamp {
	return stamp{max(r.journal.id(), old.journal), max(r.log.id(), old.log)}
}

func (r receipt) wait(ctx context.Context) error {
	return errors.Join(r.journal.wait(ctx), r.log.wait(ctx))
}
