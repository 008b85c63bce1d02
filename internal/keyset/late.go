package keyset

import (
	"fmt"
	"time"
)

// An Outlook says whether a use of keys has, and will have, a key that makes
// new tokens.
type Outlook uint8

const (
	Supplied Outlook = iota // a key makes tokens, and another follows in time
	RunsOut                 // a key makes tokens, not for long, and none follows
	Relieved                // a key goes on in its grace until its successor begins
	Overrun                 // a key goes on in its grace, and none follows
	Empty                   // no key makes tokens
)

// Judge returns the outlook of a use, the ID of the key that makes its tokens,
// and what is wrong and what to do. External says that an external signer holds
// the private keys.
//
// A successor is missed from two leads or a tenth of the rotation period before
// the end, whichever is longer: it needs one lead to be known, and the operator
// some time to see to it.
func Judge[K Liver](keys []K, use Use, p Policy, external bool, now time.Time) (o Outlook, id string, problem error) {
	var none K
	if k := Current(keys, use, now); k != none {
		l := k.Life()
		end, notice := l.Dates.SignUntil, max(2*p.Lead(l.Algorithm), p.RotationPeriod/10)
		noEnd := end.IsZero() || p.RotationPeriod == 0 // without a policy, nothing is planned
		if noEnd || now.Before(end.Add(-notice)) || Current(keys, use, end) != none {
			return Supplied, l.ID, nil
		}
		return RunsOut, l.ID, fmt.Errorf("keys: key %s (%s) signs until %s, and no standby is there to follow it; %s",
			l.ID, use, end.Format(time.RFC3339), Remedy(external, "run: keygen rotate --if-due"))
	}
	remedy := Remedy(external, "run: keygen rotate")
	k := InGrace(keys, use, p.Grace, now)
	if k == none {
		return Empty, "", noneActive(keys, use, remedy, now)
	}
	l := k.Life()
	o, end := Overrun, l.GraceEnd(p.Grace)
	if next := Waiting(keys, use, now); len(next) > 0 && !next[0].Life().Dates.SignFrom.After(end) {
		o, end = Relieved, next[0].Life().Dates.SignFrom
		remedy = fmt.Sprintf("then key %s takes over", next[0].Life().ID)
	}
	return o, l.ID, fmt.Errorf("keys: key %s (%s) should have been replaced at %s, and goes on in its grace until %s; %s",
		l.ID, use, l.Dates.SignUntil.Format(time.RFC3339), end.Format(time.RFC3339), remedy)
}

// Remedy returns what to do when a key is missing. Only the operator can create
// one that an external signer holds; otherwise a command does.
func Remedy(external bool, command string) string {
	if external {
		return "make the next one where the private keys are, and bring its public half in: keygen import --external"
	}
	return command
}

// noneActive says what to do about a use that has no active key. If one is
// going to be active, the clock may be behind: so it is with the first key of a
// new file.
func noneActive[K Liver](keys []K, use Use, remedy string, now time.Time) error {
	does := map[Use]string{Signature: "signs", Encryption: "encrypts"}[use]
	if next := Waiting(keys, use, now); len(next) > 0 {
		l := next[0].Life()
		return fmt.Errorf("%w that %s: key %s does from %s on; set the clock if it is behind, else %s",
			ErrNoActiveKey, does, l.ID, l.Dates.SignFrom.UTC().Format(time.RFC3339), remedy)
	}
	return fmt.Errorf("%w that %s; %s", ErrNoActiveKey, does, remedy)
}

// Problem returns what is wrong with the key that makes new tokens of a use. A
// use in which no key has ever encrypted needs none.
func (s *Set) Problem(use Use, now time.Time) error {
	k, _ := s.Signs(use, now)
	if _, used := s.UsedSince(use, now); k == nil && use == Encryption && !used {
		return nil
	}
	_, _, problem := Judge(s.keys, use, s.Policy(), k != nil && k.External(), now)
	return problem
}
