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

// enter counts a new item of so many bytes. tookPlace says that the item has
// taken the place of the one that it replaces.
func (l *limits) enter(sl *slot, size int64, tookPlace bool) error {
	if err := l.grow(sl.anonymous, size, tookPlace); err != nil {
		return err
	}
	if !tookPlace {
		if err := l.place(sl.anonymous); err != nil {
			_ = l.grow(sl.anonymous, -size, false)
			return err
		}
	}
	sl.placed = true
	l.items.Add(1)
	return nil
}

func (l *limits) place(anonymous bool) error {
	if anonymous && !addWithin(&l.anonymous, 1, l.anonymousPlaces) {
		return full("holds %d sessions without a subject, and takes no more of them: "+
			"raise MaxSessions or AnonymousPercent", l.anonymousPlaces)
	}
	if addWithin(&l.places, 1, l.maxPlaces) {
		return nil
	}
	if anonymous {
		l.anonymous.Add(-1)
	}
	return full("is full with %d sessions: raise MaxSessions", l.maxPlaces)
}

// full says what to do about a limit.
func full(format string, limit int64) error {
	return fmt.Errorf("opaque: the memory store "+format+", or use a store outside this process: %w",
		limit, session.Unavailable)
}

// grow counts n more bytes for an item; n may be negative. A renewal may go
// beyond the limit.
func (l *limits) grow(anonymous bool, n int64, renewal bool) error {
	limit := l.maxBytes
	if renewal {
		limit += limit / renewalShare
	}
	if anonymous && !addWithin(&l.bytesOfAnonymous, n, l.anonymousBytes) {
		return full("holds %d bytes of sessions without a subject, and takes no more of them: "+
			"raise MaxBytes or AnonymousPercent", l.anonymousBytes)
	}
	if addWithin(&l.bytes, n, limit) {
		return nil
	}
	if anonymous {
		l.bytesOfAnonymous.Add(-n)
	}
	return full("is full with %d bytes: raise MaxBytes", l.maxBytes)
}

// leave counts that an item of so many bytes has left the store.
func (l *limits) leave(sl *slot, size int64) {
	_ = l.grow(sl.anonymous, -size, false)
	l.items.Add(-1)
	if !sl.placed {
		return
	}
	l.places.Add(-1)
	if sl.anonymous {
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
	sh, r, _ := s.lock(item.Instead)
	defer sh.mu.Unlock()
	if r == 0 {
		return false
	}
	sl := sh.slot(r)
	if !sl.placed || sl.over() <= now {
		return false
	}
	sl.placed = false
	if sl.anonymous {
		s.limits.anonymous.Add(-1)
	}
	return true
}

// returnPlace undoes takePlace when the store did not take the new item.
func (s *MemoryStore) returnPlace(key string) {
	sh, r, _ := s.lock(key)
	defer sh.mu.Unlock()
	if r == 0 { // it was removed meanwhile, while it had no place
		s.limits.places.Add(-1)
		return
	}
	sl := sh.slot(r)
	sl.placed = true
	if sl.anonymous {
		s.limits.anonymous.Add(1)
	}
}
