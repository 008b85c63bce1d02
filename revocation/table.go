package revocation

import (
	"hash/maphash"
	"math"
	"sync"
	"sync/atomic"
)

const (
	// shardCount keeps readers on many cores from meeting at one lock, and the
	// rebuilding of a shard short.
	shardCount = 256

	// minSlots is the size of a shard with few sessions.
	minSlots = 8

	// extendBy is by how many seconds an entry must live longer to be written
	// again. Without it, repeated logouts would fill the disk.
	extendBy = 60

	forever = math.MaxUint32
)

// The uses of slot.below.
const (
	everything = 1<<30 - 1 // the mask of a generation; no generation is above it
	anonymous  = 1 << 31   // nobody was logged in, so the entry counts for the budget
	older      = 1 << 30   // one of the anonymous ones that go next
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

// A table keeps what ended of each session, until its time is over. It is open
// addressing with linear probing, and between a half and five eighths full: 38
// to 48 bytes a session, and a look-up of a session that has not ended reads 2
// to 4 slots.
type table struct {
	seed   maphash.Seed // keeps visitors from choosing sessions that collide
	count  atomic.Int64 // slots that are not empty
	half   int          // anonymous entries of a shard that are not older, at most
	shards *[shardCount]shard
}

type shard struct {
	mu    sync.RWMutex // guards what follows; held while an entry joins a batch
	slots []slot
	used  int    // slots that are not empty
	young int    // anonymous ones that are not older
	batch uint64 // number of the last batch that an entry of this shard has joined
}

// newTable returns a table that keeps at most budget anonymous entries.
func newTable(budget int) table {
	return table{seed: maphash.MakeSeed(), half: max(1, budget/2/shardCount), shards: new([shardCount]shard)}
}

func (t *table) find(k key) (*shard, uint64) {
	h := maphash.Bytes(t.seed, k[:])
	return &t.shards[h%shardCount], h >> 32
}

// slot returns the slot of k, or the empty one where it belongs. There is
// always an empty one, unless the shard has no slots yet: then slot returns
// nil.
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

// get returns the generation below which the session has ended, 0 for none.
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

// raised is what became of an entry.
type raised struct {
	slot
	first bool   // it ends a generation that had not ended before
	fresh bool   // the table has one more entry that is not anonymous
	batch *batch // nil if there is nothing to wait for
}

// raise puts e in force, and hands it to the journal.
func (t *table) raise(e entry, when condition, now uint32, j *journal) raised {
	sh, hash := t.find(e.key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	var old slot
	if s := sh.slot(&e.key, hash); s != nil && s.until > now {
		old = *s
	}
	next := e.over(old)
	r := raised{
		slot:  next,
		first: next.generation() > old.generation(),
		fresh: next.below&anonymous == 0 && (old.until == 0 || old.below&anonymous != 0),
	}
	longer := uint64(next.until) > uint64(old.until)+extendBy
	switch {
	case r.first || when == always && (r.fresh || longer):
		r.batch = j.enqueue(next.entry())
		sh.batch = r.batch.id()
		t.put(sh, hash, next, now)
	case when == always:
		r.fresh, r.batch = false, j.flush(sh.batch)
	default:
		r.fresh = false
	}
	return r
}

// over returns the slot that follows old, which is empty if nothing is in
// force.
func (e *entry) over(old slot) slot {
	until, nobody := e.until, e.kind == ofNobody
	if ended := old.generation(); e.generation < ended && ended != everything {
		// The session has become something that the caller did not know: its login
		// has a deadline of its own, and a subject.
		until, nobody = max(until, e.longest), false
	}
	next := slot{key: e.key, below: max(e.below, old.generation()), until: max(until, old.until)}
	if nobody && (old.until == 0 || old.below&anonymous != 0) {
		next.below |= anonymous
	}
	return next
}

// put writes s into its slot, or into a new one.
func (t *table) put(sh *shard, hash uint64, s slot, now uint32) {
	to := sh.slot(&s.key, hash)
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

// rebuild leaves out what is over. With age, it also drops the older anonymous
// entries, and the others become the older ones: so the oldest go first, and
// half the budget is always kept.
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
		*sh.slot(&s.key, t.hash(s.key)) = *s
	}
}

func (t *table) hash(k key) uint64 {
	_, hash := t.find(k)
	return hash
}

// remove forgets what ended of a session, if it is still what old says.
func (t *table) remove(old slot) {
	sh, hash := t.find(old.key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if s := sh.slot(&old.key, hash); s != nil && s.until != 0 && s.below == old.below {
		s.below, s.until = 0, 1 // it is over; the next rebuild leaves it out
	}
}

// prune leaves out everything that is over.
func (t *table) prune(now uint32) {
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.Lock()
		t.rebuild(sh, now, false)
		sh.mu.Unlock()
	}
}

// each calls f with every entry whose time isn't over.
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
