package middleware

import (
	"fmt"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/internal/reqcopy"
	"github.com/cloakroom-go/cloakroom/session"
)

// An exchange is one request and its response, as far as the session goes:
//
//	load ─▶ handler, which changes the session ─▶ commit, before the first byte ─▶ finish
//
// A handler may call Save in between, through session.Session.Save. How far the
// request has come is the session's phase, which the exchange enters.
type exchange struct {
	m       *Middleware
	request *http.Request // as it came in
	looking deadline      // of load
	out     response

	session *session.Session
	control session.Control

	// turn lets one goroutine of the request save at a time. It guards what
	// follows, and is held while a carrier is asked: that is its purpose.
	turn    sync.Mutex
	kept    entry
	outcome outcome
	client  client
	rivals  []entry // the sessions that ambiguous cookies opened; none is used

	watch    *watch // nil if nobody has called Ended
	finished bool   // the request is over
}

// An entry is a session as a carrier keeps it; without a record it is kept
// nowhere.
type entry struct {
	rec        *session.Record
	carrier    Carrier // that keeps it
	credential string  // under which it is kept
}

// An outcome is what has become of the session.
type outcome struct {
	is   fate
	why  error           // of lost: what a save has found
	left *session.Record // the last that this request has ended with its subject; see leave
}

// A fate says whether a session has ended, and how.
type fate uint8

const (
	lives       fate = iota // or there is none
	lost                    // it was found to be over; kept is what a Destroy ends; a login may follow
	undestroyed             // a Destroy could not be carried out, and the client was told
	destroyed               // by Destroy
)

// A client is what the client holds, as far as we know, and what it is owed.
type client struct {
	holds      string // the credential that it holds
	sentCookie bool   // it has sent some cookie of the name
	persistent bool   // whether its cookie outlives the browser

	// owedCookie says that the credential that the client holds is dead, or will
	// be soon: it gets the new one even if the response is an error.
	owedCookie bool

	// newer says why it may hold, or be about to hold, a better cookie than we
	// could send.
	newer error

	// owedError says why changes were dropped of which no caller was told yet.
	owedError error
}

// A scope is the context that the handler's is made of: the request's. It tells
// an inner use of the same middleware that the request has its session already.
type scope exchange

// Value implements context.Context.
func (s *scope) Value(key any) any {
	if key == any(s.m) {
		return s.m
	}
	return s.request.Context().Value(key)
}

// Deadline implements context.Context.
func (s *scope) Deadline() (time.Time, bool) { return s.request.Context().Deadline() }

// Done implements context.Context.
func (s *scope) Done() <-chan struct{} { return s.request.Context().Done() }

// Err implements context.Context.
func (s *scope) Err() error { return s.request.Context().Err() }

func newExchange(m *Middleware, w http.ResponseWriter, r *http.Request) *exchange {
	x := &exchange{m: m, request: r}
	x.out = response{inner: w, x: x}
	if h := w.Header(); len(h) > 0 {
		x.out.entered = maps.Clone(h)
	}
	return x
}

// begin starts the session of the request with what was found.
func (x *exchange) begin(found *finding) {
	x.kept, x.rivals, x.client = found.session, found.rivals, found.client
	x.session, x.control = session.Begin(x.kept.rec, session.Options{
		Policy:     x.m.c.Policy,
		Now:        x.m.c.Now,
		Persistent: x.m.c.Cookie.Persistent,
		Saver:      x,
		Cookies:    x.m.cookieNames,
	})
}

func (x *exchange) serve(next http.Handler) {
	defer x.unwatch()
	r := x.request.WithContext(session.NewContext((*scope)(x), x.session))
	returned := false
	defer func() {
		reqcopy.Back(x.request, r)
		if !returned {
			x.panicked()
		}
	}()
	next.ServeHTTP(&x.out, r)
	returned = true
	x.finish()
}

// panicked drops what next has not saved. What it has saved by itself stays,
// and whoever recovers outside may still send the cookie for it.
func (x *exchange) panicked() {
	x.turn.Lock()
	defer x.turn.Unlock()
	begun := x.control.Begun()
	x.control.Close(session.Finished)
	if !begun && x.mustSetCookie() {
		x.setHeader(x.out.inner.Header())
	}
}

// maxSettles is how often a session is saved before the first byte, if other
// goroutines of the request go on changing it meanwhile.
const maxSettles = 8

// commit saves before the first byte and adds the header fields that the
// session needs. After it the client can't be given another credential.
func (x *exchange) commit(header http.Header) error {
	x.turn.Lock()
	defer x.turn.Unlock()
	if x.control.Begun() { // by another goroutine
		return nil
	}
	defer func() {
		saved := x.control.Begun()
		if !saved { // saving has failed, or panicked: the response is going to be another
			x.control.Close(session.Closed)
			x.out.reset()
		}
		// After a failure too: what was saved before may have ended the credential
		// that the client holds.
		if saved || x.mustSetCookie() {
			x.setHeader(header)
		} else {
			addVaryCookie(header)
		}
	}()
	x.out.failed = x.settleAll()
	if x.out.failed != nil {
		x.failed(x.kept.rec, x.out.failed)
	}
	return x.out.failed
}

// settleAll saves, and enters the phase after the first byte when nothing is
// left that it would rule out.
func (x *exchange) settleAll() error {
	for range maxSettles {
		if err := x.settle(); err != nil {
			if x.control.State().Destroyed && x.outcome.is != destroyed {
				x.outcome.is = undestroyed
			}
			return err
		}
		if x.control.Enter(x.phaseAfter()) {
			return nil
		}
	}
	return fmt.Errorf("middleware: other goroutines of the request kept changing the session while its response began: %w",
		session.TooLate)
}

// phaseAfter returns the phase that follows the first byte.
func (x *exchange) phaseAfter() session.Phase {
	if x.inPlace() {
		return session.HeaderSent
	}
	return session.Closed
}

// commitHijack saves before the connection is taken over. A new credential
// couldn't be sent, so only what can be saved under the old one is.
func (x *exchange) commitHijack() error {
	x.turn.Lock()
	defer x.turn.Unlock()
	if x.client.owedCookie {
		return fmt.Errorf("middleware: the session has a new cookie, which a hijacked connection can't send; send it "+
			"with status 101 before: %w", session.TooLate)
	}
	err := x.settleInPlace()
	if err != nil {
		x.control.Close(session.Closed)
	}
	return err
}

// settleInPlace saves what needs no new cookie, and enters the phase after the
// first byte.
func (x *exchange) settleInPlace() error {
	if err := x.leave(x.control.State().Left); err != nil {
		return err
	}
	if !x.control.Enter(session.HeaderSent) {
		return fmt.Errorf("middleware: a login or renewal needs a new cookie, which a hijacked connection can't send; "+
			"save it before, and send the cookie with status 101: %w", session.TooLate)
	}
	if err := x.settle(); err != nil {
		return err
	}
	if !x.control.Enter(x.phaseAfter()) {
		return fmt.Errorf("middleware: another goroutine changed the session while its connection was hijacked: %w",
			session.TooLate)
	}
	return nil
}

// bypassed is called when the header has left without the middleware, because
// an adapter has given the handler another ResponseWriter. What needs no new
// cookie is saved; the error is reported even if nothing is lost this time.
func (x *exchange) bypassed() error {
	cause := x.commitHijack()
	if cause == nil {
		cause = session.TooLate
	}
	if !x.control.Begun() {
		x.control.Close(session.Closed)
	}
	err := fmt.Errorf("middleware: the handler answered through another ResponseWriter than the middleware's, so no "+
		"cookie could be sent; wrap the whole framework with Handler: %w", fault.Inner(cause))
	x.failed(x.kept.rec, err)
	return err
}

// finish saves what was changed after the first byte. The client can't be told
// any more if that fails; the event hook is.
func (x *exchange) finish() {
	x.out.begin()
	x.turn.Lock()
	defer x.turn.Unlock()
	defer x.control.Close(session.Finished)
	now := x.control.State()
	if !now.Pending.TouchOnly() || now.Destroyed && x.outcome.is < undestroyed {
		if err := x.settle(); err != nil {
			x.failed(x.kept.rec, err)
		}
	}
}

// mustSetCookie reports whether the client gets its cookie even if the response
// is an error.
func (x *exchange) mustSetCookie() bool { return x.client.owedCookie || x.outcome.is == destroyed }

// setHeader gives the client the credential that it should hold from now on.
func (x *exchange) setHeader(h http.Header) {
	addVaryCookie(h)
	value, maxAge, ok := x.cookie()
	if !ok {
		return
	}
	cookie := x.m.c.Cookie.make(value, maxAge)
	x.client.owedCookie = false
	h.Add("Set-Cookie", cookie.String())
	if cookie.Secure {
		x.warnIfDropped()
	}
	noStore(h)
}

// cookie returns value and maximum age of the cookie that the client should
// get, if any. A session that was lost leaves the cookie alone: the client may
// hold a newer one.
func (x *exchange) cookie() (value string, maxAge int, ok bool) {
	rec := x.kept.rec
	ended := x.outcome.is == destroyed || x.outcome.left != nil && rec == nil
	changed := rec != nil && (x.kept.credential != x.client.holds || rec.Persistent != x.client.persistent)
	switch {
	case ended && x.client.sentCookie:
		return "", -1, true
	case !ended && changed && x.outcome.is == lives:
		return x.kept.credential, x.m.c.Cookie.maxAge(rec, x.m.c.Now()), true
	}
	return "", 0, false
}

// inPlace reports whether the session can be saved under its credential.
func (x *exchange) inPlace() bool { return x.kept.carrier != nil && x.kept.carrier.InPlace() }
