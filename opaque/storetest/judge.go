package storetest

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/cloakroom-go/cloakroom/opaque"
)

// A kind is the name of a method.
type kind string

const (
	create    kind = "Create"
	get       kind = "Get"
	swapItem  kind = "Swap"
	touchItem kind = "Touch"
	remove    kind = "Delete"
	end       kind = "" // not of a store: see model
)

// A state is what the model keeps of one key.
type state struct {
	live, ended     bool
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
	caller, key      int
	kind             kind
	from             uint64 // swap: the version that it goes from
	in, out          state
	ok               bool
	err              error
	called, returned int64 // order among all calls and returns
}

// saysNothing reports whether op has changed nothing and learned nothing.
func (op *operation) saysNothing() bool {
	return op.err != nil && (op.kind == get || errors.Is(op.err, opaque.ErrNotDone))
}

// next returns the state after op took effect in s, and whether its answer
// fits. An operation whose answer is unknown takes effect when it changes
// something, or never. That it could do so at any other instant, too, adds
// nothing but time to the search.
func (op *operation) next(s state) (state, bool) {
	after, ok := op.effect(s)
	switch {
	case op.kind == end || s.ended:
		return state{ended: true}, true
	case op.err != nil:
		return after, after != s
	case op.kind == get && op.ok:
		return s, op.out == s
	}
	return after, op.ok == ok
}

// effect returns the state after op, and its answer.
func (op *operation) effect(s state) (after state, ok bool) {
	after = s
	switch {
	case op.kind == create && !s.live && !s.gone, op.kind == swapItem && s.live && s.version == op.from:
		after = op.in
		after.live = true
		return after, true
	case op.kind == touchItem && s.live:
		after.seen, after.idle = max(s.seen, op.in.seen), max(s.idle, min(op.in.idle, s.end))
		return after, true
	case op.kind == remove:
		return state{gone: s.live || s.gone}, true
	}
	return s, op.kind == get && s.live
}

func (op *operation) String() string {
	what, in, result := "", op.in.item(), fmt.Sprint(op.ok)
	switch {
	case op.err != nil:
		result = "unknown: " + op.err.Error()
	case op.kind == get && op.ok:
		result = text(op.out.item())
	}
	switch op.kind {
	case create:
		what = text(in) + " "
	case swapItem:
		what = fmt.Sprintf("from %d to %s ", op.from, text(in))
	case touchItem:
		what = fmt.Sprintf("seen %s, idle deadline %s ",
			in.SeenAt.UTC().Format(time.TimeOnly), in.IdleDeadline.UTC().Format(time.TimeOnly))
	}
	until := strconv.FormatInt(op.returned, 10)
	if op.returned == math.MaxInt64 {
		until = "…"
	}
	return fmt.Sprintf("caller %d, %d to %s: %s key %d %s-> %s",
		op.caller, op.called, until, op.kind, op.key, what, result)
}

// model is a store that does one thing at a time. An operation whose answer is
// unknown has no end and fits everywhere, also after all the others, where
// nobody sees whether it happened.
func model() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return state{} },
		Step: func(s, op, _ any) (bool, any) {
			after, fits := op.(*operation).next(s.(state))
			return fits, after
		},
	}
}

// judge looks for an order that explains ops.
func judge(ops []operation) error {
	var errs []error
	keys := map[int][]operation{}
	for _, op := range ops {
		keys[op.key] = append(keys[op.key], op)
		if op.err != nil {
			errs = append(errs, op.err)
		}
	}
	if n := len(ops); 2*len(errs) > n { // what is unknown explains everything
		return fmt.Errorf("of %d operations only %d were answered, for one: %w", n, n-len(errs), errs[0])
	}
	for _, ops := range keys {
		switch search(ops, math.MaxInt64) {
		case porcupine.Illegal:
			return contradiction(ops)
		case porcupine.Unknown:
			return fmt.Errorf("whether an order explains %d operations is still open after %v", len(ops), judging)
		}
	}
	return nil
}

// search judges what was known at an instant: what had not returned may have
// happened.
func search(ops []operation, at int64) porcupine.CheckResult {
	const never = math.MaxInt64
	history := []porcupine.Operation{{Input: &operation{kind: end}, Call: never - 2, Return: never - 1}}
	for _, op := range ops {
		if op.returned > at {
			op.err, op.returned = errLost, never
		}
		if op.called <= at && !op.saysNothing() {
			history = append(history, porcupine.Operation{Input: &op, Call: op.called, Return: op.returned})
		}
	}
	return porcupine.CheckOperationsTimeout(model(), history, judging)
}

// contradiction shows the operations up to the first answer that no order
// explains. With fewer, there would be one.
func contradiction(ops []operation) error {
	const shown = 40
	slices.SortFunc(ops, func(a, b operation) int { return int(a.called - b.called) })
	last := int(ops[len(ops)-1].called) + 2*len(ops) // after all answers
	first := int64(sort.Search(last, func(at int) bool { return search(ops, int64(at)) == porcupine.Illegal }))
	ops = slices.DeleteFunc(ops, func(op operation) bool { return op.called > first || op.saysNothing() })
	var lines strings.Builder
	for _, op := range ops[max(0, len(ops)-shown):] {
		fmt.Fprintf(&lines, "\n\t%v", &op)
	}
	return fmt.Errorf("no order of these operations explains the answer at %d:%s", first, lines.String())
}
