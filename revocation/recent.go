package revocation

import (
	"crypto/rand"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/claims"
	"github.com/cloakroom-go/cloakroom/session"
)

const (
	// acceptedFor is how long a verifier may accept a service token: its longest
	// life, the largest leeway, and as much again for a request that is under way,
	// and for clocks that differ.
	acceptedFor = claims.MaxServiceLife + 2*claims.MaxLeeway

	// recentSlack is how many more recent entries there may be than twice those of
	// the list. Beyond that they are collected anew, so a reader gets no more of
	// them again than have been replaced meanwhile.
	recentSlack = 1 << 13

	// maxUnlisted bounds the recent entries that the list need not know. If there
	// are more, the oldest are forgotten: services that ask regularly know them.
	maxUnlisted = 1 << 17

	// maxPart is how long a part is, in bytes. It may be longer by an entry.
	// Signed and encoded it has 700 kB.
	maxPart = 512 << 10
)

// Recent are the entries that verifiers of service tokens need, in the order in
// which this list has heard of them. Nothing is kept until there is somebody to
// ask for them. When that happens for the first time, all entries in force are
// recent.
//
// Entries have numbers, from 1 on. A number means something only together with
// the ID, which is new when the numbers begin again.
type recent struct {
	list *List

	building sync.Mutex // held while the first entries are collected

	mu       sync.Mutex // guards what follows; held while a table of the list is locked, so it comes last
	keeping  bool       // note keeps entries
	built    bool       // what is kept is complete
	id       string     // "" if what is kept must be collected anew
	first    uint64     // number of kept[0]
	kept     []recentEntry
	unlisted int // how many of kept the list needed not know, at the last time that it was shortened
}

// A recentEntry is an entry in fewer bytes. It is immutable.
type recentEntry struct {
	key   key
	value int64 // the instant; of a session the generation below which its tokens have ended
	tag   uint32
	until uint32 // when no service token is left that it ends
	kind  kind

	unlisted bool // the list need not know it
}

// life returns how long after an end a verifier may accept a token that it
// ends.
func (r *recent) life() time.Duration { return acceptedFor + r.list.made + r.list.skew }

// keep begins to record entries.
func (r *recent) keep() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keeping = true
}

// add is called before e is in force, with the lock of e's table held.
func (r *recent) add(e entry) {
	if r != nil && e.kind != ofNobody { // a service token is always of somebody
		r.note(e, false)
	}
}

func (r *recent) note(e entry, unlisted bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.keeping {
		return
	}
	now := r.list.now()
	r.forget(now)
	h := r.newEntry(e, now)
	h.unlisted = unlisted
	r.kept = append(r.kept, h)
	// Ends of one subject replace each other in the list, and here they don't.
	if len(r.kept) >= 2*(r.list.Len()+r.unlisted)+recentSlack {
		r.shorten(now)
	}
}

// shorten leaves nothing but what the list need not know, the last entry of
// each session. The rest is collected anew. mu is held.
func (r *recent) shorten(now time.Time) {
	r.built, r.id = false, ""
	left, seen := []recentEntry(nil), make(map[key]bool)
	for _, h := range slices.Backward(r.kept) {
		if h.unlisted && h.until > second(now) && !seen[h.key] && len(left) < maxUnlisted {
			left = append(left, h)
			seen[h.key] = true
		}
	}
	slices.Reverse(left)
	r.kept, r.unlisted = left, len(left)
}

// changed adds what the list itself need not know, because a store refuses the
// old credential: that a session has ended, or goes on in a later generation.
func (r *recent) changed(was, is *session.Record) {
	if r == nil || was.Subject == "" || is != nil && is.Generation <= was.Generation {
		return
	}
	e := entry{kind: ofSession, key: keyOf(was.ID), below: everything}
	if is != nil {
		e.below = uint32(min(is.Generation, everything))
	}
	if r.list.sessions.get(was.ID) < e.below {
		r.note(e, true)
	}
}

func (r *recent) newEntry(e entry, now time.Time) recentEntry {
	h := recentEntry{key: e.key, value: int64(e.below), tag: e.tag, until: second(now.Add(r.life())), kind: e.kind}
	if e.kind != ofSession {
		// A verifier then needs no skew of the list.
		h.value = e.instant + r.list.skew.Milliseconds()
	}
	return h
}

func (h *recentEntry) entry() entry {
	e := entry{kind: h.kind, key: h.key, tag: h.tag, until: h.until}
	if h.kind == ofSession {
		e.below = uint32(h.value)
	} else {
		e.instant = h.value
	}
	return e
}

// forget drops the entries that have ended everything they could. mu is held.
func (r *recent) forget(now time.Time) {
	n := 0
	for at := second(now); n < len(r.kept) && r.kept[n].until <= at; n++ {
	}
	r.kept, r.first = r.kept[n:], r.first+uint64(n)
}

// build collects all entries in force, in front of those that the list need not
// know.
func (r *recent) build() {
	r.building.Lock()
	defer r.building.Unlock()
	now := r.list.now()
	r.mu.Lock()
	built, id := r.built, rand.Text()
	if !built {
		r.shorten(now)
		r.keeping, r.id, r.first = true, id, 1
	}
	r.mu.Unlock()
	if built {
		return
	}
	var all []recentEntry
	r.list.each(second(now), func(e entry) {
		if e.kind != ofNobody {
			all = append(all, r.newEntry(e, now))
		}
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	// Otherwise it was shortened meanwhile, and may lack what each has not seen.
	if r.id == id {
		r.built, r.kept, r.first = true, append(all, r.kept...), 1
	}
}

// A part is some of the recent entries.
type part struct {
	id          string
	after, upto uint64 // all that matters behind number after, up to number upto
	last        uint64 // the number of the last one there is
	entries     []recentEntry
}

// behind returns the entries behind the position of r in after, or all of them.
func (r *recent) behind(after []string) (part, error) {
	for range 3 {
		r.mu.Lock()
		if r.built {
			defer r.mu.Unlock()
			r.forget(r.list.now())
			p := part{id: r.id, last: r.first + uint64(len(r.kept)) - 1}
			p.after = min(position(after, r.id), p.last)
			p.upto = max(p.after, r.first-1)
			p.entries = r.kept[p.upto+1-r.first:]
			return p, nil
		}
		r.mu.Unlock()
		r.build()
	}
	return part{}, errors.New("revocation: more ends while what is in force was collected than there is room for")
}

// position returns the number in the position of the instance called id, or 0.
func position(after []string, id string) uint64 {
	for _, one := range after {
		if number, ok := strings.CutPrefix(one, id+"."); ok {
			n, _ := strconv.ParseUint(number, 10, 63)
			return n
		}
	}
	return 0
}

// text returns the entries as the journal has them, and makes them fewer if
// there are too many for one part.
func (p *part) text() []byte {
	var b []byte
	for i := range p.entries {
		if len(b) >= maxPart {
			break
		}
		if i > 0 {
			b = append(b, ' ')
		}
		e := p.entries[i].entry()
		b = e.append(b)
		p.upto++
	}
	return b
}
