package rotation

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/instant"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

// AddOptions are the options of [Add].
type AddOptions struct {
	// PublishAt is when the key is published; if zero, immediately.
	PublishAt time.Time

	// Make returns the key with these dates, for example with keyset.Import.
	// If nil, Add generates a new key.
	Make func(keyset.Dates) (*keyset.Key, error)

	// VerifyOnly is for a key of another system. It verifies or decrypts until
	// the tokens of that system have expired, and never signs.
	VerifyOnly bool
}

// Add adds a key, which signs after all other keys of its use.
func Add(alg keyset.Algorithm, o AddOptions) Step {
	return Step{do: func(st *planState) error {
		if alg.Use() == "" {
			return fmt.Errorf("rotation: unknown algorithm %q", string(alg))
		}
		if err := st.checkListed(alg); err != nil {
			return err
		}
		at := st.now
		if !o.PublishAt.IsZero() {
			at = instant.Latest(at, o.PublishAt.Truncate(time.Second))
		}
		current, next := st.successors(alg.Use())
		k := st.add(alg, at)
		if o.Make != nil {
			k.make = o.Make
		}
		if o.VerifyOnly {
			k.dates.SignUntil, k.dates.VerifyUntil = k.dates.SignFrom, k.dates.SignFrom.Add(st.policy.VerifyOnly())
			return nil
		}
		return st.append(current, next, k)
	}}
}

// listed returns the keys that are in the JWK Set now, or will be.
func (st *planState) listed() []*keyState {
	return slices.DeleteFunc(st.keysOf(keyset.Signature), func(k *keyState) bool {
		return k.alg.Symmetric() || k.pruned || k.revoked || k.state(st.now) == keyset.Expired
	})
}

// maxListed bounds the keys in the JWK Set, because every verifier fetches all
// of them. It leaves room for one key that is added during a rotation, and is
// at least 8, so that keys can be added by hand under any policy.
func (st *planState) maxListed() int { return max(8, st.policy.Listed()+1) }

// checkListed refuses a key that would exceed maxListed.
func (st *planState) checkListed(alg keyset.Algorithm) error {
	listed := st.listed()
	if alg.Use() != keyset.Signature || alg.Symmetric() || len(listed) < st.maxListed() {
		return nil
	}
	var first time.Time
	for _, k := range listed {
		if end := k.dates.VerifyUntil; !end.IsZero() && (first.IsZero() || end.Before(first)) {
			first = end
		}
	}
	return fmt.Errorf("%w: there are %d keys in the JWK Set already, and every verifier has to fetch them; "+
		"earliest safe: %s, when the first of them expires", ErrRefused, len(listed), cmp.Or(date(first), "never"))
}

// append schedules k after all other keys of its use.
func (st *planState) append(current *keyState, next []*keyState, k *keyState) error {
	before := current
	if len(next) > 0 {
		before = next[len(next)-1]
	}
	t := st.safeFrom(k)
	switch {
	case before == nil:
	case before.open():
		t = instant.Latest(t, before.dates.SignFrom.Add(st.policy.RotationPeriod))
	default:
		if last := before.dates.SignUntil.Add(st.policy.RotationPeriod); t.After(last) {
			lead := st.safeFrom(k).Sub(k.published())
			return fmt.Errorf("%w: key %s signs until %s, and would have to go on until %s; "+
				"publish its successor at %s at the latest", ErrRefused, before.id,
				stamp(before.dates.SignUntil), stamp(t), stamp(before.dates.SignUntil.Add(-lead)))
		}
		t = instant.Latest(t, before.dates.SignUntil)
	}
	st.schedule(before, []*keyState{k}, t)
	return nil
}
