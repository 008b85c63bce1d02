package devices

import (
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// Memory is an [Index] in the memory of this process. Make one with
// [NewMemory].
type Memory struct {
	now    func() time.Time
	seed   maphash.Seed
	shards [64]shard
}

type shard struct {
	mu       sync.Mutex // guards subjects, and what they point to
	subjects map[string]*subject
}

// A subject is what Memory keeps of one.
type subject struct {
	entries map[string]Entry
	instant time.Time // of the last Mark of the whole subject
	until   time.Time // the instant is kept at least until then
}

// instantFor is how long the instant of a Mark is kept. A login that began
// before it is long over by then.
const instantFor = time.Hour

// NewMemory returns an empty index. now is the clock; nil means time.Now.
func NewMemory(now func() time.Time) *Memory {
	if now == nil {
		now = time.Now
	}
	return &Memory{now: now, seed: maphash.MakeSeed()}
}

// Enter implements [Index].
func (m *Memory) Enter(ctx context.Context, of string, e Entry, replaces string, limit int) error {
	return m.change(ctx, of, func(s *subject) error { return s.enter(e, replaces, limit) })
}

// List implements [Index].
func (m *Memory) List(ctx context.Context, of string) (all []Entry, err error) {
	err = m.change(ctx, of, func(s *subject) error {
		for _, e := range s.entries {
			all = append(all, e)
		}
		return nil
	})
	return all, err
}

// Extend implements [Index].
func (m *Memory) Extend(ctx context.Context, of, id string, seenAt, tokenUntil time.Time) (ok bool, err error) {
	err = m.change(ctx, of, func(s *subject) error {
		e, found := s.entries[id]
		if ok = found && !e.Marked; ok {
			e.SeenAt, e.TokenUntil = later(e.SeenAt, seenAt), later(e.TokenUntil, tokenUntil)
			s.entries[id] = e
		}
		return nil
	})
	return ok, err
}

// Mark implements [Index].
func (m *Memory) Mark(ctx context.Context, of, id string, until time.Time) (marked []Entry, err error) {
	err = m.change(ctx, of, func(s *subject) error {
		if id == "" {
			s.instant, s.until = later(s.instant, until), m.now().Add(instantFor)
		}
		for of, e := range s.entries {
			e.Marked = e.Marked || of == id || id == "" && !e.CountsFrom.After(until)
			s.entries[of] = e
			if e.Marked && (id == "" || of == id) {
				marked = append(marked, e)
			}
		}
		return nil
	})
	return marked, err
}

// Leave implements [Index].
func (m *Memory) Leave(ctx context.Context, of, id string, keys ...string) error {
	return m.change(ctx, of, func(s *subject) error {
		e := s.entries[id]
		e.Keys = slices.DeleteFunc(slices.Clone(e.Keys), func(key string) bool { return slices.Contains(keys, key) })
		if len(e.Keys) == 0 || len(keys) == 0 {
			delete(s.entries, id)
			return nil
		}
		s.entries[id] = e
		return nil
	})
}

// change calls f with what is kept of a subject, under the lock. It also looks
// at a few other subjects, so that those that are over don't stay for ever.
func (m *Memory) change(ctx context.Context, of string, f func(*subject) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("devices: %w: %w", err, session.Unavailable)
	}
	sh := &m.shards[maphash.String(m.seed, of)%uint64(len(m.shards))]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	now, looked := m.now(), 0
	for name, s := range sh.subjects { // in a random order
		if s.isOver(now) {
			delete(sh.subjects, name)
		}
		if looked++; looked == 4 {
			break
		}
	}
	s := sh.subjects[of]
	if s == nil {
		s = &subject{entries: make(map[string]Entry)}
	}
	s.isOver(now)
	err := f(s)
	switch {
	case s.isOver(now):
		delete(sh.subjects, of)
	case sh.subjects == nil:
		sh.subjects = map[string]*subject{of: s}
	default:
		sh.subjects[of] = s
	}
	return err
}

// isOver drops the entries that are over, and reports whether nothing is left.
func (s *subject) isOver(now time.Time) bool {
	for id, e := range s.entries {
		if !now.Before(e.Until) {
			delete(s.entries, id)
		}
	}
	return len(s.entries) == 0 && !now.Before(s.until)
}

func (s *subject) enter(e Entry, replaces string, limit int) error {
	old, known := s.entries[e.ID]
	switch {
	case !s.instant.IsZero() && !e.CountsFrom.After(s.instant):
		return fmt.Errorf("devices: all sessions of the subject were ended: %w", session.Ended)
	case old.Marked:
		return fmt.Errorf("devices: the session was ended: %w", session.Ended)
	case !known && len(s.entries) >= limit:
		return fmt.Errorf("devices: the subject has %d sessions: %w", len(s.entries), session.TooMany)
	}
	keys := old.Keys
	if i := slices.Index(keys, replaces); i >= 0 {
		keys = keys[i:]
	}
	keys = slices.Clone(keys)
	for _, key := range e.Keys {
		if !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	if len(keys) > MaxKeys {
		return fmt.Errorf("devices: the session is being renewed too often at once: %w", session.Conflict)
	}
	e.Keys = keys
	e.CountsFrom, e.SeenAt = later(e.CountsFrom, old.CountsFrom), later(e.SeenAt, old.SeenAt)
	e.TokenUntil, e.Until = later(e.TokenUntil, old.TokenUntil), later(e.Until, old.Until)
	s.entries[e.ID] = e
	return nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
