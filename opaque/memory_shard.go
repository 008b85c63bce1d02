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
// shard has four:
//
//	               hash
//	buckets   [ 2 ][ 0 ][ 1 ]        the first slot of a chain, or 0
//	            │         └───────┐
//	            │      next       │
//	slots     [ 2 ]───────────>[ 3 ]  [ 1 ]   version, times, and where the rest is
//	          at│ │pos
//	            │ └────────┐
//	queue     [ 1 ][ 3 ][ 2 ]        a heap: the slot that expires first is in front
//	            │
//	chunks    [ key data │ key data │ (dead) │ key data │         ]
//
// Buckets, slots and places in the queue are as many as items. A new item
// splits one bucket, and a removed one merges two (linear hashing, W. Litwin,
// VLDB 1980), so that the table grows without a step in which all items move.
// When a slot becomes free, the last one moves there. So each operation touches
// a few items, however many there are.
type shard struct {
	mu      sync.Mutex // guards what follows
	seed    maphash.Seed
	buckets pages[ref]
	slots   pages[slot]
	queue   pages[due]
	chunks  chunks
	_       [24]byte // so that each shard has cache lines of its own
}

// A ref is the number of a slot. The first is 1, and 0 means none.
type ref uint32

// A slot is an item without its key and data. It has 56 bytes.
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

func (sh *shard) slot(r ref) *slot { return sh.slots.at(uint32(r) - 1) }

// find returns the slot and the data of the item under key, or 0.
func (sh *shard) find(key string, hash uint32) (r ref, data []byte) {
	if sh.slots.n == 0 {
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
	sh.split()
	head := sh.bucket(hash)
	sl.hash, sl.next, sl.at = hash, *head, sh.chunks.put(key, data, large)
	sh.slots.push(sl)
	r := ref(sh.slots.n)
	*head = r
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
	if sh.slots.n == 1 {
		sh.buckets, sh.slots, sh.queue, sh.chunks = pages[ref]{}, pages[slot]{}, pages[due]{}, chunks{}
		return
	}
	at := sh.slot(r).at
	sh.dequeue(r)
	*sh.link(r) = sh.slot(r).next
	if last := ref(sh.slots.n); r != last {
		*sh.link(last) = r
		sl := sh.slot(r)
		*sl = *sh.slot(last)
		sh.queue.at(sl.pos).slot = r
	}
	sh.slots.pop()
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

// bucket returns the bucket of a hash. There must be one.
func (sh *shard) bucket(hash uint32) *ref { return sh.buckets.at(bucketOf(hash, sh.buckets.n)) }

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

// split adds a bucket, and moves there what belongs there: all of it is in one
// other bucket.
func (sh *shard) split() {
	n := sh.buckets.n
	sh.buckets.push(0)
	if n == 0 {
		return
	}
	from, to := sh.buckets.at(bucketOf(n, n)), sh.buckets.at(n)
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

// merge removes the last bucket, and moves what is there where it belongs now.
func (sh *shard) merge() {
	n := sh.buckets.n - 1
	chain := *sh.buckets.at(n)
	sh.buckets.pop()
	end := sh.buckets.at(bucketOf(n, n))
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
