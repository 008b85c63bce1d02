package storetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/itemtest"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
)

// A history is what several callers did with a few keys, and when. Some
// requests and answers get lost, so that nobody knows what became of those. The
// history is correct if a store that does one thing at a time could have given
// the same answers: there must be an order of the operations in which each
// takes effect between its call and its return. Porcupine searches for it.

const (
	historyCallers = 8
	historyEach    = 25 // operations of one caller
	historyKeys    = 2  // with more, callers meet less often; with one, a deletion ends it all
	historyLost    = 10 // percent of the requests, and of the answers
)

// judging is how long the search may take. Of thousands of histories, hardly
// any took a second.
const judging = time.Minute

var errLost = fmt.Errorf("the test lost the answer: %w", session.Unavailable)

// histories records random histories, and judges each of them. The choices of
// the callers depend on nothing but the number of the history.
func histories(n, lost int) func(*probe) {
	return func(p *probe) {
		for i := range soak(n) {
			if p.history(uint64(i), lost); p.err != nil {
				p.err = fmt.Errorf("history %d: %w", i+1, p.err)
				return
			}
		}
	}
}

func (p *probe) history(seed uint64, lost int) {
	var tick atomic.Int64
	var steps [historyEach]sync.WaitGroup
	for n := range steps {
		steps[n].Add(historyCallers)
	}
	keys, base := make([]string, historyKeys), itemtest.New(1, "")
	for k := range keys {
		keys[k] = itemtest.Key()
	}
	done := make([][]operation, historyCallers)
	p.atOnce(historyCallers, func(i int) error {
		c := &caller{
			number: i, store: p.store, keys: keys, base: base, lost: lost, tick: &tick,
			r: rand.New(rand.NewPCG(seed, uint64(i))), last: make([]uint64, historyKeys),
		}
		for n := range steps {
			// Callers wait for each other. Otherwise a store in memory would serve one
			// after the other. It also keeps the creates before the first delete.
			steps[n].Done()
			steps[n].Wait()
			c.act(p.ctx, n)
		}
		done[i] = c.done
		return nil
	})
	if p.err == nil {
		p.err = judge(slices.Concat(done...))
	}
}

// A caller does one thing after the other.
type caller struct {
	number int
	store  opaque.Store
	keys   []string
	base   opaque.Item
	lost   int // percent
	tick   *atomic.Int64
	r      *rand.Rand
	last   []uint64 // for each key, the newest version that it knows
	done   []operation
}

func (c *caller) act(ctx context.Context, n int) {
	op := operation{caller: c.number, kind: c.choose(n), key: c.r.IntN(historyKeys)}
	if op.kind == create {
		op.key = c.number % historyKeys
	}
	c.prepare(&op, n)
	lostRequest, lostAnswer := c.r.IntN(100) < c.lost, c.r.IntN(100) < c.lost
	ctx, cancel := context.WithTimeout(ctx, slow)
	defer cancel()
	op.called = c.tick.Add(1)
	if !lostRequest {
		c.perform(ctx, &op)
	}
	op.returned = c.tick.Add(1)
	if lostRequest || lostAnswer {
		op.err = errLost
	}
	if op.err != nil {
		op.returned = math.MaxInt64 // it may still happen
	}
	c.learn(op)
	c.done = append(c.done, op)
}

// choose begins with a Create. No caller creates later, since keys are used
// once.
func (c *caller) choose(n int) kind {
	switch p := c.r.IntN(100); {
	case n == 0:
		return create
	case p < 35:
		return swapItem
	case p < 60:
		return touchItem
	case p < 62 && n > historyEach/2:
		return remove
	}
	return get
}

func (c *caller) prepare(op *operation, n int) {
	later, version := int64(c.r.IntN(3600)), max(c.last[op.key], 1)
	op.in = state{
		version: version,
		data:    fmt.Sprintf("%d.%d", c.number, n),
		seen:    c.base.SeenAt.Unix() + later,
		idle:    c.base.IdleDeadline.Unix() + later,
		end:     c.base.Deadline.Unix() - int64(c.r.IntN(1800)),
	}
	if op.kind != touchItem {
		op.in.idle = min(op.in.idle, op.in.end)
	}
	if op.kind == swapItem {
		op.from = version
		op.in.version = version + 1 + uint64(c.r.IntN(2))
	}
}

func (c *caller) perform(ctx context.Context, op *operation) {
	key := c.keys[op.key]
	switch op.kind {
	case create:
		err := c.store.Create(ctx, key, op.in.item())
		op.ok = err == nil
		if !errors.Is(err, session.Conflict) {
			op.err = err
		}
	case get:
		var item opaque.Item
		item, op.ok, op.err = c.store.Get(ctx, key)
		if op.ok {
			op.out = stateOf(item)
		}
	case swapItem:
		op.ok, op.err = c.store.Swap(ctx, key, op.from, op.in.item())
	case touchItem:
		op.ok, op.err = c.store.Touch(ctx, key, time.Unix(op.in.seen, 0), time.Unix(op.in.idle, 0))
	case remove:
		op.err = c.store.Delete(ctx, key)
		op.ok = op.err == nil
	}
}

// learn keeps the version that an answer has told.
func (c *caller) learn(op operation) {
	switch {
	case op.err != nil || !op.ok:
	case op.kind == get:
		c.last[op.key] = op.out.version
	case op.kind == swapItem:
		c.last[op.key] = op.in.version
	}
}
