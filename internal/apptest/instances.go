package apptest

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/cloakroom-go/cloakroom/opaque"
)

// Instances returns a store whose calls go to each of several in turn: those of
// the instances of an application behind a load balancer that remembers
// nothing. All of them use one server.
func Instances(stores ...opaque.Store) opaque.Store { return &instances{stores: stores} }

type instances struct {
	stores []opaque.Store
	calls  atomic.Uint64
}

func (s *instances) next() opaque.Store { return s.stores[s.calls.Add(1)%uint64(len(s.stores))] }

func (s *instances) Get(ctx context.Context, key string) (opaque.Item, bool, error) {
	return s.next().Get(ctx, key)
}

func (s *instances) Create(ctx context.Context, key string, item opaque.Item) error {
	return s.next().Create(ctx, key, item)
}

func (s *instances) Swap(ctx context.Context, key string, version uint64, item opaque.Item) (bool, error) {
	return s.next().Swap(ctx, key, version, item)
}

func (s *instances) Touch(ctx context.Context, key string, seenAt, idleDeadline time.Time) (bool, error) {
	return s.next().Touch(ctx, key, seenAt, idleDeadline)
}

func (s *instances) Delete(ctx context.Context, key string) error { return s.next().Delete(ctx, key) }
