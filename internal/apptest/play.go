package apptest

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
)

// A Play lets a few requests come to one session at once. Each stops before
// every access to the store and the revocation list, and a seed decides who
// goes on: what a seed finds, it finds again.
type Play struct {
	Mode  string
	Seed  uint64
	Store opaque.Store
	Clock *Clock // also the store's

	// OnMemory, if not nil, has step called before each access to a carrier's
	// token memory.
	OnMemory func(c *token.Carrier, step func())
}

// Run runs the requests, and returns what was promised and not kept, "" for
// nothing. If a machine without time may be why, they run again.
func (c Play) Run(t testing.TB) (violation string) {
	t.Helper()
	violation, _ = decide(t, c.Seed, func() (violation string, starved bool) {
		p := &play{Play: c, t: t, s: newScheduler(c.Seed), ledger: newLedger()}
		defer p.close()
		p.start()
		return p.run(), p.s.starved.Load()
	})
	return violation
}

// A play is the state of a Play.
type play struct {
	Play
	t         testing.TB
	s         *scheduler
	ledger    *ledger
	lists     []*revocation.List
	instances []*middleware.Middleware // of the mode that is tested
	other     *middleware.Middleware   // in another mode, for moves

	cookie   string     // of the session that it is about
	id       string     // of that session
	mu       sync.Mutex // guards the rest
	log      []string
	kept     []string // keys of values that were saved
	tried    int      // additions to Visits
	added    int      // those that were saved
	loggedIn uint64   // the generation of the latest login or renewal
	over     bool     // a destroy has returned
	noAlice  bool     // all sessions of alice were ended
	cleared  bool     // values may be gone: another subject has logged in
	logins   []madeLogin

	endBegan, endReturned time.Time // of the latest end of all sessions of alice
}

const alice, bob = "alice", "bob"

// start makes the instances. Two in mode opaque know nothing of each other but
// the store.
func (p *play) start() {
	ring := NewRing(p.t, p.Clock.Now, keys.HS256)
	instances := 1
	if p.Mode == "opaque" {
		instances = 2
	}
	for range instances {
		list := revocation.NewVolatile(revocation.Config{Now: p.Clock.Now, MaxEntries: 10_000})
		revocations := steppedList{list, p.s}
		tokens, err := token.NewCarrier(token.CarrierConfig{
			Ring: ring, Issuer: "race", Revocations: revocations, Now: p.Clock.Now, MaxLength: 1200,
		})
		require.NoError(p.t, err)
		if p.OnMemory != nil {
			p.OnMemory(tokens, p.s.stepRunning)
		}
		stored, err := opaque.NewCarrier(opaque.CarrierConfig{
			Store: steppedStore{p.Store, p.s}, Secrets: Secrets(), Revocations: revocations, Now: p.Clock.Now,
		})
		require.NoError(p.t, err)
		p.lists = append(p.lists, list)
		p.instances = append(p.instances, p.build(tokens, stored))
	}
}

func (p *play) close() {
	for _, list := range p.lists {
		_ = list.Close()
	}
}

func (p *play) build(tokens, stored middleware.Carrier) *middleware.Middleware {
	tokens, stored = recorder{tokens, p.ledger}, recorder{stored, p.ledger}
	home, other := sites(p.Mode, tokens, stored, func(c middleware.Config) *middleware.Middleware {
		return busy(p.t, c, p.Clock.Now)
	})
	p.other = other
	return home
}

// sites makes a site in that mode and, for mode stateless, one in another mode,
// for moves.
func sites(mode string, tokens, stored middleware.Carrier,
	build func(middleware.Config) *middleware.Middleware) (home, other *middleware.Middleware) {
	if mode == "stateless" {
		other = build(carriers("opaque", tokens, stored))
	}
	return build(carriers(mode, tokens, stored)), other
}

// busy makes a site in which every request wants to touch, and none runs out of
// time: others may be let go on before, on a busy machine.
func busy(t testing.TB, c middleware.Config, now func() time.Time) *middleware.Middleware {
	c.Policy.TouchEvery = time.Nanosecond
	c.Now = now
	c.Timeout = time.Hour
	m, err := middleware.New(c)
	require.NoError(t, err)
	return m
}

// request sends one request with credential, and returns the status and the
// credential that the client holds afterwards.
func (p *play) request(ctx context.Context, m *middleware.Middleware, credential string,
	h func(s *session.Session)) (int, string) {
	status, next := visit(ctx, m, credential, h)
	if next != credential {
		p.ledger.deliver(next)
	}
	return status, next
}

func (p *play) instance() *middleware.Middleware {
	return p.instances[p.s.random.IntN(len(p.instances))]
}

// note records what came of a request that has returned.
func (p *play) note(format string, f func(), args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if format != "" {
		p.log = append(p.log, fmt.Sprintf(format, args...))
	}
	if f != nil {
		f()
	}
}

// actor makes the i-th request, of the given kind.
func (p *play) actor(i int, kind string) func(ctx context.Context) {
	m := p.instance()
	if kind == "move" && p.other != nil {
		m = p.other
	}
	return func(ctx context.Context) {
		found := false
		status, next := p.request(ctx, m, p.cookie, func(s *session.Session) {
			found = !s.IsNew()
			if found {
				p.act(s, kind, i)
			}
		})
		done := found && status == http.StatusOK
		p.note("%d %s: found %t, status %d", func() { p.came(kind, i, done, next) }, i, kind, found, status)
		if kind == "login" || kind == "login-other" {
			p.note("", func() { p.logins = append(p.logins, madeLogin{next, kind, done || !found}) })
		}
		if kind == "twice" && done { // goes on with what it was given
			status, _ = p.request(ctx, m, next, func(s *session.Session) {
				if !s.IsNew() {
					_ = session.Key[any]("again").Set(s, i)
				}
			})
			p.note("%d again: status %d", nil, i, status)
		}
	}
}

// act does the handler's part.
func (p *play) act(s *session.Session, kind string, i int) {
	switch kind {
	case "add":
		p.note("", func() { p.tried++ })
		_, _ = Visits.Update(s, func(n int) int { return n + 1 })
	case "destroy":
		_ = s.Destroy()
	default:
		change(s, kind, i, alice, bob)
	}
}

// change does what a handler does with its session alone. n makes the names of
// values differ.
func change(s *session.Session, kind string, n int, alice, bob string) {
	switch kind {
	case "save", "move", "twice":
		_ = session.Key[any](fmt.Sprint("key", n)).Set(s, n)
	case "shrink":
		for _, name := range s.Keys() {
			if strings.HasPrefix(name, "big") {
				session.Key[any](name).Delete(s)
			}
		}
	case "grow":
		_ = session.Key[any](fmt.Sprint("big", n)).Set(s, strings.Repeat("x", 900))
	case "renew":
		_ = s.Renew()
	case "login", "fresh-login":
		_ = s.Login(alice)
	case "login-other":
		_ = s.Login(bob)
	}
}

// came notes what a request that succeeded has promised.
func (p *play) came(kind string, i int, done bool, next string) {
	if !done {
		return
	}
	switch kind {
	case "add":
		p.added++
	case "save", "move", "twice":
		p.kept = append(p.kept, fmt.Sprint("key", i))
	case "login", "renew", "login-other":
		if !p.opensAnother(next) {
			p.loggedIn = max(p.loggedIn, p.ledger.generation(next))
			p.cleared = p.cleared || kind == "login-other"
		}
	case "destroy":
		p.over = true
	}
}

// endSubject ends all sessions of alice.
func (p *play) endSubject(ctx context.Context) {
	p.s.step(ctx)
	began := p.Clock.Now()
	err := p.lists[0].EndSubject(ctx, alice)
	p.note("end subject: %v", func() {
		if err == nil {
			p.noAlice, p.endBegan, p.endReturned = true, began, p.Clock.Now()
		}
	}, err)
}

// passTime moves a clock during the requests.
func passTime(s *scheduler, c *Clock) func(ctx context.Context) {
	return func(ctx context.Context) {
		for range 3 {
			s.step(ctx)
			c.Advance(time.Second)
		}
	}
}

// kindsIn are the requests that come together in each mode.
func kindsIn(mode string) []string {
	kinds := []string{
		"read", "add", "add", "save", "twice", "renew", "login", "login-other", "destroy", "end-subject",
	}
	switch mode {
	case "stateless":
		return append(kinds, "move")
	case "auto":
		return append(kinds, "grow", "shrink", "shrink")
	}
	return kinds[:len(kinds)-1] // two instances have two lists: a subject is ended on one
}

// run lets a session be, and a few requests come to it at once.
func (p *play) run() (violation string) {
	begun, cookie := p.request(context.Background(), p.instances[0], "", func(s *session.Session) {
		_ = session.Key[any]("first").Set(s, true)
		if p.Mode == "auto" && p.Seed%2 == 1 {
			p.act(s, "grow", 0) // it begins in the store
		}
	})
	loggedIn, cookie := p.request(context.Background(), p.instances[0], cookie,
		func(s *session.Session) { _ = s.Login(alice) })
	if begun != http.StatusOK || loggedIn != http.StatusOK {
		return fmt.Sprintf("a session begins with %d, and the login is answered with %d", begun, loggedIn)
	}
	p.cookie = cookie
	p.loggedIn = p.ledger.generation(p.cookie)
	p.id = p.ledger.session(p.cookie)
	p.Clock.Advance(time.Second) // later activity is to be recorded
	kinds := kindsIn(p.Mode)
	var actors []func(context.Context)
	for i := range 3 + p.s.random.IntN(4) {
		kind := kinds[p.s.random.IntN(len(kinds))]
		if kind == "end-subject" {
			actors = append(actors, p.endSubject)
			continue
		}
		actors = append(actors, p.actor(i, kind))
	}
	actors = append(actors, passTime(p.s, p.Clock))
	p.s.run(actors)
	if v := p.checkLogins(); v != "" {
		return v + "\n" + strings.Join(p.log, "\n")
	}
	for credential, generation := range maps.Clone(p.ledger.made) {
		for i, m := range p.instances {
			if v := p.check(m, credential, generation); v != "" {
				return fmt.Sprintf("instance %d: %s\n%s", i, v, strings.Join(p.log, "\n"))
			}
		}
	}
	return ""
}
