package middleware

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// LogEvents returns a function for Config.OnEvent that logs to l.
//
//   - Failures are errors.
//   - A refusal is a warning, or information if the credential was once good.
//     The first of each [session.Reason] is logged at once. Further ones are
//     counted, and logged as one line a minute, with the last of them as an
//     example: a bot can send thousands a second.
//   - Logins, and what else happens to sessions in which somebody is logged in,
//     are information. So is the end of all sessions of a subject, or of all.
//   - Moves, and what happens to anonymous sessions, are for debugging.
//
// The minute goes by the time of the events, so what was counted in a minute is
// logged with the first event after it. LogEvents starts no goroutine.
func LogEvents(l *slog.Logger) func(context.Context, Event) {
	var refusals refusals
	return func(ctx context.Context, e Event) {
		logNow := refusals.count(e, func(example Event, n int) {
			l.LogAttrs(ctx, example.level(), "session refused again", append(example.attrs(), slog.Int("count", n))...)
		})
		if logNow && l.Enabled(ctx, e.level()) {
			l.LogAttrs(ctx, e.level(), "session "+string(e.Kind), e.attrs()...)
		}
	}
}

// attrs returns what a line about e says.
func (e Event) attrs() []slog.Attr {
	attrs := []slog.Attr{slog.String("session", e.SessionID), slog.String("subject", e.Subject)}
	if e.TagKind != "" {
		attrs = append(attrs, slog.String("tag_kind", e.TagKind))
	}
	if e.Reason != 0 {
		attrs = append(attrs, slog.String("reason", e.Reason.String()))
	}
	if e.Err != nil {
		attrs = append(attrs, slog.String("error", e.Err.Error()))
	}
	if e.Method != "" {
		attrs = append(attrs, slog.String("method", short(e.Method)), slog.String("path", short(e.Path)))
	}
	if e.Origin != "" {
		attrs = append(attrs, slog.String("origin", short(e.Origin)))
	}
	if e.Host != "" {
		attrs = append(attrs, slog.String("host", short(e.Host)))
	}
	return attrs
}

// short cuts what a client has sent to a length that is fit for a log.
func short(s string) string { return s[:min(len(s), 200)] }

func (e Event) level() slog.Level {
	switch e.Kind {
	case Failed:
		return slog.LevelError
	case Refused:
		switch e.Reason {
		case session.Ended, session.IdleTimeout, session.LifetimeOver, session.NotFound:
			return slog.LevelInfo
		}
		return slog.LevelWarn
	case CookieDropped, NearlyFull:
		return slog.LevelWarn
	case EndedSubject, EndedTag, EndedAll:
		if e.Err != nil {
			return slog.LevelError
		}
		return slog.LevelInfo
	case Created, Renewed, Ended:
		if e.Subject != "" {
			return slog.LevelInfo
		}
	}
	return slog.LevelDebug
}

// summedUpEvery is how often refusals of one reason are logged.
const summedUpEvery = time.Minute

// refusals counts refusals by their reason.
type refusals struct {
	mu  sync.Mutex // guards all
	all map[session.Reason]*tally
}

// A tally counts the refusals that were not logged one by one.
type tally struct {
	until   time.Time // when they are summed up
	n       int
	example Event // the last of them
}

// count calls sum for each reason whose minute is over at e. It reports whether
// e is to be logged by itself: it is no refusal, or the first of its reason.
func (r *refusals) count(e Event, sum func(example Event, n int)) bool {
	due, first := r.add(e)
	for _, t := range due {
		sum(t.example, t.n)
	}
	return first
}

func (r *refusals) add(e Event) (due []tally, first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for reason, t := range r.all {
		switch {
		case e.Time.Before(t.until):
		case t.n == 0:
			delete(r.all, reason) // a quiet minute
		default:
			due = append(due, *t)
			*t = tally{until: e.Time.Add(summedUpEvery)}
		}
	}
	if e.Kind != Refused {
		return due, true
	}
	if t := r.all[e.Reason]; t != nil {
		t.n++
		t.example = e
		return due, false
	}
	if r.all == nil {
		r.all = make(map[session.Reason]*tally)
	}
	r.all[e.Reason] = &tally{until: e.Time.Add(summedUpEvery)}
	return due, true
}
