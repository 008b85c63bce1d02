package revocation

import (
	"hash/maphash"
	"math"
	"sync"
	"sync/atomic"
)

const (
	// shardCount keeps readers on many cores from waiting for one lock, and makes
	// the rebuild of a shard short.
	shardCount = 256

	// minSlots is the size of a shard with few sessions.
	minSlots = 8

	// extendBy is how many seconds longer an entry must live to be written again.
	// Without it, repeated logouts would fill the disk.
	extendBy = 60

	forever = math.MaxUint32
)

// The uses of slot.below.
const (
	everything = 1<<30 - 1 // the mask of a generation; no generation is above it
	anonymous  = 1 << 31   // nobody was logged in, so the entry counts for the budget
	older      = 1 << 30   // an anonymous entry that is forgotten next
)

// A condition says when an entry is put in force.
type condition bool

const (
	always  condition = false
	ifFirst condition = true // only if its value is above the one that is in force
)

// A key is a session's ID, or the first half of a SHA-256.
type key [16]byte

// A slot is one ended session. It has no pointers, so the garbage collector
// doesn't look at it.
type slot struct {
	key   key
	below uint32 // the generation below which tokens have ended, and two flags
	until uint32 // unix second, forever, or 0 for an empty slot
}

func (s *slot) generation() uint32 { return s.below & everything }

// A table keeps an entry for each session that has ended, until the entry
// expires. It uses open addressing with linear probing, and is between a half
// and five eighths full: 38 to 48 bytes a session. A look-up of a session that
// has not ended reads 2 to 4 slots.
type table struct {
	seed   maphash.Seed // keeps visitors from choosing sessions that collide
	count  atomic.Int64 // slots that are not empty
	half   int          // how many young anonymous entries a shard may have
	shards *[shardCount]shard
}

type shard struct {
	mu    sync.RWMutex // guards what follows; held while an entry joins a batch
	slots []slot
	used  int   // slots that are not empty
	young int   // anonymous slots without the flag older
	kept  stamp // of the last entry here
}

// newTable returns a table that keeps at most budget anonymous entries.
func newTable(budget int) table {
	return table{seed: maphash.MakeSeed(), half: max(1, budget/2/shardCount), shards: new([shardCount]shard)}
}

func (t *table) find(k key) (*shard, uint64) {
	h := maphash.Bytes(t.seed, k[:])
	return &t.shards[h%shardCount], h >> 32
}

// slot returns the slot of k, or the empty one for it. There is always an empty
// one, unless the shard has no slots yet: then slot returns nil.
func (sh *shard) slot(k *key, hash uint64) *slot {
	n := len(sh.slots)
	if n == 0 {
		return nil
	}
	for i := int(hash * uint64(n) >> 32); ; i++ {
		if i == n {
			i = 0
		}
		if s := &sh.slots[i]; s.key == *k || s.until == 0 {
			return s
		}
	}
}

// empty returns the empty slot for a key that the shard does not have.
func (sh *shard) empty(hash uint64) *slot {
	n := len(sh.slots)
	for i := int(hash * uint64(n) >> 32); ; i++ {
		if i == n {
			i = 0
		}
		if s := &sh.slots[i]; s.until == 0 {
			return s
		}
	}
}

// get returns the generation below which tokens of the session have ended, or
// 0.
func (t *table) get(id string) uint32 {
	if t.count.Load() == 0 {
		return 0
	}
	k := keyOf(id)
	sh, hash := t.find(k)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	if s := sh.slot(&k, hash); s != nil && s.until != 0 {
		return s.generation()
	}
	return 0
}

// raised is the result of raise.
type raised struct {
	slot
	prior uint32 // the generation below which tokens had ended before
	first bool   // it ends a generation that had not ended before
	fresh bool   // the table has one more entry that is not anonymous
	receipt
}

// raise puts e in force, and hands it to out.
func (t *table) raise(e entry, when condition, now uint32, out outlets) raised {
	sh, hash := t.find(e.key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	var old slot
	at := sh.slot(&e.key, hash)
	if at != nil && at.until > now {
		old = *at
	}
	next := e.over(old)
	r := raised{
		slot:  next,
		prior: old.generation(),
		first: next.generation() > old.generation(),
		fresh: next.below&anonymous == 0 && (old.until == 0 || old.below&anonymous != 0),
	}
	longer := uint64(next.until) > uint64(old.until)+extendBy
	switch {
	case r.first || when == always && (r.fresh || longer):
		made := next.entry()
		made.subject, made.from, made.generation = e.subject, e.from, e.generation
		r.receipt = out.enqueue(made)
		sh.kept = r.stamp(sh.kept)
		t.put(sh, hash, at, next, now)
	case when == always:
		r.fresh, r.receipt = false, out.flush(sh.kept)
	default:
		r.fresh = false
	}
	return r
}

// over returns the slot that replaces old. An empty old means that nothing is
// in force.
func (e *entry) over(old slot) slot {
	until, nobody := e.until, e.kind == ofNobody
	if ended := old.generation(); e.generation < ended && ended != everything {
		// Somebody logged in meanwhile, which the caller did not know: the session
		// has a later deadline and a subject.
		until, nobody = max(until, e.longest), false
	}
	next := slot{key: e.key, below: max(e.below, old.generation()), until: max(until, old.until)}
	if nobody && (old.until == 0 || old.below&anonymous != 0) {
		next.below |= anonymous
	}
	return next
}

// put writes s into to, its slot or the empty one for it.
func (t *table) put(sh *shard, hash uint64, to *slot, s slot, now uint32) {
	if to == nil || to.until == 0 {
		if (sh.used+1)*8 > len(sh.slots)*5 {
			t.rebuild(sh, now, false)
			to = sh.slot(&s.key, hash)
		}
		sh.used++
		t.count.Add(1)
	}
	sh.young += isYoung(s) - isYoung(*to)
	*to = s
	if sh.young >= t.half {
		t.rebuild(sh, now, true)
	}
}

func isYoung(s slot) int {
	if s.below&(anonymous|older) == anonymous {
		return 1
	}
	return 0
}

// rebuild drops expired entries. With age it also drops the anonymous entries
// that are older, and marks the young ones as older: so the oldest are
// forgotten first, and at least half of the budget stays in use.
func (t *table) rebuild(sh *shard, now uint32, age bool) {
	var drop uint32
	if age {
		drop = older
	}
	keep := func(s *slot) bool { return s.until > now && s.below&drop == 0 }
	used := 0
	for i := range sh.slots {
		if keep(&sh.slots[i]) {
			used++
		}
	}
	before := sh.slots
	t.count.Add(int64(used - sh.used))
	sh.slots, sh.used, sh.young = make([]slot, max(minSlots, 2*used+1)), used, 0
	for i := range before {
		s := &before[i]
		if !keep(s) {
			continue
		}
		if age && s.below&anonymous != 0 {
			s.below |= older
		}
		sh.young += isYoung(*s)
		_, hash := t.find(s.key)
		*sh.empty(hash) = *s
	}
}

// remove drops the entry of a session, unless it has changed since old was
// read. Tokens from below the generation prior stay ended: they are of nobody.
func (t *table) remove(old slot, prior uint32) {
	sh, hash := t.find(old.key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	s := sh.slot(&old.key, hash)
	if s == nil || s.until != old.until || s.below != old.below {
		return
	}
	if prior > 0 {
		s.below = prior | anonymous
		sh.young++
		return
	}
	s.below, s.until = 0, 1 // expired; the next rebuild drops it
}

// keep makes sure that the entry of a session is never removed, although remove
// is called with what it was.
func (t *table) keep(k key) {
	sh, hash := t.find(k)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if s := sh.slot(&k, hash); s != nil && s.until != 0 && s.until != forever {
		s.until++
	}
}

// prune drops all expired entries.
func (t *table) prune(now uint32) {
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		t.rebuild(sh, now, false)
		sh.mu.Unlock()
	}
}

// each calls f with every entry that has not expired.
func (t *table) each(now uint32, f func(s slot)) {
	for i := range t.shards {
		t.shards[i].each(now, f)
	}
}

func (sh *shard) each(now uint32, f func(s slot)) {
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	for i := range sh.slots {
		if sh.slots[i].until > now {
			f(sh.slots[i])
		}
	}
}
