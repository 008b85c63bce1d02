package opaque

import (
	"fmt"
	"sync/atomic"

	"github.com/cloakroom-go/cloakroom/session"
)

const (
	defaultAnonymousPercent = 75

	// A renewal may take a sixteenth of MaxBytes beyond it: the marker that it
	// leaves is small, but the old session is only given up once the new one is
	// there.
	renewalShare = 16
)

// limits counts what a store holds, and refuses what is too much.
//
// Each session has a place. A renewal makes a second item for it, and leaves the
// first one as a marker until that is over; both together have one place. So a
// visitor whose session is in a full store can log in.
type limits struct {
	maxPlaces, maxBytes     int64
	anonymousPlaces         int64 // of maxPlaces: what sessions without a subject may take
	anonymousBytes          int64 // of maxBytes, likewise
	items                   atomic.Int64
	places, anonymous       atomic.Int64 // all that are taken; by items without a subject
	bytes, bytesOfAnonymous atomic.Int64 // as MemoryConfig.MaxBytes counts them
}

func (l *limits) set(c MemoryConfig) {
	part := func(n int64) int64 { // without an overflow
		percent := int64(c.AnonymousPercent)
		return max(1, n/100*percent+n%100*percent/100)
	}
	l.maxPlaces, l.maxBytes = int64(c.MaxSessions), c.MaxBytes
	l.anonymousPlaces, l.anonymousBytes = part(l.maxPlaces), part(l.maxBytes)
}

// enter counts a new item. tookPlace says that it has the place of the one that it
// replaces.
func (l *limits) enter(e *entry, tookPlace bool) error {
	if err := l.grow(e, e.size(), tookPlace); err != nil {
		return err
	}
	if !tookPlace {
		if err := l.place(e); err != nil {
			_ = l.grow(e, -e.size(), false)
			return err
		}
	}
	e.placed = true
	l.items.Add(1)
	return nil
}

func (l *limits) place(e *entry) error {
	if e.anonymous && !addWithin(&l.anonymous, 1, l.anonymousPlaces) {
		return fmt.Errorf("opaque: the memory store holds %d sessions without a subject, and takes no more of them: raise MaxSessions or AnonymousPercent, or use a store outside this process: %w", l.anonymousPlaces, session.Unavailable)
	}
	if addWithin(&l.places, 1, l.maxPlaces) {
		return nil
	}
	if e.anonymous {
		l.anonymous.Add(-1)
	}
	return fmt.Errorf("opaque: the memory store is full with %d sessions: raise MaxSessions, or use a store outside this process: %w", l.maxPlaces, session.Unavailable)
}

// grow counts n bytes more for e; a negative n gives them back. A renewal may go
// beyond the limit.
func (l *limits) grow(e *entry, n int64, renewal bool) error {
	limit := l.maxBytes
	if renewal {
		limit += limit / renewalShare
	}
	if e.anonymous && !addWithin(&l.bytesOfAnonymous, n, l.anonymousBytes) {
		return fmt.Errorf("opaque: the memory store holds %d bytes of sessions without a subject, and takes no more of them: raise MaxBytes or AnonymousPercent, or use a store outside this process: %w", l.anonymousBytes, session.Unavailable)
	}
	if addWithin(&l.bytes, n, limit) {
		return nil
	}
	if e.anonymous {
		l.bytesOfAnonymous.Add(-n)
	}
	return fmt.Errorf("opaque: the memory store is full with %d bytes: raise MaxBytes, or use a store outside this process: %w", l.maxBytes, session.Unavailable)
}

// leave gives back all that e takes.
func (l *limits) leave(e *entry) {
	_ = l.grow(e, -e.size(), false)
	l.items.Add(-1)
	if !e.placed {
		return
	}
	l.places.Add(-1)
	if e.anonymous {
		l.anonymous.Add(-1)
	}
}

// crowded reports that no more places may be tookPlace: there are as many items
// without a place as there are places. An account that renews in a loop comes to
// that end.
func (l *limits) crowded() bool { return l.items.Load()-l.places.Load() >= l.maxPlaces }

// addWithin adds n to v, unless n is positive and v would pass limit.
func addWithin(v *atomic.Int64, n, limit int64) bool {
	if n <= 0 {
		v.Add(n)
		return true
	}
	for {
		old := v.Load()
		if n > limit-old {
			return false
		}
		if v.CompareAndSwap(old, old+n) {
			return true
		}
	}
}

// takePlace takes the place of the item that a new one is going to replace. A
// session without a subject yields its place to a login, but not to another one
// without: whoever has no account could pile up items.
func (s *MemoryStore) takePlace(item Item) bool {
	if item.Instead == "" || item.Anonymous || s.limits.crowded() {
		return false
	}
	now := s.now()
	sh := s.shard(item.Instead)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e := sh.items[item.Instead]
	if e == nil || !e.placed || e.over() <= now {
		return false
	}
	e.placed = false
	if e.anonymous {
		s.limits.anonymous.Add(-1)
	}
	return true
}

// returnPlace undoes takePlace: the new item could not be kept.
func (s *MemoryStore) returnPlace(key string) {
	sh := s.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e := sh.items[key]
	if e == nil { // it was removed meanwhile, without a place
		s.limits.places.Add(-1)
		return
	}
	e.placed = true
	if e.anonymous {
		s.limits.anonymous.Add(1)
	}
}
