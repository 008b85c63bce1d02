package indextest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cloakroom-go/cloakroom/devices"
	"github.com/cloakroom-go/cloakroom/session"
)

// raceRules are those that need several callers.
func raceRules() []rule {
	return []rule{
		{"limit under contention", "fifty logins at once would have more sessions than one may have", limitRace},
		{"limit with logouts", "a place that is free must be taken once", limitWithLogouts},
		{"mark against enter", "a renewal at the moment of an end would survive it", markAgainstEnter},
		{"keys under contention", "of two renewals at once, the key of one would be lost", keysRace},
		{"extend against mark", "activity at the moment of an end would undo it", extendAgainstMark},
		{"extend against leave", "activity at the moment of a logout would bring the entry back", extendAgainstLeave},
	}
}

// inParallel has callers begin at the same moment.
func inParallel(callers int, call func(caller int)) {
	var all sync.WaitGroup
	start := make(chan struct{})
	for c := range callers {
		all.Go(func() { <-start; call(c) })
	}
	close(start)
	all.Wait()
}

// try enters e, and reports whether that has succeeded. It may fail for one
// reason.
func (p *probe) try(subject string, e devices.Entry, limit int, reason session.Reason) bool {
	if p.failed() {
		return false
	}
	err := p.index.Enter(p.ctx, subject, e, "", limit)
	p.expect(err == nil || errors.Is(err, reason), "Enter, at the same time as other calls: %w", err)
	return err == nil
}

func limitRace(p *probe) {
	const limit, callers = 5, 16
	for range soak(6) {
		p.begin()
		var entered atomic.Int32
		inParallel(callers, func(caller int) {
			if p.try(p.subject, p.entry(fmt.Sprint("session ", caller), "one"), limit, tooMany) {
				entered.Add(1)
			}
		})
		got := len(p.list("many logins at once"))
		p.expect(entered.Load() == limit && got == limit,
			"of %d logins at once with a limit of %d, %d have succeeded, and %d are listed", callers, limit, entered.Load(), got)
	}
}

// limitWithLogouts has several logins wait for the place of one that leaves.
func limitWithLogouts(p *probe) {
	const limit, callers = 3, 6
	for range soak(6) {
		p.begin()
		for i := range limit {
			p.enter(p.entry(fmt.Sprint("session ", i), "one"), "", "a new session")
		}
		var entered atomic.Int32
		inParallel(callers, func(caller int) {
			switch e := p.entry(fmt.Sprint("new ", caller), "one"); {
			case caller == 0:
				p.leave("session 0", "a logout")
			case p.try(p.subject, e, limit, tooMany):
				entered.Add(1)
			}
		})
		got := len(p.list("a logout, and logins"))
		p.expect(entered.Load() <= 1 && got == limit-1+int(entered.Load()), "one of %d sessions has left, "+
			"and of the logins at this moment %d have succeeded: then %d are listed", limit, entered.Load(), got)
		p.expect(p.failed() || p.try(p.subject, p.entry("last", "one"), limit, tooMany) == (entered.Load() == 0),
			"one of %d sessions has left, and of the logins since then not exactly one has succeeded", limit)
	}
}

// markAgainstEnter has logins and renewals at the moment of an end, of all or
// of one. Each has failed, or its key is among what the end has to delete.
func markAgainstEnter(p *probe) {
	const callers = 6
	for round := range soak(10) {
		p.begin()
		until, id := p.second(), []string{"", "old"}[round%2]
		entry := func(caller int) devices.Entry {
			e := p.entry([]string{"old", fmt.Sprint("new ", caller)}[caller%2], fmt.Sprint("key ", caller))
			e.CountsFrom = until
			return e
		}
		p.enter(entry(0), "", "a session")
		var entered [callers]bool
		var ended []devices.Entry
		inParallel(callers, func(caller int) {
			if caller == 0 {
				var err error
				ended, err = p.index.Mark(p.ctx, p.subject, id, until)
				p.expect(err == nil, "Mark, at the same time as Enter: %w", err)
				return
			}
			entered[caller] = p.try(p.subject, entry(caller), devices.MaxEntries, session.Ended)
		})
		has := func(e devices.Entry) bool {
			return slices.ContainsFunc(ended, func(m devices.Entry) bool {
				return m.ID == e.ID && slices.Contains(m.Keys, e.Keys[0])
			})
		}
		for caller := 1; caller < callers; caller++ {
			e := entry(caller)
			concerned := id == "" || id == e.ID
			p.expect(entered[caller] == (has(e) || !concerned), "at the moment of an end, Enter of a key succeeded: %v, "+
				"and what Mark returned has the key: %v", entered[caller], has(e))
		}
		for _, e := range p.list("after an end") {
			p.expect(e.Marked == (id == "" || id == e.ID), "session %q: marked is %v after the end of %q", e.ID, e.Marked, id)
		}
	}
}

// keysRace has several requests renew one session, while others record
// activity, and others take keys out.
func keysRace(p *probe) {
	const callers, each = 4, 7
	for range soak(3) {
		p.begin()
		first := p.entry("a", "first")
		p.enter(first, "", "a session")
		latest := first.SeenAt
		inParallel(3*callers, func(caller int) {
			for i := range each {
				mine, seenAt := fmt.Sprintf("key %d of %d", i, caller), first.SeenAt.Add(time.Duration(i)*time.Second)
				switch caller % 3 {
				case 0:
					p.enter(with(first, mine), "", "several renewals at once")
				case 1:
					p.extend("a", seenAt, seenAt, true, "several renewals at once")
				default:
					p.leave("a", "several renewals at once", mine)
				}
			}
		})
		latest = latest.Add((each - 1) * time.Second)
		got := p.list("several renewals at once")
		if p.failed() {
			return
		}
		p.expect(len(got) == 1 && len(got[0].Keys) == 1+callers*each,
			"of %d keys that were entered at once, these are there: %s", callers*each, text(got))
		p.expect(len(got) == 1 && got[0].SeenAt.Equal(latest), "SeenAt must be %v: %s", latest, text(got))
		for caller := 0; caller < 3*callers && !p.failed(); caller += 3 {
			last := -1
			for i := range each {
				at := slices.Index(got[0].Keys, fmt.Sprintf("key %d of %d", i, caller))
				p.expect(at > last, "the keys of one caller are not in order: %s", text(got))
				last = at
			}
		}
	}
}

func extendAgainstMark(p *probe) {
	for range soak(10) {
		p.begin()
		e := p.entry("a", "one")
		p.enter(e, "", "a session")
		inParallel(4, func(caller int) {
			if caller == 0 {
				_, err := p.index.Mark(p.ctx, p.subject, "a", time.Time{})
				p.expect(err == nil, "Mark, at the same time as Extend: %w", err)
				return
			}
			_, err := p.index.Extend(p.ctx, p.subject, "a", e.SeenAt.Add(time.Duration(caller)*time.Second), e.Until)
			p.expect(err == nil, "Extend, at the same time as Mark: %w", err)
		})
		got := p.list("after an end")
		p.expect(len(got) == 1 && got[0].Marked, "activity at the moment of an end has undone it: %s", text(got))
	}
}

func extendAgainstLeave(p *probe) {
	for range soak(10) {
		p.begin()
		e := p.entry("a", "one")
		p.enter(e, "", "a session")
		inParallel(4, func(caller int) {
			if caller == 0 {
				p.leave("a", "at the same time as Extend")
				return
			}
			_, err := p.index.Extend(p.ctx, p.subject, "a", e.SeenAt.Add(time.Duration(caller)*time.Second), e.Until)
			p.expect(err == nil, "Extend, at the same time as Leave: %w", err)
		})
		p.holds("a logout at the moment of activity")
	}
}
