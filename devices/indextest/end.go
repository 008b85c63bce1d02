package indextest

import (
	"context"
	"errors"
	"time"

	"github.com/cloakroom-go/cloakroom/devices"
	"github.com/cloakroom-go/cloakroom/session"
)

const (
	ended   = session.Ended
	tooMany = session.TooMany
)

// endRules are about ends.
func endRules() []rule {
	return []rule{
		{"mark one", "a user who ends one session must end it, and no other", markOne},
		{"mark all", "a new password must end all sessions, but not the login that follows", markAll},
		{"mark again", "an end that has failed half way is repeated, and must find what it left", markAgain},
		{"ended by a mark", "a session that was ended would come back with its next renewal", endedByMark},
		{"ended by an instant", "a login that was under way would survive the end of all sessions", endedByInstant},
		{"later instant", "a slow end must not undo a faster one", laterInstant},
		{"instant without entries", "the login that an end is to stop may be the subject's first", instantStays},
	}
}

func markOne(p *probe) {
	a, b := p.entry("a", "one", "two"), p.entry("b", "three")
	p.mark("a", p.second(), "nothing there")
	p.enter(a, "", "an ID that was to be marked when it was not there")
	p.enter(b, "", "another session")
	p.mark("c", p.second(), "an ID that is not there")
	p.holds("Mark of an ID that is not there", a, b)
	p.mark("a", p.second().Add(time.Hour), "one of two", a)
	a.Marked = true
	p.holds("Mark of one", a, b)
	p.mark("a", time.Time{}, "the same again", a)
	p.mark("b", time.Time{}, "the other one", b)
	p.enter(p.entry("c", "four"), "", "after ends of single sessions, which keep no instant")
}

// markAll has a millisecond between what ends and what goes on.
func markAll(p *probe) {
	until := p.second().Add(123 * time.Millisecond)
	var end, stay []devices.Entry
	for id, at := range map[string]time.Duration{"long before": -time.Hour, "before": -time.Millisecond, "at": 0} {
		e := p.entry(id, "one", "~two")
		e.CountsFrom = until.Add(at)
		end = append(end, e)
	}
	for id, at := range map[string]time.Duration{"after": time.Millisecond, "a second after": time.Second} {
		e := p.entry(id, "one")
		e.CountsFrom = until.Add(at)
		stay = append(stay, e)
	}
	for _, e := range append(stay, end...) {
		p.enter(e, "", "a new session")
	}
	p.mark("", until, "all up to an instant", end...)
	p.holds("Mark of all up to an instant", append(marked(end...), stay...)...)
	p.mark("", until.Add(999*time.Microsecond), "a fraction of a millisecond later", end...)
	p.enter(stay[0], "", "a session that counts from later")
	p.mark("", until.Add(time.Hour), "all", append(end, stay...)...)
	p.holds("Mark of all", marked(append(end, stay...)...)...)
}

// markAgain wants entries that were marked before, whatever they count from.
func markAgain(p *probe) {
	a, b, c := p.entry("a", "one"), p.entry("b", "two"), p.entry("c", "three")
	until := p.second()
	b.CountsFrom, c.CountsFrom = until.Add(time.Minute), until.Add(time.Minute)
	for _, e := range []devices.Entry{a, b, c} {
		p.enter(e, "", "a new session")
	}
	p.mark("b", time.Time{}, "one", b)
	p.mark("", until, "all up to an instant, and what was marked before", a, b)
	p.mark("", until.Add(-time.Hour), "all up to an earlier instant, and what was marked before", a, b)
	p.mark("a", time.Time{}, "one, though others are marked too", a)
	p.leave("a", "the end is done")
	p.mark("", until, "what is left", b)
	p.holds("what is left", marked(b)[0], c)
}

func endedByMark(p *probe) {
	a, b := p.entry("a", "one"), p.entry("b", "two")
	p.enter(a, "", "a new session")
	p.enter(b, "", "another session")
	p.mark("a", time.Time{}, "one", a)
	renewed := with(a, "three")
	renewed.CountsFrom, renewed.SeenAt = a.CountsFrom.Add(time.Hour), a.SeenAt.Add(time.Minute)
	renewed.Details = []byte("changed")
	p.refused(renewed, "one", devices.MaxEntries, ended, "a renewal of a marked session")
	p.refused(a, "", devices.MaxEntries, ended, "a marked session as it was")
	p.holds("a renewal of a marked session", marked(a)[0], b)
	p.enter(with(b, "four"), "", "a renewal of another session")
	p.leave("a", "the end is done")
	p.enter(with(a, "five"), "", "after the entry has gone")
}

func endedByInstant(p *probe) {
	until := p.second().Add(-time.Minute + 123*time.Millisecond)
	kept := p.entry("kept", "one")
	kept.CountsFrom = until.Add(time.Millisecond)
	p.enter(kept, "", "a session that counts from a millisecond later")
	p.mark("", until, "all up to an instant")
	for name, at := range map[string]time.Duration{
		"long before": -time.Hour, "a second before": -time.Second, "a millisecond before": -time.Millisecond,
		"the same millisecond": 0,
	} {
		e := p.entry("new", "one")
		e.CountsFrom = until.Add(at)
		p.refused(e, "", devices.MaxEntries, ended, "a login from before the end of all: "+name)
		e.ID, e.Keys, e.Details = "kept", []string{"two"}, []byte("changed")
		p.refused(e, "one", devices.MaxEntries, ended, "a renewal that counts from before the end of all: "+name)
	}
	p.holds("after logins from before the end", kept)
	e := p.entry("new", "one")
	e.CountsFrom = until.Add(time.Millisecond)
	p.enter(e, "", "a login a millisecond after the end of all")
	p.holds("after a login", kept, e)
}

func laterInstant(p *probe) {
	until := p.second().Add(-time.Minute)
	p.mark("", until, "all up to an instant")
	p.mark("", until.Add(-time.Minute), "all up to an earlier instant")
	e := p.entry("a", "one")
	e.CountsFrom = until
	p.refused(e, "", devices.MaxEntries, ended, "a login between both instants")
	p.mark("", until.Add(time.Second), "all up to a later instant")
	e.CountsFrom = until.Add(time.Second)
	p.refused(e, "", devices.MaxEntries, ended, "a login up to the later instant")
	e.CountsFrom = until.Add(time.Second + time.Millisecond)
	p.enter(e, "", "a login after both instants")
}

// instantStays looks after an hour without entries, after one in which entries
// have come and gone, and after several in which one stays.
func instantStays(p *probe) {
	before := p.entry("before", "one")
	p.mark("", p.second(), "all of a subject without entries")
	p.clock.set(p.clock.now().Add(59 * time.Minute))
	p.refused(before, "", devices.MaxEntries, ended, "59 minutes after the end of all")

	p.begin()
	before = p.entry("before", "one")
	p.enter(before, "", "a new session")
	p.mark("", p.second(), "all", before)
	p.leave("before", "the end is done")
	after := p.entry("after", "two")
	after.CountsFrom, after.Until = p.second().Add(time.Second), p.second().Add(time.Minute)
	p.enter(after, "", "a session that is soon over")
	p.leave("after", "a logout")
	p.enter(after, "", "a session that is soon over")
	p.clock.set(p.clock.now().Add(59 * time.Minute))
	p.holds("59 minutes after the end of all")
	p.refused(before, "", devices.MaxEntries, ended, "59 minutes after the end of all, when other entries have gone")

	p.begin()
	before, after = p.entry("before", "one"), p.entry("after", "two")
	before.Until, after.Until = p.second().Add(24*time.Hour), p.second().Add(24*time.Hour)
	after.CountsFrom = p.second().Add(time.Second)
	p.enter(after, "", "a session of a day")
	p.mark("", p.second(), "all up to an instant")
	p.clock.set(p.clock.now().Add(5 * time.Hour))
	p.refused(before, "", devices.MaxEntries, ended, "five hours after the end of all, when there still is an entry")
	p.holds("a session of a day", after)
}

// gaveUp calls each method with a context that is done.
func (p *probe) gaveUp(when string, e devices.Entry) {
	if p.failed() {
		return
	}
	done, cancel := context.WithCancel(p.ctx)
	cancel()
	_, list := p.index.List(done, p.subject)
	_, extend := p.index.Extend(done, p.subject, "a", e.SeenAt.Add(time.Minute), e.Until)
	_, one := p.index.Mark(done, p.subject, "a", time.Time{})
	_, all := p.index.Mark(done, p.subject, "", e.SeenAt)
	for method, err := range map[string]error{
		"Enter": p.index.Enter(done, p.subject, e, "", devices.MaxEntries), "List": list, "Extend": extend,
		"Mark of one": one, "Mark of all": all,
		"Leave": p.index.Leave(done, p.subject, "a"), "Leave of a key": p.index.Leave(done, p.subject, "a", "one"),
	} {
		p.expect(errors.Is(err, session.Unavailable),
			"%s %s: the error is %v, and must wrap session.Unavailable", method, when, err)
	}
}
