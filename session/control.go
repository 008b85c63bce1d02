package session

import (
	"context"
	"fmt"
	"time"
)

// Options is what a middleware gives to each [Session] that it begins.
type Options struct {
	Policy     Policy           // with its defaults filled in
	Now        func() time.Time // the clock; required
	Persistent bool             // whether a session that begins is remembered; see Session.Remember

	// Saver is the request as its middleware sees it. [Session.Save] and
	// [Session.Ended] call these methods. Required.
	Saver interface {
		// Save saves the pending changes of the session.
		Save(ctx context.Context) error

		// Ended returns the same channel each time. It is closed when the session is
		// over, or the request.
		Ended() <-chan struct{}
	}

	Cookies []string // the names of the cookies that a credential travels in; see Session.Cookies
}

// A Control is the middleware's side of a [Session]: the middleware reads what
// it has to save, and reports what it has saved. Handlers never see it.
type Control struct{ s *Session }

// Begin makes the [Session] of one request from the record that was opened for
// it. rec is nil for a visitor without a session.
func Begin(rec *Record, o Options) (*Session, Control) {
	s := &Session{base: rec, view: rec, isNew: rec == nil, began: o.Now(), o: o}
	return s, Control{s}
}

// A Phase is how far a request has come. It says which changes can still reach
// the client.
type Phase uint8

// The phases, in their order.
const (
	beforeHeader Phase = iota // everything can change
	HeaderSent                // the credential is fixed; the record behind it may change
	Closed                    // nothing can change, but the session can still be destroyed
	Finished                  // the request is over
)

// A State is what a middleware needs to know of a [Session], all at one moment.
type State struct {
	Kept      *Record // as it was last saved; nil if it never was
	Destroyed bool    // by Destroy: no Login can follow

	// Left is the session that this request has ended together with all others of
	// its subject, the last if there were several; nil if there is none. Unlike
	// after Destroy, a Login may be pending.
	Left *Record

	// Passive says that the handler has called [Session.IgnoreActivity].
	Passive bool

	// Pending are the changes that are not saved yet. Without any, it records only
	// the activity of the request, unless Passive; see [Changes.TouchOnly].
	Pending Changes
}

// Begun reports whether the response has begun, so that the client can't be
// given another credential.
func (c Control) Begun() bool { return c.s.begun.Load() }

// State returns what the middleware has to save.
func (c Control) State() State {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.ops)
	pending := Changes{ops: s.ops[:n:n], policy: &s.o.Policy, now: s.o.Now, passive: s.passive, over: s.over}
	if n > 0 && s.behind == 0 && !s.differ {
		pending.base, pending.result, s.owned = s.base, s.view, false
	}
	return State{
		Kept: s.base, Destroyed: s.end == destroyed, Left: s.over, Passive: s.passive, Pending: pending,
	}
}

// Lose marks the session as over and drops its pending changes. It reports
// whether there were any.
func (c Control) Lose() (dropped bool) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	dropped = len(c.s.ops) > 0
	c.s.base, c.s.ops = nil, nil
	c.s.setViewLocked(nil)
	if c.s.end == notEnded {
		c.s.end = over
	}
	return dropped
}

// Enter moves the request to phase p. If a pending change could not be saved in
// that phase, Enter returns false and does nothing: save the change first.
func (c Control) Enter(p Phase) bool {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	late := Changes{ops: c.s.ops}
	if late.Renews() || p >= Closed && !late.TouchOnly() {
		return false
	}
	c.s.enterLocked(p)
	return true
}

func (s *Session) enterLocked(p Phase) {
	s.phase = p
	s.begun.Store(p > beforeHeader)
}

// Close drops the changes that are not saved, and moves the request to phase p.
func (c Control) Close(p Phase) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.s.enterLocked(p)
	c.s.ops = nil
	if c.s.end != destroyed {
		c.s.setViewLocked(c.s.base)
	}
}

// Settle removes changes from the pending ones: rec is now the saved record,
// with them, or without them if they were dropped. Changes that were made since
// State returned these stay pending. changes may be nil.
func (c Control) Settle(rec *Record, changes *Changes) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if changes != nil && changes.over != c.s.over {
		return // the session was ended meanwhile, and what is pending came later
	}
	c.s.base = rec
	if c.s.end == destroyed {
		c.s.setViewLocked(nil)
		return
	}
	c.s.setViewLocked(rec)
	rest := c.s.ops
	if changes != nil {
		taken := min(len(changes.ops), len(rest))
		if rest = rest[taken:]; rec == nil && len(rest) > 0 {
			// What began the session was not kept, but it has changes since.
			rest = append([]op{changes.ops[0]}, rest...)
		}
	}
	// A step that doesn't apply to rec stays pending: the save that comes to it
	// says so.
	c.s.ops, c.s.differ, c.s.behind = rest, true, len(rest)
	c.s.showLocked()
}

// SubjectEnded tells the session of ctx's request, if there is one, that all
// sessions of subject that began until at have ended; the subject "" stands for
// everybody. If the session is one of them, this request can't change it any
// more, but a [Session.Login] may follow, and counts as later than at. A
// revocation list calls SubjectEnded.
func SubjectEnded(ctx context.Context, subject string, at time.Time) {
	From(ctx).ended(at, ending{subject: subject})
}

func (s *Session) ended(at time.Time, of ending) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.o.Saver == nil || s.phase == Finished {
		return
	}
	s.loginAfterLocked(of, at)
	s.showLocked()
	switch {
	case of.isOf(s.view):
		s.end, s.over, s.base, s.ops = over, s.view, nil, nil
		s.setViewLocked(nil)
	case s.view != nil && of.isOf(s.base): // a login that is not one of them is pending
		s.end, s.over, s.base = over, s.base, nil
		s.setViewLocked(nil)
		s.ops, s.differ = append([]op{s.beginLocked()}, s.ops...), true
		s.behind = len(s.ops)
		s.showLocked()
	}
}

// OthersEnded tells the session of ctx's request that all other sessions of
// subject that began until at have ended. A [Session.Login] of the subject that
// follows counts as later than at. A revocation list calls OthersEnded.
func OthersEnded(ctx context.Context, subject string, at time.Time) {
	s := From(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loginAfterLocked(ending{subject: subject}, at)
}

func (s *Session) loginAfterLocked(of ending, at time.Time) {
	if s.loginFrom == nil {
		s.loginFrom = make(map[ending]time.Time)
	}
	s.loginFrom[of] = at.Truncate(time.Millisecond).Add(time.Millisecond)
}

// RenewSince renews the session of ctx's request as [Session.Renew] does, and
// saves it. From then on the session counts as begun at since, so a revocation
// list can end all other sessions of its subject; see [Record.CountsFrom].
func RenewSince(ctx context.Context, since time.Time) error {
	s := From(ctx)
	if s.o.Saver == nil {
		return errNoMiddleware()
	}
	if err := s.changeCredential(op{kind: opRenew, at: since.Truncate(time.Millisecond)}, false); err != nil {
		return err
	}
	if err := s.Save(ctx); err != nil || !s.record().Since.Before(since.Truncate(time.Millisecond)) {
		return err
	}
	return fmt.Errorf("session: another goroutine of the request has dropped the renewal: %w", TooLate)
}
