package opaque

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// lookAgain bounds how long a write may take to find out whether the store did
// it, after its answer got lost. A quarter of a second is many round trips to a
// store.
const lookAgain = 250 * time.Millisecond

// write swaps the item of this version for item or, if version is 0, creates
// it. The result is that of Store.Swap; a Create that succeeds is ok.
//
// If the answer of the store gets lost, write looks at what is stored. Sealed
// data has a random nonce, so if that is item, this write has made it. (The
// tombstone of a logout has no nonce, but one logout is as good as another.) If
// the old version is still there, write sends the same item again: the store
// can't do that twice. In any other case it returns the error, because the item
// may have been stored and replaced since, and the caller must not apply its
// change again. An error that says that nothing has happened needs no look.
func (c *Carrier) write(ctx context.Context, key string, version uint64, item Item) (ok bool, err error) {
	if !c.sealed {
		return c.send(ctx, key, version, item) // an error of a store in this process means that nothing happened
	}
	defer c.opened.forget(key)
	first, cancel := reserve(ctx)
	ok, err = c.send(first, key, version, item)
	cancel()
	if err == nil || isAnswer(err) {
		return ok, err
	}
	ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), lookAgain)
	defer cancel()
	for range 2 { // once more if the first write arrives only after the look
		got, found, lookErr := c.c.Store.Get(ctx, key)
		switch {
		case lookErr != nil:
			return false, err
		case found && got.Version == item.Version && bytes.Equal(got.Data, item.Data):
			return true, nil
		case got.Version != version: // 0 if there is none
			return false, err
		}
		if ok, lost := c.send(ctx, key, version, item); ok && lost == nil {
			return true, nil
		}
	}
	return false, err
}

func (c *Carrier) send(ctx context.Context, key string, version uint64, item Item) (ok bool, err error) {
	if version > 0 {
		return c.c.Store.Swap(ctx, key, version, item)
	}
	err = c.c.Store.Create(ctx, key, item)
	return err == nil, err
}

func (c *Carrier) delete(ctx context.Context, key string) error {
	defer c.opened.forget(key)
	return c.c.Store.Delete(ctx, key)
}

// reserve keeps the time of the second look for it, so that the whole write
// ends by the deadline of ctx. If there is little time, the first try gets all
// of it, and the look comes on top.
func reserve(ctx context.Context) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok || time.Until(end) < 2*lookAgain {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, end.Add(-lookAgain))
}

// isAnswer reports whether a store's error says that nothing has happened.
func isAnswer(err error) bool {
	if errors.Is(err, ErrNotDone) {
		return true
	}
	switch session.ReasonOf(err) {
	case session.Conflict, session.BadValue, session.TooLarge:
		return true
	}
	return false
}
