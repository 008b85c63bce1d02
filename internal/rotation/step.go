package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/span"
)

// A Step is something that is done to the keys of a file. The functions that
// return one say what it does; nothing happens before Try or Apply. Errors that wrap [ErrRefused] say why the
// step would do harm; keyset.ErrUnknownKey says that there is no such key.
type Step struct {
	do        func(*book) error
	force     bool
	emergency bool // it is to be done whatever the clock shows
}

// Force returns the step as one that goes on where tokens may be rejected
// although they are valid, because a key is not known everywhere yet, or no key signs. All else stays refused.
func (s Step) Force() Step { s.force = true; return s }

// Try returns what the step would make of the set, which it leaves alone.
func (s Step) Try(before *keyset.Set, now time.Time) (after *keyset.Set, err error) {
	if s.do == nil {
		return nil, errors.New("rotation: the zero Step does nothing")
	}
	b := read(before, now)
	if err := s.do(b); err != nil {
		return nil, err
	}
	after = before.Clone()
	if b.changed {
		if err := after.SetRules(b.policy); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrRefused, err)
		}
	}
	if err := b.write(after); err != nil {
		return nil, err
	}
	if err := check(before, after, now, s); err != nil {
		return nil, err
	}
	return after, nil
}

// Apply takes the step on the keys of a file, under its lock, which it waits for until ctx ends. It
// returns the keys as they were and as they are.
func (s Step) Apply(ctx context.Context, f keyset.File, now time.Time) (before, after *keyset.Set, err error) {
	err = f.Update(ctx, func(set *keyset.Set) error {
		before = set.Clone()
		after, err = s.Try(set, now)
		if err == nil {
			*set, after = *after, set // set gets its generation when it is written
		}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return before, after, nil
}

// New returns the keys of a new file: for each algorithm a key that signs, or
// encrypts, at once, and a standby that follows it. Without algorithms it takes
// the default of each use.
func New(p keyset.Policy, now time.Time, algs ...keyset.Algorithm) (*keyset.Set, error) {
	s := new(keyset.Set)
	if err := s.SetPolicy(p); err != nil {
		return nil, err
	}
	if len(algs) == 0 {
		algs = []keyset.Algorithm{keyset.Signature.Default(), keyset.Encryption.Default()}
	}
	b := read(s, now)
	for _, alg := range algs {
		if alg.Use() == "" {
			return nil, fmt.Errorf("rotation: unknown algorithm %q", string(alg))
		}
		b.arrange(nil, []*record{b.add(alg, b.since()), b.add(alg, b.now)}, b.since())
	}
	if err := b.write(s); err != nil {
		return nil, err
	}
	if err := check(nil, s, now, Step{}); err != nil {
		return nil, err
	}
	return s, nil
}

// IfDue does what the plan says and time has made necessary, and nothing else: it publishes a standby
// where there is none, replaces a key whose time is over, erases the private halves of signature keys that no longer
// sign, and prunes keys that have expired. Take it as often as you like. Where the keys live in a KMS, it makes none: Inspect says
// when the next one has to be brought in.
func IfDue() Step {
	return Step{do: func(b *book) error { b.ifDue(); return nil }}
}

func (b *book) ifDue() {
	b.markOutages()
	for _, use := range b.uses() {
		b.ensure(use)
	}
	b.clean()
}

// changes reports whether anything is to be written.
func (b *book) changes() bool {
	return b.changed || slices.ContainsFunc(b.records, func(r *record) bool {
		return r.planned || r.erase || r.prune || !sameDates(r.was, r.dates)
	})
}

// Rotate lets the standby sign now, ahead of the plan, and publishes the next one. An empty use
// stands for both. Without a standby, one is published, and signs as soon as it may.
func Rotate(use keyset.Use) Step {
	return Step{do: func(b *book) error {
		uses := b.uses()
		if use != "" {
			uses = []keyset.Use{use}
		}
		b.markOutages()
		for _, use := range uses {
			if err := b.rotate(use); err != nil {
				return err
			}
		}
		b.clean()
		return nil
	}}
}

func (b *book) rotate(use keyset.Use) error {
	current, next := b.chain(use)
	switch {
	case current == nil && b.algorithm(use) == "":
		return fmt.Errorf("rotation: there is no key for use %q; add one first: keygen add", string(use))
	case len(next) == 0 && b.outside[use]:
		return notHere(use)
	case current == nil && !b.idle(use): // a recovery
	case len(next) == 0:
		r := b.add(b.algorithm(use), b.now)
		b.arrange(current, []*record{r}, b.safe(r)) // as soon as it may
		return nil
	default:
		b.arrange(current, next, b.now)
	}
	b.ensure(use)
	return nil
}

// Promote lets a key sign now that was to sign later.
func Promote(id string) Step {
	return Step{do: func(b *book) error {
		r, err := b.find(id)
		if err != nil {
			return err
		}
		if s := r.state(b.now); s != keyset.Pending {
			return fmt.Errorf("%w: key %s is %s: only a pending key can be promoted", ErrRefused, id, s)
		}
		b.promote(r, b.now)
		b.ensure(r.use())
		return nil
	}}
}

// promote lets r sign from t on, and the others that wait after it.
func (b *book) promote(r *record, t time.Time) {
	current, next := b.chain(r.use())
	order := []*record{r}
	for _, other := range next {
		if other != r {
			order = append(order, other)
		}
	}
	b.arrange(current, order, t)
}

// Retire lets a key sign no more from now on. Its successor signs instead; what it has signed stays
// good. A key that has not signed yet is withdrawn.
func Retire(id string) Step {
	return Step{do: func(b *book) error {
		r, err := b.find(id)
		if err != nil {
			return err
		}
		current, next := b.chain(r.use())
		switch s := r.state(b.now); {
		case s == keyset.Pending || s == keyset.Staged:
			b.withdraw(r)
		case r != current:
			return fmt.Errorf("%w: key %s is %s, and signs nothing any more", ErrRefused, id, s)
		default:
			if len(next) == 0 {
				next = append(next, b.add(r.alg, b.now))
			}
			b.arrange(r, next, b.now)
		}
		b.ensure(r.use())
		return nil
	}}
}

// withdraw takes a key back that has not begun to sign. If it was published, it verifies on: an instance that has not
// heard of it may still begin.
func (b *book) withdraw(r *record) {
	r.dates.PublishAt = earliest(r.dates.PublishAt, b.now)
	r.dates.SignFrom = b.now
	if b.known(r) {
		b.end(r, b.now)
		return
	}
	r.dates.SignUntil, r.dates.VerifyUntil = b.now, b.now
}

// RevokeOptions are those of Revoke.
type RevokeOptions struct {
	_ [0]func() // no unkeyed literals, no comparison

	Reason string // for people, such as key_compromise; at most 200 bytes

	// Fresh lets a key sign that was never published, in place of the standby. Verifiers that ask for
	// a key set only when they meet an unknown key forget the revoked key with the first new token; those that ask only
	// every so often refuse new tokens until then. See [Exposure].
	Fresh bool
}

// Revoke says that keys are not to be trusted any more, for what they have signed either: sessions in such
// tokens are over. If one of them signs, its standby signs at once. A key that is made in its place has its algorithm, even
// where another was to follow one day: an emergency is no time to change what verifiers expect.
func Revoke(o RevokeOptions, ids ...string) Step {
	return Step{emergency: true, do: func(b *book) error {
		if len(ids) == 0 {
			return errors.New("rotation: Revoke needs the ID of a key")
		}
		var all []*record
		for _, id := range ids {
			r, err := b.find(id)
			if err != nil {
				return err
			}
			if r.revoked || slices.Contains(all, r) {
				return fmt.Errorf("%w: key %s was revoked already", ErrRefused, id)
			}
			all = append(all, r)
		}
		b.revoke(all, o)
		return nil
	}}
}

// RevokeAll revokes every key: the file itself has leaked. Everybody is logged out.
func RevokeAll(reason string) Step {
	return Step{emergency: true, do: func(b *book) error {
		b.revoke(slices.DeleteFunc(slices.Clone(b.records), func(r *record) bool { return r.pruned || r.revoked }), RevokeOptions{Reason: reason})
		return nil
	}}
}

// revoke revokes keys, and sees to it that others of their uses sign.
func (b *book) revoke(all []*record, o RevokeOptions) {
	for _, use := range [...]keyset.Use{keyset.Signature, keyset.Encryption} {
		alg, signer, idle, touched := b.algorithm(use), b.signer(use), b.idle(use), false
		for _, r := range all {
			if r.use() != use {
				continue
			}
			if idle && r.dates.Signs() {
				b.withdraw(r) // by its dates, tokens would be expected to be encrypted soon: Set.UsedSince
			}
			r.revoked, r.reason, r.at, touched = true, o.Reason, b.now, true
		}
		if signer != nil && signer.revoked {
			alg = signer.alg
		}
		if touched && alg != "" {
			b.replace(use, alg, signer, o.Fresh)
		}
	}
}

// replace lets a key sign in place of signer, if that one was revoked.
func (b *book) replace(use keyset.Use, alg keyset.Algorithm, signer *record, fresh bool) {
	current, next := b.chain(use)
	switch {
	case b.idle(use): // nothing was encrypted yet: the next key must be known everywhere first
		if len(next) == 0 {
			r := b.add(alg, b.now)
			b.arrange(nil, []*record{r}, b.safe(r))
		}
		return
	case current != nil || signer == nil || !signer.revoked:
		b.ensure(use)
		return
	case !fresh && len(next) == 0 && b.outside[use]:
		return // the next one can't be made here; whether that may be, check tells
	}
	if fresh || len(next) == 0 || next[0].state(b.now) == keyset.Staged && !b.outside[use] {
		next = append([]*record{b.add(alg, b.since())}, next...)
	}
	from := b.since()
	if last := b.last(use); last != nil {
		from = latest(from, last.dates.SignUntil) // by a clock that is behind, it signs until then
	}
	b.arrange(nil, next, from)
	b.ensure(use)
}

// SetPolicy gives the keys another policy. Dates that are to come follow it, as far as
// that rejects no token. A cache life that is made shorter takes effect when the caches that were filled before have expired.
func SetPolicy(p keyset.Policy) Step {
	return Step{do: func(b *book) error {
		if err := p.Validate(); err != nil {
			return fmt.Errorf("%w: %w", ErrRefused, err)
		}
		p = p.WithDefaults()
		rules := p.Succeeding(b.policy, b.now)
		if lead := rules.SafeFrom(keyset.ES256, b.made).Sub(b.made); p.RotationPeriod < lead {
			return fmt.Errorf("%w: rotation_period %s is shorter than the lead of %s, which keys have as long as caches that were filled under the cache_life of %s live; change cache_life first; earliest safe: %s",
				ErrRefused, span.Format(p.RotationPeriod), span.Format(lead), span.Format(b.policy.CacheLife), stamp(b.made.Add(lead-p.RotationPeriod)))
		}
		if slices.Equal(p.Fields(), b.policy.Fields()) {
			rules = b.policy // what it remembers of slow caches is no change
		}
		b.policy, b.changed = rules, true
		for _, use := range b.uses() {
			b.ensure(use)
			current, next := b.chain(use)
			if current == nil || len(next) == 0 {
				continue
			}
			b.lineUp(current, next, latest(current.dates.SignFrom.Add(b.policy.RotationPeriod), b.now))
		}
		return nil
	}}
}

// Prune removes the keys that have expired or were revoked; a note of each stays. It also erases private
// halves that are needed no more.
func Prune() Step {
	return Step{do: func(b *book) error {
		b.clean()
		for _, r := range b.records {
			r.prune = r.prune || r.revoked && !r.pruned
		}
		return nil
	}}
}

// silent reports whether no key of this use signs, nor is going to.
func (b *book) silent(use keyset.Use) bool {
	current, next := b.chain(use)
	return current == nil && len(next) == 0
}

// markOutages records the uses that have no signing key. A step that recovers
// from an outage doesn't clean up as well: the clock may be wrong, and what has
// been pruned is gone.
func (b *book) markOutages() {
	for _, use := range b.uses() {
		b.outages[use] = b.signer(use) == nil && !b.idle(use)
	}
}

// takenOver reports whether a key of this use signs by every clock.
func (b *book) takenOver(use keyset.Use) bool {
	current, _ := b.chain(use)
	return current != nil && !current.dates.SignFrom.After(b.since())
}

// clean erases private halves that sign no more, also not in their grace, and
// prunes what has expired.
func (b *book) clean() {
	for _, r := range b.records {
		if r.pruned || r.planned || b.outages[r.use()] || r == b.newest(r.use()) && b.silent(r.use()) {
			continue // what is left of the last one says where the next one is to be made, see isExternal
		}
		over := !r.open() && !b.now.Before(b.graceEnd(r)) && b.takenOver(r.use())
		ended := !r.dates.VerifyUntil.IsZero() && !b.now.Before(r.dates.VerifyUntil)
		r.erase = over && r.private && r.use() == keyset.Signature && !r.alg.Symmetric()
		r.prune = ended
	}
}
