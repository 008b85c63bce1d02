package apptest

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
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
	random  *dice
	changed chan struct{} // a request has stopped or returned
	wait    func()        // if not nil, waits until every goroutine has stopped: synctest.Wait
	starved atomic.Bool   // a call ran out of time, see call

	mu      sync.Mutex // guards the rest
	on      bool
	alive   int // actors that have not returned
	running int // the actor that goes on
	parked  []parked
}

func newScheduler(seed uint64) *scheduler {
	return &scheduler{random: &dice{r: rand.New(rand.NewPCG(seed, 1))}, changed: make(chan struct{}, 1)}
}

// Dice are random numbers. Two requests may run at once, see stuck.
type dice struct {
	mu sync.Mutex // guards r
	r  *rand.Rand
}

// IntN returns a number from 0 to n-1.
func (d *dice) IntN(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.r.IntN(n)
}

// Shuffle puts n things in another order.
func (d *dice) Shuffle(n int, swap func(i, j int)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.r.Shuffle(n, swap)
}

// limit is less than every time limit of a store and its driver, and more than
// a healthy server takes to refuse something.
const limit = time.Second

// call notes that a call to the server failed because its time was up. All
// servers are healthy, so it was the machine that had no time for it. What
// follows from that is no violation.
func (s *scheduler) call(do func() error) error {
	begun := time.Now()
	err := do()
	if err != nil && time.Since(begun) >= limit {
		s.starved.Store(true)
	}
	return err
}

// attempts is how often a play whose calls ran out of time begins anew.
const attempts = 5

// decide runs a play, and runs it again if it finds a violation that may come
// from a call that ran out of time. A violation that is none of those is found
// again. If no attempt has time enough, the last one's violation is returned,
// and says so.
func decide(t testing.TB, seed uint64, run func() (violation string, starved bool)) (violation string, again int) {
	t.Helper()
	for again = range attempts {
		starved := false
		if violation, starved = run(); violation == "" || !starved {
			return violation, again
		}
		what, _, _ := strings.Cut(violation, "\n")
		t.Logf("seed %d begins anew, because calls ran out of time: %s", seed, what)
	}
	return fmt.Sprintf("undecided after %d attempts in which calls ran out of time: %s", attempts, violation), again
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

func (s steppedStore) Get(ctx context.Context, key string) (item opaque.Item, ok bool, err error) {
	ctx = s.step(ctx)
	err = s.s.call(func() error {
		item, ok, err = s.Store.Get(ctx, key)
		return err
	})
	return item, ok, err
}

func (s steppedStore) Create(ctx context.Context, key string, item opaque.Item) error {
	ctx = s.step(ctx)
	return s.s.call(func() error { return s.Store.Create(ctx, key, item) })
}

func (s steppedStore) Swap(ctx context.Context, key string, version uint64, item opaque.Item) (ok bool, err error) {
	ctx = s.step(ctx)
	err = s.s.call(func() error {
		ok, err = s.Store.Swap(ctx, key, version, item)
		return err
	})
	return ok, err
}

func (s steppedStore) Touch(ctx context.Context, key string, seenAt, idleDeadline time.Time) (ok bool, err error) {
	ctx = s.step(ctx)
	err = s.s.call(func() error {
		ok, err = s.Store.Touch(ctx, key, seenAt, idleDeadline)
		return err
	})
	return ok, err
}

func (s steppedStore) Delete(ctx context.Context, key string) error {
	ctx = s.step(ctx)
	return s.s.call(func() error { return s.Store.Delete(ctx, key) })
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
