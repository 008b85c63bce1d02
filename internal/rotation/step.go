package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/instant"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/span"
)

// A Step is one change to the keys of a file, such as a rotation or a
// revocation. The function that returns it only describes it; Try or Apply
// carries it out. Errors that wrap [ErrRefused] say what harm the step would
// do; keyset.ErrUnknownKey means that no key has the ID.
type Step struct {
	do        func(*planState) error
	condition func(*keyset.Set) error // if not nil, its error refuses the step
	force     bool
	emergency bool // a wrong clock must not prevent it
	newFile   bool // nobody has tokens yet, so its keys sign immediately
}

// Force returns the step as one that may make verifiers reject valid tokens,
// because a key is not known everywhere yet, or no key signs. Everything else
// is still refused.
func (s Step) Force() Step { s.force = true; return s }

// OnlyIf returns the step as one that is taken only if condition returns nil
// for the keys before the step. Apply asks it under the lock of the file.
func (s Step) OnlyIf(condition func(*keyset.Set) error) Step { s.condition = condition; return s }

// All returns a step that takes several in their order, or none. What comes of
// them is checked as a whole, so Force and OnlyIf belong on the whole too:
// those of a part don't count.
func All(steps ...Step) Step {
	return Step{do: func(st *planState) error {
		for _, s := range steps {
			if err := s.do(st); err != nil {
				return err
			}
		}
		return nil
	}}
}

// Try returns what the step would make of the set, and leaves the set
// unchanged.
func (s Step) Try(before *keyset.Set, now time.Time) (after *keyset.Set, err error) {
	if s.do == nil {
		return nil, errors.New("rotation: the zero Step does nothing")
	}
	if s.condition != nil {
		if err := s.condition(before); err != nil {
			return nil, err
		}
	}
	st := newPlanState(before, now)
	if err := s.do(st); err != nil {
		return nil, err
	}
	after = before.Clone()
	if st.policyChanged {
		if err := after.SetRules(st.policy); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrRefused, err)
		}
	}
	if err := st.write(after); err != nil {
		return nil, err
	}
	if err := check(before, after, now, s); err != nil {
		return nil, err
	}
	return after, nil
}

// Apply takes the step on the keys of a file. It holds the lock of the file
// meanwhile, and waits for the lock until ctx ends. It returns the keys as they
// were and as they are.
func (s Step) Apply(ctx context.Context, f keyset.File, now time.Time) (before, after *keyset.Set, err error) {
	err = f.Update(ctx, func(set *keyset.Set) error {
		before = set.Clone()
		after, err = s.Try(set, now)
		if err == nil {
			*set, after = *after, set // writing gives set its generation, and after is to show it
		}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return before, after, nil
}

// New returns the keys of a new file: for each algorithm one key that signs or
// encrypts immediately, and a standby that follows it. Without algorithms it
// uses the default of each use.
func New(p keyset.Policy, now time.Time, algs ...keyset.Algorithm) (*keyset.Set, error) {
	s := new(keyset.Set)
	if err := s.SetPolicy(p); err != nil {
		return nil, err
	}
	if len(algs) == 0 {
		algs = []keyset.Algorithm{keyset.Signature.Default(), keyset.Encryption.Default()}
	}
	return Step{newFile: true, do: func(st *planState) error {
		for _, alg := range algs {
			if alg.Use() == "" {
				return fmt.Errorf("rotation: unknown algorithm %q", string(alg))
			}
			st.schedule(nil, []*keyState{st.add(alg, st.backdated()), st.add(alg, st.now)}, st.backdated())
		}
		return nil
	}}.Try(s, now)
}

// IfDue does what is due, and nothing else: it publishes a standby where none
// is, replaces a key that has reached its end, erases the private halves of
// signature keys that no longer sign, and prunes keys that have expired. It is
// safe to take at any time, however often. Where the keys live in a KMS it
// creates none, because only the KMS can; Inspect says when the next one is
// needed.
func IfDue() Step {
	return Step{do: func(st *planState) error { st.ifDue(); return nil }}
}

func (st *planState) ifDue() {
	st.markOutages()
	for _, use := range st.uses() {
		st.ensureSigner(use)
	}
	st.cleanUp()
}

// Rotate makes the standby sign now, ahead of the plan, and publishes the next
// standby. An empty use means both uses. If there is no standby, Rotate
// publishes one, which signs as soon as everybody knows it.
func Rotate(use keyset.Use) Step {
	return Step{do: func(st *planState) error {
		uses := st.uses()
		if use != "" {
			uses = []keyset.Use{use}
		}
		st.markOutages()
		for _, use := range uses {
			if err := st.rotate(use); err != nil {
				return err
			}
		}
		st.cleanUp()
		return nil
	}}
}

func (st *planState) rotate(use keyset.Use) error {
	current, next := st.successors(use)
	switch {
	case current == nil && st.algorithm(use) == "":
		return fmt.Errorf("rotation: there is no key for use %q; add one first: keygen add", string(use))
	case len(next) == 0 && st.external[use]:
		return refuseExternal(use)
	case current == nil && !st.unneeded(use): // ensureSigner recovers
	case len(next) == 0:
		k := st.add(st.algorithm(use), st.now)
		st.schedule(current, []*keyState{k}, st.safeFrom(k)) // as soon as everybody knows it
		return nil
	default:
		st.schedule(current, next, st.now)
	}
	st.ensureSigner(use)
	return nil
}

// Promote makes a key sign now that was to sign later.
func Promote(id string) Step {
	return Step{do: func(st *planState) error {
		k, err := st.find(id)
		if err != nil {
			return err
		}
		if s := k.state(st.now); s != keyset.Pending {
			return fmt.Errorf("%w: key %s is %s: only a pending key can be promoted", ErrRefused, id, s)
		}
		current, next := st.successors(k.use())
		others := slices.DeleteFunc(next, func(other *keyState) bool { return other == k })
		st.schedule(current, append([]*keyState{k}, others...), st.now)
		st.ensureSigner(k.use())
		return nil
	}}
}

// Retire makes a key stop signing now. Its successor signs instead, and the
// tokens that it signed stay valid. A key that has not signed yet is withdrawn.
func Retire(id string) Step {
	return Step{do: func(st *planState) error {
		k, err := st.find(id)
		if err != nil {
			return err
		}
		current, next := st.successors(k.use())
		switch s := k.state(st.now); {
		case s == keyset.Pending || s == keyset.Staged:
			st.withdraw(k)
		case k != current:
			return fmt.Errorf("%w: key %s is %s, and signs nothing any more", ErrRefused, id, s)
		default:
			if len(next) == 0 {
				next = append(next, st.add(k.alg, st.now))
			}
			st.schedule(k, next, st.now)
		}
		st.ensureSigner(k.use())
		return nil
	}}
}

// withdraw ends a key that has not begun to sign. A published key goes on
// verifying for a while, because an instance that has not read this step may
// still begin to sign with it.
func (st *planState) withdraw(k *keyState) {
	k.dates.PublishAt = instant.Earliest(k.dates.PublishAt, st.now)
	k.dates.SignFrom = st.now
	if st.wasPublished(k) {
		st.signUntil(k, st.now)
		return
	}
	k.dates.SignUntil, k.dates.VerifyUntil = st.now, st.now
}

// RevokeOptions are the options of [Revoke].
type RevokeOptions struct {
	Reason string // for people, such as key_compromise; at most 200 bytes

	// Fresh makes a new key sign, which was never published, instead of the
	// standby. Verifiers that fetch the key set only when they meet an unknown
	// key forget the revoked key with the first new token. Verifiers that fetch
	// it only at intervals refuse new tokens until then. Package exposure
	// reports for how long.
	Fresh bool
}

// Revoke ends all trust in keys, also for what they have already signed:
// sessions in such tokens are over. If one of the keys signs, its standby takes
// over immediately. A key that has to be created for that has the algorithm of
// the revoked one, even where the plan changes the algorithm later: an
// emergency is no time to change what verifiers expect.
func Revoke(o RevokeOptions, ids ...string) Step {
	return Step{emergency: true, do: func(st *planState) error {
		if len(ids) == 0 {
			return errors.New("rotation: Revoke needs the ID of a key")
		}
		var all []*keyState
		for _, id := range ids {
			k, err := st.find(id)
			if err != nil {
				return err
			}
			if k.revoked || slices.Contains(all, k) {
				return fmt.Errorf("%w: key %s was revoked already", ErrRefused, id)
			}
			all = append(all, k)
		}
		st.revoke(all, o)
		return nil
	}}
}

// RevokeAll revokes every key, because the file itself has leaked. It logs
// everybody out.
func RevokeAll(reason string) Step {
	return Step{emergency: true, do: func(st *planState) error {
		trusted := slices.DeleteFunc(slices.Clone(st.keys), func(k *keyState) bool { return k.pruned || k.revoked })
		st.revoke(trusted, RevokeOptions{Reason: reason})
		return nil
	}}
}

// revoke revokes keys, and makes others of their uses sign.
func (st *planState) revoke(all []*keyState, o RevokeOptions) {
	for _, use := range keyset.Uses() {
		alg, signer, unneeded, touched := st.algorithm(use), st.signer(use), st.unneeded(use), false
		for _, k := range all {
			if k.use() != use {
				continue
			}
			if unneeded && k.dates.Signs() {
				st.withdraw(k) // or Set.UsedSince would demand encrypted tokens from its SignFrom on
			}
			k.revoked, k.reason, k.revokedAt, touched = true, o.Reason, st.now, true
		}
		if signer != nil && signer.revoked {
			alg = signer.alg
		}
		if touched && alg != "" {
			st.replace(use, alg, signer, o.Fresh)
		}
	}
}

// replace makes a key sign in place of signer, if the step has revoked that
// one.
func (st *planState) replace(use keyset.Use, alg keyset.Algorithm, signer *keyState, fresh bool) {
	current, next := st.successors(use)
	switch {
	case st.unneeded(use): // nothing is encrypted yet, so the next key can wait until everybody knows it
		if len(next) == 0 {
			k := st.add(alg, st.now)
			st.schedule(nil, []*keyState{k}, st.safeFrom(k))
		}
		return
	case current != nil || signer == nil || !signer.revoked:
		st.ensureSigner(use)
		return
	case !fresh && len(next) == 0 && st.external[use]:
		return // the next key can't be created here; check decides whether the use may go without
	}
	if fresh || len(next) == 0 || next[0].state(st.now) == keyset.Staged && !st.external[use] {
		next = append([]*keyState{st.add(alg, st.backdated())}, next...)
	}
	from := st.backdated()
	if last := st.inGrace(use); last != nil {
		from = instant.Latest(from, last.dates.SignUntil) // an instance whose clock is behind still signs with it
	}
	st.schedule(nil, next, from)
	st.ensureSigner(use)
}

// SetPolicy changes the policy of the keys. Dates in the future follow it as
// far as that rejects no token. A shorter cache_life takes effect only when the
// caches that were filled before have expired. change runs under the lock of
// the file, so a field that it leaves alone keeps what another process has just
// set.
func SetPolicy(change func(*keyset.Policy)) Step {
	return Step{do: func(st *planState) error {
		p := st.policy.Policy
		change(&p)
		if err := p.Validate(); err != nil {
			return fmt.Errorf("%w: %w", ErrRefused, err)
		}
		p = p.WithDefaults()
		rules := p.Succeeding(st.policy, st.now)
		if lead := rules.SafeFrom(keyset.ES256, st.created).Sub(st.created); p.RotationPeriod < lead {
			return fmt.Errorf("%w: rotation_period %s is shorter than the lead of %s, which keys have as long as "+
				"caches that were filled under the cache_life of %s live; change cache_life first; earliest safe: %s", ErrRefused,
				span.Format(p.RotationPeriod), span.Format(lead), span.Format(st.policy.CacheLife),
				stamp(st.created.Add(lead-p.RotationPeriod)))
		}
		if slices.Equal(p.Fields(), st.policy.Fields()) {
			rules = st.policy // otherwise the note about slow caches would count as a change
		}
		st.policy, st.policyChanged = rules, true
		for _, use := range st.uses() {
			st.ensureSigner(use)
			current, next := st.successors(use)
			if current == nil || len(next) == 0 {
				continue
			}
			st.handOver(current, next, instant.Latest(current.dates.SignFrom.Add(st.policy.RotationPeriod), st.now))
		}
		return nil
	}}
}

// Prune removes the keys that have expired or were revoked, and keeps a note of
// each. It also erases private halves that are no longer needed.
func Prune() Step {
	return Step{do: func(st *planState) error {
		st.cleanUp()
		for _, k := range st.keys {
			k.prune = k.prune || k.revoked && !k.pruned
		}
		return nil
	}}
}

// markOutages marks the uses that have no signing key. A step that recovers
// from an outage doesn't clean up as well: the clock may be wrong, and what has
// been pruned is gone.
func (st *planState) markOutages() {
	for _, use := range st.uses() {
		st.outages[use] = st.signer(use) == nil && !st.unneeded(use)
	}
}

// cleanUp erases private halves that no longer sign, even in their grace, and
// prunes keys that have expired.
func (st *planState) cleanUp() {
	for _, k := range st.keys {
		// The last key of a use stays, because it says where to create the next
		// one, see isExternal.
		isLast := k == st.newest(k.use()) && len(st.signers(k.use())) == 0
		if k.pruned || k.planned || st.outages[k.use()] || isLast {
			continue
		}
		// A clock that is behind may still see k sign, until its successor has
		// signed for a clock_skew.
		current, _ := st.successors(k.use())
		replaced := current != nil && !current.dates.SignFrom.After(st.backdated())
		done := replaced && !k.open() && !st.now.Before(st.graceEnd(k))
		k.erase = done && k.private && k.use() == keyset.Signature && !k.alg.Symmetric()
		k.prune = !k.dates.VerifyUntil.IsZero() && !st.now.Before(k.dates.VerifyUntil)
	}
}
