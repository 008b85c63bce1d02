package opaque

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/instant"
	"github.com/cloakroom-go/cloakroom/session"
)

// A Store keeps items under keys. [MemoryStore] is one. Package storetest has
// the tests that every other one must pass.
//
// There is no plain write: a write that does not look at what is stored would
// let a slow request bring back a session that was logged out meanwhile. Only
// Create makes an item, and an item changes only at the version at which it was
// read. Each method takes effect at one instant between its call and its
// return. Methods may be called concurrently.
//
// A key is the SHA-256 of a credential in base64url: 43 characters, and
// case-sensitive. Keys are never used again, so a store need not remember a
// deleted item.
//
// An item expires at the earlier of its IdleDeadline and Deadline. From then on
// it can't be changed. A store may keep it for a while, and Get may return it,
// so that a visitor who comes back late can be told. A store never drops an
// item before it has expired.
//
// The clock of the process that calls decides what has expired; a store on a
// server sends the time along. The server's own clock may only remove items,
// and only some minutes after they have expired: a server whose clock is ahead
// must log nobody out.
//
// An error means that the store could not answer, or could not keep the item.
// It wraps [session.Unavailable], and the operation may or may not have
// happened. If the context is done before the call, that is such an error too,
// and nothing has happened. A store that is sure that nothing has happened
// wraps [ErrNotDone]. Three errors mean that nothing has happened and nothing
// is wrong with the store: [session.Conflict] as Create says,
// [session.BadValue] for an item that is not valid, and [session.TooLarge] for
// one that is beyond the store's limit. Errors never contain data.
//
// A call ends by the deadline of its context. If the answer to a write got
// lost, a store never sends the write again, and keeps its client library from
// doing so: the second one could undo what others have written since. It
// returns [session.Unavailable], and the [Carrier] finds out what happened.
type Store interface {
	// Get returns the item under key. If there is none, ok is false and err is
	// nil.
	Get(ctx context.Context, key string) (item Item, ok bool, err error)

	// Create keeps item under key. If the key is in use, the error wraps
	// [session.Conflict], and the stored item does not change.
	Create(ctx context.Context, key string, item Item) error

	// Swap replaces the whole item under key if the stored one has this version
	// and has not expired. Otherwise ok is false and nothing has changed: another
	// request was faster, or the session has ended. Of several concurrent swaps
	// from one version exactly one succeeds. item.Version must be above version.
	Swap(ctx context.Context, key string, version uint64, item Item) (ok bool, err error)

	// Touch records activity. It moves SeenAt and IdleDeadline forward, each
	// independently, and never back. IdleDeadline moves at most to the item's
	// Deadline. Nothing else changes, so a Swap from the item's version still
	// succeeds. If there is no item or it has expired, ok is false.
	Touch(ctx context.Context, key string, seenAt, idleDeadline time.Time) (ok bool, err error)

	// Delete removes the item under key. If there is none, it succeeds too.
	Delete(ctx context.Context, key string) error
}

// ErrNotDone is a [session.Unavailable] with which a [Store] says that nothing
// has happened, and that nothing of the call can happen later: the server has
// refused, there was no connection on which anything could have been sent, or
// the context was done before. The [Carrier] then doesn't look what is stored,
// which saves up to two round trips and 250 ms. A store that is not sure
// returns another Unavailable: if it says ErrNotDone and the write has
// happened, a visitor is logged out.
var ErrNotDone = fmt.Errorf("nothing was done: %w", session.Unavailable)

// An InProcessStore is a [Store] that can keep its items in the memory of the
// application itself. A [Carrier] does not encrypt records there: somebody who
// can read that memory can read the sessions in use as well.
type InProcessStore interface {
	Store // with the same contract

	// InProcess reports whether items stay in the memory of this process. A store
	// that wraps another one returns what that one does.
	InProcess() bool
}

func isInProcess(s Store) bool {
	local, ok := s.(InProcessStore)
	return ok && local.InProcess()
}

// An Item is what a Store keeps under a key. Its instants are whole seconds: a
// store drops fractions.
type Item struct {
	Version      uint64    // at least 1; each Swap raises it, Touch does not
	SeenAt       time.Time // the last activity that was recorded
	IdleDeadline time.Time // required: the item expires then, unless Touch moves it
	Deadline     time.Time // required: the item expires then in any case

	// Data is binary, may be empty, and means nothing to the store. Neither side
	// modifies its bytes once they were handed to a store or returned by it, so a
	// store in memory need not copy them.
	Data []byte

	// Anonymous says that nobody is logged in. Anybody can make many such items,
	// so a store may keep fewer of them. It is a hint for Create: a store need not
	// keep it, and does not return it.
	Anonymous bool

	// Instead is the key of the item that this one will replace, or "". It is a
	// hint like Anonymous.
	Instead string
}

// OverAt returns the instant at which the item expires: the earlier of
// IdleDeadline and Deadline.
func (it Item) OverAt() time.Time { return instant.Earliest(it.IdleDeadline, it.Deadline) }

// Validate returns an error that wraps [session.BadValue] if a store can't take
// the item. Create calls it with 0, Swap with the version that the item
// replaces. If a new version could be at or below the old one, two swaps from
// one version could both succeed.
func (it Item) Validate(replaces uint64) error {
	var errs []error
	switch {
	case it.Version == 0:
		errs = append(errs, errors.New("its Version must be at least 1"))
	case it.Version <= replaces:
		errs = append(errs, fmt.Errorf("its Version %d must be above %d, which it replaces", it.Version, replaces))
	}
	if it.IdleDeadline.IsZero() || it.Deadline.IsZero() {
		errs = append(errs, errors.New("both IdleDeadline and Deadline are required, or it would never expire"))
	}
	if errs == nil {
		return nil
	}
	return fmt.Errorf("opaque: item: %w: %w", errors.Join(errs...), session.BadValue)
}
