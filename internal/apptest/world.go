package apptest

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/token"
)

// Modes are those that an application can choose. Every promise that isn't
// marked otherwise is tested in each.
func Modes() []string { return []string{"stateless", "opaque", "auto"} }

// A Clock stands still until it is moved.
type Clock struct {
	mu  sync.Mutex // guards now
	now time.Time
}

// NewClock returns a clock that stands at a whole second: stores drop
// fractions.
func NewClock(at time.Time) *Clock { return &Clock{now: at.UTC().Truncate(time.Second)} }

// Now returns where the clock stands.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock forward.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// A World is what the instances of an application share: clock, keys, store
// and revocations.
type World struct {
	*Clock
	Ring  *keys.Ring
	List  *revocation.List
	Store opaque.Store // may be replaced, before instances are made

	tally   *tally
	timeout time.Duration // of instances; if 0, the middleware's own
	crowd   int           // how many requests a row sends at once
}

// NewWorld makes a world with keys and a list of its own. Without algorithms
// the keys are those that keygen makes by default.
func NewWorld(t testing.TB, clock *Clock, store opaque.Store, algorithms ...keys.Algorithm) *World {
	w := &World{Clock: clock, tally: newTally(store)}
	w.Store = w.tally
	w.Ring = NewRing(t, w.Now, algorithms...)
	w.List = revocation.NewVolatile(revocation.Config{Now: w.Now})
	t.Cleanup(func() { w.List.Close() })
	return w
}

// Secrets are those of every instance of an application.
func Secrets() [][]byte { return [][]byte{[]byte("the secret of every test instance")} }

// Carriers makes the carriers of one more instance.
func (w *World) Carriers(t testing.TB) (*token.Carrier, *opaque.Carrier) {
	stored, err := opaque.NewCarrier(opaque.CarrierConfig{
		Store: w.Store, Secrets: Secrets(), Revocations: w.List, Now: w.Now,
	})
	require.NoError(t, err)
	stateless, err := token.NewCarrier(token.CarrierConfig{
		Ring: w.Ring, Issuer: "https://app.example", Revocations: w.List, Successors: stored, Now: w.Now,
		MaxLength: 4096 - len("__Host-session"),
	})
	require.NoError(t, err)
	return stateless, stored
}

// Middleware makes one more instance of the application, in the given mode.
func (w *World) Middleware(t testing.TB, mode string, change ...func(*middleware.Config)) *middleware.Middleware {
	stateless, stored := w.Carriers(t)
	c := carriers(mode, stateless, stored)
	c.Now, c.Revocations, c.Timeout = w.Now, w.List, w.timeout
	for _, f := range change {
		f(&c)
	}
	m, err := middleware.New(c)
	require.NoError(t, err)
	return m
}

// carriers returns the carriers of a mode, in a config without anything else.
func carriers(mode string, tokens, stored middleware.Carrier) middleware.Config {
	switch mode {
	case "stateless":
		return middleware.Config{Carrier: tokens, Accept: []middleware.Carrier{stored}}
	case "opaque":
		return middleware.Config{Carrier: stored, Accept: []middleware.Carrier{tokens}}
	case "auto":
		return middleware.Config{Carrier: tokens, Overflow: stored}
	}
	panic(fmt.Sprintf("apptest: no mode %q", mode))
}

// NewRing makes a ring of one new key for each algorithm; without any, of the
// keys that keygen makes by default.
func NewRing(t testing.TB, now func() time.Time, algorithms ...keys.Algorithm) *keys.Ring {
	t.Helper()
	if len(algorithms) == 0 {
		algorithms = []keys.Algorithm{keys.ES256, keys.Direct}
	}
	var all []*keys.Key
	for _, alg := range algorithms {
		from := now().Add(-time.Hour).Truncate(time.Second)
		key, err := keys.Generate(alg, keys.Dates{Created: from, PublishAt: from, SignFrom: from})
		require.NoError(t, err)
		all = append(all, key)
	}
	ring, err := keys.NewRing(all...)
	require.NoError(t, err)
	return ring
}

// A tally counts what a world asks of its store, and knows which items the
// world has in it.
type tally struct {
	Counter

	mu   sync.Mutex // guards kept
	kept map[string]bool
}

func newTally(s opaque.Store) *tally {
	return &tally{Counter: Counter{Store: s}, kept: make(map[string]bool)}
}

func (c *tally) InProcess() bool { return inProcess(c.Store) }

func inProcess(s opaque.Store) bool {
	local, ok := s.(opaque.InProcessStore)
	return ok && local.InProcess()
}

// keys returns those under which the world has items, expired ones included.
func (c *tally) keys() map[string]bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.kept)
}

func (c *tally) note(key string, isKept bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if isKept {
		c.kept[key] = true
	} else {
		delete(c.kept, key)
	}
}

func (c *tally) Create(ctx context.Context, key string, item opaque.Item) error {
	err := c.Counter.Create(ctx, key, item)
	if err == nil {
		c.note(key, true)
	}
	return err
}

func (c *tally) Delete(ctx context.Context, key string) error {
	err := c.Counter.Delete(ctx, key)
	if err == nil {
		c.note(key, false)
	}
	return err
}
