package indextest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/devices"
	"github.com/cloakroom-go/cloakroom/internal/servertest"
	"github.com/cloakroom-go/cloakroom/session"
)

// RunRemote tests indexes that keep their entries on the server at serverAddr,
// which is a host and a port. It does what [Run] does, and then spoils the
// network: answers get lost, and the server is away. open returns an index that
// reaches the server at addr: that is serverAddr, or the address of a proxy in
// front of it. All indexes have the same entries.
func RunRemote(
	t *testing.T, serverAddr string, open func(t *testing.T, addr string, now func() time.Time) devices.Index,
) {
	t.Helper()
	Run(t, func(t *testing.T, now func() time.Time) devices.Index { return open(t, serverAddr, now) })
	for _, r := range remoteRules() {
		t.Run(r.name, func(t *testing.T) {
			proxy, c := servertest.NewProxy(t, serverAddr), newClock()
			p := newProbe(t.Context(), open(t, serverAddr, c.now), c)
			p.proxy, p.remote = proxy, open(t, proxy.Addr(), c.now)
			r.test(t, p)
		})
	}
}

// remoteRules are those about the network between an index and its server. In
// them, the methods of the probe use an index without a proxy.
func remoteRules() []rule {
	return []rule{
		{"lost answers", "an end whose answer got lost must not be taken for done, nor for refused", lostAnswers},
		{"server away", "a server that is away must log nobody out, and be found again", serverAway},
	}
}

const (
	// quick is how long a call may last whose answer never comes.
	quick = 200 * time.Millisecond
	// slack is how much later than its deadline a call may return.
	slack = 2 * time.Second
	// recovery is how long the index may need after a fault.
	recovery = 5 * time.Second
)

// A call is one of a method, and the entry that it leaves.
type call struct {
	method string
	after  func(e devices.Entry) []devices.Entry
	do     func(ctx context.Context, x devices.Index, subject string, e devices.Entry) error
}

func calls() []call {
	one := func(e devices.Entry) []devices.Entry { return []devices.Entry{e} }
	return []call{
		{"Enter", func(e devices.Entry) []devices.Entry { return one(with(e, "secret key 1", "secret key 2")) },
			func(ctx context.Context, x devices.Index, subject string, e devices.Entry) error {
				return x.Enter(ctx, subject, with(e, "secret key 2"), "secret key 1", devices.MaxEntries)
			}},
		{"List", one, func(ctx context.Context, x devices.Index, subject string, e devices.Entry) error {
			all, err := x.List(ctx, subject)
			return unless(same(all, one(e)), err)
		}},
		{"Extend", func(e devices.Entry) []devices.Entry { e.SeenAt = e.SeenAt.Add(time.Minute); return one(e) },
			func(ctx context.Context, x devices.Index, subject string, e devices.Entry) error {
				ok, err := x.Extend(ctx, subject, e.ID, e.SeenAt.Add(time.Minute), e.TokenUntil)
				return unless(ok, err)
			}},
		{"Mark", func(e devices.Entry) []devices.Entry { return marked(e) },
			func(ctx context.Context, x devices.Index, subject string, e devices.Entry) error {
				all, err := x.Mark(ctx, subject, e.ID, time.Time{})
				return unless(same(all, marked(e)), err)
			}},
		{"Mark of all", func(e devices.Entry) []devices.Entry { return marked(e) },
			func(ctx context.Context, x devices.Index, subject string, e devices.Entry) error {
				all, err := x.Mark(ctx, subject, "", e.CountsFrom)
				return unless(same(all, marked(e)), err)
			}},
		{"Leave", func(devices.Entry) []devices.Entry { return nil },
			func(ctx context.Context, x devices.Index, subject string, e devices.Entry) error {
				return x.Leave(ctx, subject, e.ID)
			}},
	}
}

var errWrong = errors.New("no error, and a wrong answer")

// unless is the error of a call, or errWrong if its answer is not right.
func unless(right bool, err error) error {
	if err == nil && !right {
		return errWrong
	}
	return err
}

// lostAnswers loses the first answer in one call, the second in the next, and
// so on: an index may need several for a call.
func lostAnswers(p *probe) {
	for how, mode := range map[string]servertest.Mode{"cut": servertest.Cut, "swallowed": servertest.Swallow} {
		for _, c := range calls() {
			for n, more := int64(1), true; more && n < 10; n++ {
				when := fmt.Sprintf("answer %d to a %s was %s", n, c.method, how)
				var answers atomic.Int64
				more = p.spoil(c, when, func() {
					p.proxy.SetFunc(func(answer bool, _ []byte) servertest.Mode {
						if !answer || answers.Add(1) != n {
							return servertest.Pass
						}
						return mode
					})
				})
				p.expect(answers.Load() > 0, "%s went around the proxy: the index must use the address that open is called with",
					c.method)
				more = more || answers.Load() >= n
			}
		}
	}
}

func serverAway(p *probe) {
	for _, c := range calls() {
		failed := p.spoil(c, "the server was away during a "+c.method, func() { p.proxy.Set(servertest.Refuse) })
		p.expect(failed, "the server was away during a %s, and that succeeded", c.method)
	}
}

// spoil makes a call over a network that is as bad as spoil makes it, and
// judges what is stored afterwards. It reports whether the call has failed.
func (p *probe) spoil(c call, when string, spoil func()) bool {
	if p.recovers(when); p.failed() {
		return false
	}
	p.begin()
	before := p.entry("secret ID", "secret key 1")
	before.Details = []byte("secret details")
	p.enter(before, "", "a new session")
	spoil()
	err := p.call(c, before, when)
	p.proxy.Set(servertest.Pass)
	after := c.after(before)
	if err == nil {
		p.holds(when+", and the call has succeeded", after...)
		return false
	}
	p.expect(errors.Is(err, session.Unavailable), "%s: the error must wrap session.Unavailable: %w", when, err)
	p.expect(!slices.ContainsFunc([]string{p.subject, "secret"}, func(s string) bool {
		return strings.Contains(err.Error(), s)
	}), "%s, and the error contains what is stored: %w", when, err)
	got := p.list(when)
	p.expect(same(got, []devices.Entry{before}) || same(got, after),
		"%s: the entries are %s, neither as before nor as after the call", when, text(got))
	return true
}

// call expects that the call ends with its context.
func (p *probe) call(c call, e devices.Entry, when string) error {
	result := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(p.ctx, quick)
		defer cancel()
		result <- c.do(ctx, p.remote, p.subject, e)
	}()
	select {
	case err := <-result:
		return err
	case <-time.After(quick + slack):
		p.expect(false, "%s, and the call has not returned %v after the deadline of its context", when, slack)
		return nil
	}
}

// recovers expects an answer soon.
func (p *probe) recovers(when string) {
	for begun := time.Now(); !p.failed(); {
		ctx, cancel := context.WithTimeout(p.ctx, time.Second)
		_, err := p.remote.List(ctx, p.subject)
		cancel()
		if err == nil {
			return
		}
		p.expect(time.Since(begun) < recovery, "before %s: %v after the last fault the index still fails: %w",
			when, recovery, err)
		select {
		case <-time.After(time.Millisecond):
		case <-p.ctx.Done():
		}
	}
}
