package revocation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// EndOthers ends all other sessions of the subject who is logged in to the
// session of ctx. The session of ctx gets a new credential and is saved, so
// call EndOthers before the response begins. After an error the other sessions
// may go on, and this one does; so it is if the Log of the instances can't be
// read. If it could be read before the end was in force, and not afterwards,
// the others have ended, and an end on another instance in between may have
// missed this session. If the error wraps [session.Ended], all sessions of the
// subject were ended meanwhile, or on another instance before, and this one
// too.
func (l *List) EndOthers(ctx context.Context) error {
	s := session.From(ctx)
	subject := s.Subject()
	if subject == "" {
		return fmt.Errorf("revocation: EndOthers: nobody is logged in to the session of the context; "+
			"pass that of the visitor's request: %w", session.BadValue)
	}
	if err := l.ready(); err != nil {
		return err
	}
	k := keeping{list: l, subject: subject, tags: s.Tags()}
	if err := k.begin(ctx); err != nil {
		return err
	}
	// First make this session later than the end, then put the end in force: in
	// the other order, an error in between would end this session too. Wait until
	// the instant has passed, so that every later end reaches this session.
	l.pass(millis(k.now))
	if err := session.RenewSince(ctx, l.after(k.at)); err != nil {
		return err
	}
	meanwhile, instant, err := k.end(ctx)
	switch {
	case meanwhile:
		_ = s.Destroy()
		err = errors.Join(ended("all sessions of the subject were ended meanwhile"), err)
	case instant == never:
		return err
	default:
		session.OthersEnded(ctx, subject, time.UnixMilli(k.at))
	}
	err = errors.Join(err, l.endKept(ctx, subject, instant))
	return l.told(ctx, Ending{Subject: subject}, err)
}

// A keeping is a call of EndOthers. Another end that comes while it runs must
// end the session that it keeps, but was made for the session as it was before.
// So the log is read before the end is in force, which also finds an end that
// has an earlier instant, as the clock of its instance is behind, and again
// when the log has the end: then an instance that has not heard of this end by
// the time that it is done has appended its own before.
type keeping struct {
	list    *List
	subject string
	tags    []session.LoginTag

	pos    string  // in the log: what comes before it has ended before
	known  int64   // the instant of the subject then
	others []int64 // of everybody and of the tags
	now    time.Time
	at     int64 // the instant of the end
}

// begin looks for ends that are not known here yet, and must end this session
// too, and chooses the instant.
func (k *keeping) begin(ctx context.Context) (err error) {
	l := k.list
	if l.feed != nil {
		if k.pos, err = l.feed.catchUp(ctx, l.feed.known(), nil); err != nil {
			return err
		}
	}
	k.known, k.others = l.subjectEnded(k.subject), k.marks()
	k.now = l.now()
	k.at = max(millis(k.now), k.known+1, slices.Max(k.others)+1)
	return nil
}

// marks returns the instants of everybody and of each tag. It waits for an end
// that is running.
func (k *keeping) marks() []int64 {
	marks := []int64{k.list.all.get(key{})}
	for _, tag := range k.tags {
		marks = append(marks, k.list.tagged.get(key(tag)))
	}
	return marks
}

func (k *keeping) disturbed() bool { return !slices.Equal(k.marks(), k.others) }

// end puts the end in force and returns its instant, or never if it could not.
// If another end has come since begin, it ends all sessions of the subject: the
// other one has ended this session as it was before.
func (k *keeping) end(ctx context.Context) (meanwhile bool, instant int64, err error) {
	l := k.list
	if l.feed != nil {
		if _, err := l.feed.catchUp(ctx, k.pos, nil); err != nil {
			return false, never, err
		}
	}
	e := l.endOf(k.subject, k.now)
	r, instant := l.raise(e, func(old int64) int64 {
		if meanwhile = old != k.known || k.disturbed(); meanwhile {
			return max(l.toNow(ofSubject)(old), k.at+1)
		}
		return k.at
	}, second(k.now), l.out)
	err = l.wait(ctx, r, instant)
	if meanwhile || l.feed == nil {
		return meanwhile, instant, err
	}
	_, unread := l.feed.catchUp(ctx, k.pos, func(in Entry) {
		// An earlier instant than this one does not show in the list.
		other, ok := fromShared(in)
		isOther := ok && other.kind == ofSubject && other.key == e.key && other.instant != instant
		meanwhile = meanwhile || isOther && other.instant > k.known
	})
	err = errors.Join(err, unread)
	if meanwhile = meanwhile || k.disturbed() || l.subjects.get(e.key) != instant; meanwhile {
		r, instant = l.raise(e, l.toNow(ofSubject), second(l.now()), l.out)
		err = errors.Join(err, l.wait(ctx, r, instant))
	}
	return meanwhile, instant, err
}
