package revocation

import (
	"context"
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
	at := l.now()
	defer session.SubjectEnded(ctx, subject, at)
	return l.told(ctx, subject, l.endSubject(ctx, subject, at))
}

// EndOthers ends all sessions of the subject who is logged in to the session of
// the request that ctx belongs to, except that one. It gets a new credential and
// is saved, so call EndOthers before the response begins. After an error the
// session goes on, and the others may, too.
func (l *List) EndOthers(ctx context.Context) error {
	subject := session.From(ctx).Subject()
	if subject == "" {
		return fmt.Errorf("revocation: EndOthers: nobody is logged in to the session of this request: %w", session.BadValue)
	}
	if err := l.ready(); err != nil {
		return err
	}
	// The session of the request is made later than the end before that is in
	// force: the other way round, an error in between would end this one as well.
	at := l.now()
	if err := session.RenewSince(ctx, l.after(at.UnixMilli())); err != nil {
		return err
	}
	return l.told(ctx, subject, l.endSubject(ctx, subject, at))
}

// EndAll ends every session that began, or was logged in to, until now. The
// session of the request that ctx belongs to ends as with [List.EndSubject].
func (l *List) EndAll(ctx context.Context) error {
	if err := l.ready(); err != nil {
		return err
	}
	at := l.now()
	defer session.SubjectEnded(ctx, "", at)
	return l.told(ctx, "", l.endUntil(ctx, entry{kind: ofAll, instant: millis(at), until: l.until(at)}))
}

// told passes on what has come of the end of all sessions of a subject.
func (l *List) told(ctx context.Context, subject string, err error) error {
	if l.onEnd != nil {
		l.onEnd(ctx, subject, err)
	}
	return err
}

func (l *List) endSubject(ctx context.Context, subject string, at time.Time) error {
	return l.endUntil(ctx, l.endOf(subject, at))
}

// endOf returns the entry that ends all sessions of a subject up to an instant.
func (l *List) endOf(subject string, at time.Time) entry {
	return entry{kind: ofSubject, key: hashOf(subject), tag: tag(subject), instant: millis(at), until: l.until(at)}
}

// endUntil puts an instant in force. Instants and logins have milliseconds, and
// one that is equal counts as before; so that a login that follows isn't ended
// too, endUntil returns no earlier than in the next millisecond.
func (l *List) endUntil(ctx context.Context, e entry) error {
	err := l.apply(e, second(l.now())).wait(ctx)
	if l.ownClock {
		time.Sleep(time.Until(time.UnixMilli(e.instant + 1)))
	}
	return err
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
	from := rec.CountsFrom().UnixMilli()
	at := max(l.all.newest.Load(), l.subjectEnded(rec.Subject))
	switch {
	case from > at+l.skew.Milliseconds():
		return rec, nil
	case from <= at && rec.Subject != "":
		return nil, ended("all sessions of its subject were ended while the login was under way")
	}
	admitted := *rec
	admitted.Since = l.after(at)
	return &admitted, nil
}

// after returns the first instant at which a session can begin and not be ended
// by an end at this one, in milliseconds.
func (l *List) after(at int64) time.Time { return time.UnixMilli(at + l.skew.Milliseconds() + 1) }

// subjectEnded returns the instant up to which the sessions of a subject have
// ended, in milliseconds; never if they haven't. The filter spares most subjects
// the SHA-256.
func (l *List) subjectEnded(subject string) int64 {
	if subject == "" || l.subjects.newest.Load() == never || !l.tags.has(tag(subject)) {
		return never
	}
	if at, ok := l.subjects.get(hashOf(subject)); ok {
		return at
	}
	return never
}
