package middleware

import (
	"bufio"
	"context"
	"io"
	"maps"
	"net"
	"net/http"
)

// A response is the ResponseWriter that handlers see. Whatever would send the
// first byte saves the session first; if that fails, the client gets the error
// instead, and what the handler writes is dropped.
type response struct {
	inner   http.ResponseWriter
	x       *exchange
	entered http.Header // the header fields from before next
	failed  error       // what the client was told in the place of next's answer
}

// Header returns the header fields of the response.
func (r *response) Header() http.Header { return r.inner.Header() }

// WriteHeader saves the session and sends the header. Informational responses
// (1xx) are not the response yet, except 101, which is final.
func (r *response) WriteHeader(status int) {
	if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		r.inner.WriteHeader(status)
		return
	}
	if r.begin() == nil {
		r.inner.WriteHeader(status)
	}
}

// Write saves the session before the first byte.
func (r *response) Write(p []byte) (int, error) {
	if err := r.begin(); err != nil {
		return 0, err
	}
	return r.inner.Write(p)
}

// WriteString is Write without a copy, where the server offers that.
func (r *response) WriteString(s string) (int, error) {
	if err := r.begin(); err != nil {
		return 0, err
	}
	return io.WriteString(r.inner, s)
}

// ReadFrom hands src to the server as it is, so that a file is sent without
// passing through memory.
func (r *response) ReadFrom(src io.Reader) (int64, error) {
	if err := r.begin(); err != nil {
		return 0, err
	}
	return io.Copy(r.inner, src)
}

// Flush implements http.Flusher.
func (r *response) Flush() { _ = r.FlushError() }

// FlushError is what http.ResponseController calls.
func (r *response) FlushError() error {
	if err := r.begin(); err != nil {
		return err
	}
	return http.NewResponseController(r.inner).Flush()
}

// Hijack saves the session and lets the caller take over the connection. A
// change that needs a new cookie fails here, with session.TooLate: send it with
// WriteHeader(http.StatusSwitchingProtocols) before, or make it earlier.
func (r *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if r.failed != nil {
		return nil, nil, r.failed
	}
	if !r.x.control.Begun() {
		if err := r.x.commitHijack(); err != nil {
			return nil, nil, err
		}
	}
	return http.NewResponseController(r.inner).Hijack()
}

// CloseNotify implements http.CloseNotifier, which is deprecated, but which gin
// wants for its Context.Stream. The channel gets one value as soon as the
// request's context ends: the client has gone, the time that an outer handler
// allows is over, or the request is.
func (r *response) CloseNotify() <-chan bool {
	gone := make(chan bool, 1)
	context.AfterFunc(r.x.request.Context(), func() { gone <- true })
	return gone
}

// Unwrap lets http.ResponseController find what the server offers besides.
func (r *response) Unwrap() http.ResponseWriter { return r.inner }

// reset takes back what next has done to the header: fields such as
// Content-Encoding and ETag are about a body that won't be sent.
func (r *response) reset() {
	h := r.inner.Header()
	clear(h)
	maps.Copy(h, r.entered)
}

// begin saves the session once, before the response begins.
func (r *response) begin() error {
	if r.x.control.Begun() {
		return r.failed
	}
	if w, ok := r.inner.(interface{ Written() bool }); ok && w.Written() {
		r.failed = r.x.bypassed()
		return r.failed
	}
	if err := r.x.commit(r.inner.Header()); err != nil {
		r.x.deny(statusOf(err), err)
	}
	return r.failed
}
