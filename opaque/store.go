package opaque

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/instant"
	"github.com/cloakroom-go/cloakroom/session"
)

// A Store keeps items under keys. [MemoryStore] is one; package storetest has
// the tests that every other one must pass.
//
// There is no plain write. A write that doesn't look at what is stored would let
// a slow request bring back a session that was logged out meanwhile. So only
// Create makes an item, and an item changes only at the version at which it was
// read. Each method takes effect at one instant between its call and its
// return, and methods may be called concurrently.
//
// A key is the SHA-256 of a credential in base64url: 43 characters, and
// case-sensitive. Keys are never used again, so a store keeps nothing of a
// deleted item.
//
// An item is over from the earlier of its IdleDeadline and Deadline on. A store
// may keep it for a while, and Get may return it, so that a visitor who comes
// back late can be told; but it can't be changed any more. An item that isn't
// over is never dropped.
//
// An error means that the store could not tell, or could not keep, and wraps
// [session.Unavailable]; the operation may or may not have happened. If the
// context is done before the call, that is such an error too, and nothing has
// happened. Exceptions: [session.Conflict] as Create says, [session.BadValue]
// for an item that isn't valid, [session.TooLarge] for one that is beyond the
// store's limit; then nothing has happened either. Errors never contain data.
type Store interface {
	// Get returns the item under key. ok is false, without an error, if there is none.
	Get(ctx context.Context, key string) (item Item, ok bool, err error)

	// Create keeps item under key, which is not in use. If it is, the error wraps
	// [session.Conflict], and what is stored stays as it is.
	Create(ctx context.Context, key string, item Item) error

	// Swap replaces the whole item under key by item, if the one that is stored has
	// this version and isn't over. Otherwise ok is false and nothing has changed:
	// somebody else was faster, or the session has ended. Of several concurrent
	// swaps from one version one succeeds. item.Version must be above version.
	Swap(ctx context.Context, key string, version uint64, item Item) (ok bool, err error)

	// Touch records activity. It moves SeenAt and IdleDeadline forward, each
	// independently and never back; IdleDeadline at most to the item's Deadline.
	// Nothing else changes, so a Swap from the item's version still succeeds. ok is
	// false if there is no item, or it is over; Touch never creates one.
	Touch(ctx context.Context, key string, seenAt, idleDeadline time.Time) (ok bool, err error)

	// Delete removes the item under key. It succeeds if there is none.
	Delete(ctx context.Context, key string) error
}

// An Item is what a Store keeps under a key. Its instants are whole seconds; a
// store drops fractions.
type Item struct {
	Version      uint64    // at least 1; raised by each Swap, left alone by Touch
	SeenAt       time.Time // the last activity that was recorded
	IdleDeadline time.Time // required: over at this instant, unless Touch moves it
	Deadline     time.Time // required: over at this instant, whatever happens

	// Data is opaque to the store, binary, and may be empty. Once handed to a store
	// or returned by it, its bytes are never modified, by either side, so a store in
	// memory needn't copy them.
	Data []byte

	// Anonymous says that nobody is logged in: anybody can make many such items. It
	// is a hint for Create. A store with limits may use it, need not keep it, and
	// doesn't return it.
	Anonymous bool

	// Instead is the key of the item that this one is going to replace; "" if there
	// is none. It is a hint like Anonymous.
	Instead string
}

// Validate reports what makes the item unfit for a store, as an error that wraps
// [session.BadValue]. A store calls it in Create and Swap.
func (it Item) Validate() error {
	var errs []error
	if it.Version == 0 {
		errs = append(errs, errors.New("its Version must be at least 1"))
	}
	if it.IdleDeadline.IsZero() || it.Deadline.IsZero() {
		errs = append(errs, errors.New("both IdleDeadline and Deadline are required, or the item would stay for ever"))
	}
	if errs == nil {
		return nil
	}
	return fmt.Errorf("opaque: item: %w: %w", errors.Join(errs...), session.BadValue)
}

// OverAt returns the instant at which the item is over: the earlier of
// IdleDeadline and Deadline.
func (it Item) OverAt() time.Time { return instant.Earliest(it.IdleDeadline, it.Deadline) }

// ValidateSwap reports what makes Swap(version, item) a mistake of the caller, as
// an error that wraps [session.BadValue]. Without the rule on versions two swaps
// from one version could both succeed.
func (it Item) ValidateSwap(version uint64) error {
	if it.Version <= version {
		return fmt.Errorf("opaque: swap of version %d to version %d: the new version must be above the old: %w", version, it.Version, session.BadValue)
	}
	return it.Validate()
}
