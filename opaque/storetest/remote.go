package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/itemtest"
	"github.com/cloakroom-go/cloakroom/internal/servertest"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
)

// RunRemote tests stores that keep their items on the server at serverAddr,
// which is a host and a port. It does what [Run] does, and then spoils the
// network: answers get lost, and the server is away. open returns a store that
// reaches the server at addr: that is serverAddr, or the address of a proxy in
// front of it. All stores have the same items.
func RunRemote(t *testing.T, serverAddr string, open func(t *testing.T, addr string) opaque.Store) {
	t.Helper()
	Run(t, func(t *testing.T) opaque.Store { return open(t, serverAddr) })
	for _, r := range remoteRules() {
		t.Run(r.name, func(t *testing.T) {
			proxy := servertest.NewProxy(t, serverAddr)
			r.test(t, &probe{
				ctx: t.Context(), store: open(t, proxy.Addr()), direct: open(t, serverAddr), proxy: proxy,
			})
		})
	}
}

// remoteRules are those about the network between a store and its server.
func remoteRules() []rule {
	return []rule{
		{"lost answers", "a write that was sent twice undoes what others wrote; a wrong no logs a visitor out", lostAnswers},
		{"server away", "a server that is away must log nobody out, and be found again", serverAway},
		{"histories with lost answers", "operations take effect at one instant, also while connections break", lostHistories},
	}
}

const (
	// quick is how long a call may last whose answer never comes. Calls that don't
	// get as far on a busy machine are made again and may last longer, up to slow.
	quick = 100 * time.Millisecond
	slow  = 8 * time.Second
	// slack is how much later than its deadline a call may return.
	slack = 2 * time.Second
	// recovery is how long the store may need after a fault, try is how long each
	// call may wait then.
	recovery = 5 * time.Second
	try      = time.Second
)

// secret begins the data of every item, so that an error that repeats it shows.
const secret = "a secret value, number "

// A remoteCall is a call of one method, and what is stored before and after it;
// nil is no item.
type remoteCall struct {
	method        string
	before, after *opaque.Item
	do            func(ctx context.Context, s opaque.Store, key string) (ok bool, err error)
}

func remoteCalls() []remoteCall {
	item, swapped, touched := itemtest.New(1, secret+"1"), itemtest.New(2, secret+"2"), itemtest.New(1, secret+"1")
	touched.SeenAt, touched.IdleDeadline = touched.SeenAt.Add(time.Minute), touched.IdleDeadline.Add(time.Minute)
	return []remoteCall{
		{"Create", nil, &item, func(ctx context.Context, s opaque.Store, key string) (bool, error) {
			err := s.Create(ctx, key, item)
			return err == nil, err
		}},
		{"Get", &item, &item, func(ctx context.Context, s opaque.Store, key string) (bool, error) {
			got, ok, err := s.Get(ctx, key)
			return ok && same(got, item), err
		}},
		{"Swap", &item, &swapped, func(ctx context.Context, s opaque.Store, key string) (bool, error) {
			return s.Swap(ctx, key, 1, swapped)
		}},
		{"Touch", &item, &touched, func(ctx context.Context, s opaque.Store, key string) (bool, error) {
			return s.Touch(ctx, key, touched.SeenAt, touched.IdleDeadline)
		}},
		{"Delete", &item, nil, func(ctx context.Context, s opaque.Store, key string) (bool, error) {
			err := s.Delete(ctx, key)
			return err == nil, err
		}},
	}
}

// lostAnswers loses the first answer in one call, the second in the next, and
// so on: a store may ask more than once, or prepare a statement. Whatever comes
// after the lost answer gets through, so that a write that is sent again has an
// effect, and an answer.
func lostAnswers(p *probe) {
	var deleted []string
	for how, mode := range map[string]servertest.Mode{"cut": servertest.Cut, "swallowed": servertest.Swallow} {
		for _, c := range remoteCalls() {
			for n, more := int64(1), true; more; n++ {
				var key string
				key, more = p.loseAnswer(c, n, mode, fmt.Sprintf("answer %d to a %s was %s", n, c.method, how))
				if !p.isStored(key, nil) && p.err == nil {
					p.err = failed("without a proxy: Delete", p.direct.Delete(p.ctx, key))
					deleted = append(deleted, key)
				}
			}
		}
	}
	for _, key := range deleted {
		p.expect(p.isStored(key, nil), "somebody deleted an item after an answer about it had been lost, and it came back")
	}
}

// loseAnswer loses answer n to a call, and judges what the store makes of it.
// more is false if this was the answer to the write, or no longer one to the
// call.
func (p *probe) loseAnswer(c remoteCall, n int64, mode servertest.Mode, when string) (key string, more bool) {
	for limit := quick; p.err == nil; limit *= 2 {
		key = p.prepare(c, when)
		lost, answers := p.lose(c, key, n, mode)
		ok, err := p.call(c, key, limit, when)
		p.proxy.Set(servertest.Pass)
		select {
		case wasDone := <-lost:
			if wasDone && err == nil && limit < slow {
				continue // it was the answer to something else, while the call got through on another connection
			}
			p.judgeLoss(c, key, wasDone, ok, err, when)
			return key, p.err == nil && !wasDone
		default:
		}
		if answers.Load() >= n && limit < slow {
			continue // it was the answer to something that the store does on its own
		}
		if err == nil {
			p.expect(n > 1, "%s went around the proxy: the store must use the address that open is called with", c.method)
			p.expect(ok, "%s, which nothing was done to, returned ok=false", c.method)
			return key, false
		}
		p.expect(limit < slow, "%s did not get as far as answer %d within %v: %w", c.method, n, limit, err)
	}
	return key, false
}

// lose loses the answer number n from now on. It then sends whether the call
// had had its effect when the answer arrived. It also counts the answers.
func (p *probe) lose(c remoteCall, key string, n int64, mode servertest.Mode) (<-chan bool, *atomic.Int64) {
	lost, answers := make(chan bool, 1), new(atomic.Int64)
	p.proxy.SetFunc(func(answer bool, _ []byte) servertest.Mode {
		if !answer || answers.Add(1) != n {
			return servertest.Pass
		}
		got, ok, err := p.direct.Get(p.ctx, key)
		lost <- err == nil && c.before != c.after && equals(got, ok, c.after)
		return mode
	})
	return lost, answers
}

// judgeLoss judges a call that lost an answer. If it had had its effect by
// then, the store can't know. Otherwise it may have asked again, since what got
// lost was not the answer to a write.
func (p *probe) judgeLoss(c remoteCall, key string, wasDone, ok bool, err error, when string) {
	switch {
	case err == nil:
		p.expect(!wasDone, "%s, and the call returned ok=%v without an error: the store can't know, "+
			"and must not send a write again", when, ok)
		p.expect(ok, "%s, and the call returned ok=false without an error", when)
		p.expect(p.isStored(key, c.after), "%s, and the call succeeded without an effect", when)
	case !errors.Is(err, session.Unavailable):
		p.expect(false, "%s: the error must wrap session.Unavailable: %w", when, err)
	case wasDone:
		p.expect(!errors.Is(err, opaque.ErrNotDone),
			"%s after the write, and the error wraps opaque.ErrNotDone: %w", when, err)
		p.expect(p.isStored(key, c.after), "%s, and the store undid what the call had done", when)
	default:
		isBefore := p.isStored(key, c.before)
		p.expect(isBefore || !errors.Is(err, opaque.ErrNotDone),
			"%s: the call had an effect, and the error wraps opaque.ErrNotDone: %w", when, err)
		p.expect(isBefore || p.isStored(key, c.after), "%s, and then neither the old nor the new item is stored", when)
	}
}

func serverAway(p *probe) {
	for _, c := range remoteCalls() {
		when := "the server was away during a " + c.method
		key := p.prepare(c, when)
		p.proxy.Set(servertest.Refuse)
		ok, err := p.call(c, key, quick, when)
		p.proxy.Set(servertest.Pass)
		p.expect(!ok && errors.Is(err, session.Unavailable),
			"%s: ok=%v, and the error is %v, and must wrap session.Unavailable", when, ok, err)
		p.expect(p.isStored(key, c.before), "%s, and the call had an effect", when)
		p.recovers(when)
	}
}

// lostHistories cuts connections in place of requests and of answers: one in a
// hundred, because callers of one connection lose their answers together, and
// because PostgreSQL needs about 50 ms of processor time for each new one.
func lostHistories(p *probe) {
	p.proxy.SetFunc(func(bool, []byte) servertest.Mode {
		if rand.IntN(100) == 0 {
			return servertest.Cut
		}
		return servertest.Pass
	})
	histories(4, 0)(p)
}

// prepare waits until the store has got over the last fault, and returns a new
// key with what is stored before the call.
func (p *probe) prepare(c remoteCall, when string) string {
	p.recovers(when)
	key := itemtest.Key()
	if p.err == nil && c.before != nil {
		p.err = failed("a new key: Create", p.direct.Create(p.ctx, key, *c.before))
	}
	return key
}

// recovers expects an answer soon.
func (p *probe) recovers(when string) {
	for begin := time.Now(); p.err == nil; time.Sleep(time.Millisecond) {
		ctx, cancel := context.WithTimeout(p.ctx, try)
		_, _, err := p.store.Get(ctx, itemtest.Key())
		cancel()
		if err == nil {
			return
		}
		p.expect(time.Since(begin) < recovery, "%s, and %v later the store still fails: %w", when, recovery, err)
	}
}

// call makes the call, and expects that it ends with its context, and that an
// error gives nothing away.
func (p *probe) call(c remoteCall, key string, limit time.Duration, when string) (bool, error) {
	if p.err != nil {
		return false, p.err
	}
	type result struct {
		ok  bool
		err error
	}
	results := make(chan result, 1)
	go func() {
		ctx, cancel := context.WithTimeout(p.ctx, limit)
		defer cancel()
		ok, err := c.do(ctx, p.store, key)
		results <- result{ok, err}
	}()
	select {
	case r := <-results:
		p.expect(r.err == nil || !strings.Contains(r.err.Error(), key) && !strings.Contains(r.err.Error(), secret),
			"%s, and the error contains the key or data: %w", when, r.err)
		return r.ok, r.err
	case <-time.After(limit + slack):
		p.expect(false, "%s, and the call has not returned %v after the deadline of its context", when, slack)
		return false, p.err
	}
}

// isStored reports whether want is what the server has under key; nil is no
// item.
func (p *probe) isStored(key string, want *opaque.Item) bool {
	if p.err != nil {
		return false
	}
	got, ok, err := p.direct.Get(p.ctx, key)
	p.err = failed("without a proxy: Get", err)
	return equals(got, ok, want)
}

func equals(got opaque.Item, ok bool, want *opaque.Item) bool {
	return ok == (want != nil) && (!ok || same(got, *want))
}
