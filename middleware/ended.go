package middleware

import (
	"context"
	"fmt"
	"sync"

	"github.com/cloakroom-go/cloakroom/session"
)

// A watch is what a request needs that has called [session.Session.Ended].
type watch struct {
	ended chan struct{}
	end   func() // closes ended
	stop  func() // nil while there is no session to watch
}

// Ended does the work of session.Session.Ended.
func (x *exchange) Ended() <-chan struct{} {
	x.turn.Lock()
	defer x.turn.Unlock()
	if x.watch == nil {
		ended := make(chan struct{})
		x.watch = &watch{ended: ended, end: sync.OnceFunc(func() { close(ended) })}
		switch {
		case x.finished, x.outcome.is != lives, x.outcome.left != nil && x.kept.rec == nil:
			x.watch.end()
		default:
			x.watchKept()
		}
	}
	return x.watch.ended
}

// watchKept begins to watch the session, if there is one.
func (x *exchange) watchKept() {
	if x.kept.rec == nil || x.m.c.Revocations == nil {
		return
	}
	x.m.watching.Add(1)
	stop := x.m.c.Revocations.Watch(x.kept.rec, x.m.look(x.kept), x.watch.end)
	x.watch.stop = func() {
		stop()
		x.m.watching.Add(-1)
	}
}

// unwatch is called when the request is over.
func (x *exchange) unwatch() {
	x.turn.Lock()
	defer x.turn.Unlock()
	x.finished = true
	if x.watch == nil {
		return
	}
	if x.watch.stop != nil {
		x.watch.stop()
	}
	x.watch.end()
}

// goesOn tells those who watch the session of was, which may be nil, how it is
// kept now.
func (x *exchange) goesOn(was *session.Record) {
	switch w := x.watch; {
	case was == nil && w != nil && w.stop == nil:
		x.watchKept()
	case was == nil || x.m.c.Revocations == nil:
	case was.ID == x.kept.rec.ID:
		var look func() (*session.Record, error)
		if x.m.watching.Load() > 0 {
			look = x.m.look(x.kept)
		}
		x.m.c.Revocations.Changed(was, x.kept.rec, look)
	case w != nil:
		w.end() // a login has begun another session
	}
}

// isOver tells those who watch the session of rec that it has ended.
func (m *Middleware) isOver(rec *session.Record) {
	if m.c.Revocations != nil {
		m.c.Revocations.Changed(rec, nil, nil)
	}
}

// look returns a function that finds out the newest state of a session, for
// Revocations. Its calls must not overlap.
func (m *Middleware) look(of entry) func() (*session.Record, error) {
	return func() (*session.Record, error) {
		ctx := m.detached(context.Background())
		defer ctx.cancel()
		now, err := m.reopen(ctx, of)
		if err != nil {
			return nil, err
		}
		of = now
		if why := m.c.Policy.Over(now.rec, m.c.Now()); why != 0 {
			return nil, fmt.Errorf("middleware: the session is over: %w", why)
		}
		return now.rec, nil
	}
}
