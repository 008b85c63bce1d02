package middleware

import "sync"

// timeouts remembers of which sessions something has been told, so that the
// parallel requests of a page don't tell it each: that they are over, or nearly
// full. It keeps the last few thousand session IDs: two sets that take turns.
type timeouts struct {
	mu            sync.Mutex // guards recent and older
	recent, older map[string]struct{}
}

const timeoutsKept = 8192 // IDs in each set

// first reports whether id was not seen before.
func (t *timeouts) first(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.recent[id]; ok {
		return false
	}
	if _, ok := t.older[id]; ok {
		return false
	}
	if t.recent == nil || len(t.recent) >= timeoutsKept {
		t.older, t.recent = t.recent, make(map[string]struct{})
	}
	t.recent[id] = struct{}{}
	return true
}
