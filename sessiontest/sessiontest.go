// Package sessiontest is for the tests of applications that use sessions.
//
// Use [Request] to test a handler by itself: it puts a session into the
// request's context, without cookies, keys or a store.
//
//	r := httptest.NewRequest("POST", "/visits", nil)
//	r = sessiontest.Request(r, sessiontest.Session{Subject: "alice", Values: map[string]any{"visits": 1}})
//	handler.ServeHTTP(w, r)
//	got := sessiontest.After(r) // got.Values["visits"] is float64(2)
//
// That is for handlers without the middleware, which would put its own session
// in the place of Request's. Where the middleware runs, give the request the
// cookie that [Kit.Cookie] makes.
//
// Use [New] to test an application through the middleware, with keys of its own
// and a clock that stands still until it is moved.
//
// Nothing here is fit for production: sessions of Request are kept nowhere, and
// the keys of New are nobody's secret.
package sessiontest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// A Session is what a visitor's session holds when a test begins. The zero
// Session stands for a visitor who has none.
type Session struct {
	_ [0]func() // no unkeyed literals, no comparison

	// ID is the session's public handle. If empty, a session that exists is called
	// "test-session".
	ID string

	// Subject is who is logged in; "" for nobody.
	Subject string

	// AuthenticatedAt is when Subject has logged in. The zero time means now.
	AuthenticatedAt time.Time

	// Persistent is session.Session.Remember(true): the session is remembered.
	Persistent bool

	// Values are the session's values: anything that session.Session.Set takes.
	Values map[string]any

	// Policy says how long the session lives. The zero Policy stands for its
	// defaults.
	Policy session.Policy

	// SaveError, if set, is what session.Session.Save returns, the changes being
	// dropped: session.TooLarge, for example, or session.Unavailable.
	SaveError error

	// Now is the clock. If nil, time.Now.
	Now func() time.Time
}

// Request returns a copy of r that carries a session holding what s says, for a
// handler without the middleware; through it, use [Kit.Cookie]. It panics if s
// can't be: a value that isn't JSON, a subject that is too long.
//
// Changes are seen at once by whoever asks for the session. Nothing is sent to
// a client, so no change is ever too late.
func Request(r *http.Request, s Session) *http.Request {
	now := s.Now
	if now == nil {
		now = time.Now
	}
	k := &keeper{fail: s.SaveError}
	k.o = session.Options{Policy: s.Policy.WithDefaults(), Now: now, Saver: k}
	k.before = s.record(k.o)
	k.session, k.control = session.Begin(k.before, k.o)
	ctx := session.NewContext(r.Context(), k.session)
	return r.WithContext(context.WithValue(ctx, keeperKey{}, k))
}

// record returns the state in which the session begins, nil for none.
func (s Session) record(o session.Options) *session.Record {
	if s.ID == "" && s.Subject == "" && !s.Persistent && len(s.Values) == 0 {
		return nil
	}
	draft, control := session.Begin(nil, o)
	must(s.begin(draft))
	changes := control.State().Pending
	rec, err := changes.Apply(nil)
	must(err)
	rec.ID = s.ID
	if s.ID == "" {
		rec.ID = "test-session"
	}
	if s.Subject != "" && !s.AuthenticatedAt.IsZero() {
		loggedIn(rec, s.AuthenticatedAt.Truncate(time.Millisecond), o.Policy)
	}
	return rec
}

// begin makes a new session hold what s says.
func (s Session) begin(to *session.Session) error {
	if s.Persistent {
		if err := to.Remember(true); err != nil {
			return err
		}
	}
	if s.Subject == "" && len(s.Values) == 0 {
		return to.Remember(to.Persistent()) // changes nothing, and makes it exist
	}
	if s.Subject != "" {
		if err := to.Login(s.Subject); err != nil {
			return err
		}
	}
	for name, v := range s.Values {
		if err := to.Set(name, v); err != nil {
			return err
		}
	}
	return nil
}

// loggedIn puts the login of rec at another time.
func loggedIn(rec *session.Record, at time.Time, policy session.Policy) {
	rec.AuthenticatedAt = at
	lifetime := policy.Lifetime
	if rec.Persistent {
		lifetime = policy.RememberedLifetime
	}
	rec.Deadline = at.Add(lifetime).Truncate(time.Second)
	if rec.Deadline.Before(rec.IdleDeadline) {
		rec.IdleDeadline = rec.Deadline
	}
	if at.Before(rec.CreatedAt) {
		rec.CreatedAt = at.Truncate(time.Second)
	}
}

func must(err error) {
	if err != nil {
		panic(fmt.Sprintf("sessiontest: the Session can't be: %v", err))
	}
}

// A Result is what a handler has left of a session. For more, such as typed
// values, ask session.From for it, as the handler does.
type Result struct {
	ID         string         // "" if there is no session now
	Subject    string         // who is logged in; "" for nobody
	Persistent bool           // whether the session is remembered
	Values     map[string]any // as encoding/json decodes them: numbers are float64
	Renewed    bool           // by Login, Renew or Remember: the visitor would get a new credential
	Destroyed  bool           // by Destroy
}

// After returns what has become of the session of r, which [Request] has
// returned. Whether the handler has called session.Session.Save makes no
// difference. It panics if r comes from elsewhere.
func After(r *http.Request) Result {
	k, ok := r.Context().Value(keeperKey{}).(*keeper)
	if !ok {
		panic("sessiontest: After needs the request that Request has returned, or one made of it")
	}
	rec := k.session.Snapshot()
	after := Result{ID: rec.ID, Subject: rec.Subject, Persistent: rec.Persistent, Values: map[string]any{},
		Destroyed: k.control.State().Destroyed}
	after.Renewed = rec.ID != "" && rec.Generation > 1 && (k.before == nil || rec.Generation != k.before.Generation)
	for name, text := range rec.Values.All() {
		var v any
		must(json.Unmarshal([]byte(text), &v))
		after.Values[name] = v
	}
	return after
}

type keeperKey struct{}

// A keeper plays the middleware's part in the session of one request.
type keeper struct {
	o       session.Options
	before  *session.Record // when the test began
	session *session.Session
	control session.Control
	fail    error
}

// Save implements session.Saver.
func (k *keeper) Save(context.Context) error {
	now := k.control.State()
	rec, err := now.Kept, k.fail
	switch {
	case err != nil || now.Destroyed:
	case !now.Pending.TouchOnly():
		if next, failed := now.Pending.Apply(rec); failed != nil {
			err = failed
		} else {
			rec = next
		}
	case rec != nil:
		if over := k.o.Policy.Over(rec, k.o.Now()); over != 0 {
			err = fmt.Errorf("sessiontest: the session is over: %w", over)
		}
	}
	k.control.Settle(rec, &now.Pending)
	return err
}
