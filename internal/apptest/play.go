package apptest

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
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

// A recorder notes every credential that a carrier makes.
type recorder struct {
	middleware.Carrier
	l *ledger
}

// A ledger knows every credential ever made, and its generation.
type ledger struct {
	mu        sync.Mutex        // guards the rest
	made      map[string]uint64 // by credential: its generation
	ids       map[string]string // by credential: the session's ID
	delivered map[string]bool   // the credentials that a client has seen
}

func (l *ledger) note(credential string, rec *session.Record, err error) {
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.made[credential], l.ids[credential] = rec.Generation, rec.ID
}

// generation returns the generation of a credential.
func (l *ledger) generation(credential string) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.made[credential]
}

// session returns the ID of a credential's session.
func (l *ledger) session(credential string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ids[credential]
}

func (l *ledger) deliver(credential string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.delivered[credential] = true
}

func (r recorder) Issue(ctx context.Context, rec *session.Record, replaces string) (string, error) {
	credential, err := r.Carrier.Issue(ctx, rec, replaces)
	r.l.note(credential, rec, err)
	return credential, err
}

func (r recorder) Save(ctx context.Context, credential string, base *session.Record,
	changes *session.Changes) (*session.Record, string, error) {
	rec, next, err := r.Carrier.Save(ctx, credential, base, changes)
	r.l.note(next, rec, err)
	return rec, next, err
}

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
// nothing.
func (c Play) Run(t testing.TB) (violation string) {
	t.Helper()
	p := &play{Play: c, t: t, s: newScheduler(c.Seed), ledger: &ledger{
		made: make(map[string]uint64), ids: make(map[string]string), delivered: make(map[string]bool),
	}}
	defer p.close()
	p.start()
	return p.run()
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
	make := func(c middleware.Config) *middleware.Middleware {
		c.Policy.TouchEvery = time.Nanosecond // every request wants to touch
		c.Now = p.Clock.Now
		c.Timeout = time.Hour // others may be let go on before, on a busy machine
		m, err := middleware.New(c)
		require.NoError(p.t, err)
		return m
	}
	stateless := middleware.Config{Carrier: tokens, Accept: []middleware.Carrier{stored}}
	opaque := middleware.Config{Carrier: stored, Accept: []middleware.Carrier{tokens}}
	switch p.Mode {
	case "stateless":
		p.other = make(opaque)
		return make(stateless)
	case "opaque":
		return make(opaque)
	}
	return make(middleware.Config{Carrier: tokens, Overflow: stored})
}

// request sends one request with credential, and returns the status and the
// credential that the client holds afterwards.
func (p *play) request(ctx context.Context, m *middleware.Middleware, credential string,
	h func(s *session.Session)) (int, string) {
	r := httptest.NewRequest(http.MethodGet, "/", nil).WithContext(ctx)
	if credential != "" {
		r.AddCookie(&http.Cookie{Name: "__Host-session", Value: credential})
	}
	w := httptest.NewRecorder()
	m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h(session.From(r.Context()))
		io.WriteString(w, "ok")
	})).ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		credential = c.Value
		p.ledger.deliver(credential)
	}
	return w.Code, credential
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
		change(s, kind, i)
	}
}

// change does what a handler does with its session alone. n makes the names of
// values differ.
func change(s *session.Session, kind string, n int) {
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

// passTime moves the clock during the requests.
func (p *play) passTime(ctx context.Context) {
	for range 3 {
		p.s.step(ctx)
		p.Clock.Advance(time.Second)
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
	actors = append(actors, p.passTime)
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

// A madeLogin is one that a request has made.
type madeLogin struct {
	credential string // that its client holds
	kind       string
	done       bool
}

// checkLogins looks whether every login succeeded: only what was ended on
// purpose may refuse one. One that got a session of its own is logged in.
func (p *play) checkLogins() (violation string) {
	for _, l := range p.logins {
		switch {
		case !l.done && !p.over && !p.noAlice:
			return "a login failed, though nobody has ended its session"
		case !l.done || !p.opensAnother(l.credential) || p.noAlice && l.kind == "login":
			continue
		}
		p.request(context.Background(), p.instances[0], l.credential, func(s *session.Session) {
			if want := map[string]string{"login": alice, "login-other": bob}[l.kind]; s.Subject() != want {
				violation = "a login was answered 200, and its cookie is not logged in"
			}
		})
	}
	return violation
}

// check opens a credential, after all requests have returned.
func (p *play) check(m *middleware.Middleware, credential string, generation uint64) (violation string) {
	p.request(context.Background(), m, credential, func(s *session.Session) {
		s.IgnoreActivity() // nobody was given some of these credentials: don't make more of them
		rec := s.Snapshot()
		switch {
		case s.IsNew():
		case p.noAlice && rec.Subject == alice && !p.mayOpen(&rec, credential):
			violation = "a session opens whose subject's sessions were all ended"
		case p.opensAnother(credential):
			if rec.Subject == alice && !s.Has("first") {
				violation = "a login that got a session of its own lacks the values that it had loaded"
			}
		case p.over:
			violation = "a credential of a destroyed session opens"
		case !p.ledger.delivered[credential]: // of two logins at once, one made it in vain and forgot it
		case generation < p.loggedIn:
			violation = fmt.Sprintf("a credential of generation %d opens, though generation %d has begun", generation,
				p.loggedIn)
		case !p.cleared && !p.hasKept(s):
			violation = fmt.Sprintf("a saved value is gone: have %v, saved %v", s.Keys(), p.kept)
		case !p.cleared && (Visits.Get(s) < p.added || Visits.Get(s) > p.tried):
			violation = fmt.Sprintf("of %d additions, %d were saved, and the sum is %d", p.tried, p.added, Visits.Get(s))
		}
	})
	return violation
}

// opensAnother reports whether a credential is of a session of its own, which a
// login got because the one that it started from went on elsewhere.
func (p *play) opensAnother(credential string) bool { return p.ledger.session(credential) != p.id }

// mayOpen reports whether a session of alice may open although all of them were
// ended: if its login came at the same time as the end, or after it. The latter
// is refused, because the session that it started from has ended, and its token
// opens if somebody has it, but nobody was given it. What is in the store, a
// carrier removes then.
//
// This takes two requests that run at once, see stuck.
func (p *play) mayOpen(rec *session.Record, credential string) bool {
	isUnseenToken := !p.ledger.delivered[credential] && !strings.HasPrefix(credential, "cr1_")
	at := rec.CountsFrom().UnixMilli()
	return at > p.endBegan.UnixMilli() && (isUnseenToken || at <= p.endReturned.UnixMilli())
}

func (p *play) hasKept(s *session.Session) bool {
	for _, name := range p.kept {
		if !s.Has(name) {
			return false
		}
	}
	return s.Has("first")
}
