package revocation

import (
	"sync"
	"sync/atomic"
)

// never is before every instant, and leaves room for the skew.
const never = -1 << 62

// Instants keeps, for each key, the newest instant at which everything that
// belongs to the key was ended.
type instants struct {
	clock  func() int64 // the present, in milliseconds since 1970
	newest atomic.Int64 // of all, or never
	count  atomic.Int64 // length of marks

	mu      sync.RWMutex // guards what follows; held while an entry joins a batch
	marks   map[key]mark
	pruneAt int   // length of marks at which expired ones are dropped
	kept    stamp // of the last entry here
}

// A mark has no pointers, so the garbage collector doesn't look at it.
type mark struct {
	instant int64 // milliseconds since 1970
	heard   int64 // when this process learned of it, by its own clock; likewise
	until   uint32
	tag     uint32 // of a subject
}

// get returns the instant of k, or never.
func (t *instants) get(k key) int64 { return t.mark(k).instant }

// mark returns the mark of k; its instant is never if there is none.
func (t *instants) mark(k key) mark {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if m, ok := t.marks[k]; ok {
		return m
	}
	return mark{instant: never, heard: never}
}

// raise moves the instant of e's key forward, and hands e to out. If
// newer is set, it returns the instant, given the one in force. It may read the
// clock: the lock is held, so the second of two ends never has the earlier
// instant. The receipt is empty if there is nothing to wait for.
func (t *instants) raise(e entry, newer func(old int64) int64, now uint32, out outlets) (receipt, int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	old, known := t.marks[e.key]
	if !known {
		old.instant = never
	}
	heard := t.clock()
	if newer != nil {
		e.instant = newer(old.instant)
		heard = min(heard, e.instant) // it was made here
	}
	if known && e.instant <= old.instant && uint64(e.until) <= uint64(old.until)+extendBy {
		return out.flush(t.kept), old.instant
	}
	if len(t.marks) >= t.pruneAt {
		t.prune(now)
	}
	r := out.enqueue(e)
	t.kept = r.stamp(t.kept)
	if known && e.instant <= old.instant {
		e.instant, heard = old.instant, old.heard
	}
	t.marks[e.key] = mark{instant: e.instant, heard: heard, until: max(e.until, old.until), tag: e.tag}
	t.count.Store(int64(len(t.marks)))
	t.newest.Store(max(t.newest.Load(), e.instant))
	return r, e.instant
}

// drop drops expired marks.
func (t *instants) drop(now uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.prune(now)
}

// prune drops expired marks. mu is held.
func (t *instants) prune(now uint32) {
	kept := make(map[key]mark) // a new one: a map never shrinks
	for k, m := range t.marks {
		if m.until > now {
			kept[k] = m
		}
	}
	t.marks, t.pruneAt = kept, 2*len(kept)+64
	t.count.Store(int64(len(kept)))
}

// each calls f with every mark that has not expired.
func (t *instants) each(now uint32, f func(k key, m mark)) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for k, m := range t.marks {
		if m.until > now {
			f(k, m)
		}
	}
}
