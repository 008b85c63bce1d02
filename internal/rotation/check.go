package rotation

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/instant"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/span"
)

// ErrRefused means that a step would make verifiers reject a valid token, or
// trust a key for too long. The text has the formula and, if there is one, the
// earliest instant at which the step is safe.
var ErrRefused = errors.New("rotation: refused")

// check compares a set with what a step has made of it, key by key and use by
// use. It reads the finished set, not the state that the step changed, so that
// a mistake in a step is found here.
func check(before, after *keyset.Set, now time.Time, s Step) error {
	changes := Diff(before, after)
	if len(changes) == 0 {
		return nil // a step that changes nothing does no harm
	}
	c := &checker{Step: s, policy: after.Rules(), before: newPlanState(before, now), after: newPlanState(after, now)}
	c.now = c.after.now
	if !s.emergency {
		c.checkClock(changes)
	}
	if err := c.policy.Validate(); err != nil {
		c.refuse("%w", err)
	}
	for _, k := range c.after.keys {
		if !k.pruned && !k.revoked {
			c.checkKey(k)
		}
	}
	for _, use := range c.after.uses() {
		c.checkUse(use)
	}
	return errors.Join(c.errs...)
}

type checker struct {
	Step
	now           time.Time
	policy        keyset.Rules
	before, after *planState
	errs          []error
}

func (c *checker) refuse(format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf("%w: %w", ErrRefused, fmt.Errorf(format, args...)))
}

// checkClock refuses a step at a time before a key was created. By such a
// clock, a key that has signed for long still waits to begin, and the step
// would move its dates. If nothing signs by this clock, or the step leaves the
// use unchanged, there is nothing to lose.
func (c *checker) checkClock(changes []Change) {
	skew := c.policy.ClockSkew
	for _, k := range c.before.keys {
		made := k.dates.Created
		touched := slices.ContainsFunc(changes, func(ch Change) bool { return ch.Use == k.use() })
		if !touched || !made.After(c.after.created.Add(skew)) || c.revokes(k) || c.before.signer(k.use()) == nil {
			continue
		}
		c.refuse("key %s has a creation time in the future (%s): the clock of this machine, or of the one that made it, "+
			"is more than the clock_skew of %s wrong; set it right, or revoke all keys that were made then; earliest safe: %s",
			k.id, stamp(made), span.Format(skew), stamp(made.Add(-skew)))
	}
}

// checkKey checks the dates of a key if they have changed. Unchanged dates were
// checked under the policy of their time; refusing them now would block every
// later step.
func (c *checker) checkKey(k *keyState) {
	was := c.before.key(k.id) // nil if the step made it
	if !c.changed(k) {
		return
	}
	if k.dates.Signs() {
		c.checkLead(k, was)
		c.checkTrust(k)
	}
	c.checkVerifyOnly(k, was)
}

// checkLead refuses a key that signs before everybody knows it.
func (c *checker) checkLead(k, was *keyState) {
	unmoved := was != nil && was.dates.SignFrom.Equal(k.dates.SignFrom)
	if c.force || c.newFile || unmoved || c.recovers(k) {
		return
	}
	published, staged := k.published(), was != nil && c.now.Before(was.dates.PublishAt)
	if was == nil || staged {
		published = instant.Latest(published, c.after.created) // nobody knew it before
	}
	safe := c.policy.SafeFrom(k.alg, published)
	if !k.dates.SignFrom.Before(safe) {
		return
	}
	lead, slow := c.policy.Lead(k.alg), ""
	if !staged && safe.After(published.Add(lead)) {
		slow = ", and caches that were filled before cache_life was made shorter may not have expired yet"
	}
	if staged {
		safe = c.policy.SafeFrom(k.alg, was.dates.PublishAt) // without the step
	}
	c.refuse("key %s would sign from %s, and is published only since %s: "+
		"instances and verifiers that don't know it yet would reject its tokens; it needs %s = %s%s; earliest safe: %s",
		k.id, stamp(k.dates.SignFrom), stamp(published), c.leadFormula(lead), span.Format(lead), slow, stamp(safe))
}

// leadFormula returns the terms whose sum is lead. Only keys in the JWK Set
// wait for caches.
func (c *checker) leadFormula(lead time.Duration) string {
	p := c.policy
	formula := fmt.Sprintf("distribution_lag %s + reload_interval %s + clock_skew %s",
		span.Format(p.DistributionLag), span.Format(p.ReloadInterval), span.Format(p.ClockSkew))
	if lead != p.Spread() {
		formula += " + cache_life " + span.Format(p.CacheLife)
	}
	return formula
}

// recovers reports whether nothing else can sign when k begins: no key could
// before the step, the step revokes the one that signs, or its grace has ended
// by then without a successor. To wait longer would reject all tokens.
func (c *checker) recovers(k *keyState) bool {
	use := k.use()
	signer := c.before.signer(use)
	switch {
	case signer == nil:
		return len(c.before.keysOf(use)) > 0 && !c.before.unneeded(use)
	case c.revokes(signer):
		return true
	}
	then := *c.before
	then.now = k.dates.SignFrom
	current, _ := then.successors(use)
	graceOver := signer.state(c.now) == keyset.Retiring && !then.now.Before(then.graceEnd(signer))
	return graceOver && (current == nil || current.id == k.id || c.revokes(current))
}

// revokes reports whether the step revokes or removes a key.
func (c *checker) revokes(was *keyState) bool {
	is := c.after.key(was.id)
	return is == nil || is.revoked
}

// checkTrust refuses a key that signs for too long, or without an end. Twice
// the rotation period leaves room for one rotation that is late by a whole
// period.
func (c *checker) checkTrust(k *keyState) {
	p, d := c.policy, k.dates
	switch longest := 2 * p.RotationPeriod; {
	case k.open():
		c.refuse("key %s would sign for ever; give it an end, at most 2 * rotation_period = %s after it begins",
			k.id, span.Format(longest))
		return
	case d.SignUntil.Sub(instant.Latest(d.SignFrom, time.Unix(0, 0))) > longest && !c.began(k):
		c.refuse("key %s would sign for %s, and 2 * rotation_period = %s is the most",
			k.id, span.Format(d.SignUntil.Sub(d.SignFrom)), span.Format(longest))
	}
}

// began reports whether the key signed already before the step, and the step
// moves its end to an earlier time, or only until its successor is known. The
// end of such a key may be far from its beginning, because its successor was
// late once.
func (c *checker) began(k *keyState) bool {
	was := c.before.key(k.id)
	if was == nil || c.now.Before(was.dates.SignFrom) {
		return false
	}
	successorKnown := c.policy.SafeFrom(keyset.ES256, c.after.created) // signature keys have the longest lead
	latest := instant.Latest(was.dates.SignUntil, successorKnown.Add(c.policy.ClockSkew))
	return was.open() || !k.dates.SignUntil.After(latest)
}

// checkVerifyOnly refuses a key that stops verifying before its tokens expire,
// and one that is trusted longer than they live.
func (c *checker) checkVerifyOnly(k, was *keyState) {
	p, d, need := c.policy, k.dates, c.policy.VerifyOnly()
	if k.open() {
		return
	}
	used := k.dates.Signs() || was == nil || c.after.wasPublished(was)
	formula := verifyFormula(p)
	most := need
	if was != nil && !was.dates.VerifyUntil.IsZero() {
		most = max(most, was.dates.VerifyUntil.Sub(was.dates.SignUntil)) // tokens of an earlier policy
		if most > need && c.after.wasPublished(was) {
			need, formula = most, "the tokens of an earlier policy need "+span.Format(most)
		}
		if c.after.mayHaveEnded(was) {
			most += p.ClockSkew
		}
	}
	switch got := d.VerifyUntil.Sub(d.SignUntil); {
	case d.VerifyUntil.IsZero():
		c.refuse("key %s would be trusted for ever after it has ceased to sign; %s is enough", k.id, formula)
	case used && got < need:
		c.refuse("key %s would stop verifying %s after it has ceased to sign, while its tokens live: %s are needed; "+
			"earliest safe: %s", k.id, span.Format(got), formula, stamp(d.SignUntil.Add(need)))
	case got > most:
		c.refuse("key %s would be trusted for %s after it has ceased to sign, and %s is enough",
			k.id, span.Format(got), formula)
	}
}

// verifyFormula returns the terms for which a key verifies after it has stopped
// signing, and their sum.
func verifyFormula(p keyset.Rules) string {
	return fmt.Sprintf("token_life %s + leeway %s + clock_skew %s + grace %s = %s", span.Format(p.TokenLife),
		span.Format(p.Leeway), span.Format(p.ClockSkew), span.Format(p.Grace), span.Format(p.VerifyOnly()))
}

// checkUse refuses times in which no key of a use signs, or two do.
func (c *checker) checkUse(use keyset.Use) {
	if current, _ := c.after.successors(use); current == nil {
		c.checkOutage(use)
	}
	signers := c.after.signers(use)
	for i := 1; i < len(signers); i++ {
		before, k := signers[i-1], signers[i]
		switch {
		case !c.changed(before) && !c.changed(k):
		case before.overlaps(k):
			c.refuse("keys %s and %s would sign at the same time, from %s", before.id, k.id, stamp(k.dates.SignFrom))
		case k.dates.SignFrom.After(before.dates.SignUntil) && !c.force:
			c.refuse("no key of use %s would sign from %s to %s",
				use, stamp(before.dates.SignUntil), stamp(k.dates.SignFrom))
		}
	}
	c.checkSingle(use)
	c.checkRate(signers)
}

// checkRate refuses a key that would encrypt more tokens than AES-GCM allows
// with random nonces: 2^31 here, half the bound of NIST SP 800-38D. If the rate
// was too high before the step, refusing it would stop the rotation, and so
// make things worse.
func (c *checker) checkRate(signers []*keyState) {
	for _, k := range signers {
		if k.alg != keyset.Direct {
			continue
		}
		p := c.policy
		if c.changed(k) && !k.open() && !c.began(k) {
			p.RotationPeriod = max(p.RotationPeriod, k.dates.SignUntil.Sub(k.dates.SignFrom))
		}
		if err := p.CheckRate(); err != nil && !c.exceeded() {
			c.refuse("%w", err)
			return
		}
	}
}

// exceeded reports whether the policy allowed too many tokens under one key
// already before the step.
func (c *checker) exceeded() bool {
	signers := c.before.signers(keyset.Encryption)
	return c.before.policy.CheckRate() != nil &&
		slices.ContainsFunc(signers, func(k *keyState) bool { return k.alg == keyset.Direct })
}

// checkOutage refuses a step after which no key signs, if one did before.
func (c *checker) checkOutage(use keyset.Use) {
	signer := c.before.signer(use)
	if signer == nil || c.force {
		return
	}
	if signer.state(c.now) != keyset.Active && c.after.inGrace(use) != nil {
		return // it still signs in its grace, as before the step
	}
	lead := c.policy.Lead(signer.alg)
	how := "publish a successor with keygen rotate"
	if c.before.external[use] {
		how = "make a successor where the private keys are, and bring its public half in with keygen import"
	}
	c.refuse("no key of use %s would sign any more; %s, which may sign after its lead of %s; earliest safe: %s",
		use, how, span.Format(lead), stamp(c.policy.SafeFrom(signer.alg, c.now)))
}

// changed reports whether the step made the key or moved its dates. A gap or
// overlap between two keys that it leaves unchanged was there before.
func (c *checker) changed(k *keyState) bool {
	was := c.before.key(k.id)
	return was == nil || !sameDates(was.dates, k.dates)
}

// overlaps reports whether next begins to sign before k ends.
func (k *keyState) overlaps(next *keyState) bool {
	return k.open() || next.dates.SignFrom.Before(k.dates.SignUntil)
}

// checkSingle refuses two keys of a use that are active at the time of the
// step, unless they were so before.
func (c *checker) checkSingle(use keyset.Use) {
	active := slices.DeleteFunc(c.after.keysOf(use), func(k *keyState) bool {
		return k.pruned || k.state(c.now) != keyset.Active
	})
	for i := 1; i < len(active); i++ {
		if x, y := active[i-1], active[i]; c.changed(x) || c.changed(y) {
			c.refuse("keys %s and %s would sign at the same time", x.id, y.id)
		}
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
