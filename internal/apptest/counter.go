package apptest

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/cloakroom-go/cloakroom/opaque"
)

// A Counter counts what is asked of a store, and gives no answers while it is
// Down. It is no store of this process, so records are encrypted, and there are
// tickets.
type Counter struct {
	opaque.Store
	Reads, Writes atomic.Int64
	Down          atomic.Bool
}

// Get implements opaque.Store.
func (c *Counter) Get(ctx context.Context, key string) (opaque.Item, bool, error) {
	c.Reads.Add(1)
	if c.Down.Load() {
		return opaque.Item{}, false, errors.New("no answer")
	}
	return c.Store.Get(ctx, key)
}

// Create implements opaque.Store.
func (c *Counter) Create(ctx context.Context, key string, item opaque.Item) error {
	c.Writes.Add(1)
	return c.Store.Create(ctx, key, item)
}

// Swap implements opaque.Store.
func (c *Counter) Swap(ctx context.Context, key string, version uint64, item opaque.Item) (bool, error) {
	c.Writes.Add(1)
	return c.Store.Swap(ctx, key, version, item)
}

// Touch implements opaque.Store.
func (c *Counter) Touch(ctx context.Context, key string, seenAt, idleDeadline time.Time) (bool, error) {
	c.Writes.Add(1)
	return c.Store.Touch(ctx, key, seenAt, idleDeadline)
}

// Delete implements opaque.Store.
func (c *Counter) Delete(ctx context.Context, key string) error {
	c.Writes.Add(1)
	return c.Store.Delete(ctx, key)
}
