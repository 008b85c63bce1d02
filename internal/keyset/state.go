package keyset

import (
	"errors"
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
	switch s {
	case Staged:
		return "staged"
	case Pending:
		return "pending"
	case Active:
		return "active"
	case Retiring:
		return "retiring"
	case Expired:
		return "expired"
	case Revoked:
		return "revoked"
	}
	return "unknown"
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

// stateAt computes the state of a key from its dates, whether it was revoked, and the time.
// It depends on nothing else, so every instance that has the same file comes to the same result.
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

// State is the state of a key with these dates at the time now, if it was not revoked.
func (d Dates) State(now time.Time) State { return stateAt(d, false, now) }

// whole drops fractions of seconds, which the file can't hold.
func (d Dates) whole() Dates {
	for _, t := range d.all() {
		if !t.IsZero() {
			*t = time.Unix(t.Unix(), 0).UTC()
		}
	}
	return d
}

func (d *Dates) all() [5]*time.Time {
	return [...]*time.Time{&d.Created, &d.PublishAt, &d.SignFrom, &d.SignUntil, &d.VerifyUntil}
}

// dateNames names what all returns, as the key file does.
func dateNames() [5]string {
	return [...]string{"created", "publish_at", "sign_from", "sign_until", "verify_until"}
}

// passed reports whether the i-th of the dates lies in the past. One that is
// zero lies there if it begins something, and never if it ends something.
func (d Dates) passed(i int, now time.Time) bool {
	t := *d.all()[i]
	if t.IsZero() {
		return i < 3
	}
	return i == 0 || !t.After(now)
}

// writable reports whether the file can hold t, see seconds.
func writable(t time.Time) bool { return t.Unix() > 0 && t.Unix() <= instant.MaxSecond }

// Signs reports whether there is a time at which the key signs. One that was
// withdrawn before its time has none, nor one that is there to verify the tokens
// of another system.
func (d Dates) Signs() bool { return d.SignUntil.IsZero() || d.SignUntil.After(d.SignFrom) }

// check refuses dates that are out of order, or that the file can't hold.
func (d Dates) check() error {
	for _, t := range d.all() {
		if !t.IsZero() && !writable(*t) {
			return errors.New("keys: date before 1970 or after 9999")
		}
	}
	if !d.VerifyUntil.IsZero() && d.SignUntil.IsZero() {
		return errors.New("keys: verify_until without sign_until")
	}
	if d.SignFrom.Before(d.PublishAt) {
		return errors.New("keys: sign_from is before publish_at")
	}
	if !d.SignUntil.IsZero() && d.SignUntil.Before(d.SignFrom) {
		return errors.New("keys: sign_until is before sign_from")
	}
	if !d.VerifyUntil.IsZero() && d.VerifyUntil.Before(d.SignUntil) {
		return errors.New("keys: verify_until is before sign_until")
	}
	return nil
}

// changes returns the next instant after now at which a state changes because
// of its dates, or the zero time if there is none.
func (d Dates) changes(now time.Time) (next time.Time) {
	for _, t := range [...]time.Time{d.PublishAt, d.SignFrom, d.SignUntil, d.VerifyUntil} {
		if t.After(now) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	return next
}
