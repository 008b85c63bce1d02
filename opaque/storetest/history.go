package storetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
)

// A history is what a few callers did with one key, and when. It is correct if
// a store that does one thing at a time could have given the same answers:
// there must be an order of the operations in which each takes effect between
// its call and its return. The search for that order is the one of Wing and
// Gong. It remembers where it has been (Lowe, "Testing for Linearizability").

const (
	historyCallers = 4  // each further one makes the search much longer
	historyEach    = 12 // operations of one caller; all of them together fit a bit mask
)

// history records one random history and judges it.
func history(p *probe, key string) {
	var tick, arrived atomic.Int64
	base := newItem(1, "")
	done := make([][]operation, historyCallers)
	p.atOnce(historyCallers, func(i int) error {
		r := rand.New(rand.NewPCG(rand.Uint64(), uint64(i)))
		c := &caller{number: i, store: p.store, key: key, base: base, tick: &tick, r: r}
		for n := range historyEach {
			// Callers wait for each other. Otherwise a store in memory would serve one
			// after the other. It also keeps the creates before the first delete.
			arrived.Add(1)
			for arrived.Load() < int64(historyCallers*(n+1)) {
				runtime.Gosched()
			}
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
	key    string
	base   opaque.Item
	tick   *atomic.Int64
	r      *rand.Rand
	last   uint64 // the newest version that it knows
	done   []operation
}

func (c *caller) act(ctx context.Context, n int) {
	op := operation{caller: c.number, kind: c.choose(n)}
	c.prepare(&op, n)
	op.called = c.tick.Add(1)
	c.perform(ctx, &op)
	op.returned = c.tick.Add(1)
	if op.err != nil {
		op.returned = math.MaxInt64 // it may still happen
	}
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
	case p < 63 && n > historyEach/2:
		return remove
	}
	return get
}

func (c *caller) prepare(op *operation, n int) {
	later := int64(c.r.IntN(3600))
	op.in = state{
		version: max(c.last, 1),
		data:    fmt.Sprintf("%d.%d", c.number, n),
		seen:    c.base.SeenAt.Unix() + later,
		idle:    c.base.IdleDeadline.Unix() + later,
		end:     c.base.Deadline.Unix() - int64(c.r.IntN(1800)),
	}
	if op.kind != touchItem {
		op.in.idle = min(op.in.idle, op.in.end)
	}
	if op.kind == swapItem {
		op.from = max(c.last, 1)
		op.in.version = op.from + 1 + uint64(c.r.IntN(2))
	}
}

func (c *caller) perform(ctx context.Context, op *operation) {
	switch op.kind {
	case create:
		err := c.store.Create(ctx, c.key, op.in.item())
		op.ok = err == nil
		if !errors.Is(err, session.Conflict) {
			op.err = err
		}
	case get:
		var item opaque.Item
		item, op.ok, op.err = c.store.Get(ctx, c.key)
		if op.ok {
			op.out = stateOf(item)
			c.last = item.Version
		}
	case swapItem:
		op.ok, op.err = c.store.Swap(ctx, c.key, op.from, op.in.item())
		if op.ok {
			c.last = op.in.version
		}
	case touchItem:
		op.ok, op.err = c.store.Touch(ctx, c.key, time.Unix(op.in.seen, 0), time.Unix(op.in.idle, 0))
	case remove:
		op.err = c.store.Delete(ctx, c.key)
		op.ok = op.err == nil
	}
}

// A kind is the name of a method.
type kind string

const (
	create    kind = "Create"
	get       kind = "Get"
	swapItem  kind = "Swap"
	touchItem kind = "Touch"
	remove    kind = "Delete"
)

// A state is what the model keeps of one key.
type state struct {
	live            bool
	gone            bool // it was deleted, for good
	version         uint64
	data            string
	seen, idle, end int64 // unix seconds
}

func (s state) item() opaque.Item {
	return opaque.Item{
		Version: s.version, Data: []byte(s.data),
		SeenAt: time.Unix(s.seen, 0), IdleDeadline: time.Unix(s.idle, 0), Deadline: time.Unix(s.end, 0),
	}
}

func stateOf(it opaque.Item) state {
	return state{
		live: true, version: it.Version, data: string(it.Data),
		seen: it.SeenAt.Unix(), idle: it.IdleDeadline.Unix(), end: it.Deadline.Unix(),
	}
}

// An operation is what was asked and answered. With an error the answer is
// unknown.
type operation struct {
	caller           int
	kind             kind
	from             uint64 // swap: the version that it goes from
	in, out          state
	ok               bool
	err              error
	called, returned int64 // order among all calls and returns
}

// next returns the state after op took effect in s, and whether its answer
// fits.
func (op *operation) next(s state) (state, bool) {
	after, ok := s, s.live
	switch op.kind {
	case create:
		if ok = !s.live && !s.gone; ok {
			after = op.in
			after.live = true
		}
	case get:
		return s, op.err != nil || op.ok == s.live && (!s.live || op.out == s)
	case swapItem:
		if ok = s.live && s.version == op.from; ok {
			after = op.in
			after.live = true
		}
	case touchItem:
		if s.live {
			after.seen, after.idle = max(s.seen, op.in.seen), max(s.idle, min(op.in.idle, s.end))
		}
	case remove:
		after, ok = state{gone: s.live || s.gone}, true
	}
	return after, op.err != nil || op.ok == ok
}

func (op *operation) String() string {
	what, in, result := string(op.kind), op.in.item(), fmt.Sprint(op.ok)
	switch {
	case op.err != nil:
		result = "unknown: " + op.err.Error()
	case op.kind == get && op.ok:
		result = text(op.out.item())
	}
	switch op.kind {
	case create:
		what += " " + text(in)
	case swapItem:
		what += fmt.Sprintf(" from %d to %s", op.from, text(in))
	case touchItem:
		what += fmt.Sprintf(" seen %s, idle deadline %s",
			in.SeenAt.UTC().Format(time.TimeOnly), in.IdleDeadline.UTC().Format(time.TimeOnly))
	}
	until := strconv.FormatInt(op.returned, 10)
	if op.returned == math.MaxInt64 {
		until = "…"
	}
	return fmt.Sprintf("caller %d, %d to %s: %s -> %s", op.caller, op.called, until, what, result)
}

// judge looks for an order that explains ops.
func judge(ops []operation) error {
	slices.SortFunc(ops, func(a, b operation) int { return int(a.called - b.called) })
	var errs []error
	for i := range ops {
		if ops[i].err != nil {
			errs = append(errs, ops[i].err)
		}
	}
	if n := len(ops); 2*len(errs) > n { // what is unknown explains everything
		return fmt.Errorf("of %d operations only %d were answered, for one: %w", n, n-len(errs), errs[0])
	}
	j := judgment{ops: ops, seen: map[position]bool{}}
	if j.explains(position{}) {
		return nil
	}
	var lines strings.Builder
	for i := range ops {
		fmt.Fprintf(&lines, "\n\t%v", &ops[i])
	}
	return fmt.Errorf("no order of these operations gives these answers "+
		"(at most the first %d of them can be explained):%s", j.best, lines.String())
}

// A position is where the search is: the operations that took effect, and the
// state that they led to.
type position struct {
	done  uint64 // a bit for each operation
	state state
}

type judgment struct {
	ops  []operation
	seen map[position]bool
	best int // the most operations that were explained
}

// explains reports whether the operations that are left can follow.
func (j *judgment) explains(at position) bool {
	if j.seen[at] {
		return false
	}
	j.seen[at] = true
	first, left, count := int64(math.MaxInt64), false, 0
	for i := range j.ops {
		if at.done&(1<<i) != 0 {
			count++
			continue
		}
		first = min(first, j.ops[i].returned)
		left = left || j.ops[i].err == nil
	}
	j.best = max(j.best, count)
	if !left {
		return true // what is left may never have happened
	}
	for i := range j.ops {
		op := &j.ops[i]
		if at.done&(1<<i) != 0 || op.called > first {
			continue
		}
		if after, fits := op.next(at.state); fits && j.explains(position{at.done | 1<<i, after}) {
			return true
		}
	}
	return false
}
