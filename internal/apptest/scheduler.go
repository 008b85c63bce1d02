package apptest

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

// stuck is how long the scheduler waits for the request that goes on. One that
// waits for its turn in a token carrier can't stop or return: the request that
// has the turn has to go on first. In the time of package synctest this is
// exact; on a busy machine two requests may run at once, which is one more
// order.
const stuck = 5 * time.Millisecond

// A scheduler lets one of the stopped requests go on at a time.
type scheduler struct {
	random  *rand.Rand
	changed chan struct{} // a request has stopped or returned
	wait    func()        // if not nil, waits until every goroutine has stopped: synctest.Wait

	mu      sync.Mutex // guards the rest
	on      bool
	alive   int // actors that have not returned
	running int // the actor that goes on
	parked  []parked
}

func newScheduler(seed uint64) *scheduler {
	return &scheduler{random: rand.New(rand.NewPCG(seed, 1)), changed: make(chan struct{}, 1)}
}

type parked struct {
	actor int
	run   chan struct{}
	aside bool // a goroutine that serves the actors, see stepAside
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
	s.parked = append(s.parked, parked{actor, run, false})
	s.mu.Unlock()
	s.change()
	<-run
}

// stepAside stops a goroutine that is not an actor until it is its turn. What
// it does then an actor may wait for.
func (s *scheduler) stepAside(id int) {
	s.mu.Lock()
	if !s.on {
		s.mu.Unlock()
		return
	}
	run := make(chan struct{})
	s.alive++
	s.parked = append(s.parked, parked{id, run, true})
	s.mu.Unlock()
	s.change()
	<-run
}

func (s *scheduler) change() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// settle waits until no request runs that could stop or return.
func (s *scheduler) settle() {
	for {
		if s.wait != nil {
			s.wait()
		}
		s.mu.Lock()
		parked, alive := len(s.parked), s.alive
		s.mu.Unlock()
		if parked == alive || s.wait != nil && parked > 0 {
			return
		}
		timer := time.NewTimer(stuck)
		select {
		case <-s.changed:
			timer.Stop()
			continue
		case <-timer.C:
		}
		if parked > 0 {
			return
		}
	}
}

// run starts the actors, and runs them until all have returned.
func (s *scheduler) run(actors []func(ctx context.Context)) {
	if s.wait != nil {
		s.wait() // for appends that nobody waits for
	}
	s.mu.Lock()
	s.on, s.alive = true, len(actors)
	s.mu.Unlock()
	for i, act := range actors {
		ctx := context.WithValue(context.Background(), actorKey{}, i)
		go func() {
			s.step(ctx)
			act(ctx)
			s.mu.Lock()
			s.alive--
			s.mu.Unlock()
			s.change()
		}()
	}
	for {
		s.settle()
		s.mu.Lock()
		if s.alive == 0 {
			s.on = false
			s.mu.Unlock()
			return
		}
		slices.SortFunc(s.parked, func(a, b parked) int { return cmp.Compare(a.actor, b.actor) })
		i := s.random.IntN(len(s.parked))
		next := s.parked[i]
		s.parked = slices.Delete(s.parked, i, i+1)
		if next.aside {
			s.alive--
		} else {
			s.running = next.actor
		}
		s.mu.Unlock()
		close(next.run)
	}
}

// A steppedStore stops before each call. The time that passes there counts
// towards no deadline.
type steppedStore struct {
	opaque.Store
	s *scheduler
}

func (s steppedStore) step(ctx context.Context) context.Context {
	s.s.step(ctx)
	return context.WithoutCancel(ctx)
}

func (s steppedStore) InProcess() bool { return inProcess(s.Store) }

func (s steppedStore) Get(ctx context.Context, key string) (opaque.Item, bool, error) {
	return s.Store.Get(s.step(ctx), key)
}

func (s steppedStore) Create(ctx context.Context, key string, item opaque.Item) error {
	return s.Store.Create(s.step(ctx), key, item)
}

func (s steppedStore) Swap(ctx context.Context, key string, version uint64, item opaque.Item) (bool, error) {
	return s.Store.Swap(s.step(ctx), key, version, item)
}

func (s steppedStore) Touch(ctx context.Context, key string, seenAt, idleDeadline time.Time) (bool, error) {
	return s.Store.Touch(s.step(ctx), key, seenAt, idleDeadline)
}

func (s steppedStore) Delete(ctx context.Context, key string) error {
	return s.Store.Delete(s.step(ctx), key)
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
