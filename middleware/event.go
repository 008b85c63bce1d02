package middleware

import (
	"context"
	"log/slog"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// An Event is something that happened to a session. It holds no credential and
// no value, so it is safe to log.
type Event struct {
	Kind      EventKind      // what happened
	Time      time.Time      // when, by the clock of the configuration
	SessionID string         // "" if the session could not be told
	Subject   string         // who is logged in, or was until the session ended; "" for nobody
	Reason    session.Reason // why it ended, was refused or failed; otherwise 0
	Err       error          // what went wrong, in words for developers; otherwise nil

	Method string // of the request
	Path   string // of the request, without its query
	Origin string // session.CrossOrigin: the request's Origin, as the client sent it
	Host   string // session.CrossOrigin: the request's Host, as the client sent it
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

	Abandoned EventKind = "abandoned" // the client went away before its session was opened
)

// about returns the event of something that happened in this request to the
// session of rec, which may be nil.
func (x *exchange) about(kind EventKind, rec *session.Record, err error) Event {
	e := Event{Kind: kind, Time: x.m.c.Now(), Reason: session.ReasonOf(err), Err: err, Method: x.request.Method, Path: x.request.URL.Path}
	if rec != nil {
		e.SessionID, e.Subject = rec.ID, rec.Subject
	}
	return e
}

func (x *exchange) event(kind EventKind, rec *session.Record, err error) {
	x.m.c.OnEvent(x.ctx, x.about(kind, rec, err))
}

func (x *exchange) failed(rec *session.Record, err error) { x.event(Failed, rec, err) }

// LogEvents returns a function for Config.OnEvent that logs to l: failures as
// errors, refusals of what was never a good credential here as warnings, and
// everything else as information, also what a visitor presents who has logged
// out elsewhere.
func LogEvents(l *slog.Logger) func(context.Context, Event) {
	return func(ctx context.Context, e Event) {
		attrs := []slog.Attr{slog.String("session", e.SessionID), slog.String("subject", e.Subject)}
		if e.Reason == session.CrossOrigin {
			attrs = []slog.Attr{slog.String("origin", short(e.Origin)), slog.String("host", short(e.Host))}
		}
		if e.Reason != 0 {
			attrs = append(attrs, slog.String("reason", e.Reason.String()))
		}
		if e.Err != nil {
			attrs = append(attrs, slog.String("error", e.Err.Error()))
		}
		attrs = append(attrs, slog.String("method", short(e.Method)), slog.String("path", short(e.Path)))
		l.LogAttrs(ctx, e.level(), "session "+string(e.Kind), attrs...)
	}
}

// short cuts what a client has sent to a length that is fit for a log.
func short(s string) string { return s[:min(len(s), 200)] }

func (e Event) level() slog.Level {
	switch {
	case e.Kind == Failed:
		return slog.LevelError
	case e.Kind == Abandoned:
		return slog.LevelDebug
	case e.Kind != Refused:
		return slog.LevelInfo
	}
	switch e.Reason {
	case session.Ended, session.IdleTimeout, session.LifetimeOver, session.NotFound:
		return slog.LevelInfo
	}
	return slog.LevelWarn
}
