package rotation

import (
	"slices"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/instant"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

// maxWaiting bounds how many keys of a use wait to sign, so that fillGap does
// not fill the file with keys when the next one is published years from now.
const maxWaiting = 20

// signUntil makes k stop signing at t, and stop verifying when its last token
// has expired. A key that was published under a policy with longer tokens keeps
// its longer time: it may have signed some of them.
func (st *planState) signUntil(k *keyState, t time.Time) {
	verify := st.policy.VerifyOnly()
	if was := k.was; !was.VerifyUntil.IsZero() && st.wasPublished(k) {
		verify = max(verify, was.VerifyUntil.Sub(was.SignUntil))
	}
	k.dates.SignUntil, k.dates.VerifyUntil = t, t.Add(verify)
	if st.mayHaveEnded(k) {
		k.dates.VerifyUntil = instant.Latest(k.dates.VerifyUntil, k.was.VerifyUntil)
	}
}

// mayHaveEnded reports whether k may have stopped signing already by a clock
// that is ahead. Its tokens then count from that instant, so its trust must not
// end earlier than planned.
func (st *planState) mayHaveEnded(k *keyState) bool {
	return !k.was.SignUntil.IsZero() && !k.was.SignUntil.After(st.now.Add(st.policy.ClockSkew))
}

// schedule makes the keys of a use sign one after the other: current until t,
// then each of next for a rotation period. A key that is published too late
// begins later; until then the one before it goes on, or a new key signs in
// between.
func (st *planState) schedule(current *keyState, next []*keyState, t time.Time) {
	for i := 0; i < len(next); i++ {
		if i > 0 {
			next = st.fillGap(next, i, next[i-1].alg, t)
			t = instant.Latest(t, st.safeFrom(next[i]))
		}
		k := next[i]
		if current != nil {
			st.signUntil(current, t)
		}
		if k.dates.PublishAt.After(st.now) {
			k.dates.PublishAt = instant.Earliest(k.dates.PublishAt, t)
		}
		t = instant.Latest(t, k.dates.PublishAt)
		k.dates.SignFrom = t
		t = t.Add(st.policy.RotationPeriod)
		st.signUntil(k, t)
		current = k
	}
}

// fillGap inserts a new key before next[i] if that one is published too late to
// sign from t on and a new key can sign sooner. Otherwise the key before it
// would have to sign for too long. The clock_skew is added because a key that
// another clock has just published is not late.
func (st *planState) fillGap(next []*keyState, i int, alg keyset.Algorithm, t time.Time) []*keyState {
	known := instant.Latest(st.policy.SafeFrom(alg, st.now), st.policy.SafeFrom(next[i].alg, st.now))
	ready := instant.Latest(t, known.Add(st.policy.ClockSkew))
	if st.external[alg.Use()] || len(next) >= maxWaiting || !st.safeFrom(next[i]).After(ready) {
		return next
	}
	return slices.Insert(next, i, st.add(alg, st.now))
}

// ensureSigner makes sure that a key of the use signs, and that a standby is
// published to follow it. It changes nothing if both are so, if nobody has
// asked for a key of this use, or if the next key has to be created in a KMS.
func (st *planState) ensureSigner(use keyset.Use) {
	current, next := st.successors(use)
	st.endOthers(use, current)
	switch {
	case st.isScheduled(use, current, next), len(next) == 0 && st.external[use]:
		return
	case len(next) == 0:
		next = append(next, st.add(st.algorithm(use), st.now))
	}
	switch {
	case current == nil:
		st.startFirst(use, next)
	case current.open():
		st.handOver(current, next, current.dates.SignFrom.Add(st.policy.RotationPeriod))
	default:
		st.handOver(current, next, current.dates.SignUntil)
	}
}

// endOthers ends the active keys of a use except the current one. Imported
// files can have several; a Ring uses only the newest.
func (st *planState) endOthers(use keyset.Use, current *keyState) {
	for _, k := range st.keys {
		if k != current && k.use() == use && !k.pruned && k.dates.Signs() && k.state(st.now) == keyset.Active {
			st.signUntil(k, st.now)
		}
	}
}

// isScheduled reports whether nothing is left to schedule: each key hands over
// to the next, or nobody has asked for a key.
func (st *planState) isScheduled(use keyset.Use, current *keyState, next []*keyState) bool {
	if len(next) == 0 {
		return current == nil && st.newest(use) == nil
	}
	for i, k := range next {
		if i > 0 {
			current = next[i-1]
		}
		if current != nil && !current.dates.SignUntil.Equal(k.dates.SignFrom) {
			return false
		}
		if current == nil && (!st.unneeded(use) || k.dates.SignFrom.Before(st.safeFrom(k))) {
			return false
		}
	}
	return true
}

// handOver makes current sign until end, or longer if the first of next isn't
// known everywhere by then.
func (st *planState) handOver(current *keyState, next []*keyState, end time.Time) {
	next = st.fillGap(next, 0, current.alg, end)
	t := instant.Latest(end, st.safeFrom(next[0]), st.now)
	st.schedule(current, st.addStandby(next, t), t)
}

// addStandby adds a standby to next if the only key in it signs now (t).
func (st *planState) addStandby(next []*keyState, t time.Time) []*keyState {
	if alg := next[0].alg; len(next) == 1 && !t.After(st.now) && !st.external[alg.Use()] {
		next = append(next, st.add(alg, st.now))
	}
	return next
}

// startFirst makes the first waiting key active when none is. It does so
// immediately, except for encryption: an application that has never had a key
// to encrypt with can wait until everybody knows the first one.
func (st *planState) startFirst(use keyset.Use, next []*keyState) {
	for _, k := range next {
		if k.dates.Created.After(st.now) { // a clock was ahead, so its dates mean nothing
			k.dates.PublishAt = instant.Earliest(k.dates.PublishAt, st.now)
		}
	}
	last := st.inGrace(use)
	t := st.backdated() // nothing signs, so waiting would reject every token
	switch {
	case st.unneeded(use):
		t = instant.Latest(st.safeFrom(next[0]), st.now)
	case last != nil: // last signs in its grace, so the next may wait as long
		next = st.fillGap(next, 0, last.alg, st.graceEnd(last))
		t = instant.Earliest(instant.Latest(st.safeFrom(next[0]), st.now), st.graceEnd(last))
	}
	if k := next[0]; k.planned && t.Before(st.safeFrom(k)) {
		k.dates.PublishAt = instant.Earliest(k.dates.PublishAt, st.backdated())
	}
	st.schedule(nil, st.addStandby(next, t), t)
}

// backdated returns when to publish a key that signs immediately: a clock_skew
// ago, because instances whose clock is behind must sign and verify with it
// too.
func (st *planState) backdated() time.Time { return st.now.Add(-st.policy.ClockSkew) }

// unneeded reports whether the application needs no key of this use, because it
// does not encrypt yet.
func (st *planState) unneeded(use keyset.Use) bool {
	return use == keyset.Encryption && st.newest(use) == nil
}
