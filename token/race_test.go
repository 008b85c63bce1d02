package token_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
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

// A play is one run of some requests in one order.
type play struct {
	t         *testing.T
	s         *scheduler
	ledger    *ledger
	instances []*middleware.Middleware // of the mode that is tested
	other     *middleware.Middleware   // in another mode, for moves
	list      *revocation.List

	cookie   string     // of the session that it is about
	id       string     // of that session
	mu       sync.Mutex // guards the rest
	log      []string
	kept     []string // keys of values that were saved
	loggedIn uint64   // the generation of the latest login or renewal
	over     bool     // a destroy has returned
	noAlice  bool     // all sessions of alice were ended
	cleared  bool     // values may be gone: another subject has logged in
	logins   []login
}

const alice, bob = "alice", "bob"

func newPlay(t *testing.T, mode string, seed uint64, plain bool) *play {
	p := &play{t: t, ledger: &ledger{made: make(map[string]uint64), ids: make(map[string]string),
		delivered: make(map[string]bool)}}
	p.s = &scheduler{random: rand.New(rand.NewPCG(seed, 1))}
	memory, err := opaque.NewMemoryStore(opaque.MemoryConfig{})
	require.NoError(t, err)
	t.Cleanup(func() { memory.Close() })
	var store opaque.Store = memory
	if plain {
		store = plainStore{store}
	}
	store = steppedStore{store, p.s}
	p.list = revocation.NewVolatile(revocation.Config{Now: time.Now})
	ring := symmetricRing(t)
	build := func(list *revocation.List, mode string) *middleware.Middleware {
		revocations := steppedList{list, p.s}
		tokens, err := token.NewCarrier(token.CarrierConfig{Ring: ring, Issuer: "race", Revocations: revocations,
			MaxLength: 1200})
		require.NoError(t, err)
		token.SetStep(tokens, p.s.stepRunning)
		stored, err := opaque.NewCarrier(opaque.CarrierConfig{Store: store, Revocations: revocations})
		require.NoError(t, err)
		return p.build(mode, tokens, stored)
	}
	switch mode {
	case "opaque": // two instances, which know nothing of each other but the store
		p.instances = []*middleware.Middleware{build(p.list, mode),
			build(revocation.NewVolatile(revocation.Config{Now: time.Now}), mode)}
	default:
		p.instances = []*middleware.Middleware{build(p.list, mode)}
	}
	return p
}

func (p *play) build(mode string, tokens, stored middleware.Carrier) *middleware.Middleware {
	tokens, stored = recorder{tokens, p.ledger}, recorder{stored, p.ledger}
	make := func(c middleware.Config) *middleware.Middleware {
		c.Policy.TouchEvery = time.Nanosecond // every request wants to touch
		m, err := middleware.New(c)
		require.NoError(p.t, err)
		return m
	}
	stateless := middleware.Config{Carrier: tokens, Accept: []middleware.Carrier{stored}}
	opaque := middleware.Config{Carrier: stored, Accept: []middleware.Carrier{tokens}}
	switch mode {
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
	p.log = append(p.log, fmt.Sprintf(format, args...))
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
				act(s, kind, i)
			}
		})
		done := found && status == http.StatusOK
		p.note("%d %s: found %t, status %d", func() { p.came(kind, i, done, next) }, i, kind, found, status)
		if kind == "login" || kind == "login-other" {
			p.note("", func() { p.logins = append(p.logins, login{next, kind, done || !found}) })
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
func act(s *session.Session, kind string, i int) {
	switch kind {
	case "save", "move", "twice":
		_ = session.Key[any](fmt.Sprint("key", i)).Set(s, i)
	case "grow":
		_ = session.Key[any](fmt.Sprint("key", i)).Set(s, strings.Repeat("x", 900))
	case "renew":
		_ = s.Renew()
	case "login":
		_ = s.Login(alice)
	case "login-other":
		_ = s.Login(bob)
	case "destroy":
		_ = s.Destroy()
	}
}

// came notes what a request that succeeded has promised.
func (p *play) came(kind string, i int, done bool, next string) {
	if !done {
		return
	}
	switch kind {
	case "save", "move", "twice", "grow":
		p.kept = append(p.kept, fmt.Sprint("key", i))
	case "login", "renew", "login-other":
		if !p.opensAnother(next) {
			p.loggedIn = max(p.loggedIn, p.ledger.made[next])
			p.cleared = p.cleared || kind == "login-other"
		}
	case "destroy":
		p.over = true
	}
}

// endSubject ends all sessions of alice.
func (p *play) endSubject(ctx context.Context) {
	p.s.step(ctx)
	err := p.list.EndSubject(ctx, alice)
	p.note("end subject: %v", func() { p.noAlice = p.noAlice || err == nil }, err)
}

// kindsIn are the requests that come together in each mode.
func kindsIn(mode string) []string {
	kinds := []string{"read", "save", "save", "twice", "renew", "login", "login-other", "destroy", "end-subject"}
	switch mode {
	case "stateless":
		return append(kinds, "move")
	case "auto":
		return append(kinds, "grow")
	}
	return kinds[:8] // two instances have two lists: a subject is ended on one
}

// run lets a session be, and a few requests come to it at once. It returns what
// was promised and not kept, "" for nothing.
func (p *play) run(mode string) (violation string) {
	_, p.cookie = p.request(context.Background(), p.instances[0], "",
		func(s *session.Session) { _ = session.Key[any]("first").Set(s, true) })
	_, p.cookie = p.request(context.Background(), p.instances[0], p.cookie,
		func(s *session.Session) { _ = s.Login(alice) })
	p.loggedIn = p.ledger.made[p.cookie]
	p.id = p.ledger.ids[p.cookie]
	time.Sleep(time.Second) // of the bubble: later activity is to be recorded
	kinds := kindsIn(mode)
	var actors []func(context.Context)
	for i := range 3 + p.s.random.IntN(4) {
		kind := kinds[p.s.random.IntN(len(kinds))]
		if kind == "end-subject" {
			actors = append(actors, p.endSubject)
			continue
		}
		actors = append(actors, p.actor(i, kind))
	}
	p.s.run(actors)
	if v := p.checkLogins(); v != "" {
		return v + "\n" + strings.Join(p.log, "\n")
	}
	for credential, generation := range p.ledger.made {
		for i, m := range p.instances {
			if v := p.check(m, credential, generation); v != "" {
				return fmt.Sprintf("instance %d: %s\n%s", i, v, strings.Join(p.log, "\n"))
			}
		}
	}
	return ""
}

// A login is one that a request has made.
type login struct {
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
		rec := s.Snapshot()
		switch {
		case s.IsNew():
		case p.noAlice && rec.Subject == alice:
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
		}
	})
	return violation
}

// opensAnother reports whether a credential is of a session of its own, which a
// login got because the one that it started from went on elsewhere.
func (p *play) opensAnother(credential string) bool { return p.ledger.ids[credential] != p.id }

func (p *play) hasKept(s *session.Session) bool {
	for _, name := range p.kept {
		if !s.Has(name) {
			return false
		}
	}
	return s.Has("first")
}

func seeds() int {
	if os.Getenv("CLOAKROOM_SOAK") != "" {
		return 100_000
	}
	return 1000
}

func TestRaceEndedStaysEnded(t *testing.T) {
	for _, mode := range []string{"stateless", "opaque", "auto"} {
		t.Run(mode, func(t *testing.T) {
			for seed := range seeds() {
				synctest.Test(t, func(t *testing.T) {
					if violation := newPlay(t, mode, uint64(seed), false).run(mode); violation != "" {
						t.Fatalf("seed %d: %s", seed, violation)
					}
				})
				if t.Failed() {
					return
				}
			}
		})
	}
}

// The same test must catch a store with a plain write: otherwise it proves
// nothing.
func TestRaceCatchesPlainWrite(t *testing.T) {
	caught := 0
	for seed := range 1000 {
		synctest.Test(t, func(t *testing.T) {
			if newPlay(t, "opaque", uint64(seed), true).run("opaque") != "" {
				caught++
			}
		})
	}
	require.Positive(t, caught)
	t.Logf("a plain write was caught in %d of 1000 orders", caught)
}

func symmetricRing(t testing.TB) *keys.Ring {
	return newRing(t, time.Now, keys.HS256)
}

// newRing makes a ring of one new key for each algorithm; without any, of the
// keys that keygen makes by default.
func newRing(t testing.TB, now func() time.Time, algorithms ...keys.Algorithm) *keys.Ring {
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
