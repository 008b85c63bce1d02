package middleware

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// Save does the work of session.Session.Save.
func (x *exchange) Save(ctx context.Context) error {
	x.turn.Lock()
	defer x.turn.Unlock()
	detached := x.m.detached(ctx)
	defer detached.cancel()
	ctx = detached
	now := x.control.State()
	if err := x.leave(now.Left); err != nil {
		return err
	}
	switch {
	case now.Destroyed:
		return x.end(ctx)
	case !now.Pending.TouchOnly():
		changes := now.Pending
		return x.persist(ctx, &changes)
	case x.outcome.is == lost:
		x.client.owedError = nil
		return x.outcome.why
	case x.kept.rec == nil:
		return nil
	default:
		return x.check(ctx, now)
	}
}

// settle saves what is pending, or that there was activity.
func (x *exchange) settle() error {
	now := x.control.State()
	if err := x.leave(now.Left); err != nil {
		return err
	}
	ends := now.Destroyed && x.outcome.is != destroyed
	changed := !now.Pending.TouchOnly()
	if !ends && !changed && !x.touchDue(&now) {
		err := x.client.owedError
		x.client.owedError = nil
		return err
	}
	ctx := x.m.detached(x.request.Context())
	defer ctx.cancel()
	changes := now.Pending
	switch {
	case ends:
		return x.end(ctx)
	case changed:
		return x.persist(ctx, &changes)
	}
	x.touch(ctx, &changes)
	return nil
}

// persist saves changes. Whenever another request was faster it starts again
// from what that one has left, until the context ends.
func (x *exchange) persist(ctx context.Context, changes *session.Changes) error {
	if changes.LogsIn() {
		if err := x.endRivals(ctx); err != nil {
			x.drop(changes)
			return err
		}
	}
	for current := false; ; current = true {
		err := x.try(ctx, changes)
		// What this request has opened may look over only because it is old: others
		// may have been active since.
		stale := !current && errors.Is(err, session.IdleTimeout)
		if x.kept.rec != nil && (stale || errors.Is(err, session.Conflict)) {
			if err = x.reopen(ctx); err == nil {
				continue
			}
		}
		if x.startsAnew(changes, err) {
			err = x.create(ctx, changes.Anew(x.kept.rec), changes)
		}
		if err != nil && !errors.As(err, new(*keptError)) {
			x.drop(changes)
			x.lose(err)
		}
		return err
	}
}

// A keptError is a failure after which the changes are kept all the same, and
// the client is owed the cookie for them: a 503 with Set-Cookie.
type keptError struct{ error }

func (e *keptError) Unwrap() error { return e.error }

// drop says that changes are not saved and won't be.
func (x *exchange) drop(changes *session.Changes) {
	x.control.Settle(x.control.State().Kept, changes)
}

// startsAnew reports whether a login that failed with err gets a session of its
// own: the password was checked, so it doesn't depend on the session that it
// started from. If that one was ended on purpose, the login ends with it. A
// session that is absent before it could time out was ended on purpose.
func (x *exchange) startsAnew(changes *session.Changes, err error) bool {
	if x.kept.rec == nil || !changes.LogsIn() {
		return false
	}
	if errors.As(err, new(*session.SupersededError)) {
		return true
	}
	switch session.ReasonOf(err) {
	case session.IdleTimeout, session.LifetimeOver, session.Malformed, session.Forged, session.UnknownKey:
		return true
	case session.NotFound:
		return !x.m.c.Now().Before(x.kept.rec.IdleDeadline)
	}
	return false
}

// lose notes that the session is over, if that is what err says.
func (x *exchange) lose(err error) {
	switch session.ReasonOf(err) {
	case session.Ended, session.NotFound, session.IdleTimeout, session.LifetimeOver, session.UnknownKey, session.Forged:
		// kept stays: a Destroy still ends what the session has become elsewhere.
		x.outcome.is, x.outcome.why = lost, err
		if x.watch != nil {
			x.watch.end()
		}
		x.client.owedCookie = false
		if x.control.Lose() {
			x.client.owedError = err
		}
	}
}

// try saves changes to the record that is known now.
func (x *exchange) try(ctx context.Context, changes *session.Changes) error {
	home, overflow := x.m.c.Carrier, x.m.c.Overflow
	switch {
	case x.kept.rec == nil:
		return x.create(ctx, changes, changes)
	case changes.Renews():
		return x.renew(ctx, changes)
	case x.control.Begun() && !x.inPlace():
		return fmt.Errorf("middleware: the header is sent, or the connection about to be hijacked, and a session in a "+
			"token can't change without a new cookie; save it before, or send a WebSocket's 101 by WriteHeader before "+
			"Hijack: %w", session.TooLate)
	case x.control.Begun():
		return x.saveInPlace(ctx, changes)
	}
	if x.kept.carrier != home {
		if err := x.replace(ctx, home, changes); !errors.Is(err, session.TooLarge) {
			return err
		}
	}
	err := x.saveInPlace(ctx, changes)
	if errors.Is(err, session.TooLarge) && overflow != nil && x.kept.carrier != overflow {
		return x.replace(ctx, overflow, changes)
	}
	return err
}

// create keeps a session for the first time: what step, which is done or more,
// makes of nothing.
func (x *exchange) create(ctx context.Context, step, done *session.Changes) error {
	if x.control.Begun() {
		return fmt.Errorf("middleware: the response has begun without the new session's cookie: %w", session.TooLate)
	}
	if x.client.newer != nil && !done.LogsIn() {
		return x.client.newer
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
		if credential, err = x.issue(ctx, target, rec, ""); err == nil {
			x.keep(entry{rec, target, credential}, done, Created)
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
	if x.control.Begun() {
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
	if c := x.kept.carrier; c != nil && c != x.m.c.Carrier && c != x.m.c.Overflow {
		targets = append(targets, c)
	}
	return targets
}

// replace is the one path of login, renewal, move and change of mode: issue the
// new credential, retire the old one if nobody was faster, else forget the new
// one, which nobody has seen. A login or renewal leaves the old credential no
// grace.
func (x *exchange) replace(ctx context.Context, target Carrier, changes *session.Changes) error {
	step, grace, kind := changes, time.Duration(0), Renewed
	if !changes.Renews() {
		step, grace, kind = changes.Moving(), moveGrace, Moved
	}
	rec, err := step.Apply(x.kept.rec)
	if err == nil && changes.LogsIn() {
		rec, err = x.m.admit(rec)
	}
	if err != nil {
		return err
	}
	replaces := ""
	if target == x.kept.carrier {
		replaces = x.kept.credential
	}
	credential, err := x.issue(ctx, target, rec, replaces)
	if err != nil {
		return err
	}
	hold, err := x.kept.carrier.Retire(ctx, x.kept.credential, x.kept.rec, credential, grace)
	switch {
	case hold != "":
		err, target = &keptError{err}, x.m.carrier(hold)
	case err == nil:
		hold = credential
	case session.ReasonOf(err) == session.Unavailable:
		return err // the old credential may lead to the new one; if not, that one expires unseen
	default:
		x.forget(entry{rec, target, credential})
		return err
	}
	x.keep(entry{rec, target, hold}, changes, kind)
	return err
}

// admit asks the revocation list about a session that begins or logs in.
func (m *Middleware) admit(rec *session.Record) (*session.Record, error) {
	if m.c.Revocations == nil {
		return rec, nil
	}
	return m.c.Revocations.Admit(rec)
}

// issue makes a credential. A session that comes back from the overflow must
// leave room in the cookie, or it would bounce between the two carriers.
func (x *exchange) issue(
	ctx context.Context, target Carrier, rec *session.Record, replaces string,
) (string, error) {
	credential, err := target.Issue(ctx, rec, replaces)
	if err != nil {
		return "", err
	}
	comesBack := x.kept.carrier != nil && x.kept.carrier == x.m.c.Overflow && target != x.kept.carrier
	if comesBack && !x.m.c.Cookie.roomy(credential) {
		x.forget(entry{rec, target, credential})
		return "", fmt.Errorf("middleware: the session leaves too little room in the cookie %s: %w", x.m.c.Cookie.Name,
			session.TooLarge)
	}
	if err := x.enter(ctx, target, credential, rec); err != nil {
		x.forget(entry{rec, target, credential})
		return "", err
	}
	return credential, nil
}

// forget drops a credential that nobody has seen. If that fails too, it expires
// unseen.
func (x *exchange) forget(unseen entry) {
	ctx := x.m.detached(x.request.Context())
	defer ctx.cancel()
	_ = unseen.carrier.Forget(ctx, unseen.credential)
	if x.m.c.Registry != nil {
		_ = x.m.c.Registry.Forget(ctx, unseen.rec, unseen.carrier.Key(unseen.credential))
	}
}

func (x *exchange) saveInPlace(ctx context.Context, changes *session.Changes) error {
	rec, credential, err := x.kept.carrier.Save(ctx, x.kept.credential, x.kept.rec, changes)
	if err != nil {
		return err
	}
	x.keep(entry{rec, x.kept.carrier, credential}, changes, "")
	return nil
}

// keep notes where the session is kept now.
func (x *exchange) keep(now entry, done *session.Changes, kind EventKind) {
	was := x.kept.rec
	x.kept, x.outcome.is = now, lives
	x.control.Settle(now.rec, done)
	x.goesOn(was)
	x.noteActivity(was)
	if kind != "" || !now.carrier.InPlace() {
		x.client.owedCookie = true
	}
	if kind != "" {
		x.event(kind, now.rec, nil)
	}
	if !x.m.c.Cookie.roomy(now.credential) && x.m.c.Overflow == nil && x.m.nearlyFull.first(now.rec.ID) {
		x.event(NearlyFull, now.rec, fmt.Errorf("middleware: the session fills %d of the %d bytes that a cookie's name "+
			"and value may have: keep less in it, or use mode auto or opaque",
			len(x.m.c.Cookie.Name)+len(now.credential), MaxCookieBytes))
	}
}

// reopen learns what a faster request has left.
func (x *exchange) reopen(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("middleware: other requests kept changing the session until the timeout: %w", session.Unavailable)
	}
	found, err := x.m.reopen(ctx, x.kept)
	if err == nil {
		x.kept = found
	}
	return err
}

// check finds out whether the session still lives, and records the activity.
// now holds no changes.
func (x *exchange) check(ctx context.Context, now session.State) error {
	err := x.reopen(ctx)
	touch := now.Pending
	if errors.Is(err, session.IdleTimeout) {
		// The token that the client sent has expired meanwhile, but it was good then,
		// and the session goes on in newer ones.
		err = x.saveInPlace(ctx, &touch)
	}
	if err == nil {
		if why := x.m.c.Policy.Over(x.kept.rec, x.m.c.Now()); why != 0 {
			err = fmt.Errorf("middleware: the session is over: %w", why)
		}
	}
	if err != nil {
		x.lose(err)
		return err
	}
	x.control.Settle(x.kept.rec, nil)
	if x.touchDue(&now) {
		x.touch(ctx, &touch)
	}
	return nil
}

// touchDue reports whether the activity of the request is to be recorded.
func (x *exchange) touchDue(now *session.State) bool {
	return x.kept.rec != nil && x.outcome.is == lives && !now.Passive &&
		x.m.c.Now().Sub(x.kept.rec.SeenAt) >= x.m.c.Policy.TouchEvery &&
		(!x.control.Begun() || x.inPlace())
}

// touch records activity. It never fails a request: at worst the session ends
// early, by Policy.TouchEvery.
func (x *exchange) touch(ctx context.Context, touch *session.Changes) {
	rec, credential, err := x.kept.carrier.Save(ctx, x.kept.credential, x.kept.rec, touch)
	switch overflow := x.m.c.Overflow; {
	case err == nil:
		was := x.kept.rec
		x.kept.rec, x.kept.credential = rec, credential
		x.control.Settle(rec, touch)
		x.goesOn(was)
		x.noteActivity(was)
		return
	case errors.Is(err, session.TooLarge) && overflow != nil && x.kept.carrier != overflow && !x.control.Begun():
		// It has grown without a change: a key with longer signatures came in.
		err = x.replace(ctx, overflow, touch)
	}
	if reason := session.ReasonOf(err); reason == session.TooLarge || reason == session.Unavailable {
		x.failed(x.kept.rec, err)
	}
}

// end destroys the session, in the form that it has by now. Of ambiguous
// cookies it destroys all sessions that were opened: none of them was used, and
// none survives a logout.
func (x *exchange) end(ctx context.Context) error {
	if x.outcome.is == destroyed {
		return nil
	}
	if x.kept.rec != nil {
		x.rivals = append(x.rivals, x.kept)
		x.kept = entry{}
	}
	if err := x.endRivals(ctx); err != nil {
		return err
	}
	x.outcome.is = destroyed
	x.client.owedCookie = false
	return nil
}

// endRivals ends the sessions that ambiguous cookies have opened.
func (x *exchange) endRivals(ctx context.Context) error {
	for len(x.rivals) > 0 {
		o := x.rivals[0]
		if err := o.carrier.End(ctx, o.credential, o.rec); err != nil {
			return err
		}
		x.rivals = x.rivals[1:]
		x.m.isOver(o.rec)
		x.notOf(o.rec)
		x.event(Ended, o.rec, nil)
	}
	return nil
}

// leave drops a session that this request has ended together with all others of
// its subject. The revocation list refuses it from now on; removing what is
// kept of it only frees the room.
func (x *exchange) leave(over *session.Record) error {
	if over == x.outcome.left {
		return nil
	}
	x.outcome.left, x.client.owedCookie = over, false
	was := x.kept
	x.kept = entry{}
	switch {
	case was.rec == nil:
		return nil
	case was.rec.Subject == over.Subject && slices.Equal(was.rec.Tags, over.Tags):
		x.forget(was)
		x.event(Ended, was.rec, nil)
		return nil
	}
	// Only a login that was pending is one of those that the list refuses.
	x.rivals = append(x.rivals, was)
	ctx := x.m.detached(x.request.Context())
	defer ctx.cancel()
	return x.endRivals(ctx)
}
