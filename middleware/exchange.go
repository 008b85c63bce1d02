package middleware

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"sync"

	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/internal/reqcopy"
	"github.com/cloakroom-go/cloakroom/session"
)

// An exchange is one request and its response, as far as the session goes:
//
//	load ─▶ handler, which changes the session ─▶ commit, before the first byte ─▶ finish
//
// A handler may call save in between, through session.Session.Save.
type exchange struct {
	m       *Middleware
	request *http.Request   // as it came in
	ctx     context.Context // the request's
	scope   scope
	out     response

	session *session.Session
	control session.Control

	// turn lets one goroutine of the request save at a time. It guards what
	// follows, and is held while a carrier is asked: that is its purpose.
	turn        sync.Mutex
	kept        *session.Record // as it is kept now; nil if it is kept nowhere
	carrier     Carrier         // that keeps it
	credential  string          // under which it is kept
	headerSent  bool            // the client can't be given a credential any more
	undelivered bool            // the client's credential is dead, or will be soon, and it has no other yet
	ended       bool            // by Destroy
	left        *session.Record // what is over, with all sessions of its subject, and dropped; see leave
	gone        error           // why the session is over, as a save has found; kept is then what Destroy ends
	unsaid      error           // gone, if it has dropped changes of which no caller was told
	endFailed   bool            // a Destroy could not be carried out, and the client was told
	rivals      []opened        // the sessions that ambiguous cookies opened; none is used

	elsewhere  error  // why the client may hold, or be about to hold, a better cookie than we could send
	presented  bool   // the client sent some cookie of the name
	held       string // the credential that the client holds, as far as we know
	persistent bool   // whether the client's cookie outlives the browser, as far as we know
}

// A scope is the context that the handler's is made of. It tells an inner use of
// the same middleware that the request has its session already.
type scope struct {
	context.Context // the request's
	m               *Middleware
}

// Value implements context.Context.
func (s *scope) Value(key any) any {
	if key == any(s.m) {
		return s.m
	}
	return s.Context.Value(key)
}

func newExchange(m *Middleware, w http.ResponseWriter, r *http.Request) *exchange {
	x := &exchange{m: m, request: r, ctx: r.Context()}
	x.scope = scope{Context: x.ctx, m: m}
	x.out = response{inner: w, x: x}
	if h := w.Header(); len(h) > 0 {
		x.out.entered = maps.Clone(h)
	}
	return x
}

// begin starts the session of the request with what load has found.
func (x *exchange) begin(found opened) {
	x.kept, x.carrier, x.credential = found.rec, found.carrier, found.current
	x.held = found.presented
	if found.rec != nil {
		x.persistent = found.rec.Persistent
	}
	x.session, x.control = session.Begin(found.rec, session.Options{
		Policy:     x.m.c.Policy,
		Now:        x.m.c.Now,
		Persistent: x.m.c.Cookie.Persistent,
		Saver:      x,
		Cookies:    x.m.cookieNames,
	})
}

func (x *exchange) serve(next http.Handler) {
	r := x.request.WithContext(session.NewContext(&x.scope, x.session))
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

// panicked drops what next has not saved. What it has saved by itself stays, and
// whoever recovers outside may still send the cookie for it.
func (x *exchange) panicked() {
	x.turn.Lock()
	defer x.turn.Unlock()
	x.control.Finish()
	if !x.out.begun && (x.undelivered || x.ended) {
		x.setHeader(x.out.inner.Header())
	}
	x.headerSent = true
}

// maxSettles is how often a session is saved before the first byte, if other
// goroutines of the request go on changing it meanwhile.
const maxSettles = 8

// commit saves before the first byte and adds the header fields that the
// session needs. After it the client can't be given another credential.
func (x *exchange) commit(header http.Header) error {
	x.turn.Lock()
	defer x.turn.Unlock()
	closed := false
	defer func() {
		if !closed { // saving has panicked, or failed
			x.control.Close()
		}
		x.headerSent = true
		if !closed {
			x.out.reset() // the response is going to be another
		}
		// After a failure too: what was saved before may have ended the credential
		// that the client holds.
		if closed || x.undelivered || x.ended {
			x.setHeader(header)
		} else {
			addVaryCookie(header)
		}
	}()
	for range maxSettles {
		if err := x.settle(); err != nil {
			x.endFailed = x.control.Destroyed()
			x.failed(x.kept, err)
			return err
		}
		if closed = x.control.HeaderSent(x.inPlace()); closed {
			return nil
		}
	}
	err := fmt.Errorf("middleware: other goroutines of the request kept changing the session while its response began: %w", session.TooLate)
	x.failed(x.kept, err)
	return err
}

// commitHijack saves before the connection is taken over. A new credential
// couldn't be sent, so only what can be saved under the old one is.
func (x *exchange) commitHijack() error {
	x.turn.Lock()
	defer x.turn.Unlock()
	if x.undelivered {
		return fmt.Errorf("middleware: the session has a new cookie, which a hijacked connection can't send; send it with status 101 before: %w", session.TooLate)
	}
	x.out.begun, x.headerSent = true, true
	if err := x.settle(); err != nil {
		x.control.Close()
		return err
	}
	if !x.control.HeaderSent(x.inPlace()) {
		x.control.Close()
		return fmt.Errorf("middleware: another goroutine changed the session while its connection was hijacked: %w", session.TooLate)
	}
	return nil
}

// bypassed is called when the header has left without the middleware, because
// an adapter has given the handler another ResponseWriter. What needs no new
// cookie is saved; the error is reported even if nothing is lost this time.
func (x *exchange) bypassed() error {
	cause := x.commitHijack()
	x.out.begun = true
	if cause == nil {
		cause = session.TooLate
	}
	err := fmt.Errorf("middleware: the handler answered through another ResponseWriter than the middleware's, so no cookie could be sent; wrap the whole framework with Handler: %w", fault.Inner(cause))
	x.failed(x.kept, err)
	return err
}

// finish saves what was changed after the first byte. The client can't be told
// any more if that fails; the event hook is.
func (x *exchange) finish() {
	x.out.begin()
	x.turn.Lock()
	defer x.turn.Unlock()
	defer x.control.Finish()
	if x.control.Pending() != nil || x.control.Destroyed() && !x.ended && !x.endFailed {
		if err := x.settle(); err != nil {
			x.failed(x.kept, err)
		}
	}
}

// Save implements session.Saver.
func (x *exchange) Save(ctx context.Context) error {
	x.turn.Lock()
	defer x.turn.Unlock()
	ctx, cancel := x.m.detached(ctx)
	defer cancel()
	if err := x.leave(); err != nil {
		return err
	}
	changes := x.control.Pending()
	switch {
	case x.control.Destroyed():
		return x.end(ctx)
	case x.gone != nil && changes == nil:
		x.unsaid = nil
		return x.gone
	case changes == nil && x.kept == nil:
		return nil
	case changes == nil:
		return x.check(ctx)
	}
	return x.persist(ctx, changes)
}

// settle saves what is pending, or that there was activity.
func (x *exchange) settle() error {
	if err := x.leave(); err != nil {
		return err
	}
	changes := x.control.Pending()
	destroyed := x.control.Destroyed() && !x.ended
	touch := changes == nil && !destroyed && x.touchDue()
	if changes == nil && !destroyed && !touch {
		err := x.unsaid
		x.unsaid = nil
		return err
	}
	ctx, cancel := x.m.detached(x.ctx)
	defer cancel()
	switch {
	case destroyed:
		return x.end(ctx)
	case touch:
		x.touch(ctx)
		return nil
	}
	return x.persist(ctx, changes)
}

// setHeader gives the client the credential that it should hold from now on.
func (x *exchange) setHeader(h http.Header) {
	addVaryCookie(h)
	var cookie *http.Cookie
	switch c := x.m.c.Cookie; {
	case (x.ended || x.left != nil && x.kept == nil) && (x.presented || x.held != ""):
		cookie = c.make("", -1)
	case x.kept != nil && x.gone == nil && (x.credential != x.held || x.kept.Persistent != x.persistent):
		cookie = c.make(x.credential, c.maxAge(x.kept, x.m.c.Now()))
	default:
		return
	}
	x.undelivered = false
	h.Add("Set-Cookie", cookie.String())
	if cookie.Secure {
		x.warnIfDropped()
	}
	noStore(h)
}

// inPlace reports whether the session can be saved under its credential.
func (x *exchange) inPlace() bool { return x.carrier != nil && x.carrier.InPlace() }
