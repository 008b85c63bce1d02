package rotation

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/instant"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

// A keyState is what rotation needs to know about one key. Steps change
// keyStates only; write brings the changes into the set. So a plan needs no key
// material.
type keyState struct {
	id        string
	alg       keyset.Algorithm
	dates     keyset.Dates
	was       keyset.Dates // before the step; zero if the key is planned
	private   bool         // the file has the private half
	erased    bool         // the file had it; otherwise it may be in a KMS
	planned   bool         // the key does not exist yet
	pruned    bool         // the file keeps only a note of the key
	revoked   bool
	reason    string    // of the revocation
	revokedAt time.Time // zero if the key is not revoked
	erase     bool      // the step erases the private half
	prune     bool      // the step prunes the key

	// make creates a planned key, once its dates are final.
	make func(keyset.Dates) (*keyset.Key, error)
}

func (k *keyState) use() keyset.Use { return k.alg.Use() }

// Life returns what decides whether the key makes tokens, wherever its private
// half is. keyset.Current and its like read it.
func (k *keyState) Life() keyset.Life {
	return keyset.Life{ID: k.id, Algorithm: k.alg, Dates: k.dates, Revoked: k.revoked, Able: !k.pruned && !k.erased}
}

func (k *keyState) state(now time.Time) keyset.State { return k.Life().State(now) }

// open reports whether the key signs without an end.
func (k *keyState) open() bool { return k.dates.SignUntil.IsZero() }

// A planState is the keys of a set at one instant, with the policy, while a
// step or a plan changes them.
type planState struct {
	policy        keyset.Rules
	policyChanged bool
	keys          []*keyState
	now           time.Time           // in whole seconds
	created       time.Time           // when a key created now becomes visible: now, or a second later
	planned       map[keyset.Use]int  // how many keys are planned, which numbers them
	external      map[keyset.Use]bool // external signers hold the private keys, see isExternal
	outages       map[keyset.Use]bool // uses that had no signing key, see markOutages
}

func newPlanState(s *keyset.Set, now time.Time) *planState {
	st := &planState{
		policy: s.Rules(), now: now.Truncate(time.Second),
		planned:  make(map[keyset.Use]int),
		external: make(map[keyset.Use]bool),
		outages:  make(map[keyset.Use]bool),
	}
	if st.created = st.now; st.created.Before(now) {
		st.created = st.created.Add(time.Second) // rounded up: down, its lead would begin too early
	}
	for _, key := range s.Keys() {
		st.keys = append(st.keys, keyStateOf(key))
	}
	for _, key := range s.Pruned() {
		k := keyStateOf(key)
		k.pruned = true
		st.keys = append(st.keys, k)
	}
	for _, use := range keyset.Uses() {
		st.external[use] = st.isExternal(use)
	}
	return st
}

func keyStateOf(key *keyset.Key) *keyState {
	k := &keyState{
		id: key.ID(), alg: key.Algorithm(), dates: key.Dates(), was: key.Dates(),
		private: key.HasPrivate() && !key.External(), erased: key.Erased(),
	}
	k.revokedAt, k.reason, k.revoked = key.Revoked()
	return k
}

// key returns the key with an ID, or nil if there is none.
func (st *planState) key(id string) *keyState {
	for _, k := range st.keys {
		if k.id == id && !k.pruned {
			return k
		}
	}
	return nil
}

func (st *planState) find(id string) (*keyState, error) {
	if k := st.key(id); k != nil {
		return k, nil
	}
	return nil, fmt.Errorf("rotation: %w: %q", keyset.ErrUnknownKey, id)
}

// keysOf returns the keys of a use, in the order of the file.
func (st *planState) keysOf(use keyset.Use) (all []*keyState) {
	for _, k := range st.keys {
		if k.use() == use {
			all = append(all, k)
		}
	}
	return all
}

// successors returns the key of a use that signs now, nil if none does, and in
// order the keys that will sign after it.
func (st *planState) successors(use keyset.Use) (current *keyState, next []*keyState) {
	return keyset.Current(st.keys, use, st.now), keyset.Waiting(st.keys, use, st.now)
}

// signers returns the keys of a use that sign now and later, in order.
func (st *planState) signers(use keyset.Use) []*keyState {
	current, next := st.successors(use)
	if current == nil {
		return next
	}
	return append([]*keyState{current}, next...)
}

// inGrace returns the key of a use that stopped signing last, if its grace is
// not over; otherwise nil. Without a successor, instances still sign with it.
func (st *planState) inGrace(use keyset.Use) *keyState {
	return keyset.InGrace(st.keys, use, st.policy.Grace, st.now)
}

// signer returns the key of a use that signs now, including one in its grace,
// or nil if none does.
func (st *planState) signer(use keyset.Use) *keyState {
	return cmp.Or(keyset.Current(st.keys, use, st.now), st.inGrace(use))
}

// newest returns the key of a use that began to sign last, even if it is
// revoked or pruned now, or nil if none has begun. If there is one, the
// application makes tokens of this use, and having no key is an outage.
func (st *planState) newest(use keyset.Use) (newest *keyState) {
	for _, k := range st.keys {
		begun := k.use() == use && k.dates.Signs() && !st.now.Before(k.dates.SignFrom)
		if begun && (newest == nil || k.dates.SignFrom.After(newest.dates.SignFrom)) {
			newest = k
		}
	}
	return newest
}

// uses returns the uses for which the set has signing keys, or had some. A use
// that only has keys of another system to verify with gets no keys of its own.
func (st *planState) uses() (all []keyset.Use) {
	for _, use := range keyset.Uses() {
		if len(st.signers(use)) > 0 || st.newest(use) != nil {
			all = append(all, use)
		}
	}
	return all
}

// algorithm returns the algorithm for the next key of a use, which is that of
// the key that signs last, or "" if there is none. Withdrawn keys and keys that
// only verify don't count, and revoked keys count only if there are no others.
func (st *planState) algorithm(use keyset.Use) keyset.Algorithm {
	var last keyState
	for _, k := range st.keys {
		if k.use() != use || !k.dates.Signs() || last.alg != "" && k.revoked && !last.revoked {
			continue
		}
		if last.alg == "" || last.revoked && !k.revoked || !k.dates.SignFrom.Before(last.dates.SignFrom) {
			last = *k
		}
	}
	return last.alg
}

// add plans a new key that is published at the instant at.
func (st *planState) add(alg keyset.Algorithm, at time.Time) *keyState {
	use := alg.Use()
	st.planned[use]++
	k := &keyState{
		id: fmt.Sprintf("%s+%d", use, st.planned[use]), alg: alg, private: true, planned: true,
		dates: keyset.Dates{Created: st.created, PublishAt: at, SignFrom: at},
		make:  func(d keyset.Dates) (*keyset.Key, error) { return keyset.Generate(alg, d) },
	}
	if st.external[use] {
		k.make = func(keyset.Dates) (*keyset.Key, error) { return nil, refuseExternal(use) }
	}
	st.keys = append(st.keys, k)
	return k
}

// refuseExternal refuses to create a key in the file for a use whose private
// keys are in a KMS.
func refuseExternal(use keyset.Use) error {
	return fmt.Errorf("%w: the private keys of use %s are not in the file: %s", ErrRefused, use, keyset.Remedy(true, ""))
}

// isExternal reports whether the private halves of the keys that sign now and
// next are in a KMS. If there are no such keys, the one that signed last
// decides. A new key in the file would be less safe than one in the KMS, so
// rotation creates none.
func (st *planState) isExternal(use keyset.Use) bool {
	signers := st.signers(use)
	if len(signers) == 0 {
		k := st.newest(use)
		return k != nil && !k.private && !k.erased && !k.alg.Symmetric()
	}
	return slices.ContainsFunc(signers, func(k *keyState) bool { return !k.private })
}

// wasPublished reports whether the key was published before the step, possibly
// by a clock that is ahead. Until an instance reads this step, or one shortly
// before it, it may sign with such a key.
func (st *planState) wasPublished(k *keyState) bool {
	return !k.planned && !k.was.PublishAt.After(st.now.Add(st.policy.ClockSkew))
}

// published returns the instant from which others can know the key. A key that
// had to sign immediately has a publication date before its creation, see
// backdated.
func (k *keyState) published() time.Time { return instant.Latest(k.dates.PublishAt, k.dates.Created) }

// safeFrom returns the earliest instant at which everybody knows the key, so
// that it may sign.
func (st *planState) safeFrom(k *keyState) time.Time {
	return st.policy.SafeFrom(k.alg, k.published())
}

// write brings the changes into the set, and creates the planned keys.
func (st *planState) write(s *keyset.Set) error {
	for _, k := range st.keys {
		if err := st.writeKey(s, k); err != nil {
			return err
		}
	}
	return nil
}

func (st *planState) writeKey(s *keyset.Set, k *keyState) error {
	if k.planned {
		key, err := k.make(k.dates)
		if err != nil {
			return err
		}
		return s.Add(key)
	}
	key := s.Key(k.id)
	if key == nil {
		return nil // an earlier step pruned it
	}
	if !sameDates(key.Dates(), k.dates) {
		if err := s.SetDates(k.id, k.dates, st.now); err != nil {
			return err
		}
	}
	_, _, was := key.Revoked()
	switch {
	case k.revoked && !was:
		return s.Revoke(k.id, st.now, k.reason)
	case k.prune:
		return s.Prune(k.id, st.now)
	case k.erase:
		return s.Erase(k.id, st.now)
	}
	return nil
}

func sameDates(x, y keyset.Dates) bool {
	return slices.EqualFunc(instants(x), instants(y), time.Time.Equal)
}

// instants returns the dates in the order of a key's life.
func instants(d keyset.Dates) []time.Time {
	return []time.Time{d.Created, d.PublishAt, d.SignFrom, d.SignUntil, d.VerifyUntil}
}
