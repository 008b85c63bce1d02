package sessiontest

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
)

// A Clock stands still until it is moved. Its zero value shows the zero time;
// [New] makes one that shows 2026-01-02 03:04:05 UTC.
type Clock struct {
	mu  sync.Mutex // guards now
	now time.Time
}

// Now returns what the clock shows.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock on by d.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Set makes the clock show t, for example the day before a deadline. After the
// first session was made, the clock must not go back: a session with activity
// in the future confuses a test.
func (c *Clock) Set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}

// A Kit is a middleware for tests, with its clock, keys and revocations.
type Kit struct {
	Middleware  *middleware.Middleware // as New has configured it
	Clock       *Clock                 // the other fields use it
	Keys        *keys.Ring             // one key to sign and one to encrypt, which never expire
	Revocations *revocation.List       // in memory

	t testing.TB
}

// New returns a middleware that keeps sessions in encrypted tokens, with a
// clock that stands still. change, if not nil, may change the configuration:
// the policy, the cookie, the hooks or the carrier. If something fails, the
// test fails.
func New(t testing.TB, change func(*middleware.Config)) *Kit {
	t.Helper()
	k := &Kit{t: t, Clock: &Clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}}
	k.Keys = k.ring()
	k.Revocations = revocation.NewVolatile(revocation.Config{Now: k.Clock.Now})
	carrier, err := token.NewCarrier(token.CarrierConfig{Ring: k.Keys, Issuer: "sessiontest",
		Revocations: k.Revocations, Now: k.Clock.Now})
	k.check(err)
	c := middleware.Config{Carrier: carrier, Revocations: k.Revocations, Now: k.Clock.Now}
	if change != nil {
		change(&c)
	}
	k.Middleware, err = middleware.New(c)
	k.check(err)
	return k
}

func (k *Kit) ring() *keys.Ring {
	k.t.Helper()
	signing, err := keys.Generate(keys.ES256, keys.Dates{})
	k.check(err)
	sealing, err := keys.Generate(keys.Direct, keys.Dates{})
	k.check(err)
	ring, err := keys.NewRing(signing, sealing) // without dates, they need no clock
	k.check(err)
	return ring
}

// Cookie returns the cookie of a visitor with the session that s describes. The
// subject logs in now, by the Kit's clock. ID, AuthenticatedAt, Policy,
// SaveError and Now of s have no effect: the middleware has its own. Add it to
// a request:
//
//	r.AddCookie(kit.Cookie(sessiontest.Session{Subject: "alice"}))
//
// After Revocations.EndSubject, advance the clock before a new Cookie of the
// same subject. Otherwise the test fails: EndSubject also ends logins at the
// instant of its call, and the clock stands still.
func (k *Kit) Cookie(s Session) *http.Cookie {
	k.t.Helper()
	w := httptest.NewRecorder()
	k.Middleware.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		k.check(s.begin(session.From(r.Context())))
	})).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "https://sessiontest.example/", nil))
	cookies := w.Result().Cookies()
	if w.Code != http.StatusOK || len(cookies) != 1 {
		k.t.Fatalf("sessiontest: the session could not be kept: status %d", w.Code)
	}
	return &http.Cookie{Name: cookies[0].Name, Value: cookies[0].Value}
}

func (k *Kit) check(err error) {
	k.t.Helper()
	if err != nil {
		k.t.Fatalf("sessiontest: %v", err)
	}
}
