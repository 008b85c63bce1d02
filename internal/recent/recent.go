// Package recent has a map that forgets what was put into it some time ago.
package recent

import (
	"sync"
	"time"
)

// A Map keeps each value for Period after it was put, and for less than two.
// Reading a value does not prolong that. The zero Map keeps nothing. Methods
// may be called concurrently. The fields must not change after the first use.
//
// It consists of two maps: values are put into one of them, and when that is as
// old as Period, it replaces the other one. So nothing has to be searched for
// what to forget.
type Map[V any] struct {
	Period time.Duration

	// MaxBytes bounds the memory of the values, as their sizes say. Values go
	// sooner if there would be more. 0 means no bound.
	MaxBytes int

	mu         sync.Mutex // guards what follows
	since      time.Time  // when this was begun
	used       int        // bytes of this
	this, last map[string]V
}

// Put keeps a value of that many bytes under key. A value of more than half of
// MaxBytes is not kept.
func (m *Map[V]) Put(key string, value V, bytes int) {
	half := m.MaxBytes / 2
	if m.Period == 0 || m.MaxBytes > 0 && bytes > half {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turn()
	if m.MaxBytes > 0 && m.used+bytes > half {
		m.begin(m.this)
	}
	if m.this == nil {
		m.this = map[string]V{}
	}
	m.this[key] = value
	m.used += bytes
}

// Get returns the value that was put last under key.
func (m *Map[V]) Get(key string) (value V, ok bool) {
	if m.Period == 0 {
		return value, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turn()
	if value, ok = m.this[key]; !ok {
		value, ok = m.last[key]
	}
	return value, ok
}

// Delete forgets the value under key. Its bytes count until the next turn.
func (m *Map[V]) Delete(key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.this, key)
	delete(m.last, key)
}

// turn lets go what is too old.
func (m *Map[V]) turn() {
	switch age := time.Since(m.since); {
	case age >= 2*m.Period:
		m.begin(nil)
	case age >= m.Period:
		m.begin(m.this)
	}
}

func (m *Map[V]) begin(last map[string]V) {
	m.this, m.last, m.used, m.since = nil, last, 0, time.Now()
}
