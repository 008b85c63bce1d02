package apptest

import (
	"context"
	"fmt"
	"net/http"
	"slices"
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

// Several lets a few requests come to one session at once, on instances that
// tell each other through a log what has ended. As in a [Play], a seed decides
// who goes on; it also decides when an entry gets into the log, and when, how
// often and in which order each instance hears of it. The clocks of the
// instances differ by up to Skew.
type Several struct {
	Mode      string
	Seed      uint64
	Instances int
	Store     opaque.Store
	Clock     *Clock // also the store's

	Wait  func()           // synctest.Wait, if it runs in a bubble of package synctest
	Logs  []revocation.Log // of the instances; if nil, they share one in memory
	Fault Fault            // of a log in memory
}

// Skew is what the lists of Several allow for.
const Skew = 5 * time.Second

// A Verdict is what came of Several.
type Verdict struct {
	Violation string // what was promised and not kept, "" for nothing
	Orders    int    // in which requests came
	Early     int    // credentials that opened on an instance that had not heard of the end yet
	Forks     int    // renewals or moves of one state on two instances that had not heard of each other
	Judged    int    // openings that were compared with what the instance had heard
	Logins    int    // logins that followed an end and had to hold
	Again     int    // attempts that were not counted, because calls ran out of time
}

// Add adds the counts of another one.
func (v *Verdict) Add(other Verdict) {
	v.Orders += other.Orders
	v.Early += other.Early
	v.Forks += other.Forks
	v.Judged += other.Judged
	v.Logins += other.Logins
	v.Again += other.Again
}

// String returns the counts.
func (v Verdict) String() string {
	return fmt.Sprintf("%d orders; %d openings, %d of them before the instance had heard, %d of states that went on "+
		"on two instances; %d logins after an end; %d attempts not counted, because calls ran out of time",
		v.Orders, v.Judged, v.Early, v.Forks, v.Logins, v.Again)
}

// Run runs the requests. If a machine without time may be why a promise was not
// kept, they run again.
func (c Several) Run(t testing.TB) (v Verdict) {
	t.Helper()
	v.Violation, v.Again = decide(t, c.Seed, func() (violation string, starved bool) {
		p := newSeveral(t, c)
		defer p.close()
		p.run()
		v = p.verdict
		v.Orders = 1
		return v.Violation, p.s.starved.Load()
	})
	return v
}

// OneOfSeveral is one instance.
type oneOfSeveral struct {
	reader *feedReader
	list   *revocation.List
	now    func() time.Time
	home   *middleware.Middleware // in the mode that is tested
	other  *middleware.Middleware // in another mode, for moves
}

// several is the state of a Several.
type several struct {
	Several
	t         testing.TB
	s         *scheduler
	feed      *feed
	instances []*oneOfSeveral
	cookie    string // of the session that it is about
	id        string // of that session

	// The subjects are those of this order alone: a list has one entry for the
	// ends of a subject that are more than a few.
	alice, bob string

	mu      sync.Mutex // guards the rest
	tick    int        // counts what happens
	log     []string
	made    []madeCredential
	ends    []*happened
	logins  []*loggedIn
	verdict Verdict
}

// A madeCredential is one that a carrier has made.
type madeCredential struct {
	text      string
	rec       *session.Record
	delivered bool
}

func newSeveral(t testing.TB, c Several) *several {
	p := &several{Several: c, t: t, s: newScheduler(c.Seed)}
	p.s.wait = c.Wait
	p.alice, p.bob = fmt.Sprint(alice, c.Seed), fmt.Sprint(bob, c.Seed)
	p.feed = newFeed(p.s, c.Clock.Now, c.Fault)
	ring := NewRing(t, c.Clock.Now, keys.HS256)
	offsets := []time.Duration{0, 0, 0}
	if c.Seed%2 == 1 {
		offsets = []time.Duration{0, Skew - 7*time.Millisecond, 1303 * time.Millisecond}
		p.s.random.Shuffle(len(offsets), func(i, j int) { offsets[i], offsets[j] = offsets[j], offsets[i] })
	}
	for i := range c.Instances {
		p.open(ring, offsets[i])
	}
	return p
}

// open starts one more instance, and waits until it knows what the log has.
func (p *several) open(ring *keys.Ring, offset time.Duration) {
	var log revocation.Log
	if p.Logs != nil {
		log = p.Logs[len(p.instances)]
	}
	at := &oneOfSeveral{reader: p.feed.reader(log), now: func() time.Time { return p.Clock.Now().Add(offset) }}
	var err error
	at.list, err = revocation.Open(revocation.Config{
		Log: at.reader, Now: at.now, Skew: Skew, Lifetime: 12 * time.Hour, IdleTimeout: time.Hour, MaxEntries: 10_000,
	})
	require.NoError(p.t, err)
	at.reader.ready(at.list)
	list := steppedList{at.list, p.s}
	stored, err := opaque.NewCarrier(opaque.CarrierConfig{
		Store: steppedStore{p.Store, p.s}, Secrets: Secrets(), Revocations: list, Now: at.now,
	})
	require.NoError(p.t, err)
	tokens, err := token.NewCarrier(token.CarrierConfig{
		Ring: ring, Issuer: "several", Revocations: list, Successors: stored, Now: at.now, MaxLength: 1200,
	})
	require.NoError(p.t, err)
	i := len(p.instances)
	a, b := watchedCarrier{tokens, p, i, true}, watchedCarrier{stored, p, i, false}
	at.home, at.other = sites(p.Mode, a, b, func(c middleware.Config) *middleware.Middleware {
		c.Revocations = list
		return busy(p.t, c, at.now)
	})
	p.instances = append(p.instances, at)
}

func (p *several) close() {
	for _, at := range p.instances {
		_ = at.list.Close()
	}
}

// A watchedCarrier notes the credentials that a carrier makes, and those that
// it retires.
type watchedCarrier struct {
	middleware.Carrier
	p       *several
	i       int // of the instance
	isToken bool
}

func (c watchedCarrier) note(credential string, rec *session.Record, err error) {
	if err != nil {
		return
	}
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	same := func(m madeCredential) bool { return m.text == credential }
	if i := slices.IndexFunc(c.p.made, same); i >= 0 {
		c.p.made[i].rec = rec
		return
	}
	c.p.made = append(c.p.made, madeCredential{text: credential, rec: rec})
}

func (c watchedCarrier) Issue(ctx context.Context, rec *session.Record, replaces string) (string, error) {
	credential, err := c.Carrier.Issue(ctx, rec, replaces)
	c.note(credential, rec, err)
	return credential, err
}

func (c watchedCarrier) Save(ctx context.Context, credential string, base *session.Record,
	changes *session.Changes) (*session.Record, string, error) {
	rec, next, err := c.Carrier.Save(ctx, credential, base, changes)
	c.note(next, rec, err)
	return rec, next, err
}

func (c watchedCarrier) Retire(ctx context.Context, credential string, base *session.Record, next string,
	grace time.Duration) (string, error) {
	e := c.p.begin(c.i, "retired", base.ID)
	e.generation, e.moved, e.inStore = base.Generation, grace > 0, !c.isToken
	hold, err := c.Carrier.Retire(ctx, credential, base, next, grace)
	c.p.done(e, err)
	return hold, err
}

// request sends one request with a credential, and returns the status and the
// credential that the client holds afterwards.
func (p *several) request(ctx context.Context, m *middleware.Middleware, credential string,
	h func(s *session.Session)) (int, string) {
	status, next := visit(ctx, m, credential, h)
	if next != credential {
		p.deliver(next)
	}
	return status, next
}

func (p *several) deliver(credential string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.made {
		if p.made[i].text == credential {
			p.made[i].delivered = true
		}
	}
}

// recordOf returns the record of a credential, nil if no carrier has made it.
func (p *several) recordOf(credential string) *session.Record {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.made {
		if m.text == credential {
			return m.rec
		}
	}
	return nil
}

func (p *several) credentials() []madeCredential {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.made)
}

func (p *several) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log = append(p.log, fmt.Sprintf(format, args...))
}

// kinds are the requests that come together.
func (p *several) kinds() []string {
	kinds := []string{
		"read", "save", "twice", "renew", "login", "login-other", "destroy", "end-subject", "end-others",
		"fresh-login", "fresh-login", "probe", "probe", "probe",
	}
	if p.Seed%4 > 1 {
		kinds = append(kinds, "end-all")
	}
	switch p.Mode {
	case "stateless":
		return append(kinds, "move")
	case "auto":
		return append(kinds, "grow", "shrink", "shrink")
	}
	return kinds
}

// run lets a session be, a few requests come to it, and the lists hear of it
// meanwhile and afterwards.
func (p *several) run() {
	ctx := context.Background()
	begun, cookie := p.request(ctx, p.instances[0].home, "", func(s *session.Session) {
		_ = session.Key[any]("first").Set(s, true)
		if p.Mode == "auto" && p.Seed%3 == 1 { // it begins in the store
			_ = session.Key[any]("big0").Set(s, strings.Repeat("x", 900))
		}
	})
	if begun != http.StatusOK {
		p.violated("a session begins with %d", begun)
		return
	}
	p.cookie = cookie
	p.id = p.recordOf(cookie).ID
	p.actor(0, "login", p.instances[0].home, 0)(ctx)
	if len(p.logins) == 0 || p.logins[0].status != http.StatusOK {
		p.violated("the login of a session that has just begun fails")
		return
	}
	p.cookie = p.logins[0].credential
	p.Clock.Advance(time.Second)
	for _, at := range p.instances {
		at.reader.deliverAll()
	}
	kinds := p.kinds()
	var actors []func(context.Context)
	for n := range 4 + p.s.random.IntN(5) {
		i := p.s.random.IntN(len(p.instances))
		kind := kinds[p.s.random.IntN(len(kinds))]
		m := p.instances[i].home
		if kind == "move" && p.instances[i].other != nil {
			m = p.instances[i].other
		}
		actors = append(actors, p.actor(n, kind, m, i))
	}
	for _, at := range p.instances {
		actors = append(actors, p.feeding(at))
	}
	actors = append(actors, passTime(p.s, p.Clock), passTime(p.s, p.Clock))
	p.s.run(actors)
	p.judgeAll("while some is unheard")
	p.hearAll()
	p.Clock.Advance(2 * time.Millisecond)
	for i, at := range p.instances {
		p.actor(len(actors)+i, "fresh-login", at.home, i)(ctx)
	}
	p.judgeAll("when all is heard")
	p.Clock.Advance(70 * time.Second)
	p.hearAll()
	p.judgeAll("a minute later")
	p.judgeAlike()
	p.judgeLogins()
	p.judgeLost()
}

// feeding lets the list of one instance hear something, now and then.
func (p *several) feeding(at *oneOfSeveral) func(context.Context) {
	times := p.s.random.IntN(7)
	return func(ctx context.Context) {
		for range times {
			p.s.step(ctx)
			at.reader.deliver()
		}
	}
}

func (p *several) hearAll() {
	for _, at := range p.instances {
		at.reader.deliverAll()
		at.reader.repeat()
	}
}
