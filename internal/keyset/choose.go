package keyset

import (
	"cmp"
	"slices"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/instant"
)

// This file has the rules on which key of a use makes new tokens. Rings follow
// them, and so do plans of rotations, whose keys may not exist yet.

// A Life has the facts about a key that these rules need.
type Life struct {
	ID        string
	Algorithm Algorithm
	Dates     Dates
	Revoked   bool
	Able      bool // whether the private key can be used
}

// A Liver is a key, or the plan of one.
type Liver interface {
	comparable
	Life() Life
}

// State is the state of the key at the time now.
func (l Life) State(now time.Time) State { return stateAt(l.Dates, l.Revoked, now) }

// Use says whether the key signs or encrypts.
func (l Life) Use() Use { return l.Algorithm.Use() }

// GraceEnd returns when a key stops signing even if its successor is missing,
// or zero for never.
func (l Life) GraceEnd(grace time.Duration) time.Time {
	d := l.Dates
	switch {
	case d.SignUntil.IsZero():
		return time.Time{}
	case d.VerifyUntil.IsZero():
		return d.SignUntil.Add(grace)
	}
	// The policy may have had a shorter grace when the key ended.
	return instant.Earliest(d.SignUntil.Add(grace), d.VerifyUntil)
}

// Current returns the key of a use that makes new tokens: of those that are
// active, the one that became so last. The zero K means that there is none.
func Current[K Liver](keys []K, use Use, now time.Time) K {
	return last(keys, func(l Life) time.Time { return l.Dates.SignFrom }, func(l Life) bool {
		return l.Use() == use && l.State(now) == Active
	})
}

// InGrace returns the key of a use that ceased to sign last, if that is no
// longer ago than the grace. While no key is active, it goes on making tokens.
func InGrace[K Liver](keys []K, use Use, grace time.Duration, now time.Time) K {
	return last(keys, func(l Life) time.Time { return l.Dates.SignUntil }, func(l Life) bool {
		return l.Use() == use && l.State(now) == Retiring && l.Dates.Signs() && now.Before(l.GraceEnd(grace))
	})
}

// last returns the key with the latest time, of those that can be used and fit.
// Of two with the same time it is the one with the lower ID, so that all
// instances choose the same key.
func last[K Liver](keys []K, at func(Life) time.Time, fits func(Life) bool) (best K) {
	var chosen Life
	for _, k := range keys {
		l := k.Life()
		if l.Able && fits(l) && (chosen.ID == "" || cmp.Or(at(chosen).Compare(at(l)), cmp.Compare(l.ID, chosen.ID)) < 0) {
			best, chosen = k, l
		}
	}
	return best
}

// Waiting returns the keys of a use that have not begun to sign, and will, in
// the order in which they do.
func Waiting[K Liver](keys []K, use Use, now time.Time) (all []K) {
	for _, k := range keys {
		if l := k.Life(); l.Able && l.Use() == use && l.waits(now) {
			all = append(all, k)
		}
	}
	slices.SortStableFunc(all, func(x, y K) int {
		return cmp.Or(x.Life().Dates.SignFrom.Compare(y.Life().Dates.SignFrom), cmp.Compare(x.Life().ID, y.Life().ID))
	})
	return all
}

// waits reports whether the key is going to sign.
func (l Life) waits(now time.Time) bool {
	s := l.State(now)
	return (s == Staged || s == Pending) && l.Dates.Signs()
}

// Life is what decides whether the key makes tokens. A key whose private key an
// external signer holds is able only if that signer is here.
func (k *Key) Life() Life {
	return Life{ID: k.id, Algorithm: k.alg, Dates: k.dates, Revoked: k.revoked != nil, Able: k.private != nil}
}

// Signs returns the key of a use that makes new tokens, or nil, and whether it
// does so in its grace.
func (s *Set) Signs(use Use, now time.Time) (k *Key, inGrace bool) {
	if k := Current(s.keys, use, now); k != nil {
		return k, false
	}
	k = InGrace(s.keys, use, s.Policy().Grace, now)
	return k, k != nil
}

// HasFuture reports whether a key of a use makes tokens or is going to.
func (s *Set) HasFuture(use Use, now time.Time) bool {
	k, _ := s.Signs(use, now)
	return k != nil || len(Waiting(s.keys, use, now)) > 0
}

// LacksSigner reports whether the key signs or is going to, and its private key
// is held by an external signer that is not here.
func (k *Key) LacksSigner(now time.Time) bool {
	l := k.Life()
	return k.Use() == Signature && !l.Able && !k.gone && (l.State(now) == Active || l.waits(now))
}

// UsedSince returns when the first key of a use began to make tokens, and
// whether one has done so before now. It also counts keys that are revoked or
// pruned.
func (s *Set) UsedSince(use Use, now time.Time) (since time.Time, used bool) {
	k := firstUsed(use, now, s.keys, s.pruned)
	if k == nil {
		return time.Time{}, false
	}
	return k.dates.SignFrom, true
}

// firstUsed returns the key of a use that was the first to make tokens.
func firstUsed(use Use, now time.Time, lists ...[]*Key) (first *Key) {
	for _, keys := range lists {
		for _, k := range keys {
			if k.Use() == use && k.began(now) && (first == nil || k.dates.SignFrom.Before(first.dates.SignFrom)) {
				first = k
			}
		}
	}
	return first
}

// began reports whether the key has begun to make tokens: neither withdrawn nor
// revoked before that.
func (k *Key) began(now time.Time) bool {
	from := k.dates.SignFrom
	return k.dates.Signs() && !now.Before(from) && (k.revoked == nil || !k.revoked.at.Before(from))
}
