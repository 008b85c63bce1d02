package apptest

import (
	"context"
	"fmt"
	"hash/maphash"
	"maps"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
)

// A crowd is many visitors of an application whose store fails. Whatever
// happens, nobody may get another visitor's session, nobody may be logged out,
// nothing that has ended may open, and no change that was answered may be lost.
type crowd struct {
	instances []*middleware.Middleware
	visitors  []*visitor
	mixedUp   atomic.Int64 // items that were read from the wrong key
	detected  atomic.Int64 // requests that were not served for that reason

	mu         sync.Mutex // guards the rest
	violations []string
	answers    map[int]int // by status
	slowest    time.Duration
}

// A visitor sends one request at a time.
type visitor struct {
	mu     sync.Mutex // guards the rest
	name   string
	cookie string
	doubt  bool // a logout has failed
	log    []string
	tried  int // additions to Visits
	added  int // those that were answered with 200
	dead   []string
}

// of has the visitor's name, in the visitor's own session.
const of session.Key[string] = "of"

// newCrowd makes visitors of an application in mode opaque, with an instance
// for each of the stores, which keep the same sessions. An unsealed one trusts
// its store not to mix up sessions, as it does with a store in memory.
func newCrowd(
	t testing.TB, clock *Clock, visitors int, timeout time.Duration, unsealed bool, stores ...opaque.Store,
) *crowd {
	t.Helper()
	c := &crowd{answers: make(map[int]int)}
	w := NewWorld(t, clock, nil)
	known := &written{seed: maphash.MakeSeed(), hashes: make(map[uint64]bool)}
	for _, s := range stores {
		w.Store = &witness{Store: s, crowd: c, unsealed: unsealed, written: known}
		c.instances = append(c.instances, w.Middleware(t, "opaque", func(c *middleware.Config) {
			c.Timeout, c.Policy.TouchEvery = timeout, 5*time.Second
		}))
	}
	for i := range visitors {
		c.visitors = append(c.visitors, &visitor{name: fmt.Sprint("visitor-", i)})
	}
	return c
}

func (c *crowd) violation(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.violations = append(c.violations, fmt.Sprintf(format, args...)); len(c.violations) > 10 {
		c.violations = c.violations[:10]
	}
}

// request sends a random request of a visitor.
func (c *crowd) request(v *visitor) {
	v.mu.Lock()
	defer v.mu.Unlock()
	kind := [...]string{"read", "read", "read", "add", "add", "renew", "login", "dead"}[rand.IntN(8)]
	if rand.IntN(50) == 0 {
		kind = "logout"
	}
	presented := v.cookie
	switch {
	case kind == "dead" && len(v.dead) > 0:
		presented = v.dead[rand.IntN(len(v.dead))]
	case v.cookie == "":
		kind = "begin"
	}
	q := &query{crowd: c, visitor: v, kind: kind, presented: presented}
	start := time.Now()
	status, next := visit(context.WithValue(context.Background(), mixedUpKey{}, &q.mixedUp),
		c.instances[rand.IntN(len(c.instances))], presented, q.handle)
	took := time.Since(start)
	c.mu.Lock()
	c.answers[status]++
	c.slowest = max(c.slowest, took)
	c.mu.Unlock()
	q.answered(status, next)
}

// A query is one request of a visitor.
type query struct {
	crowd           *crowd
	visitor         *visitor
	kind, presented string
	mixedUp         atomic.Bool // an item was read from the wrong key
	anonymous       bool        // the handler saw no session
}

// handle is the application's handler. It judges the session that it sees.
func (q *query) handle(s *session.Session) {
	c, v := q.crowd, q.visitor
	q.anonymous = s.IsNew()
	switch subject := s.Subject(); {
	case !q.anonymous && (subject != v.name || of.Get(s) != v.name):
		c.violation("%s got the session of %q with the values of %q", v.name, subject, of.Get(s))
		return
	case q.presented != v.cookie:
		if !q.anonymous {
			c.violation("a credential of %s opens, though its session was renewed or has ended", v.name)
		}
		return
	case q.anonymous && q.presented != "":
		if !q.mixedUp.Load() && !v.doubt {
			c.violation("%s was logged out, at a %s with %s\n%s", v.name, q.kind, end(q.presented), strings.Join(v.log, "\n"))
		}
		return
	}
	switch q.kind {
	case "begin":
		_ = s.Login(v.name)
		_ = of.Set(s, v.name)
		_ = Visits.Set(s, 0)
	case "add":
		v.tried++
		_, _ = Visits.Update(s, func(n int) int { return n + 1 })
	case "renew":
		_ = s.Renew()
	case "login":
		_ = s.Login(v.name)
	case "logout":
		_ = s.Destroy()
	}
}

// answered notes what the response has promised.
func (q *query) answered(status int, next string) {
	c, v := q.crowd, q.visitor
	if q.mixedUp.Load() && (q.anonymous || status != http.StatusOK) {
		c.detected.Add(1)
	}
	if q.presented != v.cookie {
		return
	}
	v.log = append(v.log, fmt.Sprintf("%s: %d, mixed up %t, anonymous %t, cookie %s -> %s",
		q.kind, status, q.mixedUp.Load(), q.anonymous, end(q.presented), end(next)))
	v.log = v.log[max(0, len(v.log)-8):]
	if next == "" && q.presented != "" && q.kind != "logout" && !v.doubt {
		c.violation("%s lost the cookie, at a %s\n%s", v.name, q.kind, strings.Join(v.log, "\n"))
	}
	v.cookie = next
	v.doubt = v.doubt || q.kind == "logout" && status != http.StatusOK
	switch {
	case status == http.StatusServiceUnavailable:
	case status != http.StatusOK:
		if !q.mixedUp.Load() {
			c.violation("a %s of %s was answered with %d", q.kind, v.name, status)
		}
	case q.anonymous && q.presented != "": // mixed up, or logged out after all
		if v.doubt {
			v.cookie, v.doubt = "", false
		}
	default:
		v.note(q.kind, q.presented)
	}
}

// end returns the end of a credential, for people.
func end(credential string) string { return credential[max(0, len(credential)-6):] }

// note notes that a request has succeeded.
func (v *visitor) note(kind, presented string) {
	switch kind {
	case "begin":
		v.tried, v.added, v.doubt = 0, 0, false
	case "add":
		v.added++
	case "logout":
		v.cookie, v.doubt = "", false
	}
	if kind == "renew" || kind == "login" || kind == "logout" {
		v.dead = append(v.dead, presented)
		v.dead = v.dead[max(0, len(v.dead)-5):]
	}
}

// judge opens every session, when the store works again.
func (c *crowd) judge() {
	for _, v := range c.visitors {
		for _, dead := range v.dead {
			visit(context.Background(), c.instances[0], dead, func(s *session.Session) {
				if s.IgnoreActivity(); !s.IsNew() {
					c.violation("in the end, a dead credential of %s opens", v.name)
				}
			})
		}
		if v.cookie == "" || v.doubt {
			continue
		}
		status, _ := visit(context.Background(), c.instances[0], v.cookie, func(s *session.Session) {
			switch visits := Visits.Get(s); {
			case s.Subject() != v.name:
				c.violation("in the end, %s is %q", v.name, s.Subject())
			case visits < v.added || visits > v.tried:
				c.violation("of %d additions of %s, %d were answered, and the sum is %d", v.tried, v.name, v.added, visits)
			}
		})
		if status != http.StatusOK {
			c.violation("in the end, %s gets %d", v.name, status)
		}
	}
}

func (c *crowd) isWrong() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.violations) > 0
}

// fails fails the test if there were violations.
func (c *crowd) fails(t testing.TB) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	require.Empty(t, c.violations, strings.Join(c.violations, "\n"))
}

// statuses returns how often each status was answered.
func (c *crowd) statuses() map[int]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.answers)
}

// A witness stands between the carriers and a store, and knows which data were
// ever written under which key.
type witness struct {
	opaque.Store
	crowd    *crowd
	unsealed bool
	*written
}

type written struct {
	seed   maphash.Seed
	mu     sync.Mutex // guards hashes
	hashes map[uint64]bool
}

// mixedUpKey is the key of what a request's context has for the witness to set.
type mixedUpKey struct{}

func (w *witness) InProcess() bool { return w.unsealed }

func (w *written) hash(key string, item opaque.Item) uint64 {
	return maphash.String(w.seed, key+string(item.Data))
}

func (w *witness) note(key string, item opaque.Item) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hashes[w.hash(key, item)] = true
}

func (w *witness) Get(ctx context.Context, key string) (opaque.Item, bool, error) {
	item, ok, err := w.Store.Get(ctx, key)
	if err != nil || !ok {
		return item, ok, err
	}
	w.mu.Lock()
	known := w.hashes[w.hash(key, item)]
	w.mu.Unlock()
	if !known {
		w.crowd.mixedUp.Add(1)
		if mixedUp, ok := ctx.Value(mixedUpKey{}).(*atomic.Bool); ok {
			mixedUp.Store(true)
		}
	}
	return item, ok, err
}

func (w *witness) Create(ctx context.Context, key string, item opaque.Item) error {
	w.note(key, item)
	return w.Store.Create(ctx, key, item)
}

func (w *witness) Swap(ctx context.Context, key string, version uint64, item opaque.Item) (bool, error) {
	w.note(key, item)
	return w.Store.Swap(ctx, key, version, item)
}
