// Package storetest tests implementations of opaque.Store.
//
// Call [Run] from a test of your own:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) opaque.Store { return mystore.New(…) })
//	}
//
// A store that passes keeps what Store promises to the carrier: no update is
// lost, nothing comes back after it was deleted, and activity never revives,
// rewrites or prolongs a session. The tests include random concurrent
// histories, and some order of its operations must explain each of them
// (linearizability). Run the tests with the race detector. With
// CLOAKROOM_SOAK=1 in the environment the races run 50 times as long, and there
// are 1,000 histories.
//
// If a store has the method Headers of devices.Store, that is tested as well.
//
// For a store that keeps its items on a server, call [RunRemote]. It also loses
// answers of that server.
package storetest

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/servertest"
	"github.com/cloakroom-go/cloakroom/opaque"
)

// Run tests stores that newStore makes; each test gets one of its own, so
// newStore may also return a shared one. The store's clock must be the real
// one, give or take a few seconds. newStore registers whatever must be closed
// with t.Cleanup.
func Run(t *testing.T, newStore func(t *testing.T) opaque.Store) {
	t.Helper()
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) { r.test(t, &probe{ctx: t.Context(), store: newStore(t)}) })
	}
}

// A rule is something that Store promises.
type rule struct {
	name string
	why  string // what would happen to visitors without it
	try  func(p *probe)
}

func rules() []rule { return append(singleRules(), raceRules()...) }

func (r rule) test(t *testing.T, p *probe) {
	t.Helper()
	if r.try(p); p.err != nil {
		t.Errorf("%v\n\twhy it matters: %s", p.err, r.why)
	}
}

// A probe calls a store and keeps the first thing that is wrong; what comes
// after it is skipped, because it would only be wrong in its wake.
type probe struct {
	ctx   context.Context
	store opaque.Store
	err   error

	// For the rules about the network: store uses the proxy, direct doesn't.
	proxy  *servertest.Proxy
	direct opaque.Store
}

// expect fails the probe unless ok.
func (p *probe) expect(ok bool, format string, args ...any) {
	if p.err == nil && !ok {
		p.err = fmt.Errorf(format, args...)
	}
}

func (p *probe) create(key string, item opaque.Item) {
	if p.err == nil {
		p.err = failed("a new key: Create", p.store.Create(p.ctx, key, item))
	}
}

// exists expects an item under key, and returns it.
func (p *probe) exists(key, when string) opaque.Item {
	item, ok := p.get(key)
	p.expect(ok, "%s: Get found no item", when)
	return item
}

// absent expects no item under key.
func (p *probe) absent(key, when string) {
	_, ok := p.get(key)
	p.expect(!ok, "%s: Get found an item", when)
}

// holds expects that the item under key is want.
func (p *probe) holds(key string, want opaque.Item, when string) {
	got := p.exists(key, when)
	p.expect(same(got, want), "%s: the item is %s, want %s", when, text(got), text(want))
}

func (p *probe) get(key string) (opaque.Item, bool) {
	if p.err != nil {
		return opaque.Item{}, false
	}
	item, ok, err := p.store.Get(p.ctx, key)
	p.err = failed("Get", err)
	return item, ok
}

func (p *probe) swap(key string, version uint64, item opaque.Item, want bool, when string) {
	if p.err != nil {
		return
	}
	ok, err := p.store.Swap(p.ctx, key, version, item)
	p.err = failed(when+": Swap", err)
	p.expect(ok == want, "%s: Swap from version %d returned ok=%v, want %v", when, version, ok, want)
}

func (p *probe) touch(key string, seenAt, idleDeadline time.Time, want bool, when string) {
	if p.err != nil {
		return
	}
	ok, err := p.store.Touch(p.ctx, key, seenAt, idleDeadline)
	p.err = failed(when+": Touch", err)
	p.expect(ok == want, "%s: Touch returned ok=%v, want %v", when, ok, want)
}

func (p *probe) delete(key, when string) {
	if p.err == nil {
		p.err = failed(when+": Delete", p.store.Delete(p.ctx, key))
	}
}

func same(a, b opaque.Item) bool {
	return a.Version == b.Version && string(a.Data) == string(b.Data) &&
		a.SeenAt.Equal(b.SeenAt) && a.IdleDeadline.Equal(b.IdleDeadline) && a.Deadline.Equal(b.Deadline)
}

func text(it opaque.Item) string {
	data := fmt.Sprintf("%d bytes", len(it.Data))
	if len(it.Data) <= 64 {
		data = fmt.Sprintf("%q", it.Data)
	}
	const layout = "2006-01-02 15:04:05.999999999"
	return fmt.Sprintf("{version %d, seen %s, idle deadline %s, deadline %s, data %s}", it.Version,
		it.SeenAt.UTC().Format(layout), it.IdleDeadline.UTC().Format(layout), it.Deadline.UTC().Format(layout), data)
}

// soak returns how often a race is tried.
func soak(rounds int) int {
	if os.Getenv("CLOAKROOM_SOAK") == "1" {
		return 50 * rounds
	}
	return rounds
}

// failed is the error of a method that should have succeeded, nil if it has.
func failed(method string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s failed: %w", method, err)
}

// missed is the error of a method that should have found an item: it failed
// with err or, if that is nil, found none.
func missed(method string, err error) error {
	if err != nil {
		return failed(method, err)
	}
	return fmt.Errorf("%s found no item where one lives", method)
}
