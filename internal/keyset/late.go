package keyset

import (
	"fmt"
	"slices"
	"time"
)

// Problem returns what is wrong with the key that makes new tokens.
func (s *Set) Problem(use Use, now time.Time) error {
	k, overrun := s.Signs(use, now)
	switch {
	case overrun:
		end := k.dates.SignUntil
		return fmt.Errorf("keys: key %s (%s) should have been replaced at %s, and goes on in its grace until %s; run: keygen rotate",
			k.id, use, end.Format(time.RFC3339), end.Add(s.Policy().Grace).Format(time.RFC3339))
	case k == nil && use == Encryption:
		if _, used := s.UsedSince(use, now); !used {
			return nil // tokens need not be encrypted
		}
		return s.NoneActive(use, now)
	case k == nil:
		return s.NoneActive(use, now)
	case k != nil && s.runsOut(k, now):
		return fmt.Errorf("keys: key %s (%s) signs until %s, and no other is published to follow it; run: keygen rotate --if-due",
			k.id, use, k.dates.SignUntil.Format(time.RFC3339))
	}
	return nil
}

// runsOut reports whether a key that makes new tokens ends so soon that its
// successor should have been published already.
func (s *Set) runsOut(k *Key, now time.Time) bool {
	p, end := s.Policy(), k.dates.SignUntil
	if end.IsZero() || p.RotationPeriod == 0 || now.Before(end.Add(-max(2*p.Lead(k.alg), p.RotationPeriod/10))) {
		return false
	}
	return !slices.ContainsFunc(s.keys, func(next *Key) bool {
		d := next.dates
		return next.Use() == k.Use() && next.id != k.id && next.State(now).trusted() &&
			d.Signs() && !d.SignFrom.After(end) && (d.SignUntil.IsZero() || d.SignUntil.After(end))
	})
}
