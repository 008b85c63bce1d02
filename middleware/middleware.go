package middleware

import (
	"context"
	"net/http"
	"sync/atomic"

	"github.com/cloakroom-go/cloakroom/session"
)

// A Middleware puts sessions into the contexts of requests, and keeps what
// handlers change in them. Make one with [New]; the zero Middleware denies
// every request.
type Middleware struct {
	c           Config
	carriers    []Carrier // all that are accepted; the one that sessions get comes first
	cookieNames []string  // for session.Session.Cookies
	timedOut    timeouts
	nearlyFull  timeouts
	warned      atomic.Bool  // of a cookie that is dropped
	watching    atomic.Int64 // how many requests have called session.Session.Ended
}

// New checks c and returns a Middleware. It reports every mistake at once.
// Later changes of c have no effect.
func New(c Config) (*Middleware, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults().observed()
	m := &Middleware{c: c, carriers: []Carrier{c.Carrier}, cookieNames: []string{c.Cookie.Name}}
	if c.Overflow != nil {
		m.carriers = append(m.carriers, c.Overflow)
	}
	m.carriers = append(m.carriers, c.Accept...)
	return m, nil
}

// Handler returns a handler that opens the session of each request, calls next
// with it in the context, and saves its changes before the first byte of the
// response.
//
//   - A credential that is missing, bad or over: next runs with a new session.
//   - A session that can't be opened for now: 503, and next doesn't run.
//   - An unsafe request from another origin, or a WebSocket handshake from one:
//     403, and next doesn't run; see [Config].CrossOrigin.
//   - Changes that can't be saved: the response of next is replaced, by 503 if
//     they could not be kept for now, by 409 if the session has ended
//     meanwhile, by 500 if they don't fit. To answer otherwise, next calls
//     [session.Session.Save].
//   - If next panics, nothing is saved.
//   - [Config].ErrorHandler writes these answers, if it is set.
//   - If next hijacks the connection, a change that needs a new cookie makes
//     Hijack fail with session.TooLate. A status 101 that WriteHeader sends
//     before that carries the cookie.
func (m *Middleware) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if m.c.Carrier == nil {
			deny(w, http.StatusServiceUnavailable) // the zero Middleware
			return
		}
		if r.Context().Value(m) != nil {
			next.ServeHTTP(w, r) // m is applied twice, and the outer one has the session
			return
		}
		x := newExchange(m, w, r)
		if err := m.checkOrigin(r); err != nil {
			x.denyOrigin(err)
			return
		}
		if err := x.load(r); err != nil {
			x.unopened(err)
			return
		}
		x.serve(next)
	})
}

// carrier returns the one that recognizes credential, or nil.
func (m *Middleware) carrier(credential string) Carrier {
	for _, c := range m.carriers {
		if c.Recognizes(credential) {
			return c
		}
	}
	return nil
}

// detached returns a context for one dealing with a carrier, after which its
// method cancel must be called. It outlives the client: a save or a logout that
// has begun isn't undone by a closed connection.
func (m *Middleware) detached(ctx context.Context) *deadline {
	return &deadline{Context: context.WithoutCancel(ctx), timeout: m.c.Timeout}
}

// statusOf is what a client is told of changes that could not be saved.
func statusOf(err error) int {
	switch session.ReasonOf(err) {
	case session.Unavailable:
		return http.StatusServiceUnavailable
	case session.TooLarge, session.BadValue, session.TooLate, session.NoMiddleware:
		return http.StatusInternalServerError
	case session.TooMany:
		return http.StatusForbidden
	}
	return http.StatusConflict // the session has ended meanwhile
}
