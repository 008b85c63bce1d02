package storetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/itemtest"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
)

// singleRules are those that one caller alone can see.
func singleRules() []rule {
	return []rule{
		{"absent", "a credential that nobody issued must open and create nothing (session fixation)", absent},
		{"round trip", "a session must come back as it was kept", roundTrip},
		{"any data", "data is sealed: every byte can occur, and no two blobs are alike", anyData},
		{"sizes", "a store says that it can't keep an item; half a session is none", sizes},
		{"long lifetime", "sessions live for 30 days and more; some stores take large durations for dates", longLifetime},
		{"whole seconds", "both forms of a session must end at the same second", wholeSeconds},
		{"keys", "one visitor must never get the session of another", keysApart},
		{"create twice", "a plain write would let a slow request bring back what ended", createTwice},
		{"swap", "a save from an old version would undo the saves since", swap},
		{"swap upwards", "two swaps from one version could both succeed if the version stayed", swapUpwards},
		{"large versions", "versions are 64 bits; in floating point, neighbours are equal", largeVersions},
		{"swap deadlines", "a marker lives shorter or longer than the session that it replaces", swapDeadlines},
		{"delete", "after a logout the session is gone, whatever is still on its way", deleted},
		{"touch", "activity must not raise the version, or each request would disturb the saves of others", touch},
		{"touch never back", "requests finish in any order; a slow one must not shorten the session", touchNeverBack},
		{"touch up to the deadline", "activity must not extend a session past its absolute lifetime", touchCapped},
		{"over", "a session that is over stays over: neither a save nor activity may revive it", over},
		{"clocks", "a server whose clock is ahead must log nobody out, nor forget what a late visitor is told", clocks},
		{"data stays", "a request reads data without a lock while others save", dataStays},
		{"headers", "a list of devices must show the sessions that live, and each with its own activity", headers},
		{"mistakes", "an item without deadlines would stay for ever", mistakes},
		{"context", "a request that was given up must not wait for the store, nor change it", contextDone},
		{"nothing done", "after a write that was done and is said not to be, a visitor is logged out", nothingDone},
	}
}

func absent(p *probe) {
	key := itemtest.Key()
	p.absent(key, "key that was never used")
	p.swap(key, 0, itemtest.New(1, "x"), false, "absent item, version 0")
	p.swap(key, 1, itemtest.New(2, "x"), false, "absent item")
	p.touch(key, time.Now(), time.Now().Add(time.Hour), false, "absent item")
	p.absent(key, "after Swap and Touch of an absent key")
	p.delete(key, "absent item")
	p.absent(key, "after Delete of an absent key")
}

func roundTrip(p *probe) {
	key, item := itemtest.Key(), itemtest.New(1, "one")
	p.create(key, item)
	p.holds(key, item, "after Create")
	next := itemtest.New(2, "two")
	next.SeenAt = next.SeenAt.Add(time.Second)
	p.swap(key, 1, next, true, "current version")
	p.holds(key, next, "after Swap")
}

// anyData has what a store that speaks a text protocol, or keeps JSON, gets
// wrong.
func anyData(p *probe) {
	var all []byte
	for b := range 256 {
		all = append(all, byte(b))
	}
	rows := map[string][]byte{
		"nil":          nil,
		"empty":        {},
		"one zero":     {0},
		"line breaks":  []byte("\r\n\r\nEND\r\n"),
		"all bytes":    all,
		"64 KiB":       bytes.Repeat(all, 256),
		"a JSON value": []byte(`{"a":"\u0000"}`),
	}
	for name, data := range rows {
		key, item := itemtest.Key(), itemtest.New(1, "")
		item.Data = data
		p.create(key, item)
		p.holds(key, item, "Create, "+name)
		item.Version = 2
		p.swap(key, 1, item, true, "Swap, "+name)
		p.holds(key, item, "Swap, "+name)
	}
}

// sizes allows a limit: Memcached, for one, keeps items of 1 MiB unless it is
// told otherwise. But the application must learn of it, and an item that is too
// large must not cost the one before. Up to the last byte below the limit, data
// comes back whole.
func sizes(p *probe) {
	data := make([]byte, 9<<20) // no session is nearly that large
	_, _ = rand.Read(data)      // nobody can compress it
	kept, refused := 0, 128<<10
	for p.swapIsKept(data[:refused]) {
		if kept = refused; kept == len(data) {
			return // there is no limit
		}
		refused = min(8*refused, len(data))
	}
	if !p.swapIsKept(data[:kept+1]) { // many limits are powers of two
		refused = kept + 1
	}
	for p.err == nil && refused > kept+1 {
		if middle := (kept + refused) / 2; p.swapIsKept(data[:middle]) {
			kept = middle
		} else {
			refused = middle
		}
	}
	for _, size := range []int{kept, refused} {
		key, item := itemtest.Key(), itemtest.New(1, "")
		item.Data = data[:size]
		if p.err == nil && p.isKept("Create", item, p.store.Create(p.ctx, key, item)) {
			p.holds(key, item, "after Create of much data")
			p.delete(key, "much data")
		}
		p.absent(key, "after a Create that failed, or after Delete")
	}
}

// swapIsKept reports whether a store takes data of this size, and expects that
// it keeps the item before otherwise.
func (p *probe) swapIsKept(data []byte) bool {
	key, item, next := itemtest.Key(), itemtest.New(1, "small"), itemtest.New(2, "")
	p.create(key, item)
	if p.err != nil {
		return false
	}
	next.Data = data
	ok, err := p.store.Swap(p.ctx, key, 1, next)
	if !p.isKept("Swap", next, err) {
		p.holds(key, item, "after a Swap that failed")
		return false
	}
	p.expect(ok, "Swap to %s returned ok=false, and no error that wraps session.TooLarge", text(next))
	p.holds(key, next, "after Swap to much data")
	p.delete(key, "much data")
	return p.err == nil
}

// isKept reports whether the error of a write is nil. It expects that another
// one says that the item was too large.
func (p *probe) isKept(method string, item opaque.Item, err error) bool {
	p.expect(err == nil || errors.Is(err, session.TooLarge) && !errors.Is(err, session.Unavailable),
		"%s of %s: the error must wrap session.TooLarge, and not session.Unavailable: %w", method, text(item), err)
	return err == nil
}

// longLifetime has lifetimes around 30 days: Memcached takes a longer duration
// for a date in 1970, and drops the item at once.
func longLifetime(p *probe) {
	for _, days := range []int{29, 31, 400} {
		key, item := itemtest.Key(), itemtest.New(1, "x")
		item.Deadline = item.SeenAt.AddDate(0, 0, days)
		item.IdleDeadline = item.Deadline
		p.create(key, item)
		p.holds(key, item, fmt.Sprintf("lifetime of %d days", days))
	}
}

// wholeSeconds holds a store to rounding down: a deadline that was rounded up
// would let a session in for a second after its end.
func wholeSeconds(p *probe) {
	key, item := itemtest.Key(), itemtest.New(1, "x")
	most := 999 * time.Millisecond
	exact := item
	for _, at := range []*time.Time{&item.SeenAt, &item.IdleDeadline, &item.Deadline} {
		*at = at.Add(most)
	}
	p.create(key, item)
	p.holds(key, exact, "Create with fractions of a second")

	item.Version, exact.Version = 2, 2
	p.swap(key, 1, item, true, "fractions of a second")
	p.holds(key, exact, "Swap with fractions of a second")

	exact.SeenAt, exact.IdleDeadline = exact.SeenAt.Add(time.Second), exact.IdleDeadline.Add(time.Second)
	p.touch(key, exact.SeenAt.Add(most), exact.IdleDeadline.Add(most), true, "fractions of a second")
	p.holds(key, exact, "Touch with fractions of a second")
}

// keysApart has keys that a database with a case-insensitive collation, or with
// a column that is too short, takes for the same.
func keysApart(p *probe) {
	key, item := itemtest.Key(), itemtest.New(1, "mine")
	others := []string{strings.ToLower(key), strings.ToUpper(key), key[:42], key + "A", itemtest.Key()}
	p.create(key, item)
	for _, other := range others {
		p.absent(other, "key that differs by case, length or content")
		p.swap(other, 1, itemtest.New(2, "x"), false, "another key")
		p.delete(other, "another key")
	}
	p.holds(key, item, "after changes to other keys")
}

func createTwice(p *probe) {
	key, item := itemtest.Key(), itemtest.New(3, "first")
	p.create(key, item)
	second := itemtest.New(9, "second")
	second.Deadline = second.Deadline.Add(time.Hour)
	err := p.store.Create(p.ctx, key, second)
	p.expect(errors.Is(err, session.Conflict),
		"Create of a key that is in use: the error is %v, and must wrap session.Conflict", err)
	p.holds(key, item, "after a second Create")
}

// swap also tries newer versions than the stored one: a store that only refuses
// older ones would take a save from a state that never was.
func swap(p *probe) {
	key, item := itemtest.Key(), itemtest.New(5, "five")
	p.create(key, item)
	for _, version := range []uint64{0, 1, 4, 6} {
		p.swap(key, version, itemtest.New(7, "lost"), false, "another version")
	}
	p.holds(key, item, "after swaps from other versions")

	next := itemtest.New(8, "eight")
	p.swap(key, 5, next, true, "current version")
	p.swap(key, 5, itemtest.New(9, "late"), false, "the version before")
	p.holds(key, next, "after a swap from the version before")
}

// swapUpwards wants an error, and not ok=false: the carrier would take that for
// a faster request, or for a session that has expired.
func swapUpwards(p *probe) {
	key, item := itemtest.Key(), itemtest.New(5, "five")
	p.create(key, item)
	for _, version := range []uint64{1, 4, 5} {
		if p.err != nil {
			return
		}
		ok, err := p.store.Swap(p.ctx, key, 5, itemtest.New(version, "x"))
		p.expect(!ok && err != nil, "Swap from version 5 to %d: ok=%v, error %v; want an error", version, ok, err)
	}
	p.holds(key, item, "after swaps that don't go upwards")
}

// largeVersions has neighbours that are the same number in the floating point
// of Lua scripts and JSON, and versions beyond a signed integer.
func largeVersions(p *probe) {
	for _, version := range []uint64{1<<53 + 1, 1<<63 + 1, 1<<64 - 3} {
		key, item := itemtest.Key(), itemtest.New(version, "x")
		p.create(key, item)
		p.holds(key, item, "large version")
		p.swap(key, version-1, itemtest.New(version+1, "lost"), false, "the version below")
		p.swap(key, version+1, itemtest.New(version+2, "lost"), false, "the version above")
		next := itemtest.New(version+1, "y")
		p.swap(key, version, next, true, "current version")
		p.holds(key, next, "large version, swapped")
	}
}

// swapDeadlines holds a store to the deadlines of the new item alone: a store
// that kept the later ones would let the old credential open the session too
// long, and one that kept the earlier ones would log the visitor out.
func swapDeadlines(p *probe) {
	key, item := itemtest.Key(), itemtest.New(1, "session")
	p.create(key, item)
	shorter := itemtest.New(2, "marker")
	shorter.IdleDeadline = shorter.SeenAt.Add(time.Minute)
	shorter.Deadline = shorter.IdleDeadline
	p.swap(key, 1, shorter, true, "to shorter deadlines")
	p.holds(key, shorter, "after a swap to shorter deadlines")
	longer := itemtest.New(3, "session")
	longer.Deadline = longer.Deadline.Add(24 * time.Hour)
	p.swap(key, 2, longer, true, "to longer deadlines")
	p.holds(key, longer, "after a swap to longer deadlines")
	p.swap(key, 3, overItem(4, -time.Second), true, "to deadlines that are past")
	p.swap(key, 4, itemtest.New(5, "revived"), false, "an item whose deadlines are past")
}

func deleted(p *probe) {
	key, item := itemtest.Key(), itemtest.New(1, "x")
	p.create(key, item)
	p.delete(key, "existing item")
	p.absent(key, "after Delete")
	p.swap(key, 1, itemtest.New(2, "back"), false, "after Delete")
	p.touch(key, time.Now(), item.Deadline, false, "after Delete")
	p.absent(key, "after Delete, Swap and Touch")
	p.delete(key, "the second time")
}

// touch repeats itself: two requests of the same second record the same
// activity, and neither has failed.
func touch(p *probe) {
	key, item := itemtest.Key(), itemtest.New(7, "x")
	p.create(key, item)
	item.SeenAt, item.IdleDeadline = item.SeenAt.Add(10*time.Second), item.IdleDeadline.Add(10*time.Second)
	p.touch(key, item.SeenAt, item.IdleDeadline, true, "living item")
	p.holds(key, item, "after Touch")
	p.touch(key, item.SeenAt, item.IdleDeadline, true, "the same again")
	p.holds(key, item, "after the same Touch again")
	p.swap(key, 7, itemtest.New(8, "y"), true, "the version from before the Touch")
}

// touchNeverBack moves the two instants apart: each is compared for itself, and
// not both as a pair.
func touchNeverBack(p *probe) {
	key, item := itemtest.Key(), itemtest.New(1, "x")
	p.create(key, item)
	p.touch(key, item.SeenAt.Add(-time.Minute), item.IdleDeadline.Add(-time.Minute), true, "older activity")
	p.holds(key, item, "after a Touch of older activity")
	p.touch(key, item.SeenAt.Add(-time.Minute), item.IdleDeadline.Add(time.Minute), true, "only the idle deadline forward")
	item.IdleDeadline = item.IdleDeadline.Add(time.Minute)
	p.holds(key, item, "after a Touch with only the idle deadline forward")
	p.touch(key, item.SeenAt.Add(time.Minute), item.IdleDeadline.Add(-time.Minute), true, "only SeenAt forward")
	item.SeenAt = item.SeenAt.Add(time.Minute)
	p.holds(key, item, "after a Touch with only SeenAt forward")
	p.touch(key, time.Unix(0, 0), time.Unix(0, 0), true, "activity in 1970")
	p.holds(key, item, "after a Touch of activity in 1970")
}

func touchCapped(p *probe) {
	key, item := itemtest.Key(), itemtest.New(1, "x")
	p.create(key, item)
	p.touch(key, item.SeenAt, item.Deadline.Add(time.Hour), true, "past the deadline")
	item.IdleDeadline = item.Deadline
	p.holds(key, item, "after a Touch past the deadline")
}

// overItem returns an item that has expired: by its idle deadline if idle is
// negative, otherwise by its deadline.
func overItem(version uint64, idle time.Duration) opaque.Item {
	item := itemtest.New(version, "over")
	item.SeenAt = item.SeenAt.Add(-time.Hour)
	if idle < 0 {
		item.IdleDeadline = item.SeenAt.Add(time.Minute)
	} else {
		item.Deadline = item.SeenAt.Add(time.Minute)
	}
	return item
}

func over(p *probe) {
	for name, idle := range map[string]time.Duration{"idle deadline past": -1, "deadline past": 1} {
		key, item := itemtest.Key(), overItem(1, idle)
		p.create(key, item)
		p.swap(key, 1, itemtest.New(2, "revived"), false, name)
		p.touch(key, time.Now(), time.Now().Add(time.Hour), false, name)
		if got, ok := p.get(key); ok {
			p.expect(same(got, item), "%s: the item is %s, want %s or none", name, text(got), text(item))
		}
		p.delete(key, name)
		p.absent(key, "over and deleted")
	}
}

// clocks finds a store that drops an item at once when it has expired. To a
// server whose clock is half a minute ahead, each session looks so for its last
// half minute.
func clocks(p *probe) {
	key, item := itemtest.Key(), itemtest.New(1, "late")
	item.IdleDeadline = item.SeenAt.Add(-30 * time.Second)
	item.SeenAt = item.SeenAt.Add(-time.Hour)
	p.create(key, item)
	p.holds(key, item, "created when it had expired half a minute ago")

	key = itemtest.Key()
	p.create(key, itemtest.New(1, "alive"))
	item.Version = 2
	p.swap(key, 1, item, true, "to an item that expired half a minute ago")
	p.holds(key, item, "swapped to an item that expired half a minute ago")
}

// dataStays finds a store that writes the next state into the bytes that it was
// handed or has handed out.
func dataStays(p *probe) {
	key, item := itemtest.Key(), itemtest.New(1, "before")
	p.create(key, item)
	before := p.exists(key, "after Create")
	for version := range uint64(8) {
		p.swap(key, version+1, itemtest.New(version+2, "after "), true, "current version")
	}
	p.exists(key, "after Swap")
	p.expect(string(before.Data) == "before", "a save changed Data that Get had returned to %q", before.Data)
	p.expect(string(item.Data) == "before", "a save changed Data that Create was given to %q", item.Data)
}

func mistakes(p *probe) {
	bad := map[string]func(*opaque.Item){
		"version 0":        func(it *opaque.Item) { it.Version = 0 },
		"no idle deadline": func(it *opaque.Item) { it.IdleDeadline = time.Time{} },
		"no deadline":      func(it *opaque.Item) { it.Deadline = time.Time{} },
	}
	for name, spoil := range bad {
		key, item := itemtest.Key(), itemtest.New(1, "x")
		spoil(&item)
		p.expect(p.store.Create(p.ctx, key, item) != nil, "Create of an item with %s succeeded", name)
		p.absent(key, "after Create of an item with "+name)
	}
}

func contextDone(p *probe) {
	key, unused, item := itemtest.Key(), itemtest.Key(), itemtest.New(1, "x")
	p.create(key, item)
	done, cancel := context.WithCancel(p.ctx)
	cancel()
	errs := itemtest.Errors(done, p.store, key)
	errs["Create"] = p.store.Create(done, unused, item)
	for method, err := range errs {
		p.expect(errors.Is(err, session.Unavailable),
			"%s with a context that was done: the error is %v, and must wrap session.Unavailable", method, err)
	}
	p.holds(key, item, "after calls whose context was done")
	p.absent(unused, "after a Create whose context was done")
}

// nothingDone gives calls up at different moments. A store may say ErrNotDone
// only if it has done nothing.
func nothingDone(p *probe) {
	for i := range 20 {
		key, item := itemtest.Key(), itemtest.New(1, "x")
		p.create(key, item)
		if p.err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(p.ctx, time.Duration(i)*40*time.Microsecond)
		_, err := p.store.Swap(ctx, key, 1, itemtest.New(2, "y"))
		cancel()
		if errors.Is(err, opaque.ErrNotDone) {
			p.expect(errors.Is(err, session.Unavailable), "%v wraps opaque.ErrNotDone, but not session.Unavailable", err)
			p.holds(key, item, "after a Swap that failed with opaque.ErrNotDone")
		}
	}
}
