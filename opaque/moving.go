package opaque

import (
	"context"
	"errors"
	"time"
)

// Moving returns a store for the time in which an application moves from one
// store to another. New items go into the first; those in the second stay there
// until they expire or are deleted, and are found and changed there. A login
// makes a new item, so the second store empties within the lifetime of a
// session, and nobody is logged out.
//
// Each key stays in the store in which it was made, so the result promises what
// both stores promise. A key that is not in the first costs a look into the
// second.
//
// No instance may write to a store that another one doesn't know. So a move
// takes three roll-outs: Moving(old, new), then Moving(new, old), and, when the
// longest lifetime of a session has passed, the new one alone.
func Moving(first, second Store) Store { return moving{first: first, second: second} }

type moving struct{ first, second Store }

// Get implements [Store].
func (m moving) Get(ctx context.Context, key string) (Item, bool, error) {
	if item, ok, err := m.first.Get(ctx, key); ok || err != nil {
		return item, ok, err
	}
	return m.second.Get(ctx, key)
}

// Create implements [Store].
func (m moving) Create(ctx context.Context, key string, item Item) error {
	return m.first.Create(ctx, key, item)
}

// Swap implements [Store].
func (m moving) Swap(ctx context.Context, key string, version uint64, item Item) (bool, error) {
	if ok, err := m.first.Swap(ctx, key, version, item); ok || err != nil {
		return ok, err
	}
	return m.second.Swap(ctx, key, version, item)
}

// Touch implements [Store].
func (m moving) Touch(ctx context.Context, key string, seenAt, idleDeadline time.Time) (bool, error) {
	if ok, err := m.first.Touch(ctx, key, seenAt, idleDeadline); ok || err != nil {
		return ok, err
	}
	return m.second.Touch(ctx, key, seenAt, idleDeadline)
}

// Delete implements [Store].
func (m moving) Delete(ctx context.Context, key string) error {
	return errors.Join(m.first.Delete(ctx, key), m.second.Delete(ctx, key))
}

// InProcess implements [InProcessStore].
func (m moving) InProcess() bool { return isInProcess(m.first) && isInProcess(m.second) }
