package middleware

import (
	"errors"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// An Event is something that happened to a session. It holds no credential and
// no value, so it is safe to log. Method, Path, Origin and Host are the
// client's words: package log/slog escapes them, and another log must do so
// too.
type Event struct {
	Kind      EventKind      // what happened
	Time      time.Time      // when, by the clock of the configuration
	SessionID string         // "" if it is not known which session
	Subject   string         // who is logged in, or was until the session ended; "" for nobody
	Reason    session.Reason // why it ended, was refused or failed; otherwise 0
	Err       error          // what went wrong, in words for developers; otherwise nil

	TagKind string // EndedTag: the kind of the tag

	Method string // of the request
	Path   string // of the request, without its query
	Origin string // session.CrossOrigin: the request's Origin, as the client sent it
	Host   string // session.CrossOrigin and CookieDropped: the request's Host, as the client sent it
}

// An EventKind says what happened.
type EventKind string

// The kinds of events. Their values are labels for logs and metrics.
const (
	Created EventKind = "created" // a session was kept for the first time
	Renewed EventKind = "renewed" // a login or renewal gave it a new credential
	Moved   EventKind = "moved"   // it went to another carrier
	Ended   EventKind = "ended"   // it was destroyed, or was found to be over
	Refused EventKind = "refused" // a credential was presented that opens nothing, or a request came from another origin
	Failed  EventKind = "failed"  // a session could not be opened or saved

	// NearlyFull: the session fills three quarters of its cookie or more. Soon its
	// changes will fail with session.TooLarge. There is about one such event for
	// each session, and none where a session that is too large goes to another
	// carrier.
	NearlyFull EventKind = "nearly_full"

	Abandoned EventKind = "abandoned" // the client went away before its session was opened

	// CookieDropped: a browser uses plain HTTP, where it drops the Secure cookie
	// that it was sent. A Middleware reports it once.
	CookieDropped EventKind = "cookie_dropped"

	EndedSubject EventKind = "ended_subject" // all sessions of Subject were ended, or all but one; there is no request
	EndedTag     EventKind = "ended_tag"     // all sessions with a tag were ended; there is no request
	EndedAll     EventKind = "ended_all"     // all sessions were ended; there is no request
)

// about returns the event of something that happened in this request to the
// session of rec, which may be nil.
func (x *exchange) about(kind EventKind, rec *session.Record, err error) Event {
	e := Event{Kind: kind, Time: x.m.c.Now(), Reason: session.ReasonOf(err), Err: err, Method: x.request.Method,
		Path: x.request.URL.Path}
	if of := (*session.RefusedError)(nil); rec == nil && err != nil && errors.As(err, &of) {
		rec = of.Record
	}
	if rec != nil {
		e.SessionID, e.Subject = rec.ID, rec.Subject
	}
	return e
}

func (x *exchange) event(kind EventKind, rec *session.Record, err error) {
	x.m.c.OnEvent(x.request.Context(), x.about(kind, rec, err))
}

func (x *exchange) failed(rec *session.Record, err error) { x.event(Failed, rec, err) }
