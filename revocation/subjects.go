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
// A login counts from the beginning of its request, so logins of requests that
// are still running end too. If ctx belongs to a request with a session of the
// subject, that session ends as after [session.Session.Destroy], but the
// request may call [session.Session.Login] again. So after a change of
// password, EndSubject and then Login leave the visitor logged in here and
// nowhere else. To keep the session of the request, use [List.EndOthers].
func (l *List) EndSubject(ctx context.Context, subject string) error {
	if subject == "" {
		return fmt.Errorf("revocation: the empty subject stands for nobody: %w", session.BadValue)
	}
	if err := l.ready(); err != nil {
		return err
	}
	at, err := l.end(ctx, l.endOf(subject, l.now()))
	defer session.SubjectEnded(ctx, subject, time.UnixMilli(at))
	return l.told(ctx, Ending{Subject: subject}, errors.Join(err, l.endKept(ctx, subject, at)))
}

// end ends what began until now, and returns the instant. With a log it also
// looks for ends that other instances have made before: a session that began
// after one of those counts from later than the present if their clock is
// ahead, and must end all the same.
func (l *List) end(ctx context.Context, e entry) (at int64, err error) {
	r, at := l.raise(e, l.toNow(e.kind), second(l.now()), l.out)
	err = l.wait(ctx, r, at)
	if l.feed == nil {
		return at, err
	}
	_, err2 := l.feed.catchUp(ctx, l.feed.known(), nil)
	err = errors.Join(err, err2)
	if l.others(e.kind) >= at || l.instants(e.kind).get(e.key) > at {
		r, at = l.raise(e, l.toNow(e.kind), second(l.now()), l.out)
		err = errors.Join(err, l.wait(ctx, r, at))
	}
	return at, err
}

// others returns the latest instant of an end of another kind after which a
// session may have begun that an end of this kind ends.
func (l *List) others(k kind) int64 {
	latest := int64(never)
	for _, other := range [...]kind{ofSubject, ofTag, ofAll} {
		if other != k {
			latest = max(latest, l.instants(other).newest.Load())
		}
	}
	return latest
}

// instants returns the instants of a kind.
func (l *List) instants(k kind) *instants {
	switch k {
	case ofSubject:
		return &l.subjects
	case ofTag:
		return &l.tagged
	}
	return &l.all
}

// EndTag ends all sessions whose login had this tag, until now: see
// [session.Tag]. The kind and the value must not be empty. What EndSubject says
// of logins that are under way, and of the session of ctx, goes for EndTag too.
func (l *List) EndTag(ctx context.Context, kind, value string) error {
	e, err := l.endOfTag(kind, value)
	if err != nil {
		return err
	}
	at, err := l.end(ctx, e)
	defer session.LoginTag(e.key).Ended(ctx, time.UnixMilli(at))
	return l.told(ctx, Ending{TagKind: kind}, err)
}

// EndTagUntil ends the sessions whose login had this tag if they count from at
// or earlier (see session.Record.CountsFrom). It is for ends that another
// system announces: an announcement that comes late, or twice, must not end a
// login that came after the end.
//
// The clock of that system may be ahead of the one here, by at most 5 minutes:
// at counts as it is, so that a second announcement ends nothing more than the
// first. Logins that begin after an instance has heard of the end are good all
// the same. If the clock is behind, Config.Skew makes up for it: sessions that
// began up to Skew after at end with the others. Of the logins that are under
// way, those fail that began by then. EndTagUntil treats the session of ctx
// like any other.
func (l *List) EndTagUntil(ctx context.Context, kind, value string, at time.Time) error {
	e, err := l.endOfTag(kind, value)
	if err != nil {
		return err
	}
	e.instant = min(millis(at), e.instant+mostAnnounced.Milliseconds())
	r, _ := l.raise(e, nil, second(l.now()), l.out)
	return l.told(ctx, Ending{TagKind: kind}, l.wait(ctx, r, millis(l.now())))
}

// mostAnnounced is how far the instant of an end that another system announces
// may be in the future.
const mostAnnounced = 5 * time.Minute

// endOfTag returns the entry that ends all sessions with a tag until now.
func (l *List) endOfTag(kind, value string) (e entry, err error) {
	tag := session.Tag(kind, value)
	if tag == (session.LoginTag{}) {
		return e, fmt.Errorf("revocation: the end of a tag needs its kind and its value: %w", session.BadValue)
	}
	if err := l.ready(); err != nil {
		return e, err
	}
	now := l.now()
	return entry{kind: ofTag, key: key(tag), instant: millis(now), until: l.until(now)}, nil
}

// EndAll ends every session that began, or was logged in to, until now. The
// session of the request that ctx belongs to ends as with [List.EndSubject].
func (l *List) EndAll(ctx context.Context) error {
	if err := l.ready(); err != nil {
		return err
	}
	at, err := l.end(ctx, entry{kind: ofAll, until: l.until(l.now())})
	defer session.SubjectEnded(ctx, "", time.UnixMilli(at))
	return l.told(ctx, Ending{}, err)
}

// endKept ends the sessions of a subject where they are kept. at is the instant
// of the end in milliseconds.
func (l *List) endKept(ctx context.Context, subject string, at int64) error {
	if l.endKeptBy == nil {
		return nil
	}
	return l.endKeptBy(ctx, subject, time.UnixMilli(at+l.skew.Milliseconds()))
}

// told calls OnEnd.
func (l *List) told(ctx context.Context, of Ending, err error) error {
	if l.onEnd != nil {
		l.onEnd(ctx, of, err)
	}
	return err
}

// endOf returns the entry that ends all sessions of a subject up to an instant.
func (l *List) endOf(subject string, at time.Time) entry {
	return entry{kind: ofSubject, key: hashOf(subject), tag: tag(subject), instant: millis(at), until: l.until(at)}
}

// raise puts an instant in force, returns it, and tells those who watch the
// sessions that it ends; see instants.raise.
func (l *List) raise(e entry, newer func(old int64) int64, now uint32, out outlets) (receipt, int64) {
	if e.kind == ofSubject {
		l.tags.add(e.tag)
	}
	r, at := l.instants(e.kind).raise(e, newer, now, out)
	switch reach := at + l.skew.Milliseconds(); e.kind {
	case ofSubject:
		l.watchers.endSubject(e.key, reach)
	case ofTag:
		l.watchers.endTag(e.key, reach)
	default:
		l.watchers.endAll(reach)
	}
	return r, at
}

// toNow returns a function for raise, which returns the present instant, or the
// one after every end that is in force if that is later: where clocks differ,
// or two ends come in one millisecond, a session that began after an end must
// end too.
func (l *List) toNow(k kind) func(old int64) int64 {
	return func(old int64) int64 { return max(millis(l.now()), old+1, l.others(k)+1) }
}

// wait waits for the journal and the log. Instants are in milliseconds, and a
// login in the same millisecond as an end has ended. So that a login that
// follows the call is good, wait returns in the next millisecond at the
// earliest.
func (l *List) wait(ctx context.Context, r receipt, instant int64) error {
	err := r.wait(ctx)
	l.pass(min(instant, millis(l.now())))
	return err
}

// pass waits until the millisecond of instant has passed.
func (l *List) pass(instant int64) {
	if l.ownClock {
		time.Sleep(time.Until(time.UnixMilli(instant + 1)))
	}
}

// Admit returns the record to save for a session that begins, or in which a
// subject has just logged in. That is rec itself, or a copy with a later
// [session.Record.CountsFrom] if rec began after every end that is in force
// here, and an end would still reach it because of Config.Skew.
//
// A login counts from the beginning of its request. If all sessions of the
// subject, or of everybody, were ended since then, or this instance has heard
// of it since then, the error wraps [session.Ended], and the login must not
// succeed.
func (l *List) Admit(rec *session.Record) (*session.Record, error) {
	if err := l.ready(); err != nil {
		return nil, err
	}
	at, known := int64(never), int64(never)
	for _, m := range append(l.tagMarks(rec.Tags), l.all.mark(key{}), l.subjectMark(rec.Subject)) {
		at, known = max(at, m.instant), max(known, l.known(m))
	}
	switch {
	case rec.Subject != "" && rec.AuthenticatedAt.UnixMilli() <= known:
		return nil, ended("all sessions of its subject, or with one of its tags, were ended while the login was under way")
	case rec.CountsFrom().UnixMilli() > at+l.skew.Milliseconds():
		return rec, nil
	}
	admitted := *rec
	admitted.Since = l.after(at)
	return &admitted, nil
}

// after returns the first instant at which a session can begin so that an end
// at the given millisecond does not reach it.
func (l *List) after(at int64) time.Time { return time.UnixMilli(at + l.skew.Milliseconds() + 1) }

// subjectEnded returns the instant up to which the sessions of a subject have
// ended, in milliseconds, or never. For most subjects the filter makes the
// SHA-256 unnecessary.
func (l *List) subjectEnded(subject string) int64 { return l.subjectMark(subject).instant }

// tagsEnded returns the newest instant up to which sessions with one of these
// tags have ended, in milliseconds, or never.
func (l *List) tagsEnded(tags []session.LoginTag) int64 {
	newest := int64(never)
	for _, tag := range tags {
		newest = max(newest, l.tagged.get(key(tag)))
	}
	return newest
}

func (l *List) tagMarks(tags []session.LoginTag) (all []mark) {
	for _, tag := range tags {
		all = append(all, l.tagged.mark(key(tag)))
	}
	return all
}

func (l *List) subjectMark(subject string) mark {
	if subject == "" || l.subjects.newest.Load() == never || !l.tags.has(tag(subject)) {
		return mark{instant: never, heard: never}
	}
	return l.subjects.mark(hashOf(subject))
}

// known returns the millisecond, by the clock of this process, until which a
// login may have begun before the end of m. That is when the list learned of
// the end. What began more than Skew after the instant certainly began later.
func (l *List) known(m mark) int64 { return min(m.heard, m.instant+l.skew.Milliseconds()) }
