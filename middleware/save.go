package middleware

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// persist saves changes. Whenever another request was faster it starts again
// from what that one has left, until the context ends.
func (x *exchange) persist(ctx context.Context, changes *session.Changes) error {
	if changes.LogsIn() {
		if err := x.endRivals(ctx); err != nil {
			x.control.Dropped(changes)
			return err
		}
	}
	for current := false; ; current = true {
		err := x.try(ctx, changes)
		// What this request has opened may look over only because it is old: others
		// may have been active since.
		stale := !current && x.kept != nil && errors.Is(err, session.IdleTimeout)
		if stale || errors.Is(err, session.Conflict) {
			err = x.reopen(ctx)
			if err == nil {
				continue
			}
		}
		if x.startsAnew(changes, err) {
			err = x.create(ctx, changes.Anew(x.kept), changes)
		}
		var done *heldError
		if err != nil && !errors.As(err, &done) {
			x.control.Dropped(changes)
			x.lost(err)
		}
		return err
	}
}

// startsAnew reports whether a login that failed with err gets a session of its
// own: the password was checked, so it doesn't depend on the session that it
// started from. If that one was ended on purpose, the login ends with it. A
// session that is absent before it could time out was ended on purpose.
func (x *exchange) startsAnew(changes *session.Changes, err error) bool {
	if x.kept == nil || !changes.LogsIn() {
		return false
	}
	if errors.As(err, new(*session.SupersededError)) {
		return true
	}
	switch session.ReasonOf(err) {
	case session.IdleTimeout, session.LifetimeOver, session.Malformed, session.Forged, session.UnknownKey:
		return true
	case session.NotFound:
		return !x.m.c.Now().Before(x.kept.IdleDeadline)
	}
	return false
}

// lost notes that the session is over, if that is what err says.
func (x *exchange) lost(err error) {
	switch session.ReasonOf(err) {
	case session.Ended, session.NotFound, session.IdleTimeout, session.LifetimeOver, session.UnknownKey, session.Forged:
		// kept stays: a Destroy still ends what the session has become elsewhere.
		x.gone, x.undelivered = err, false
		if x.control.Ended() {
			x.unsaid = err
		}
	}
}

// try saves changes to the record that is known now.
func (x *exchange) try(ctx context.Context, changes *session.Changes) error {
	home, overflow := x.m.c.Carrier, x.m.c.Overflow
	switch {
	case x.kept == nil:
		return x.create(ctx, changes, changes)
	case changes.Renews():
		return x.renew(ctx, changes)
	case x.headerSent && !x.inPlace():
		return fmt.Errorf("middleware: the header is sent, or the connection about to be hijacked, and a session in a token can't change without a new cookie; save it before, or send a WebSocket's 101 by WriteHeader before Hijack: %w", session.TooLate)
	case x.headerSent:
		return x.saveInPlace(ctx, changes)
	}
	if x.carrier != home {
		if err := x.replace(ctx, home, changes); !errors.Is(err, session.TooLarge) {
			return err
		}
	}
	err := x.saveInPlace(ctx, changes)
	if errors.Is(err, session.TooLarge) && overflow != nil && x.carrier != overflow {
		return x.replace(ctx, overflow, changes)
	}
	return err
}

// create keeps a session for the first time: what step, which is done or more,
// makes of nothing.
func (x *exchange) create(ctx context.Context, step, done *session.Changes) error {
	if x.headerSent {
		return fmt.Errorf("middleware: the response has begun without the new session's cookie: %w", session.TooLate)
	}
	if x.elsewhere != nil && !done.LogsIn() {
		return x.elsewhere
	}
	rec, err := step.Apply(nil)
	if err != nil {
		return err
	}
	if rec, err = x.m.admit(rec); err != nil {
		return err
	}
	for _, target := range x.targets() {
		var credential string
		if credential, err = x.issue(ctx, target, rec); err == nil {
			x.keep(target, credential, rec, done, Created)
			return nil
		}
		if !errors.Is(err, session.TooLarge) {
			break
		}
	}
	return err
}

// renew gives the session a new credential and ends the old one at once.
func (x *exchange) renew(ctx context.Context, changes *session.Changes) error {
	if x.headerSent {
		return fmt.Errorf("middleware: the response has begun without the renewed session's cookie: %w", session.TooLate)
	}
	var err error
	for _, target := range x.targets() {
		if err = x.replace(ctx, target, changes); !errors.Is(err, session.TooLarge) {
			return err
		}
	}
	return err
}

// targets lists the carriers that may take the session, the preferred first.
func (x *exchange) targets() []Carrier {
	targets := []Carrier{x.m.c.Carrier}
	if x.m.c.Overflow != nil {
		targets = append(targets, x.m.c.Overflow)
	}
	if x.carrier != nil && x.carrier != x.m.c.Carrier && x.carrier != x.m.c.Overflow {
		targets = append(targets, x.carrier)
	}
	return targets
}

// replace is the one path of login, renewal, move and change of mode: issue the
// new credential, retire the old one if nobody was faster, else forget the new
// one, which nobody has seen. A login or renewal leaves the old credential no grace.
func (x *exchange) replace(ctx context.Context, target Carrier, changes *session.Changes) error {
	step, grace, kind := changes, time.Duration(0), Renewed
	if !changes.Renews() {
		step, grace, kind = changes.Moving(), MoveGrace, Moved
	}
	rec, err := step.Apply(x.kept)
	if err == nil && changes.LogsIn() {
		rec, err = x.m.admit(rec)
	}
	if err != nil {
		return err
	}
	credential, err := x.reissue(ctx, target, rec)
	if err != nil {
		return err
	}
	hold, err := x.carrier.Retire(ctx, x.credential, x.kept, credential, grace)
	switch {
	case hold != "":
		err = &heldError{err}
	case err != nil && session.ReasonOf(err) != session.Unavailable:
		x.forget(target, credential)
		return err
	case err != nil: // the old credential may lead to the new one; if not, that one expires unseen
		return err
	default:
		hold = credential
	}
	x.keep(target, hold, rec, changes, kind)
	return err
}

// A heldError is a failure after which the changes are kept all the same, and
// the client gets the credential for them.
type heldError struct{ error }

func (e *heldError) Unwrap() error { return e.error }

// admit asks the revocation list about a session that begins or logs in.
func (m *Middleware) admit(rec *session.Record) (*session.Record, error) {
	if m.c.Revocations == nil {
		return rec, nil
	}
	return m.c.Revocations.Admit(rec)
}

// reissue makes a credential that is going to replace the session's present one.
func (x *exchange) reissue(ctx context.Context, target Carrier, rec *session.Record) (string, error) {
	if target == x.carrier {
		return target.Reissue(ctx, x.credential, rec)
	}
	return x.issue(ctx, target, rec)
}

// issue makes a credential. A session that comes back from the overflow must
// leave room in the cookie, or it would bounce between the two carriers.
func (x *exchange) issue(ctx context.Context, target Carrier, rec *session.Record) (string, error) {
	credential, err := target.Issue(ctx, rec)
	if err != nil {
		return "", err
	}
	comesBack := x.carrier != nil && x.carrier == x.m.c.Overflow && target != x.carrier
	if comesBack && !x.m.c.Cookie.roomy(credential) {
		x.forget(target, credential)
		return "", fmt.Errorf("middleware: the session leaves too little room in the cookie %s: %w", x.m.c.Cookie.Name, session.TooLarge)
	}
	return credential, nil
}

// forget drops a credential that nobody has seen. If that fails too, it expires
// unseen.
func (x *exchange) forget(target Carrier, credential string) {
	ctx, cancel := x.m.detached(x.ctx)
	defer cancel()
	_ = target.Forget(ctx, credential)
}

func (x *exchange) saveInPlace(ctx context.Context, changes *session.Changes) error {
	rec, credential, err := x.carrier.Save(ctx, x.credential, x.kept, changes)
	if err != nil {
		return err
	}
	x.keep(x.carrier, credential, rec, changes, "")
	return nil
}

// keep notes where the session is kept now.
func (x *exchange) keep(carrier Carrier, credential string, rec *session.Record, done *session.Changes, kind EventKind) {
	x.carrier, x.credential, x.kept, x.gone = carrier, credential, rec, nil
	x.control.Saved(rec, done)
	if kind != "" || !carrier.InPlace() {
		x.undelivered = true
	}
	if kind != "" {
		x.event(kind, rec, nil)
	}
	if !x.m.c.Cookie.roomy(credential) && x.m.c.Overflow == nil && x.m.large.first(rec.ID) {
		x.event(NearlyFull, rec, fmt.Errorf("middleware: the session fills %d of the %d bytes that a cookie's name and value may have: keep less in it, or use mode auto or opaque",
			len(x.m.c.Cookie.Name)+len(credential), maxCookieBytes))
	}
}

// reopen learns what a faster request has left.
func (x *exchange) reopen(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("middleware: other requests kept changing the session until the timeout: %w", session.Unavailable)
	}
	found, err := x.m.reopen(ctx, opened{rec: x.kept, carrier: x.carrier, current: x.credential})
	if err != nil {
		return err
	}
	x.kept, x.carrier, x.credential = found.rec, found.carrier, found.current
	return nil
}

// check finds out whether the session still lives, and records the activity.
func (x *exchange) check(ctx context.Context) error {
	err := x.reopen(ctx)
	if errors.Is(err, session.IdleTimeout) {
		// The token that the client sent has expired meanwhile, but it was good then,
		// and the session goes on in newer ones.
		err = x.saveInPlace(ctx, x.control.Touch())
	}
	if err == nil {
		if why := x.m.c.Policy.Over(x.kept, x.m.c.Now()); why != 0 {
			err = fmt.Errorf("middleware: the session is over: %w", why)
		}
	}
	if err != nil {
		x.lost(err)
		return err
	}
	x.control.Saved(x.kept, nil)
	if x.touchDue() {
		x.touch(ctx)
	}
	return nil
}

func (x *exchange) touchDue() bool {
	return x.kept != nil && x.gone == nil && !x.control.Passive() && x.m.c.Policy.TouchDue(x.kept, x.m.c.Now()) && (!x.headerSent || x.inPlace())
}

// touch records activity. It never fails a request: at worst the session ends
// early, by Policy.TouchEvery.
func (x *exchange) touch(ctx context.Context) {
	touch := x.control.Touch()
	rec, credential, err := x.carrier.Save(ctx, x.credential, x.kept, touch)
	switch overflow := x.m.c.Overflow; {
	case err == nil:
		x.credential, x.kept = credential, rec
		x.control.Saved(rec, touch)
		return
	case errors.Is(err, session.TooLarge) && overflow != nil && x.carrier != overflow && !x.headerSent:
		// It has grown without a change: a key with longer signatures came in.
		err = x.replace(ctx, overflow, touch)
	}
	if reason := session.ReasonOf(err); reason == session.TooLarge || reason == session.Unavailable {
		x.failed(x.kept, err)
	}
}

// end destroys the session, in the form that it has by now. Of ambiguous cookies
// it destroys all sessions that were opened: none of them was used, and none
// survives a logout.
func (x *exchange) end(ctx context.Context) error {
	if x.ended {
		return nil
	}
	if x.kept != nil {
		x.rivals = append(x.rivals, opened{rec: x.kept, carrier: x.carrier, current: x.credential})
		x.kept = nil
	}
	if err := x.endRivals(ctx); err != nil {
		return err
	}
	x.kept, x.carrier, x.credential, x.ended = nil, nil, "", true
	x.undelivered = false
	return nil
}

// endRivals ends the sessions that ambiguous cookies have opened.
func (x *exchange) endRivals(ctx context.Context) error {
	for len(x.rivals) > 0 {
		o := x.rivals[0]
		if err := o.carrier.End(ctx, o.current, o.rec); err != nil {
			return err
		}
		x.rivals = x.rivals[1:]
		x.event(Ended, o.rec, nil)
	}
	return nil
}

// leave drops a session that this request has ended together with all others of
// its subject. The revocation list refuses it from now on; removing what is kept
// of it only frees the room.
func (x *exchange) leave() error {
	over := x.control.Over()
	if over == x.left {
		return nil
	}
	x.left, x.undelivered = over, false
	if x.kept == nil {
		return nil
	}
	was := opened{rec: x.kept, carrier: x.carrier, current: x.credential}
	x.kept, x.carrier, x.credential = nil, nil, ""
	if was.rec.Subject == over.Subject {
		x.forget(was.carrier, was.current)
		x.event(Ended, was.rec, nil)
		return nil
	}
	// Only a login that was pending is one of those that the list refuses.
	x.rivals = append(x.rivals, was)
	ctx, cancel := x.m.detached(x.ctx)
	defer cancel()
	return x.endRivals(ctx)
}
