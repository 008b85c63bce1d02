// Package logtest tests implementations of revocation.Log.
//
// Call [Run] from a test of your own:
//
//	func TestLog(t *testing.T) {
//		logtest.Run(t, func(t *testing.T) func() revocation.Log {
//			name := newDatabase(t)
//			return func() revocation.Log { return mystore.Open(name) }
//		})
//	}
//
// A log that passes keeps what Log promises to the lists of several instances:
// what has ended on one of them has soon ended on all, also on those that start
// later. The tests include eight callers who append while others read. The test
// of a log whose entries can become visible later than they are numbered, such
// as the rows of a database, must slow these down itself: an entry that no
// reader ever sees is rare otherwise.
//
// Run the tests with the race detector. With CLOAKROOM_SOAK=1 in the
// environment the races run 50 times as long.
package logtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/revocation"
)

const (
	// soon is how long after an Append a Read that waits must return: enough for a
	// log that looks once a second, and for a machine that is busy.
	soon = 3 * time.Second

	// timeout bounds each call beyond what it waits, and each wait for a list.
	timeout = 10 * time.Second
)

// Run tests logs that newLog makes. Each test calls newLog for an empty log of
// its own, and then open for each instance that shares this log. The clock must
// be the real one, give or take a few seconds. newLog registers whatever must
// be closed with t.Cleanup.
func Run(t *testing.T, newLog func(t *testing.T) (open func() revocation.Log)) {
	t.Helper()
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) { r.test(t, newProbe(t.Context(), newLog(t))) })
	}
}

// RunLost tests what happens when a log loses its entries: lose removes all of
// them, as an administrator or a failover can.
func RunLost(t *testing.T, newLog func(t *testing.T) (open func() revocation.Log, lose func())) {
	t.Helper()
	for _, r := range lostRules() {
		t.Run(r.name, func(t *testing.T) {
			open, lose := newLog(t)
			p := newProbe(t.Context(), open)
			p.lose = lose
			r.test(t, p)
		})
	}
}

// RunClock tests a log that reports Reading.ClockOffset. open opens an empty
// log of its own, which takes the time of its caller from now. The clock of the
// log's server must be right, give or take a few seconds.
func RunClock(t *testing.T, open func(t *testing.T, now func() time.Time) revocation.Log) {
	t.Helper()
	for _, r := range clockRules() {
		t.Run(r.name, func(t *testing.T) {
			p := newProbe(t.Context(), nil)
			p.openAt = func(now func() time.Time) revocation.Log { return open(t, now) }
			r.test(t, p)
		})
	}
}

// A rule is something that Log promises.
type rule struct {
	name string
	why  string // what would happen to visitors without it
	try  func(p *probe)
}

func (r rule) test(t *testing.T, p *probe) {
	t.Helper()
	if r.run(p); p.err != nil {
		t.Errorf("%v\n\twhy it matters: %s", p.err, r.why)
	}
}

func (r rule) run(p *probe) {
	defer p.close()
	r.try(p)
}

// A probe calls logs and keeps the first thing that is wrong. What comes after
// it is skipped, because it could be wrong for the same reason.
type probe struct {
	ctx    context.Context
	open   func() revocation.Log
	lose   func()                                    // only for the rules about a log that loses entries
	openAt func(now func() time.Time) revocation.Log // only for those about clocks

	mu       sync.Mutex // guards what follows
	err      error
	given    map[string][]revocation.Entry // all that Append was called with, by key
	appended []revocation.Entry            // for which it has succeeded
	lists    []*revocation.List            // to be closed
}

func newProbe(ctx context.Context, open func() revocation.Log) *probe {
	return &probe{ctx: ctx, open: open, given: make(map[string][]revocation.Entry)}
}

// expect fails the probe unless ok.
func (p *probe) expect(ok bool, format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil && !ok {
		p.err = fmt.Errorf(format, args...)
	}
}

func (p *probe) failed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err != nil
}

// append appends entries as one batch, which must succeed.
func (p *probe) append(log revocation.Log, entries ...revocation.Entry) {
	if p.failed() {
		return
	}
	p.give(entries)
	ctx, cancel := context.WithTimeout(p.ctx, timeout)
	defer cancel()
	if err := log.Append(ctx, entries); err != nil {
		p.expect(false, "Append of %d entries failed: %w", len(entries), err)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.appended = append(p.appended, entries...)
}

func (p *probe) give(entries []revocation.Entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range entries {
		p.given[e.Key] = append(p.given[e.Key], e)
	}
}

// wasGiven reports whether the value and the end of e were appended for its
// key, not necessarily together.
func (p *probe) wasGiven(e revocation.Entry) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	value, until := false, false
	for _, one := range p.given[e.Key] {
		value, until = value || one.Value == e.Value, until || one.Until.Equal(e.Until)
	}
	return value && until
}

// all returns what has been appended by now.
func (p *probe) all() []revocation.Entry {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.appended[:len(p.appended):len(p.appended)]
}

// list opens a list on an instance of its own.
func (p *probe) list() *revocation.List {
	l, err := revocation.Open(revocation.Config{Log: p.open(), Lifetime: time.Hour})
	if err != nil {
		p.expect(false, "a list: %w", err)
		return revocation.NewVolatile(revocation.Config{})
	}
	p.mu.Lock()
	p.lists = append(p.lists, l)
	p.mu.Unlock()
	p.eventually("a list that has read the log", func() bool { return l.Fresh() == nil })
	return l
}

func (p *probe) close() {
	for _, l := range p.lists {
		p.expect(l.Close() == nil, "a list could not be closed")
	}
}

// eventually waits until ok returns true.
func (p *probe) eventually(what string, ok func() bool) {
	for begun := time.Now(); !p.failed() && !ok(); {
		p.expect(time.Since(begun) < timeout, "after %v there is not: %s", timeout, what)
		p.pause(2 * time.Millisecond)
	}
}

func (p *probe) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-p.ctx.Done():
		p.expect(false, "the test has ended: %w", errors.New("out of time"))
	}
}

// soak returns how often something is tried.
func soak(rounds int) int {
	if os.Getenv("CLOAKROOM_SOAK") == "1" {
		return 50 * rounds
	}
	return rounds
}
