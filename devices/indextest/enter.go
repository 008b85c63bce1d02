package indextest

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/devices"
	"github.com/cloakroom-go/cloakroom/internal/itemtest"
)

// enterRules are about what is kept.
func enterRules() []rule {
	return []rule{
		{"round trip", "a list shows what was entered, and finds the items by their keys", roundTrip},
		{"later of both", "instances enter a session in any order; none may shorten it, or make it end earlier", laterOfBoth},
		{"keys", "an end deletes the items under the keys: one that is missing goes on", keys},
		{"replaces", "keys of old generations would fill the entry; one too few is a session that nobody can end", replaces},
		{"details", "details are encrypted: every byte can occur", details},
		{"extend", "activity must not make a session look older, nor a list show one that is not there", extend},
		{"leave", "a logout must take the session out of the list, and no other", leave},
		{"over", "an entry whose session is over must not be shown, nor count", over},
		{"apart", "nobody may see or end the sessions of others", apart},
		{"sizes", "a limit that is never reached in tests is reached by a subject with many sessions", sizes},
		{"data stays", "a request reads a list without a lock while others log in", dataStays},
		{"context", "a request that was given up must not wait for the index, nor change it", contextDone},
	}
}

func roundTrip(p *probe) {
	p.holds("before anything was entered")
	a, b := p.entry("a", "one"), p.entry("b", "~two")
	b.TokenUntil = p.second().Add(30 * time.Minute)
	p.enter(a, "", "a new session")
	p.holds("one session", a)
	p.enter(b, "absent", "another session")
	p.holds("two sessions", a, b)
	p.enter(a, "", "the same again")
	p.holds("after the same Enter again", a, b)
}

// laterOfBoth moves one of four instants forward and the others back, and then
// one back and the others forward.
func laterOfBoth(p *probe) {
	instants := func(e *devices.Entry) []*time.Time {
		return []*time.Time{&e.CountsFrom, &e.SeenAt, &e.TokenUntil, &e.Until}
	}
	for one := range 4 {
		for _, step := range []time.Duration{time.Minute, -time.Minute} {
			p.begin()
			first := p.entry("a", "one")
			first.TokenUntil = p.second().Add(30 * time.Minute)
			p.enter(first, "", "a new session")
			second, want := first, first
			for i, at := range instants(&second) {
				if i == one {
					*at = at.Add(step)
				} else {
					*at = at.Add(-step)
				}
				if w := instants(&want)[i]; at.After(*w) {
					*w = *at
				}
			}
			p.enter(second, "", "other instants")
			p.holds(fmt.Sprintf("instant %d of 4 moved by %v, the others the other way", one+1, step), want)
		}
	}
	p.begin()
	token, item := p.entry("a", "~one"), p.entry("a", "two")
	token.TokenUntil = p.second().Add(30 * time.Minute)
	p.enter(token, "", "a new session in a token")
	p.enter(item, "", "the same in the store")
	token.Keys = []string{"~one", "two"}
	p.holds("TokenUntil was there, and is zero in the next Enter", token)
	first, next := p.entry("b", "one"), p.entry("b", "one")
	next.CountsFrom = first.CountsFrom.Add(time.Millisecond)
	p.enter(first, "", "a new session")
	p.enter(next, "", "a millisecond later")
	p.holds("CountsFrom moved by a millisecond", token, next)
}

func keys(p *probe) {
	e := p.entry("a", "three")
	var all []string
	for _, key := range []string{"three", "one", "~two", "One", "ONE", "zzz", "0", "~"} {
		p.enter(with(e, key), "", "one more key")
		all = append(all, key)
		p.holds("the keys in order", with(e, all...))
	}
	p.enter(with(e, "one", "new", "three", "newer"), "", "several keys at once")
	all = append(all, "new", "newer")
	p.holds("keys that were there stay where they are, new ones come after them", with(e, all...))
}

func replaces(p *probe) {
	rows := []struct {
		name, replaces string
		is, in, want   string // keys, separated by spaces
	}{
		{"the first", "one", "one two three", "four", "one two three four"},
		{"one in the middle", "two", "one two three", "four", "two three four"},
		{"the last", "three", "one two three", "four", "three four"},
		{"a key that is not there", "zero", "one two three", "four", "one two three four"},
		{"a key that differs by case", "Two", "one two three", "four", "one two three four"},
		{"none", "", "one two three", "four", "one two three four"},
		{"the new key itself", "three", "one two three", "three", "three"},
		{"a key behind one that comes again", "two", "~one two", "~one", "two ~one"},
	}
	for _, row := range rows {
		p.begin()
		e := p.entry("a", strings.Fields(row.is)...)
		p.enter(e, "", "a new session")
		p.enter(with(e, strings.Fields(row.in)...), row.replaces, "replaces "+row.name)
		p.holds("replaces "+row.name, with(e, strings.Fields(row.want)...))
	}
}

func details(p *probe) {
	var every []byte
	for b := range 256 {
		every = append(every, byte(b))
	}
	rows := map[string][]byte{
		"nil": nil, "empty": {}, "one zero": {0}, "all bytes": every, "512 bytes": bytes.Repeat(every, 2),
		"512 zeros": make([]byte, devices.MaxDetails), "512 times 255": bytes.Repeat([]byte{255}, devices.MaxDetails),
		"line breaks": []byte("\r\n\r\n"), "a JSON value": []byte(`{"a":"\u0000"}`), "spaces": []byte(" x  "),
	}
	for name, data := range rows {
		p.begin()
		e := p.entry("a", "one")
		p.enter(e, "", "a new session")
		e.Details = data
		p.enter(e, "", "details are replaced")
		p.holds("details replaced by "+name, e)
		p.mark("a", time.Time{}, "details are "+name, e)
	}
}

func extend(p *probe) {
	p.extend("a", p.second(), p.second(), false, "no entry")
	p.holds("Extend of nothing")
	a, b := p.entry("a", "one"), p.entry("b", "~two")
	b.TokenUntil = p.second().Add(30 * time.Minute)
	p.enter(a, "", "a new session")
	p.enter(b, "", "another session")
	rows := []struct {
		name        string
		seen, token time.Duration
	}{
		{"both forward", time.Minute, time.Minute},
		{"the same again", 0, 0},
		{"both back", -time.Minute, -time.Minute},
		{"only SeenAt forward", time.Minute, -time.Minute},
		{"only TokenUntil forward", -time.Minute, time.Minute},
		{"TokenUntil past Until", 0, 2 * time.Hour},
	}
	for _, row := range rows {
		seenAt, tokenUntil := b.SeenAt.Add(row.seen), b.TokenUntil.Add(row.token)
		p.extend("b", seenAt, tokenUntil, true, row.name)
		b.SeenAt, b.TokenUntil = later(b.SeenAt, seenAt), later(b.TokenUntil, tokenUntil)
		p.holds("Extend, "+row.name, a, b)
	}
	p.extend("b", b.SeenAt, time.Time{}, true, "without TokenUntil")
	p.holds("Extend without TokenUntil", a, b)
	p.extend("a", a.SeenAt, time.Time{}, true, "an entry that never had a token")
	p.holds("Extend of an entry that never had a token", a, b)
	p.extend("B", b.SeenAt.Add(time.Hour), b.TokenUntil, false, "an ID that differs by case")
	p.mark("b", time.Time{}, "an end of one", b)
	p.extend("b", b.SeenAt.Add(time.Hour), b.TokenUntil.Add(time.Hour), false, "a marked entry")
	b.Marked = true
	p.holds("Extend of a marked entry", a, b)
	p.leave("b", "the whole entry")
	p.extend("b", b.SeenAt.Add(time.Hour), b.TokenUntil, false, "an entry that was taken out")
	p.holds("Extend of an entry that was taken out", a)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func leave(p *probe) {
	p.leave("a", "nothing there")
	p.leave("a", "nothing there", "one")
	a, b := p.entry("a", "one", "two", "three"), p.entry("b", "one")
	p.enter(a, "", "a new session")
	p.enter(b, "", "another session")
	p.leave("a", "a key that is not there", "four", "Two")
	p.leave("c", "an ID that is not there")
	p.leave("A", "an ID that differs by case")
	p.holds("Leave of what is not there", a, b)
	p.leave("a", "a key", "two")
	p.holds("Leave of one key", with(a, "one", "three"), b)
	p.leave("a", "several keys, not all of them there", "two", "three", "four", "one")
	p.holds("Leave of the last keys", b)
	p.enter(a, "", "the session again")
	p.leave("a", "the whole entry")
	p.holds("Leave of an entry", b)
	p.mark("a", time.Time{}, "an entry that was taken out")

	p.enter(a, "", "the session again")
	p.mark("a", time.Time{}, "an end of one", a)
	p.leave("a", "a key of a marked entry", "one")
	p.holds("Leave of a key of a marked entry", marked(with(a, "two", "three"))[0], b)
	p.refused(a, "", devices.MaxEntries, ended, "a marked entry with fewer keys")
	p.leave("a", "a marked entry")
	p.holds("Leave of a marked entry", b)
}

// over looks a moment before an entry is over, and at that instant.
func over(p *probe) {
	a, b := p.entry("a", "one", "two"), p.entry("b", "one")
	a.Until, a.SeenAt = p.second().Add(10*time.Minute), p.second().Add(time.Minute)
	p.enter(a, "", "a session of ten minutes")
	p.enter(b, "", "a session of an hour")
	p.clock.set(a.Until.Add(-600 * time.Millisecond))
	p.holds("a moment before Until", a, b)
	p.mark("a", time.Time{}, "a moment before Until", a)
	p.refused(p.entry("c", "one"), "", 2, tooMany, "a moment before Until of one of two entries")
	p.clock.set(a.Until)
	p.holds("at Until", b)
	p.extend("a", b.SeenAt, b.Until, false, "at Until")
	p.mark("a", time.Time{}, "at Until")
	p.leave("a", "at Until", "one")
	anew := p.entry("a", "three")
	anew.SeenAt = a.SeenAt.Add(-time.Second)
	if p.failed() {
		return
	}
	err := p.index.Enter(p.ctx, p.subject, anew, "", 2)
	p.expect(err == nil, "one of two entries is over, and Enter with a limit of 2 failed: %w", err)
	p.holds("a session with the ID of an entry that was marked, and is over", anew, b)
	p.clock.set(b.Until.Add(time.Minute))
	p.mark("", anew.CountsFrom, "all of the subject, after one of two is over", anew)
}

// apart has names that a database with a case-insensitive collation, or an
// index that joins them, takes for the same.
func apart(p *probe) {
	subject, other := p.subject, strings.ToLower(p.subject)
	a := p.entry("a", "one")
	p.enter(a, "", "a session of one subject")
	for _, p.subject = range []string{other, strings.ToUpper(subject), itemtest.Key()} {
		p.holds("a session of another subject")
		p.extend("a", a.SeenAt.Add(time.Minute), a.Until, false, "a session of another subject")
		p.mark("a", time.Time{}, "a session of another subject")
		p.mark("", p.second().Add(time.Hour), "all of another subject")
		p.leave("a", "a session of another subject")
		p.leave("a", "a session of another subject", "one")
	}
	p.subject = subject
	p.holds("after calls for other subjects", a)
	p.enter(a, "", "after other subjects were ended")

	p.begin()
	var all []devices.Entry
	for _, id := range []string{
		"a", "A", "aa", "a ", " a", "a\x01", "!", "~", "*", "%", "_", "a:b", "a,b", `a"b`, "a'b", "é", "e", "0", "-1",
		"instant", strings.Repeat("x", 64), strings.Repeat("x", 63),
	} {
		all = append(all, p.entry(id, "one"))
		p.enter(all[len(all)-1], "", fmt.Sprintf("ID %q", id))
	}
	p.holds("IDs that are nearly the same", all...)
	p.mark("A", time.Time{}, "an ID that differs by case", all[1])
	all[1].Marked = true
	p.leave("!", "one of many")
	all = append(all[:6], all[7:]...)
	p.holds("after the end of one, and Leave of another", all...)
}

func sizes(p *probe) {
	var long []string
	for i := range devices.MaxKeys {
		long = append(long, fmt.Sprintf("~%02d", i)+strings.Repeat("x", 61))
	}
	e := p.entry(strings.Repeat("i", 64), long...)
	e.Details = bytes.Repeat([]byte{0xff}, devices.MaxDetails)
	p.enter(e, "", "as many keys as an entry may have")
	p.holds("the largest entry", e)
	p.mark(e.ID, time.Time{}, "the largest entry", e)

	p.begin()
	all := make([]devices.Entry, devices.MaxEntries)
	inParallel(8, func(caller int) {
		for i := caller; i < len(all); i += 8 {
			all[i] = p.entry(fmt.Sprintf("session %d", i), itemtest.Key())
			all[i].Details = bytes.Repeat([]byte{byte(i)}, 200)
			p.enter(all[i], "", "many sessions")
		}
	})
	p.holds("as many sessions as a subject may have", all...)
	p.refused(p.entry("more", "one"), "", devices.MaxEntries, tooMany, "one session more")
	p.mark("", p.second(), "as many sessions as a subject may have", all...)
}

// dataStays finds an index that writes into the slices that it was given or has
// returned.
func dataStays(p *probe) {
	e := p.entry("a", "one", "two", "three")
	given := with(e, append(make([]string, 0, 8), e.Keys...)...)
	given.Details = append(make([]byte, 0, 64), e.Details...)
	p.enter(given, "", "a new session")
	listed := p.list("a new session")
	next := with(e, "four", "five")
	next.Details = []byte("DETAILS")
	p.leave("a", "a change", "one")
	p.enter(next, "two", "a change")
	p.leave("a", "a change", "two")
	p.expect(same([]devices.Entry{given}, []devices.Entry{e}), "a later call changed an entry that Enter was given")
	p.expect(same(listed, []devices.Entry{e}), "a later call changed an entry that List had returned")
}

func contextDone(p *probe) {
	a := p.entry("a", "one")
	p.enter(a, "", "a new session")
	p.gaveUp("with a context that was done", p.entry("b", "two"))
	p.holds("after calls whose context was done", a)
	p.enter(p.entry("c", "three"), "", "after calls whose context was done")
}
