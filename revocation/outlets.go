package revocation

import (
	"context"
	"errors"
)

// Outlets are where a list keeps what has ended, besides its memory: the
// journal of this process, and the log that instances share. Each may be nil.
type outlets struct {
	journal, log *queue
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
	return receipt{o.journal.enqueue(e), o.log.enqueue(e)}
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
