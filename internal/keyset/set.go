package keyset

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/instant"
)

// Bounds of a set.
const (
	maxKeys   = 100
	maxPruned = 400 // the oldest are forgotten; a hundred bytes each
)

// Set is the content of a key file: keys in the order in which they were added,
// notes of those that were pruned, the policy that they follow, and the
// generation, which each change of the file raises.
//
// Its methods keep what holds under any policy: history is not rewritten.
// Package rotation says whether a change would log somebody out.
type Set struct {
	keys       []*Key
	pruned     []*Key // without material, the oldest first
	rules      Rules
	settled    bool // the rules are as they are: zeros don't stand for defaults
	generation int64
	changed    bool // write it even if it is the same
}

// NewSet returns a set of keys with different IDs.
func NewSet(keys ...*Key) (*Set, error) {
	s := new(Set)
	for _, k := range keys {
		if err := s.Add(k); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// NewBareSet returns a set of keys that come from no file. There is no policy,
// so keys have no grace, and clocks are taken to agree.
func NewBareSet(keys ...*Key) (*Set, error) {
	s, err := NewSet(keys...)
	if err == nil {
		s.settled = true
	}
	return s, err
}

// Keys returns the keys in the order of the file.
func (s *Set) Keys() []*Key { return slices.Clone(s.keys) }

// Pruned returns notes of the keys that were pruned. With them IDs are not used
// again, and a token of a pruned key is refused as expired or revoked, not as
// one of an unknown key.
func (s *Set) Pruned() []*Key { return slices.Clone(s.pruned) }

// Key returns the key with this ID, or nil.
func (s *Set) Key(id string) *Key { return find(s.keys, id) }

// Any returns the key with this ID, also if it was pruned, or nil.
func (s *Set) Any(id string) *Key { return cmp.Or(s.Key(id), find(s.pruned, id)) }

// Generation is how often the file was written. A Ring refuses to go back.
func (s *Set) Generation() int64 { return s.generation }

// Policy returns the policy of the set, with the defaults in place of zeros;
// the zero Policy if the keys come from no file.
func (s *Set) Policy() Policy { return s.Rules().Policy }

// Rules returns the policy, and what is remembered of the one before it.
func (s *Set) Rules() Rules {
	r := s.rules
	if !s.settled {
		r.Policy = r.WithDefaults()
	}
	return r
}

// Settled returns a copy of the set with the defaults of its policy filled in,
// for a set that is asked for its policy with each token.
func (s *Set) Settled() *Set {
	c := s.Clone()
	c.rules, c.settled = s.Rules(), true
	return c
}

// SetPolicy replaces the policy, if p is valid, and forgets the one before it.
func (s *Set) SetPolicy(p Policy) error { return s.SetRules(Rules{Policy: p}) }

// SetRules replaces the policy, if r is valid.
func (s *Set) SetRules(r Rules) error {
	if err := r.Validate(); err != nil {
		return err
	}
	s.rules = r
	return nil
}

// Clone returns a copy. Keys are immutable, and shared.
func (s *Set) Clone() *Set {
	c := *s
	c.keys, c.pruned = slices.Clone(s.keys), slices.Clone(s.pruned)
	return &c
}

// Changes returns the next instant after now at which a key changes its state
// because of its dates; the zero time if there is none.
func (s *Set) Changes(now time.Time) (first time.Time) {
	for _, k := range s.keys {
		for _, t := range k.dates.all()[1:] { // nothing happens at Created
			if t.After(now) && (first.IsZero() || t.Before(first)) {
				first = *t.Time
			}
		}
	}
	return first
}

// Add appends a key. Key IDs are unique, those of pruned keys included, and a
// set has at most 100 keys.
func (s *Set) Add(k *Key) error {
	switch {
	case k == nil || k.alg.Use() == "" || k.IsPruned():
		return errors.New("keys: not a key")
	case s.Key(k.id) != nil:
		return fmt.Errorf("keys: two keys have the ID %s", k.id)
	case find(s.pruned, k.id) != nil:
		return fmt.Errorf("keys: the ID %s is that of a key that was pruned; it can't come back", k.id)
	case len(s.keys) >= maxKeys:
		return fmt.Errorf("keys: more than %d keys; prune those that have expired", maxKeys)
	}
	s.keys = append(s.keys, k)
	return nil
}

// SetDates moves dates of a key that are in the future at the time now. Those
// that have passed can't change: tokens were signed under them.
func (s *Set) SetDates(id string, d Dates, now time.Time) error {
	return s.change(id, func(k *Key) (*Key, error) {
		if k.revoked != nil {
			return nil, fmt.Errorf("keys: key %s was revoked; its dates mean nothing any more", id)
		}
		d = d.whole()
		is := d.all()
		for i, was := range k.dates.all() {
			if !was.Equal(*is[i].Time) && k.dates.passed(i, now) {
				return nil, fmt.Errorf("keys: key %s: %s has passed, and can't be changed", id, was.name)
			}
		}
		if d == k.dates {
			return k, nil // Update has nothing to write then
		}
		return k.with(d, nil)
	})
}

// Revoke ends all trust in a key, and in the tokens that it has signed. There
// is no way back. The private half is erased. Of a symmetric key only a note
// stays, as if it were pruned.
func (s *Set) Revoke(id string, at time.Time, reason string) error {
	if err := CheckReason(reason); err != nil {
		return err
	}
	if !writable(at) {
		return fmt.Errorf("keys: key %s: the time of the revocation is before 1970 or after 9999", id)
	}
	err := s.change(id, func(k *Key) (*Key, error) {
		if k.revoked != nil {
			return nil, fmt.Errorf("keys: key %s was revoked already", id)
		}
		return k.erased().with(k.dates, &revocation{at: at.Truncate(time.Second).UTC(), reason: reason})
	})
	if err == nil && s.Key(id).IsPruned() {
		s.forget(id)
	}
	return err
}

// Erase removes the private half of a signature key that has ceased to sign at
// the time now. The key can still verify. A symmetric key is not changed: it
// needs its secret for that.
func (s *Set) Erase(id string, now time.Time) error {
	return s.change(id, func(k *Key) (*Key, error) {
		if st := k.State(now); st != Retiring && st != Expired && st != Revoked {
			return nil, fmt.Errorf("keys: key %s is %s: its private half is needed", id, st)
		}
		if k.public == nil || k.Use() != Signature || k.private == nil || k.External() {
			return k, nil
		}
		return k.erased(), nil
	})
}

// Prune removes a key that has expired or was revoked at the time now. A note
// of it stays, see Pruned.
func (s *Set) Prune(id string, now time.Time) error {
	k := s.Key(id)
	if k == nil {
		return fmt.Errorf("%w: %q", ErrUnknownKey, id)
	}
	if st := k.State(now); st != Expired && st != Revoked {
		return fmt.Errorf("keys: key %s is %s: only keys that have expired or were revoked can be pruned", id, st)
	}
	s.forget(id)
	return nil
}

// forget moves a key to those that were pruned.
func (s *Set) forget(id string) {
	i := index(s.keys, id)
	k := s.keys[i]
	s.keys = slices.Delete(s.keys, i, i+1)
	s.pruned = append(s.pruned, &Key{id: id, alg: k.alg, dates: k.dates, revoked: k.revoked, gone: k.erased().gone})
	if len(s.pruned) > maxPruned {
		drop := 0
		if s.pruned[0] == firstUsed(Encryption, time.Unix(instant.MaxSecond, 0), s.pruned) {
			drop = 1 // the first one says since when tokens are encrypted
		}
		s.pruned = slices.Delete(s.pruned, drop, drop+1)
	}
}

// change replaces the key called id by what f makes of it.
func (s *Set) change(id string, f func(*Key) (*Key, error)) error {
	i := index(s.keys, id)
	if i < 0 {
		return fmt.Errorf("%w: %q", ErrUnknownKey, id)
	}
	changed, err := f(s.keys[i])
	if err == nil {
		s.keys[i] = changed
	}
	return err
}

// Map returns a copy of the set with what f makes of each key.
func (s *Set) Map(f func(*Key) (*Key, error)) (*Set, error) {
	c := s.Clone()
	for i, k := range c.keys {
		changed, err := f(k)
		if err != nil {
			return nil, err
		}
		c.keys[i] = changed
	}
	return c, nil
}

// MaxReason is how long the reason of a revocation may be, in bytes.
const MaxReason = 200

// CheckReason refuses what can't be the reason of a revocation.
func CheckReason(reason string) error {
	if len(reason) > MaxReason || !isText([]byte(reason)) {
		return fmt.Errorf("keys: the reason must be text of at most %d bytes", MaxReason)
	}
	return nil
}

func index(keys []*Key, id string) int {
	return slices.IndexFunc(keys, func(k *Key) bool { return k.id == id })
}

func find(keys []*Key, id string) *Key {
	if i := index(keys, id); i >= 0 {
		return keys[i]
	}
	return nil
}
