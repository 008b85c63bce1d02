package logtest

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/revocation"
)

func rules() []rule {
	return []rule{
		{"round trip", "what ends on one instance must end on the others as well", roundTrip},
		{"from the beginning", "an instance that starts must know what ended before", fromBeginning},
		{"positions", "an instance that goes on must miss nothing", positions},
		{"keys", "an end must neither miss its session nor reach another one", keys},
		{"values", "values are 63 bits, and entries may live until 2106", values},
		{"again", "a list that has no answer appends once more", again},
		{"greatest", "two instances may end one session in any order, and the earlier end must not undo the later", greatest},
		{"one batch", "a session that is renewed and ended within a moment is twice in one batch", oneBatch},
		{"over", "an entry that is over must not keep others from the log", over},
		{"soon", "what has ended opens on other instances until they hear of it", returnsSoon},
		{"wait", "a list learns by the end of a Read that the log still answers", returnsAfterWait},
		{"quiet", "a list reads again at once, so a log that doesn't wait keeps a processor busy", quiet},
		{"context", "an instance that shuts down must not wait for the log", contextEnds},
		{"many", "after a restart there can be a million entries", many},
		{"appenders", "whoever logs out at the same moment as others must be logged out, too", appenders},
		{"two lists", "a logout on one instance must count on all, and an instance that starts must know it", twoLists},
	}
}

// text says which entry e is. Keys are those of tests, so they may be shown.
func text(e revocation.Entry) string {
	return fmt.Sprintf("{key %q, value %d, until %s}", e.Key, e.Value, e.Until.UTC().Format(time.DateTime))
}

func entry(key string, value int64) revocation.Entry {
	return revocation.Entry{Key: key, Value: value, Until: in(time.Hour)}
}

func in(d time.Duration) time.Time { return time.Unix(time.Now().Add(d).Unix(), 0) }

func roundTrip(p *probe) {
	a, b := p.open(), p.open()
	own, other := p.reader(a), p.reader(b)
	own.toEnd()
	other.toEnd()
	p.expect(len(own.known) == 0, "an empty log has %d entries", len(own.known))
	for i := range 3 {
		e := entry(fmt.Sprint("key ", i), int64(i))
		p.append(a, e)
		for name, r := range map[string]*reader{"the instance that appended": own, "the other instance": other} {
			r.toEnd()
			r.holds(e, name)
		}
	}
}

func fromBeginning(p *probe) {
	a, b := p.open(), p.open()
	one, two := entry("one", 1), entry("two", 2)
	p.append(a, one)
	p.append(b, two)
	for _, log := range []revocation.Log{a, b, p.open()} {
		r := p.reader(log)
		r.toEnd()
		r.holds(one, "from the beginning")
		r.holds(two, "from the beginning")
	}
}

// positions reads on from each position on another instance. It may return more
// than it must.
func positions(p *probe) {
	logs := []revocation.Log{p.open(), p.open()}
	begins := p.reader(logs[0])
	begins.toEnd()
	for i, pos := 0, begins.pos; i < 6; i++ {
		e := entry(fmt.Sprint("key ", i), 1)
		p.append(logs[0], e)
		r := p.reader(logs[(i+1)%2])
		r.pos, r.owed = pos, i // the reader need not see what came before the position
		r.toEnd()
		r.holds(e, "from a position of another instance")
		pos = r.pos
	}
}

func keys(p *probe) {
	var all []string
	for b := range 256 {
		all = append(all, string([]byte{byte(b)}))
	}
	all = append(all, "key", "KEY", "key ", "key  ", "key\x00", "key\x00\x00", " key", "k\u00e9y", "ke\u0301y", "\xff\xfe",
		"sß", "sss", "key\r\n", "key\\", "key'", `key"`, "key%", "{key}",
		strings.Repeat("\x00", 39), strings.Repeat("\x00", 40), strings.Repeat("\xff", 40), strings.Repeat("x", 39)+"y",
		strings.Repeat("x", 40))
	log := p.open()
	var entries []revocation.Entry
	for i, key := range all {
		entries = append(entries, entry(key, int64(i)))
	}
	p.append(log, entries...)
	r := p.reader(log)
	r.toEnd()
	for _, e := range entries {
		r.holds(e, "keys of all bytes")
	}
	p.expect(len(r.known) == len(entries), "of %d keys the log has %d", len(entries), len(r.known))
}

func values(p *probe) {
	log := p.open()
	var entries []revocation.Entry
	for i, value := range []int64{0, 1, math.MaxInt32 + 1, 1<<53 + 1, 1<<62 + 1, math.MaxInt64 - 1, math.MaxInt64} {
		entries = append(entries, entry(fmt.Sprint("value ", i), value))
	}
	for i, until := range []int64{math.MaxInt32, math.MaxInt32 + 1, math.MaxUint32} {
		e := revocation.Entry{Key: fmt.Sprint("until ", i), Value: 1, Until: time.Unix(until, 0)}
		entries = append(entries, e)
	}
	p.append(log, entries...)
	r := p.reader(p.open())
	r.toEnd()
	for _, e := range entries {
		r.holds(e, "large numbers")
	}
}

func again(p *probe) {
	a, b := p.open(), p.open()
	entries := []revocation.Entry{entry("one", 1), entry("two", 2), entry("three", 3)}
	follows := p.reader(a)
	follows.toEnd()
	for range 2 {
		p.append(a, entries...)
		slices.Reverse(entries)
		p.append(b, entries...)
		follows.toEnd()
	}
	starts := p.reader(p.open())
	starts.toEnd()
	for _, e := range entries {
		follows.holds(e, "appended four times")
		starts.holds(e, "appended four times")
	}
}

// greatest appends the greatest value and the latest end of a key in every
// order, together and apart.
func greatest(p *probe) {
	log, follows := p.open(), p.reader(p.open())
	follows.toEnd()
	early, late := in(time.Hour), in(2*time.Hour)
	rows := [][2]revocation.Entry{
		{{Value: 7, Until: late}, {Value: 5, Until: early}},
		{{Value: 5, Until: early}, {Value: 7, Until: late}},
		{{Value: 7, Until: early}, {Value: 5, Until: late}},
		{{Value: 5, Until: late}, {Value: 7, Until: early}},
		{{Value: 7, Until: early}, {Value: 7, Until: late}},
	}
	for i, row := range rows {
		for _, e := range row {
			e.Key = fmt.Sprint("row ", i)
			p.append(log, e)
			follows.toEnd()
		}
	}
	starts := p.reader(p.open())
	starts.toEnd()
	for i := range rows {
		want := revocation.Entry{Key: fmt.Sprint("row ", i), Value: 7, Until: late}
		follows.holds(want, "two values of one key")
		starts.holds(want, "two values of one key, from the beginning")
	}
}

func oneBatch(p *probe) {
	log, follows := p.open(), p.reader(p.open())
	follows.toEnd()
	up, down := entry("up", 1), entry("down", 2)
	more, less := entry("up", 2), entry("down", 1)
	p.append(log, up, down, more, less, up)
	starts := p.reader(p.open())
	for _, r := range []*reader{follows, starts} {
		r.toEnd()
		r.holds(more, "a key that is in one batch several times")
		r.holds(down, "a key that is in one batch several times")
	}
}

// over appends what is over, which the log need not keep.
func over(p *probe) {
	log := p.open()
	past := revocation.Entry{Key: "past", Value: 9, Until: in(-time.Hour)}
	long := revocation.Entry{Key: "long ago", Value: 9, Until: time.Unix(1, 0)}
	lives := entry("lives", 1)
	p.append(log, past)
	p.append(log, long, lives, past)
	anew := entry("past", 1)
	p.append(log, anew)
	r := p.reader(p.open())
	r.toEnd()
	r.holds(lives, "in a batch with what is over")
	p.expect(r.known["past"].Until.Equal(anew.Until), "an entry that lives is missing: one of its key is over")
}

func returnsSoon(p *probe) {
	a, b := p.open(), p.reader(p.open())
	b.toEnd()
	for i := range 3 {
		e := entry(fmt.Sprint("key ", i), 1)
		appended := make(chan time.Time, 1)
		go func() {
			p.pause(50 * time.Millisecond)
			p.append(a, e)
			appended <- time.Now()
		}()
		for begun := time.Now(); b.known[e.Key].Key == "" && !p.failed(); {
			b.read(2 * timeout)
			p.expect(time.Since(begun) < 2*timeout, "a Read that waits doesn't return what is appended meanwhile")
		}
		took := time.Since(<-appended)
		p.expect(took < soon, "a Read that waits returned %v after an Append, want at most %v", took, soon)
	}
}

func returnsAfterWait(p *probe) {
	r := p.reader(p.open())
	p.append(r.log, entry("one", 1))
	r.toEnd()
	for _, wait := range []time.Duration{0, time.Millisecond, 400 * time.Millisecond} {
		begun := time.Now()
		r.read(wait)
		took := time.Since(begun)
		p.expect(took < wait+soon, "Read that may wait for %v took %v", wait, took)
	}
}

// quiet allows a Reading that comes early now and then.
func quiet(p *probe) {
	r := p.reader(p.open())
	p.append(r.log, entry("one", 1))
	r.toEnd()
	const times, wait = 8, 200 * time.Millisecond
	begun := time.Now()
	for range times {
		p.expect(r.read(wait).Complete, "a Read of a log in which nothing happens is not complete")
	}
	took := time.Since(begun)
	p.expect(took > times*wait/2, "%d Reads that may wait for %v each took only %v, though there was nothing new",
		times, wait, took)
}

func contextEnds(p *probe) {
	r := p.reader(p.open())
	r.toEnd()
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	time.AfterFunc(50*time.Millisecond, cancel)
	begun := time.Now()
	got, err := r.log.Read(ctx, r.pos, 3*timeout)
	took := time.Since(begun)
	p.expect(took < soon, "Read returned %v after its context had ended, want at most %v", took, soon)
	p.expect(err != nil || got.Next != "", "Read whose context ended returned neither an error nor a position")
	e := entry("one", 1)
	p.give([]revocation.Entry{e})
	if r.log.Append(ctx, []revocation.Entry{e}) == nil {
		r.toEnd()
		r.holds(e, "Append succeeded though its context had ended")
	}
	after := entry("two", 2)
	p.append(r.log, after)
	r.toEnd()
	r.holds(after, "after a context that ended")
}

func many(p *probe) {
	log, follows := p.open(), p.reader(p.open())
	const batches, each = 5, 1000
	for i := range batches {
		var batch []revocation.Entry
		for j := range each {
			batch = append(batch, entry(fmt.Sprintf("key %d of batch %d", j, i), int64(j)))
		}
		p.append(log, batch...)
		follows.toEnd()
	}
	starts := p.reader(p.open())
	starts.toEnd()
	p.expect(len(follows.known) == batches*each, "of %d entries, one who follows has %d", batches*each, len(follows.known))
	p.expect(len(starts.known) == batches*each, "of %d entries, one who starts has %d", batches*each, len(starts.known))
}
