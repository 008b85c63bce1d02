package token_test

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing/synctest"
	"time"

	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

// The race tests run requests in every order: each stops before every
// access to the store, the revocation list and the token memory, and a
// scheduler with a seed decides who goes on. What a seed finds, it finds again.

// A scheduler lets one of the stopped requests go on at a time.
type scheduler struct {
	random *rand.Rand

	mu      sync.Mutex // guards the rest
	on      bool
	running int // the actor that goes on
	parked  []parked
}

type parked struct {
	actor int
	run   chan struct{}
}

type actorKey struct{}

// step stops the request of ctx until it is its turn.
func (s *scheduler) step(ctx context.Context) {
	if actor, ok := ctx.Value(actorKey{}).(int); ok {
		s.park(actor)
	}
}

// stepRunning stops the request that is running: for calls without a context.
func (s *scheduler) stepRunning() {
	s.mu.Lock()
	actor := s.running
	s.mu.Unlock()
	s.park(actor)
}

func (s *scheduler) park(actor int) {
	s.mu.Lock()
	if !s.on {
		s.mu.Unlock()
		return
	}
	run := make(chan struct{})
	s.parked = append(s.parked, parked{actor, run})
	s.mu.Unlock()
	<-run
}

// run starts the actors, and runs them until all have returned.
func (s *scheduler) run(actors []func(ctx context.Context)) {
	s.mu.Lock()
	s.on = true
	s.mu.Unlock()
	for i, act := range actors {
		ctx := context.WithValue(context.Background(), actorKey{}, i)
		go func() {
			s.step(ctx)
			act(ctx)
		}()
	}
	for {
		synctest.Wait()
		s.mu.Lock()
		if len(s.parked) == 0 {
			s.on = false
			s.mu.Unlock()
			return
		}
		slices.SortFunc(s.parked, func(a, b parked) int { return cmp.Compare(a.actor, b.actor) })
		i := s.random.IntN(len(s.parked))
		next := s.parked[i]
		s.parked = slices.Delete(s.parked, i, i+1)
		s.running = next.actor
		s.mu.Unlock()
		close(next.run)
	}
}

// A steppedStore stops before each call.
type steppedStore struct {
	opaque.Store
	s *scheduler
}

func (s steppedStore) Get(ctx context.Context, key string) (opaque.Item, bool, error) {
	s.s.step(ctx)
	return s.Store.Get(ctx, key)
}

func (s steppedStore) Create(ctx context.Context, key string, item opaque.Item) error {
	s.s.step(ctx)
	return s.Store.Create(ctx, key, item)
}

func (s steppedStore) Swap(ctx context.Context, key string, version uint64, item opaque.Item) (bool, error) {
	s.s.step(ctx)
	return s.Store.Swap(ctx, key, version, item)
}

func (s steppedStore) Touch(ctx context.Context, key string, seenAt, idleDeadline time.Time) (bool, error) {
	s.s.step(ctx)
	return s.Store.Touch(ctx, key, seenAt, idleDeadline)
}

func (s steppedStore) Delete(ctx context.Context, key string) error {
	s.s.step(ctx)
	return s.Store.Delete(ctx, key)
}

// A plainStore writes without looking, as the stores of other libraries do. It
// is here to be caught.
type plainStore struct{ opaque.Store }

func (s plainStore) Swap(ctx context.Context, key string, _ uint64, item opaque.Item) (bool, error) {
	_ = s.Store.Delete(ctx, key)
	return true, s.Store.Create(ctx, key, item)
}

// A steppedList stops before each call, and after those that change the list.
type steppedList struct {
	*revocation.List
	s *scheduler
}

func (l steppedList) Check(rec *session.Record) error {
	l.s.stepRunning()
	return l.List.Check(rec)
}

func (l steppedList) EndSession(ctx context.Context, rec *session.Record) error {
	l.s.step(ctx)
	err := l.List.EndSession(ctx, rec)
	l.s.step(ctx)
	return err
}

func (l steppedList) EndBelow(ctx context.Context, rec *session.Record) (bool, error) {
	l.s.step(ctx)
	ok, err := l.List.EndBelow(ctx, rec)
	l.s.step(ctx)
	return ok, err
}
