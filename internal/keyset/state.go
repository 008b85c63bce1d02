package keyset

import (
	"errors"
	"fmt"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/instant"
)

// State is where a key is in its life.
type State uint8

const (
	Staged   State = iota + 1 // not published yet: does nothing
	Pending                   // published, verifies and decrypts, so that instances whose clock is ahead are understood
	Active                    // signs and encrypts too
	Retiring                  // verifies and decrypts
	Expired                   // does nothing any more
	Revoked                   // does nothing any more, whatever its dates say
)

// String returns the state in lower case.
func (s State) String() string {
	if s > Revoked {
		s = 0
	}
	return [...]string{"unknown", "staged", "pending", "active", "retiring", "expired", "revoked"}[s]
}

// trusted reports whether tokens of a key in this state are accepted. Such a
// key is in the public set.
func (s State) trusted() bool {
	return s == Pending || s == Active || s == Retiring
}

// Dates are the instants at which a key changes its state, in whole seconds.
// The zero time means no limit: with zero Dates a key is active for ever.
type Dates struct {
	Created     time.Time // for information
	PublishAt   time.Time // staged before, pending from then on
	SignFrom    time.Time // active from then on
	SignUntil   time.Time // retiring from then on
	VerifyUntil time.Time // expired from then on; needs SignUntil
}

// A revocation says when and why a key was revoked.
type revocation struct {
	at     time.Time // for information: a revoked key is revoked at any time, also before this instant
	reason string    // for people
}

// stateAt computes the state of a key from its dates, its revocation and the
// time. It depends on nothing else. So all instances with the same file agree.
func stateAt(d Dates, revoked bool, now time.Time) State {
	switch {
	case revoked:
		return Revoked
	case now.Before(d.PublishAt):
		return Staged
	case now.Before(d.SignFrom):
		return Pending
	case d.SignUntil.IsZero() || now.Before(d.SignUntil):
		return Active
	case d.VerifyUntil.IsZero() || now.Before(d.VerifyUntil):
		return Retiring
	}
	return Expired
}

// State is the state of a key with these dates at the time now, if it was not
// revoked.
func (d Dates) State(now time.Time) State { return stateAt(d, false, now) }

// A date is one of the Dates, with its name in the key file.
type date struct {
	name string
	*time.Time
}

// firstEnd is the place in all of the first date that ends something. A zero
// end never comes; a zero beginning has passed.
const firstEnd = 3

// all returns the dates in the order in which they must be.
func (d *Dates) all() []date {
	return []date{
		{"created", &d.Created}, {"publish_at", &d.PublishAt}, {"sign_from", &d.SignFrom},
		{"sign_until", &d.SignUntil}, {"verify_until", &d.VerifyUntil},
	}
}

// whole drops fractions of seconds, which the file can't hold.
func (d Dates) whole() Dates {
	for _, t := range d.all() {
		if !t.IsZero() {
			*t.Time = time.Unix(t.Unix(), 0).UTC()
		}
	}
	return d
}

// passed reports whether the i-th of the dates is in the past. The time of
// creation can't change, even if it is in the future.
func (d Dates) passed(i int, now time.Time) bool {
	if t := d.all()[i]; !t.IsZero() {
		return i == 0 || !t.After(now)
	}
	return i < firstEnd
}

// writable reports whether the file can hold t.
func writable(t time.Time) bool { return t.Unix() > 0 && t.Unix() <= instant.MaxSecond }

// Signs reports whether there is a time at which the key signs. There is none
// for a key that was withdrawn before its time, or that only verifies the
// tokens of another system.
func (d Dates) Signs() bool { return d.SignUntil.IsZero() || d.SignUntil.After(d.SignFrom) }

// check refuses dates that are out of order, or that the file can't hold.
func (d Dates) check() error {
	if !d.VerifyUntil.IsZero() && d.SignUntil.IsZero() {
		return errors.New("keys: verify_until without sign_until")
	}
	all := d.all()
	for i, t := range all {
		switch {
		case !t.IsZero() && !writable(*t.Time):
			return errors.New("keys: date before 1970 or after 9999")
		case i < 2, t.IsZero() && i >= firstEnd: // Created is for information
		case t.Before(*all[i-1].Time):
			return fmt.Errorf("keys: %s is before %s", t.name, all[i-1].name)
		}
	}
	return nil
}
