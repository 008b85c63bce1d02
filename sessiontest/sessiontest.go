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
// That is for handlers without the middleware, which would replace the session
// of [Request] with its own. If the middleware runs, give the request the
// cookie that [Kit.Cookie] makes.
//
// Use [New] to test an application through the middleware, with keys of its own
// and a clock that stands still until it is moved.
//
// Nothing here is for production: sessions of Request are not saved anywhere,
// and the middleware of New keeps its keys only in memory.
package sessiontest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// A Session describes a visitor's session when a test begins. The zero Session
// means that the visitor has none.
type Session struct {
	_ [0]func() // no unkeyed literals, no comparison

	// ID is the session's public handle. Empty means "test-session", if there is a
	// session.
	ID string

	// Subject is the user who is logged in, or "".
	Subject string

	// AuthenticatedAt is when Subject logged in. The zero time means now.
	AuthenticatedAt time.Time

	// AMR says how Subject authenticated, as session.AMR does.
	AMR []string

	// Persistent says that the session is remembered, as by
	// session.Session.Remember(true).
	Persistent bool

	// Values are the session's values: anything that session.Key.Set takes.
	Values map[string]any

	// Policy says how long the session lives. The zero Policy means its defaults.
	Policy session.Policy

	// SaveError, if set, is the error of session.Session.Save, which then drops
	// the changes: for example session.TooLarge or session.Unavailable.
	SaveError error

	// Now is the clock. If nil, time.Now.
	Now func() time.Time
}

// Request returns a copy of r with the session that s describes, for a handler
// without the middleware. (With the middleware, use [Kit.Cookie].) It panics if
// there can be no such session: a value is not JSON, or a subject is too long.
//
// Nothing is sent to a client, so no change is ever too late. The channel of
// session.Session.Ended is closed when the context of r is cancelled, and only
// then: cancel it where the session ends in your test.
func Request(r *http.Request, s Session) *http.Request {
	now := s.Now
	if now == nil {
		now = time.Now
	}
	k := &keeper{fail: s.SaveError, over: r.Context().Done()}
	k.o = session.Options{Policy: s.Policy.WithDefaults(), Now: now, Saver: k}
	k.before = s.record(k.o)
	k.session, k.control = session.Begin(k.before, k.o)
	ctx := session.NewContext(r.Context(), k.session)
	return r.WithContext(context.WithValue(ctx, keeperKey{}, k))
}

// record returns the session that s describes, or nil if there is none.
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

// begin sets in a new session what s describes.
func (s Session) begin(to *session.Session) error {
	if s.Persistent {
		if err := to.Remember(true); err != nil {
			return err
		}
	}
	if s.Subject == "" && len(s.Values) == 0 {
		return to.Remember(to.Snapshot().Persistent) // only makes the session exist
	}
	if s.Subject != "" {
		if err := to.Login(s.Subject, session.AMR(s.AMR...)); err != nil {
			return err
		}
	}
	for name, v := range s.Values {
		if err := session.Key[any](name).Set(to, v); err != nil {
			return err
		}
	}
	return nil
}

// loggedIn moves the login of rec to another time.
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
		panic(fmt.Sprintf("sessiontest: there can be no such Session: %v", err))
	}
}

// A Result describes a session after a handler. For more, such as typed values,
// get the session with session.From, as the handler does.
type Result struct {
	ID         string         // "" if there is no session now
	Subject    string         // the user who is logged in, or ""
	Persistent bool           // whether the session is remembered
	Values     map[string]any // as encoding/json decodes them: numbers are float64
	Renewed    bool           // by Login, Renew or Remember: the visitor would get a new credential
	Destroyed  bool           // by Destroy
}

// After returns the session of r as the handler has left it, saved or not. r
// must come from [Request]; otherwise After panics.
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

// A keeper does the middleware's work for the session of one request.
type keeper struct {
	o       session.Options
	before  *session.Record // when the test began
	session *session.Session
	control session.Control
	fail    error
	over    <-chan struct{}
}

// Ended does the work of session.Session.Ended.
func (k *keeper) Ended() <-chan struct{} { return k.over }

// Save does the work of session.Session.Save.
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
