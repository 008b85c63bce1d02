package indextest

import (
	"fmt"
	"time"

	"github.com/cloakroom-go/cloakroom/devices"
	"github.com/cloakroom-go/cloakroom/session"
)

// limitRules are about limits.
func limitRules() []rule {
	return []rule{
		{"limit", "a subject would have more sessions than it may have, or none", limit},
		{"limit and marks", "a session counts until its items are deleted", limitAndMarks},
		{"too many keys", "an end would miss the items whose keys were dropped", tooManyKeys},
	}
}

func limit(p *probe) {
	a, b := p.entry("a", "one"), p.entry("b", "two")
	for _, e := range []devices.Entry{a, b} {
		err := p.index.Enter(p.ctx, p.subject, e, "", 2)
		p.expect(err == nil, "Enter of one of two sessions, with a limit of 2: %w", err)
	}
	for limit := 1; limit <= 2; limit++ {
		p.refused(p.entry("c", "three"), "one", limit, tooMany, fmt.Sprintf("a third session, with a limit of %d", limit))
		p.holds("after a login beyond the limit", a, b)
	}
	err := p.index.Enter(p.ctx, p.subject, with(a, "three"), "", 1)
	p.expect(err == nil, "a session that is there already, with a limit below the number of sessions: %w", err)
	a.Keys = []string{"one", "three"}
	p.holds("a session that is there already", a, b)
	p.leave("a", "a logout", "one", "three")
	err = p.index.Enter(p.ctx, p.subject, p.entry("c", "three"), "", 2)
	p.expect(err == nil, "a session after a logout, with a limit of 2: %w", err)
	p.holds("a session after a logout", b, p.entry("c", "three"))
}

func limitAndMarks(p *probe) {
	a, b := p.entry("a", "one"), p.entry("b", "two")
	p.enter(a, "", "a new session")
	p.mark("a", time.Time{}, "one", a)
	p.refused(b, "", 1, tooMany, "a session, when one is marked, with a limit of 1")
	p.holds("after a login beyond the limit", marked(a)[0])
	p.leave("a", "the end is done")
	err := p.index.Enter(p.ctx, p.subject, b, "", 1)
	p.expect(err == nil, "a session, when a marked one has gone, with a limit of 1: %w", err)
}

func tooManyKeys(p *probe) {
	e, all := p.entry("a"), []string(nil)
	for i := range devices.MaxKeys {
		all = append(all, fmt.Sprintf("key %d", i))
		p.enter(with(e, all[i]), "", fmt.Sprintf("%d keys", i+1))
	}
	p.holds("as many keys as there may be", with(e, all...))
	changed := with(e, "more")
	changed.SeenAt, changed.Details = e.SeenAt.Add(time.Minute), []byte("changed")
	p.refused(changed, "", devices.MaxEntries, session.Conflict, "one key more")
	p.refused(changed, all[0], devices.MaxEntries, session.Conflict, "one key more, and none goes")
	p.refused(with(e, all[5], "more"), "", devices.MaxEntries, session.Conflict, "a key that is there, and one more")
	p.holds("one key more", with(e, all...))
	p.enter(with(e, all[3]), "", "a key that is there")
	p.enter(with(e, "more"), all[1], "one key more, and one goes")
	p.holds("one key more, and one goes", with(e, append(all[1:], "more")...))
}
