package middleware

import (
	"context"
	"net/http"
	"slices"

	"github.com/cloakroom-go/cloakroom/session"
)

// deny answers with status and its standard text, and leaves the cookie alone:
// the browser may already hold its successor from a parallel response.
func deny(w http.ResponseWriter, status int) {
	noStore(w.Header())
	http.Error(w, http.StatusText(status), status)
}

// unopened answers a request whose session could not be opened. If the client
// has gone meanwhile, its cancelled context is the reason, and not a failure.
func (x *exchange) unopened(err error) {
	kind := Failed
	if x.request.Context().Err() == context.Canceled {
		kind = Abandoned
	}
	x.event(kind, nil, err)
	x.deny(http.StatusServiceUnavailable, err)
}

// deny answers in the place of next, through Config.ErrorHandler if there is
// one.
func (x *exchange) deny(status int, err error) {
	w, r := x.out.inner, x.request
	if x.m.c.ErrorHandler == nil {
		deny(w, status)
		return
	}
	if x.session != nil {
		r = r.WithContext(session.NewContext((*scope)(x), x.session))
	}
	noStore(w.Header())
	d := &denial{inner: w, status: status, cookies: slices.Clone(w.Header()["Set-Cookie"])}
	x.m.c.ErrorHandler(d, r, status, err)
	if !d.begun {
		deny(w, status)
	}
}

// A denial is the ResponseWriter of an ErrorHandler. Whatever that does to the
// header, the answer is not cached, and has the cookies that it had before.
// There is no Unwrap, which would lead around it.
type denial struct {
	inner   http.ResponseWriter
	status  int
	cookies []string // Set-Cookie, from before
	begun   bool
}

// Header returns the header fields of the answer.
func (d *denial) Header() http.Header { return d.inner.Header() }

// WriteHeader sends the header.
func (d *denial) WriteHeader(status int) {
	final := status >= 200 || status == http.StatusSwitchingProtocols
	if final && !d.begun {
		d.begun = true
		h := d.inner.Header()
		for _, cookie := range d.cookies {
			if !slices.Contains(h["Set-Cookie"], cookie) {
				h.Add("Set-Cookie", cookie)
			}
		}
		noStore(h)
		addVaryCookie(h)
	}
	d.inner.WriteHeader(status)
}

// Write sends the denial's own status before the first byte, if WriteHeader has
// sent no other: not 200, as others would.
func (d *denial) Write(p []byte) (int, error) {
	if !d.begun {
		d.WriteHeader(d.status)
	}
	return d.inner.Write(p)
}
