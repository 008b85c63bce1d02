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
	Saver      Saver            // required
	Cookies    []string         // the names of the cookies that a credential travels in; see Session.Cookies
}

// A Saver saves the pending changes of the session that it was given to; it is
// what [Session.Save] calls. The middleware implements it, once for each request.
type Saver interface {
	// Save is Session.Save.
	Save(ctx context.Context) error
}

// A Control is the middleware's side of a [Session]: it learns what is to be
// saved, and says what came of it. Handlers never see it.
type Control struct{ s *Session }

// Begin makes the Session of one request from the record that was opened for
// it; nil stands for a visitor without a session.
func Begin(rec *Record, o Options) (*Session, Control) {
	s := &Session{base: rec, view: rec, isNew: rec == nil, began: o.Now(), o: o}
	return s, Control{s}
}

// Base returns the record as it is kept, nil if it is kept nowhere.
func (c Control) Base() *Record {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.s.base
}

// Destroyed reports whether the handler has called Destroy.
func (c Control) Destroyed() bool {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.s.destroyed
}

// Over returns the session that this request has ended together with all others
// of its subject, the last if there were several; nil if there is none. Unlike
// after Destroy, a Login may be pending.
func (c Control) Over() *Record {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.s.over
}

// Pending returns the changes that are not saved yet; nil if there are none.
func (c Control) Pending() *Changes {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if len(c.s.ops) == 0 {
		return nil
	}
	n := len(c.s.ops)
	return &Changes{ops: c.s.ops[:n:n], policy: c.s.o.Policy, now: c.s.o.Now, passive: c.s.passive, over: c.s.over}
}

// Passive reports whether the handler has called [Session.IgnoreActivity].
func (c Control) Passive() bool {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.s.passive
}

// Touch returns Changes that record the activity of the request, if it is any,
// and nothing else.
func (c Control) Touch() *Changes {
	return &Changes{policy: c.s.o.Policy, now: c.s.o.Now, passive: c.Passive(), over: c.Over()}
}

// Saved says that rec is now kept, with changes in it. Changes that were made
// since they were taken by [Control.Pending] stay pending.
func (c Control) Saved(rec *Record, changes *Changes) { c.settle(rec, changes) }

// Dropped says that changes were not saved and won't be.
func (c Control) Dropped(changes *Changes) { c.settle(c.Base(), changes) }

// Ended says that the session is over. It reports whether that drops changes.
func (c Control) Ended() (dropped bool) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	dropped = len(c.s.ops) > 0
	c.s.base, c.s.view, c.s.ops, c.s.gone = nil, nil, nil, true
	return dropped
}

// SubjectEnded tells the session of the request that ctx belongs to, if there is
// one, that all sessions of subject were ended up to at; the subject "" stands
// for everybody. A revocation list calls it. If the session is one of them, this
// request can't change it any more, but a [Session.Login] may follow, and counts
// as later than at.
func SubjectEnded(ctx context.Context, subject string, at time.Time) {
	s := From(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.o.Saver == nil || s.closed == finished {
		return
	}
	s.loginAfterLocked(subject, at)
	isOne := func(rec *Record) bool { return rec != nil && (subject == "" || rec.Subject == subject) }
	switch {
	case isOne(s.view):
		s.over, s.base, s.view, s.ops = s.view, nil, nil, nil
	case s.view != nil && isOne(s.base): // the login of another subject is pending
		s.over, s.base, s.view = s.base, nil, nil
		s.ops = append([]op{s.beginLocked()}, s.ops...)
		s.showLocked(s.ops)
	}
}

// OthersEnded tells the session of the request that ctx belongs to that all
// sessions of subject but this one were ended up to at: a [Session.Login] of the
// subject that follows counts as later than at. A revocation list calls it.
func OthersEnded(ctx context.Context, subject string, at time.Time) {
	s := From(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loginAfterLocked(subject, at)
}

func (s *Session) loginAfterLocked(subject string, at time.Time) {
	if s.loginFrom == nil {
		s.loginFrom = make(map[string]time.Time)
	}
	s.loginFrom[subject] = at.Truncate(time.Millisecond).Add(time.Millisecond)
}

// RenewSince is [Session.Renew] for the session of the request that ctx belongs
// to. It saves the session, which counts as begun at since from then on, so that
// a revocation list can end all other sessions of its subject; see
// [Record.CountsFrom].
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

// HeaderSent says that the client can't be given another credential any more.
// inPlace tells whether the record behind its credential can still change. If a
// change has come since Pending was last asked that needs another credential,
// HeaderSent returns false and says nothing: that change must be saved first.
func (c Control) HeaderSent(inPlace bool) bool {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	late := Changes{ops: c.s.ops}
	if len(c.s.ops) > 0 && (!inPlace || late.Renews()) {
		return false
	}
	c.s.closed = closed
	if inPlace {
		c.s.closed = headerSent
	}
	return true
}

// Close drops what is not saved. Nothing can change any more, but the session
// can still be destroyed.
func (c Control) Close() { c.close(closed) }

// Finish drops what is not saved, and says that the request is over.
func (c Control) Finish() { c.close(finished) }

func (c Control) close(as closure) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.s.closed, c.s.ops = as, nil
	if !c.s.destroyed {
		c.s.view = c.s.base
	}
}

// settle makes rec the base, and repeats on it what is still pending. A step
// that doesn't apply to rec stays pending: the save that comes to it says so.
func (c Control) settle(rec *Record, changes *Changes) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if changes != nil && changes.over != c.s.over {
		return // the session was ended meanwhile, and what is pending came later
	}
	c.s.base, c.s.view = rec, rec
	if c.s.destroyed {
		c.s.view = nil
		return
	}
	rest := c.s.ops
	if changes != nil {
		taken := min(len(changes.ops), len(rest))
		if rest = rest[taken:]; rec == nil && len(rest) > 0 {
			// What began the session was not kept, but it has changes since.
			rest = append([]op{changes.ops[0]}, rest...)
		}
	}
	c.s.ops = rest
	c.s.showLocked(rest)
}
