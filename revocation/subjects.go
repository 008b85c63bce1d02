package revocation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// EndSubject ends all sessions in which this subject has logged in until now.
//
// A login counts from the beginning of its request, so logins that other
// requests have under way end too. If ctx belongs to a request whose session is
// the subject's, that session ends as after [session.Session.Destroy], except
// that a [session.Session.Login] may follow in the same request: after a change
// of password, EndSubject and then Login leave the visitor logged in here and
// nowhere else. To keep the session of the request as it is, use
// [List.EndOthers].
func (l *List) EndSubject(ctx context.Context, subject string) error {
	if subject == "" {
		return fmt.Errorf("revocation: the empty subject stands for nobody: %w", session.BadValue)
	}
	if err := l.ready(); err != nil {
		return err
	}
	b, at := l.raise(l.endOf(subject, l.now()), l.toNow, second(l.now()))
	defer session.SubjectEnded(ctx, subject, time.UnixMilli(at))
	return l.told(ctx, subject, l.wait(ctx, b, at))
}

// EndOthers ends all sessions of the subject who is logged in to the session of
// the request that ctx belongs to, except that one. It gets a new credential
// and is saved, so call EndOthers before the response begins. After an error
// the others may go on, and so does this session, unless the error wraps
// [session.Ended]: then all have ended meanwhile, this one too.
func (l *List) EndOthers(ctx context.Context) error {
	subject := session.From(ctx).Subject()
	if subject == "" {
		return fmt.Errorf("revocation: EndOthers: nobody is logged in to the session of the context; "+
			"pass that of the visitor's request: %w", session.BadValue)
	}
	if err := l.ready(); err != nil {
		return err
	}
	all, known := l.allEnded(), l.subjectEnded(subject)
	now := l.now()
	at := max(millis(now), known+1)
	// The session of the request is made later than the end before that is in
	// force: the other way round, an error in between would end this one as well.
	// It waits for the instant to pass, so that every end that comes after it ends
	// it.
	l.pass(millis(now))
	if err := session.RenewSince(ctx, l.after(at)); err != nil {
		return err
	}
	meanwhile := false
	b, instant := l.raise(l.endOf(subject, now), func(old int64) int64 {
		// An end of all that has come since then has ended what this session was
		// before.
		if meanwhile = old != known || l.allEnded() != all; meanwhile {
			return max(l.toNow(old), at+1)
		}
		return at
	}, second(now))
	err := l.wait(ctx, b, instant)
	if meanwhile {
		_ = session.From(ctx).Destroy()
		err = errors.Join(ended("all sessions of the subject were ended meanwhile"), err)
	} else {
		session.OthersEnded(ctx, subject, time.UnixMilli(at))
	}
	return l.told(ctx, subject, err)
}

// EndAll ends every session that began, or was logged in to, until now. The
// session of the request that ctx belongs to ends as with [List.EndSubject].
func (l *List) EndAll(ctx context.Context) error {
	if err := l.ready(); err != nil {
		return err
	}
	now := l.now()
	b, at := l.raise(entry{kind: ofAll, until: l.until(now)}, l.toNow, second(now))
	defer session.SubjectEnded(ctx, "", time.UnixMilli(at))
	return l.told(ctx, "", l.wait(ctx, b, at))
}

// told passes on what has come of the end of all sessions of a subject.
func (l *List) told(ctx context.Context, subject string, err error) error {
	if l.onEnd != nil {
		l.onEnd(ctx, subject, err)
	}
	return err
}

// endOf returns the entry that ends all sessions of a subject up to an instant.
func (l *List) endOf(subject string, at time.Time) entry {
	return entry{kind: ofSubject, key: hashOf(subject), tag: tag(subject), instant: millis(at), until: l.until(at)}
}

// raise puts an instant in force, and returns it; see instants.raise.
func (l *List) raise(e entry, newer func(old int64) int64, now uint32) (*batch, int64) {
	if e.kind == ofAll {
		return l.all.raise(e, newer, now, l.journal)
	}
	l.tags.add(e.tag)
	return l.subjects.raise(e, newer, now, l.journal)
}

// toNow is for raise: the end of what came until now.
func (l *List) toNow(int64) int64 { return millis(l.now()) }

// wait waits for the journal. Instants and logins have milliseconds, and one
// that is equal counts as before; so that a login that follows isn't ended too,
// wait returns no earlier than in the next millisecond.
func (l *List) wait(ctx context.Context, b *batch, instant int64) error {
	err := b.wait(ctx)
	l.pass(min(instant, millis(l.now())))
	return err
}

// pass returns when a millisecond has passed.
func (l *List) pass(instant int64) {
	if l.ownClock {
		time.Sleep(time.Until(time.UnixMilli(instant + 1)))
	}
}

// Admit returns the record to keep of a session that begins, or in which a
// subject has just logged in: rec itself, unless the allowance for clocks that
// differ (Config.Skew) would end it although it is later than every end that is
// in force here. That record gets a later [session.Record.CountsFrom].
//
// If all sessions of the subject, or all there are, were ended since the login,
// which counts from the beginning of its request, the error wraps
// [session.Ended], and the login must not succeed.
func (l *List) Admit(rec *session.Record) (*session.Record, error) {
	if err := l.ready(); err != nil {
		return nil, err
	}
	at := max(l.all.newest.Load(), l.subjectEnded(rec.Subject))
	switch {
	case rec.Subject != "" && rec.AuthenticatedAt.UnixMilli() <= at: // whatever Since says
		return nil, ended("all sessions of its subject were ended while the login was under way")
	case rec.CountsFrom().UnixMilli() > at+l.skew.Milliseconds():
		return rec, nil
	}
	admitted := *rec
	admitted.Since = l.after(at)
	return &admitted, nil
}

// after returns the first instant at which a session can begin and not be ended
// by an end at this one, in milliseconds.
func (l *List) after(at int64) time.Time { return time.UnixMilli(at + l.skew.Milliseconds() + 1) }

// allEnded returns the instant up to which all sessions have ended. It waits
// for an EndAll that is about to put one in force.
func (l *List) allEnded() int64 {
	if at, ok := l.all.get(key{}); ok {
		return at
	}
	return never
}

// subjectEnded returns the instant up to which the sessions of a subject have
// ended, in milliseconds; never if they haven't. The filter spares most
// subjects the SHA-256.
func (l *List) subjectEnded(subject string) int64 {
	if subject == "" || l.subjects.newest.Load() == never || !l.tags.has(tag(subject)) {
		return never
	}
	if at, ok := l.subjects.get(hashOf(subject)); ok {
		return at
	}
	return never
}
