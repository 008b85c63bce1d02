package revocation

import (
	"container/heap"
	"hash/maphash"
	"math"
	"sync"
	"sync/atomic"
)

const (
	// shardCount keeps readers on many cores from meeting at one lock.
	shardCount = 32

	// dropStep is how many entries whose time is over leave with each one that
	// comes: more than one, so that memory follows what is alive.
	dropStep = 8

	// extendBy is by how many seconds an entry must live longer to be written again;
	// else whoever repeats a logout would fill the disk.
	extendBy = 60
)

// A condition says when an entry is put in force.
type condition bool

const (
	always  condition = false
	ifFirst condition = true // only if its value is above the one that is in force
)

// A table keeps the highest value under each key, until its time is over.
type table struct {
	seed   maphash.Seed
	count  atomic.Int64
	shards *[shardCount]tableShard
}

type tableShard struct {
	mu    sync.RWMutex // guards what follows; held while an entry joins a batch
	marks map[string]mark
	queue queue // one element for each mark
	_     [8]byte
}

type mark struct {
	value uint64
	until int64  // unix second
	batch uint64 // number of the batch that writes it
	tag   uint32 // of a subject
}

func newTable() table {
	return table{seed: maphash.MakeSeed(), shards: new([shardCount]tableShard)}
}

func (t *table) shard(key string) *tableShard {
	return &t.shards[maphash.String(t.seed, key)%shardCount]
}

func (t *table) get(key string) (value uint64, ok bool) {
	if t.count.Load() == 0 {
		return 0, false
	}
	sh := t.shard(key)
	sh.mu.RLock()
	m, ok := sh.marks[key]
	sh.mu.RUnlock()
	return m.value, ok
}

// raise lifts the value under key, and hands e to the journal. first reports
// whether the value was below before. The batch is nil if there is nothing to wait
// for.
func (t *table) raise(key string, value uint64, e entry, when condition, now int64, j *journal) (first bool, b *batch) {
	sh := t.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	t.drop(sh, now)
	old, known := sh.marks[key]
	first = !known || value > old.value
	if !first && (when == ifFirst || e.Until <= saturated(old.until, extendBy) && j.has(old.batch)) {
		return false, nil
	}
	m := mark{value: max(value, old.value), until: max(e.Until, old.until), tag: e.Tag}
	b = j.enqueue(e)
	m.batch = b.id()
	t.put(sh, key, m, known)
	return first, b
}

func saturated(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

func (t *table) put(sh *tableShard, key string, m mark, known bool) {
	if sh.marks == nil {
		sh.marks = make(map[string]mark)
	}
	sh.marks[key] = m
	if !known {
		heap.Push(&sh.queue, queued{m.until, key})
		t.count.Add(1)
	}
}

// drop removes some marks whose time is over.
func (t *table) drop(sh *tableShard, now int64) {
	for range dropStep {
		if len(sh.queue) == 0 || sh.queue[0].until > now {
			return
		}
		if m := sh.marks[sh.queue[0].key]; m.until > now { // it was extended
			sh.queue[0].until = m.until
			heap.Fix(&sh.queue, 0)
			continue
		}
		delete(sh.marks, heap.Pop(&sh.queue).(queued).key)
		t.count.Add(-1)
	}
}

// each calls f with every mark whose time isn't over.
func (t *table) each(now int64, f func(key string, m mark)) {
	for i := range t.shards {
		t.shards[i].each(now, f)
	}
}

func (sh *tableShard) each(now int64, f func(key string, m mark)) {
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	for key, m := range sh.marks {
		if m.until > now {
			f(key, m)
		}
	}
}

// A queue is a heap of keys, the one whose time is over first at the front.
type queue []queued

type queued struct {
	until int64
	key   string
}

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].until < q[j].until }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)        { *q = append(*q, x.(queued)) }

func (q *queue) Pop() any {
	old := *q
	last := len(old) - 1
	x := old[last]
	old[last] = queued{}
	*q = old[:last]
	return x
}
