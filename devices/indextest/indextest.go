// Package indextest tests implementations of devices.Index.
//
// Call [Run] from a test of your own:
//
//	func TestIndex(t *testing.T) {
//		indextest.Run(t, func(t *testing.T, now func() time.Time) devices.Index {
//			return mystore.New(…, now)
//		})
//	}
//
// An index that passes keeps what Index promises to a devices.Registry: no
// session that lives is missing in a list, a session that was ended can't be
// entered again, and a limit holds however many log in at once. Run the tests
// with the race detector. With CLOAKROOM_SOAK=1 in the environment the races
// run 50 times as long.
//
// For an index that keeps its entries on a server, call [RunRemote]. It also
// loses answers of that server.
package indextest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/devices"
	"github.com/cloakroom-go/cloakroom/internal/itemtest"
	"github.com/cloakroom-go/cloakroom/internal/servertest"
	"github.com/cloakroom-go/cloakroom/session"
)

// Run tests indexes that newIndex makes. Each test gets one of its own, and
// uses subjects of its own, so newIndex may also return a shared one. now is
// the clock of the process that calls. The tests move it forward by hours; a
// server needs another clock only to remove what is long over, and that is the
// real one, give or take a few seconds. newIndex registers whatever must be
// closed with t.Cleanup.
func Run(t *testing.T, newIndex func(t *testing.T, now func() time.Time) devices.Index) {
	t.Helper()
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) {
			c := newClock()
			r.test(t, newProbe(t.Context(), newIndex(t, c.now), c))
		})
	}
}

// A rule is something that Index promises.
type rule struct {
	name string
	why  string // what would happen to visitors without it
	try  func(p *probe)
}

func rules() []rule { return slices.Concat(enterRules(), endRules(), limitRules(), raceRules()) }

func (r rule) test(t *testing.T, p *probe) {
	t.Helper()
	if r.try(p); p.err != nil {
		t.Errorf("%v\n\twhy it matters: %s", p.err, r.why)
	}
}

// A clock stands still until a test moves it.
type clock struct {
	mu sync.Mutex // guards at
	at time.Time
}

// newClock begins in the middle of a second: indexes keep whole seconds.
func newClock() *clock {
	return &clock{at: time.Now().Truncate(time.Second).Add(400 * time.Millisecond)}
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) set(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = at
}

// A probe calls an index and keeps the first thing that is wrong. What comes
// after it is skipped, because it could be wrong for the same reason.
type probe struct {
	ctx     context.Context
	index   devices.Index
	clock   *clock
	subject string // that the methods of the probe are about

	// For the rules about the network: remote uses the proxy, index doesn't.
	proxy  *servertest.Proxy
	remote devices.Index

	mu  sync.Mutex // guards err
	err error
}

func newProbe(ctx context.Context, index devices.Index, c *clock) *probe {
	return &probe{ctx: ctx, index: index, clock: c, subject: itemtest.Key()}
}

// begin goes on with a subject that has no entries yet.
func (p *probe) begin() { p.subject = itemtest.Key() }

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

// second returns the current second, as the clock has it.
func (p *probe) second() time.Time { return p.clock.now().Truncate(time.Second) }

// entry returns an entry of a session that began a minute ago and lives for an
// hour.
func (p *probe) entry(id string, keys ...string) devices.Entry {
	now := p.second()
	return devices.Entry{
		ID: id, Keys: keys, CountsFrom: now.Add(-time.Minute + 7*time.Millisecond), SeenAt: now,
		Until: now.Add(time.Hour), Details: []byte("details of " + id),
	}
}

// enter enters an entry, which must succeed.
func (p *probe) enter(e devices.Entry, replaces, when string) {
	if p.failed() {
		return
	}
	err := p.index.Enter(p.ctx, p.subject, e, replaces, devices.MaxEntries)
	p.expect(err == nil, "%s: Enter failed: %w", when, err)
}

// refused expects that Enter fails for a reason.
func (p *probe) refused(e devices.Entry, replaces string, limit int, reason session.Reason, when string) {
	if p.failed() {
		return
	}
	err := p.index.Enter(p.ctx, p.subject, e, replaces, limit)
	p.expect(errors.Is(err, reason) && session.ReasonOf(err) == reason,
		"%s: the error of Enter is %v, and must wrap session.%v", when, err, reason)
}

// list returns the entries by ID.
func (p *probe) list(when string) []devices.Entry {
	if p.failed() {
		return nil
	}
	all, err := p.index.List(p.ctx, p.subject)
	p.expect(err == nil, "%s: List failed: %w", when, err)
	return sorted(all)
}

// holds expects that the entries of the subject are want.
func (p *probe) holds(when string, want ...devices.Entry) {
	got := p.list(when)
	p.expect(same(got, sorted(want)), "%s: the entries are %s\n\twant %s", when, text(got), text(sorted(want)))
}

func (p *probe) extend(id string, seenAt, tokenUntil time.Time, want bool, when string) {
	if p.failed() {
		return
	}
	ok, err := p.index.Extend(p.ctx, p.subject, id, seenAt, tokenUntil)
	p.expect(err == nil, "%s: Extend failed: %w", when, err)
	p.expect(ok == want, "%s: Extend returned ok=%v, want %v", when, ok, want)
}

// mark expects that Mark returns want.
func (p *probe) mark(id string, until time.Time, when string, want ...devices.Entry) {
	if p.failed() {
		return
	}
	got, err := p.index.Mark(p.ctx, p.subject, id, until)
	p.expect(err == nil, "%s: Mark failed: %w", when, err)
	got, want = sorted(got), sorted(marked(want...))
	p.expect(same(got, want), "%s: Mark returned %s\n\twant %s", when, text(got), text(want))
}

func (p *probe) leave(id, when string, keys ...string) {
	if p.failed() {
		return
	}
	err := p.index.Leave(p.ctx, p.subject, id, keys...)
	p.expect(err == nil, "%s: Leave failed: %w", when, err)
}

// marked returns the entries as they are after a Mark.
func marked(entries ...devices.Entry) []devices.Entry {
	all := slices.Clone(entries)
	for i := range all {
		all[i].Marked = true
	}
	return all
}

// with returns e with other keys.
func with(e devices.Entry, keys ...string) devices.Entry {
	e.Keys = keys
	return e
}

func sorted(entries []devices.Entry) []devices.Entry {
	all := slices.Clone(entries)
	slices.SortFunc(all, func(a, b devices.Entry) int { return strings.Compare(a.ID, b.ID) })
	return all
}

func same(a, b []devices.Entry) bool {
	return slices.EqualFunc(a, b, func(a, b devices.Entry) bool {
		return a.ID == b.ID && slices.Equal(a.Keys, b.Keys) && a.Marked == b.Marked &&
			string(a.Details) == string(b.Details) && a.CountsFrom.Equal(b.CountsFrom) &&
			a.SeenAt.Equal(b.SeenAt) && a.TokenUntil.Equal(b.TokenUntil) && a.Until.Equal(b.Until)
	})
}

// text says which entries these are. They are those of tests, so their keys
// may be shown.
func text(entries []devices.Entry) string {
	if len(entries) > 8 {
		return fmt.Sprintf("%d, from %s to %s", len(entries), text(entries[:1]), text(entries[len(entries)-1:]))
	}
	var b strings.Builder
	for _, e := range entries {
		const layout = "2006-01-02 15:04:05.999999999"
		instant := func(at time.Time) string { return at.UTC().Format(layout) }
		fmt.Fprintf(&b, "{%q, keys %q, counts from %s, seen %s, token until %s, until %s, marked %v, details %.32q} ",
			e.ID, e.Keys, instant(e.CountsFrom), instant(e.SeenAt), instant(e.TokenUntil), instant(e.Until), e.Marked, e.Details)
	}
	return "[" + strings.TrimSpace(b.String()) + "]"
}

// soak returns how often a race is tried.
func soak(rounds int) int {
	if os.Getenv("CLOAKROOM_SOAK") == "1" {
		return 50 * rounds
	}
	return rounds
}
