package opaque

import (
	"fmt"
	"sync/atomic"

	"github.com/cloakroom-go/cloakroom/session"
)

const (
	defaultAnonymousPercent = 75

	// A renewal may take a sixteenth of MaxBytes beyond it: both sessions are
	// there until the old one is replaced by a small marker.
	renewalShare = 16
)

// limits counts what a store holds, and refuses new items when it is full.
//
// Each session has a place. A renewal makes a second item for the session, and
// the first one becomes a marker until it expires. Both together have one
// place, so a visitor whose session is in a full store can log in.
type limits struct {
	maxPlaces, maxBytes     int64
	anonymousPlaces         int64 // of maxPlaces, for sessions without a subject
	anonymousBytes          int64 // of maxBytes, for sessions without a subject
	items                   atomic.Int64
	places, anonymous       atomic.Int64 // taken places: all, and without a subject
	bytes, bytesOfAnonymous atomic.Int64 // as MemoryConfig.MaxBytes counts them
}

func (l *limits) set(c MemoryConfig) {
	part := func(n int64) int64 { // n*percent/100, which could overflow
		percent := int64(c.AnonymousPercent)
		return max(1, n/100*percent+n%100*percent/100)
	}
	l.maxPlaces, l.maxBytes = int64(c.MaxSessions), c.MaxBytes
	l.anonymousPlaces, l.anonymousBytes = part(l.maxPlaces), part(l.maxBytes)
}

// enter counts a new item. tookPlace says that the item has taken the place of
// the one that it replaces.
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
		return full("holds %d sessions without a subject, and takes no more of them: "+
			"raise MaxSessions or AnonymousPercent", l.anonymousPlaces)
	}
	if addWithin(&l.places, 1, l.maxPlaces) {
		return nil
	}
	if e.anonymous {
		l.anonymous.Add(-1)
	}
	return full("is full with %d sessions: raise MaxSessions", l.maxPlaces)
}

// full says what to do about a limit.
func full(format string, limit int64) error {
	return fmt.Errorf("opaque: the memory store "+format+", or use a store outside this process: %w",
		limit, session.Unavailable)
}

// grow counts n more bytes for e; n may be negative. A renewal may go beyond
// the limit.
func (l *limits) grow(e *entry, n int64, renewal bool) error {
	limit := l.maxBytes
	if renewal {
		limit += limit / renewalShare
	}
	if e.anonymous && !addWithin(&l.bytesOfAnonymous, n, l.anonymousBytes) {
		return full("holds %d bytes of sessions without a subject, and takes no more of them: "+
			"raise MaxBytes or AnonymousPercent", l.anonymousBytes)
	}
	if addWithin(&l.bytes, n, limit) {
		return nil
	}
	if e.anonymous {
		l.bytesOfAnonymous.Add(-n)
	}
	return full("is full with %d bytes: raise MaxBytes", l.maxBytes)
}

// leave counts that e has left the store.
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

// crowded reports that there are as many markers as places may be, so that a
// renewal needs a place of its own. It stops an account that renews in a loop.
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

// takePlace takes the place of the item that a new one is going to replace. An
// anonymous item can't take a place: somebody without an account could pile up
// markers.
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

// returnPlace undoes takePlace when the store did not take the new item.
func (s *MemoryStore) returnPlace(key string) {
	sh := s.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e := sh.items[key]
	if e == nil { // it was removed meanwhile, while it had no place
		s.limits.places.Add(-1)
		return
	}
	e.placed = true
	if e.anonymous {
		s.limits.anonymous.Add(1)
	}
}
