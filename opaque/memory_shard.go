package opaque

import (
	"hash/maphash"
	"math/bits"
	"sync"
	"time"
)

// How the store keeps its items. The garbage collector follows every pointer,
// and so it would visit every item. Here items refer to each other by numbers,
// and stand in large arrays without pointers, at which it doesn't look. Each
// shard has three:
//
//	           hash
//	rows       │    ┌─────────┐ next, in the chain of a bucket
//	 ┌─────────▼────┴─┬───────▼────────┬────────────────┐
//	 │ head   slot 1  │ head   slot 2  │ head   slot 3  │   version, times,
//	 └──┴──────▲──────┴───────┬─┬──────┴────────────────┘   and where the rest is
//	    └──────┘           pos│ │at
//	queue      ┌──────────────┘ └──────────────┐
//	 ┌────┬────▼───┐    chunks                 │
//	 │  3 │ 2 │  1 │     ┌──────────┬──────────▼────────┬──────────┬────────┐
//	 └────┴───┴────┘     │ key data │ (dead) │ key data │ key data │        │
//	 what expires        └──────────┴────────┴──────────┴──────────┴────────┘
//	 first is in front
//
// A row is one slot, with an item, and the head of one bucket, which has
// nothing to do with that item. So there are as many buckets as items. A new
// item splits one bucket, and a removed one merges two (linear hashing, W.
// Litwin, VLDB 1980), so that the table grows without a step in which all items
// move. When a slot becomes free, the last one moves there. So each operation
// touches a few items, however many there are.
type shard struct {
	mu     sync.Mutex // guards what follows; a look-up needs only the first 64 bytes
	rows   pages[row]
	chunks chunks
	queue  pages[due]
	seed   maphash.Seed
	_      [88]byte // so that each shard has cache lines of its own
}

// A ref is the number of a slot. The first is 1, and 0 means none.
type ref uint32

// A row has the size of a cache line, 64 bytes.
type row struct {
	slot slot
	head ref // of the chain of a bucket
}

// A slot is an item without its key and data.
type slot struct {
	version              uint64
	seen, idle, deadline int64   // unix seconds
	at                   address // of the key and the data
	hash                 uint32  // a part of it that does not choose the shard
	next                 ref     // in the chain of its bucket
	pos                  uint32  // in the queue
	anonymous            bool    // as Item.Anonymous
	placed               bool    // counts as a session: see limits
}

func (sl *slot) set(item Item) {
	sl.version = item.Version
	sl.seen, sl.idle, sl.deadline = item.SeenAt.Unix(), item.IdleDeadline.Unix(), item.Deadline.Unix()
}

func (sl *slot) item(data []byte) Item {
	return Item{
		Version:      sl.version,
		SeenAt:       time.Unix(sl.seen, 0).UTC(),
		IdleDeadline: time.Unix(sl.idle, 0).UTC(),
		Deadline:     time.Unix(sl.deadline, 0).UTC(),
		Data:         data,
	}
}

func (sl *slot) over() int64 { return min(sl.idle, sl.deadline) }

func (sh *shard) slot(r ref) *slot { return &sh.rows.at(uint32(r) - 1).slot }

// find returns the slot and the data of the item under key, or 0.
func (sh *shard) find(key string, hash uint32) (r ref, data []byte) {
	if sh.rows.n == 0 {
		return 0, nil
	}
	for r := *sh.bucket(hash); r != 0; {
		sl := sh.slot(r)
		if sl.hash == hash {
			if k, data := sh.chunks.read(sl.at); string(k) == key {
				return r, data
			}
		}
		r = sl.next
	}
	return 0, nil
}

// add keeps an item under a key that is not in use. large is as for chunks.put.
func (sh *shard) add(key string, hash uint32, sl slot, data, large []byte) {
	sl.hash, sl.at = hash, sh.chunks.put(key, data, large)
	sh.rows.push(row{slot: sl})
	sh.split()
	r := ref(sh.rows.n)
	head := sh.bucket(hash)
	sh.slot(r).next, *head = *head, r
	sh.enqueue(r)
}

// replace keeps other data for the item in slot r.
func (sh *shard) replace(r ref, key string, data, large []byte) {
	old := sh.slot(r).at
	sh.slot(r).at = sh.chunks.put(key, data, large)
	sh.free(old)
}

// drop removes the item in slot r, and moves the last slot there.
func (sh *shard) drop(r ref) {
	if sh.rows.n == 1 {
		sh.rows, sh.queue, sh.chunks = pages[row]{}, pages[due]{}, chunks{}
		return
	}
	at := sh.slot(r).at
	sh.dequeue(r)
	*sh.link(r) = sh.slot(r).next
	if last := ref(sh.rows.n); r != last {
		*sh.link(last) = r
		sl := sh.slot(r)
		*sl = *sh.slot(last)
		sh.queue.at(sl.pos).slot = r
	}
	sh.merge()
	sh.free(at)
}

// free drops a block, and moves some others, if that makes room.
func (sh *shard) free(at address) {
	key, data := sh.chunks.read(at)
	size := blockSize(len(key), len(data))
	sh.chunks.free(at, size)
	for budget := moveFactor * min(size, largeBlock); budget > 0; {
		at, ok := sh.chunks.next()
		if !ok {
			return
		}
		budget -= sh.evacuate(at)
	}
}

// evacuate moves a block, if it is alive, and returns its size.
func (sh *shard) evacuate(at address) int {
	key, data := sh.chunks.read(at)
	size := blockSize(len(key), len(data))
	sh.chunks.from.offset += uint32(size)
	for r := *sh.bucket(sh.hash(key)); r != 0; {
		sl := sh.slot(r)
		if sl.at == at {
			sl.at = sh.chunks.move(at, size)
			break
		}
		r = sl.next
	}
	return size
}

func (sh *shard) hash(key []byte) uint32 { return uint32(maphash.Bytes(sh.seed, key)) }

// bucket returns the head of the chain for a hash. There must be a row.
func (sh *shard) bucket(hash uint32) *ref { return &sh.rows.at(bucketOf(hash, sh.rows.n)).head }

// bucketOf returns the number of the bucket for a hash if there are n: as many
// low bits of the hash as the numbers have, or one less if there is no such
// bucket yet.
func bucketOf(hash, n uint32) uint32 {
	mask := uint32(1)<<bits.Len32(n-1) - 1
	if b := hash & mask; b < n {
		return b
	}
	return hash & (mask >> 1)
}

// split moves to the last bucket, which is new, what belongs there: all of it
// is in one other bucket.
func (sh *shard) split() {
	n := sh.rows.n - 1
	if n == 0 {
		return
	}
	from, to := &sh.rows.at(bucketOf(n, n)).head, &sh.rows.at(n).head
	chain := *from
	*from = 0
	for chain != 0 {
		sl := sh.slot(chain)
		head := from
		if bucketOf(sl.hash, n+1) == n {
			head = to
		}
		chain, sl.next, *head = sl.next, *head, chain
	}
}

// merge removes the last row, whose slot must be free, and moves what is in its
// bucket where it belongs now.
func (sh *shard) merge() {
	n := sh.rows.n - 1
	chain := sh.rows.at(n).head
	sh.rows.pop()
	end := sh.bucket(n)
	for *end != 0 {
		end = &sh.slot(*end).next
	}
	*end = chain
}

// link returns what refers to slot r in the chain of its bucket.
func (sh *shard) link(r ref) *ref {
	at := sh.bucket(sh.slot(r).hash)
	for *at != r {
		at = &sh.slot(*at).next
	}
	return at
}
