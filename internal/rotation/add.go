package rotation

import (
	"fmt"
	"slices"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

// AddOptions are those of Add.
type AddOptions struct {
	_ [0]func() // no unkeyed literals, no comparison

	// PublishAt is when the key becomes known; if zero, at once.
	PublishAt time.Time

	// Make makes the key with these dates, such as one from elsewhere with
	// keyset.Import; if nil, a new one is generated.
	Make func(keyset.Dates) (*keyset.Key, error)

	// VerifyOnly is for a key of another system: it verifies, or decrypts, until the tokens of that system
	// have ended, and never signs.
	VerifyOnly bool
}

// Add adds a key, which signs after all others of its use.
func Add(alg keyset.Algorithm, o AddOptions) Step {
	return Step{do: func(b *book) error {
		if alg.Use() == "" {
			return fmt.Errorf("rotation: unknown algorithm %q", string(alg))
		}
		if err := b.room(alg); err != nil {
			return err
		}
		at := b.now
		if !o.PublishAt.IsZero() {
			at = latest(at, o.PublishAt.Truncate(time.Second))
		}
		current, next := b.chain(alg.Use())
		r := b.add(alg, at)
		if o.Make != nil {
			r.make = o.Make
		}
		if o.VerifyOnly {
			r.dates.SignUntil, r.dates.VerifyUntil = r.dates.SignFrom, r.dates.SignFrom.Add(b.policy.VerifyOnly())
			return nil
		}
		return b.append(current, next, r)
	}}
}

// listed returns the keys that are in the JWK Set now, or will be.
func (b *book) listed() []*record {
	return slices.DeleteFunc(b.usesOf(keyset.Signature), func(r *record) bool {
		return r.alg.Symmetric() || r.pruned || r.revoked || r.state(b.now) == keyset.Expired
	})
}

// maxListed is how many keys may be in the JWK Set: verifiers fetch all of them. There is room for one that is added in a
// rotation that goes on.
func (b *book) maxListed() int { return max(8, b.policy.Listed()+1) }

// room refuses one key more than there may be.
func (b *book) room(alg keyset.Algorithm) error {
	listed := b.listed()
	if alg.Use() != keyset.Signature || alg.Symmetric() || len(listed) < b.maxListed() {
		return nil
	}
	var first time.Time
	for _, r := range listed {
		if end := r.dates.VerifyUntil; !end.IsZero() && (first.IsZero() || end.Before(first)) {
			first = end
		}
	}
	return fmt.Errorf("%w: there are %d keys in the JWK Set already, and every verifier has to fetch them; earliest safe: %s, when the first of them expires", ErrRefused, len(listed), or(date(first), "never"))
}

// append lets r sign when all others have.
func (b *book) append(current *record, next []*record, r *record) error {
	before := current
	if len(next) > 0 {
		before = next[len(next)-1]
	}
	t := b.safe(r)
	switch {
	case before == nil:
	case before.open():
		t = latest(t, before.dates.SignFrom.Add(b.policy.RotationPeriod))
	default:
		if last := before.dates.SignUntil.Add(b.policy.RotationPeriod); t.After(last) {
			return fmt.Errorf("%w: key %s signs until %s, and would have to go on until %s; publish its successor at %s at the latest", ErrRefused, before.id, stamp(before.dates.SignUntil), stamp(t), stamp(before.dates.SignUntil.Add(r.published().Sub(b.safe(r)))))
		}
		t = latest(t, before.dates.SignUntil)
	}
	b.arrange(before, []*record{r}, t)
	return nil
}
