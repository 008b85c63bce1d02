package rotation

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/span"
)

// ErrRefused means that a step would reject a valid token, or trust a key too
// long. The text has the formula, and the earliest instant at which the step is safe if there is one.
var ErrRefused = errors.New("rotation: refused")

// check compares a set with what a step has made of it, key by key and use by
// use. before is nil for a new file.
func check(before, after *keyset.Set, now time.Time, s Step) error {
	c := &checker{now: now.Truncate(time.Second), policy: after.Rules(), after: read(after, now), force: s.force}
	if before != nil {
		if len(Diff(before, after)) == 0 {
			return nil // what a step leaves alone, it can't harm
		}
		c.before = read(before, now)
		if !s.emergency {
			c.checkClock()
		}
	}
	if err := c.policy.Validate(); err != nil {
		c.refuse("%w", err)
	}
	for _, r := range c.after.records {
		if !r.pruned && !r.revoked {
			c.checkKey(r)
		}
	}
	for _, use := range c.after.uses() {
		c.checkUse(use)
	}
	return errors.Join(c.errs...)
}

type checker struct {
	now           time.Time
	policy        keyset.Rules
	before, after *book // before is nil for a new file
	force         bool
	errs          []error
}

func (c *checker) refuse(format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf("%w: %w", ErrRefused, fmt.Errorf(format, args...)))
}

// was returns the key as it was, or nil if it is new.
func (c *checker) was(r *record) *record {
	if c.before == nil {
		return nil
	}
	was, err := c.before.find(r.id)
	if err != nil {
		return nil
	}
	return was
}

// checkClock refuses a step at a time before a key was made: to this clock, keys that have signed for long are still to
// begin. If nothing signs by this clock, there is nothing to lose; nor in a use that the step leaves alone.
func (c *checker) checkClock() {
	for _, r := range c.before.records {
		made := r.dates.Created
		if is, err := c.after.find(r.id); err != nil || is.revoked || c.before.signer(r.use()) == nil || !made.After(c.after.made.Add(c.policy.ClockSkew)) || !c.touches(r.use()) {
			continue
		}
		c.refuse("key %s has a creation time in the future (%s): the clock of this machine, or of the one that made it, is more than the clock_skew of %s wrong; set it right, or revoke all keys that were made then; earliest safe: %s",
			r.id, stamp(made), span.Format(c.policy.ClockSkew), stamp(made.Add(-c.policy.ClockSkew)))
	}
}

// touches reports whether the step makes, moves, revokes or removes keys of a use.
func (c *checker) touches(use keyset.Use) bool {
	was, is := c.before.usesOf(use), c.after.usesOf(use)
	return !slices.EqualFunc(was, is, func(x, y *record) bool {
		return x.id == y.id && sameDates(x.dates, y.dates) && x.revoked == y.revoked && x.pruned == y.pruned && x.private == y.private
	})
}

// checkKey checks the dates of a key, if they have changed: what was allowed once, under another policy, stays.
func (c *checker) checkKey(r *record) {
	was := c.was(r)
	if was != nil && sameDates(was.dates, r.dates) {
		return
	}
	if r.dates.Signs() {
		c.checkLead(r, was)
		c.checkTrust(r)
	}
	c.checkVerifyOnly(r, was)
}

// checkLead refuses a key that signs before it is known everywhere.
func (c *checker) checkLead(r, was *record) {
	if c.force || c.before == nil || was != nil && was.dates.SignFrom.Equal(r.dates.SignFrom) || c.recovers(r) {
		return
	}
	published, staged := r.published(), was != nil && c.now.Before(was.dates.PublishAt)
	if was == nil || staged {
		published = latest(published, c.after.made) // nobody knew it before
	}
	p, lead := c.policy, c.policy.Lead(r.alg)
	if safe := p.SafeFrom(r.alg, published); r.dates.SignFrom.Before(safe) {
		if staged {
			safe = p.SafeFrom(r.alg, was.dates.PublishAt) // it stays as it was
		}
		formula := fmt.Sprintf("distribution_lag %s + reload_interval %s + clock_skew %s", span.Format(p.DistributionLag), span.Format(p.ReloadInterval), span.Format(p.ClockSkew))
		if lead != p.Spread() {
			formula += " + cache_life " + span.Format(p.CacheLife)
		}
		slow := ""
		if !staged && safe.After(published.Add(lead)) {
			slow = ", and caches that were filled before cache_life was made shorter may not have expired yet"
		}
		c.refuse("key %s would sign from %s, and is published only since %s: instances and verifiers that don't know it yet would reject its tokens; it needs %s = %s%s; earliest safe: %s",
			r.id, stamp(r.dates.SignFrom), stamp(published), formula, span.Format(lead), slow, stamp(safe))
	}
}

// recovers reports whether nothing else can sign when r begins: nothing could before the step, what signs was
// revoked by it, or its grace is over then and nothing was to follow it. To wait longer would reject all tokens.
func (c *checker) recovers(r *record) bool {
	use := r.use()
	signer := c.before.signer(use)
	switch {
	case signer == nil:
		return len(c.before.usesOf(use)) > 0 && !c.before.idle(use)
	case c.revokes(signer):
		return true
	}
	then := *c.before
	then.now = r.dates.SignFrom
	current, _ := then.chain(use)
	return signer.state(c.now) == keyset.Retiring && !then.now.Before(then.graceEnd(signer)) && (current == nil || current.id == r.id || c.revokes(current))
}

// revokes reports whether the step revokes a key.
func (c *checker) revokes(was *record) bool {
	is, err := c.after.find(was.id)
	return err != nil || is.revoked
}

func (b *book) usesOf(use keyset.Use) (all []*record) {
	for _, r := range b.records {
		if r.use() == use {
			all = append(all, r)
		}
	}
	return all
}

// checkTrust refuses a key that signs for too long, or for ever.
func (c *checker) checkTrust(r *record) {
	p, d := c.policy, r.dates
	switch longest := 2 * p.RotationPeriod; {
	case r.open():
		c.refuse("key %s would sign for ever; give it an end, at most 2 * rotation_period = %s after it begins", r.id, span.Format(longest))
		return
	case d.SignUntil.Sub(latest(d.SignFrom, time.Unix(0, 0))) > longest && !c.began(r):
		c.refuse("key %s would sign for %s, and 2 * rotation_period = %s is the most", r.id, span.Format(d.SignUntil.Sub(d.SignFrom)), span.Format(longest))
	}
}

// began reports whether the key signed already before the step: its end may be
// far from its beginning, but can only have come nearer, or have been moved until its successor is known.
func (c *checker) began(r *record) bool {
	was := c.was(r)
	return was != nil && !c.now.Before(was.dates.SignFrom) && (was.open() || !r.dates.SignUntil.After(latest(was.dates.SignUntil, c.policy.SafeFrom(keyset.ES256, c.after.made).Add(c.policy.ClockSkew)))) // the longest lead
}

// checkVerifyOnly refuses a key that stops verifying while tokens of it may
// live, and one that is trusted longer than they can.
func (c *checker) checkVerifyOnly(r, was *record) {
	p, d, need := c.policy, r.dates, c.policy.VerifyOnly()
	if r.open() {
		return
	}
	used := r.dates.Signs() || was == nil || c.after.known(was)
	formula := fmt.Sprintf("token_life %s + leeway %s + clock_skew %s + grace %s = %s", span.Format(p.TokenLife), span.Format(p.Leeway), span.Format(p.ClockSkew), span.Format(p.Grace), span.Format(need))
	most := need
	if was != nil && !was.dates.VerifyUntil.IsZero() {
		most = max(most, was.dates.VerifyUntil.Sub(was.dates.SignUntil)) // tokens of an earlier policy
		if most > need && c.after.known(was) {
			need, formula = most, "the tokens of an earlier policy need "+span.Format(most)
		}
		if c.after.over(was) {
			most += p.ClockSkew
		}
	}
	switch got := d.VerifyUntil.Sub(d.SignUntil); {
	case d.VerifyUntil.IsZero():
		c.refuse("key %s would be trusted for ever after it has ceased to sign; %s is enough", r.id, formula)
	case used && got < need:
		c.refuse("key %s would stop verifying %s after it has ceased to sign, while its tokens live: %s are needed; earliest safe: %s", r.id, span.Format(got), formula, stamp(d.SignUntil.Add(need)))
	case got > most:
		c.refuse("key %s would be trusted for %s after it has ceased to sign, and %s is enough", r.id, span.Format(got), formula)
	}
}

// checkUse refuses times in which no key of a use signs, or two do.
func (c *checker) checkUse(use keyset.Use) {
	current, next := c.after.chain(use)
	if current == nil && c.before != nil {
		c.checkSilence(use)
	}
	if current != nil {
		next = append([]*record{current}, next...)
	}
	for i := 1; i < len(next); i++ {
		before, r := next[i-1], next[i]
		switch {
		case c.sameGap(before, r):
		case before.open() || r.dates.SignFrom.Before(before.dates.SignUntil):
			c.refuse("keys %s and %s would sign at the same time, from %s", before.id, r.id, stamp(r.dates.SignFrom))
		case r.dates.SignFrom.After(before.dates.SignUntil) && !c.force:
			c.refuse("no key of use %s would sign from %s to %s", use, stamp(before.dates.SignUntil), stamp(r.dates.SignFrom))
		}
	}
	c.checkSingle(use)
	c.checkRate(next)
}

// checkRate refuses more tokens under one key than AES-GCM allows, except where that was so before: a key file must
// stay of use when its rate turns out to be higher than was thought.
func (c *checker) checkRate(chain []*record) {
	for _, r := range chain {
		if r.alg != keyset.Direct {
			continue
		}
		p, was := c.policy, c.was(r)
		if changed := was == nil || !sameDates(was.dates, r.dates); changed && !r.open() && !c.began(r) {
			p.RotationPeriod = max(p.RotationPeriod, r.dates.SignUntil.Sub(r.dates.SignFrom))
		}
		if err := p.CheckRate(); err != nil && !c.exceeded() {
			c.refuse("%w", err)
			return
		}
	}
}

// exceeded reports whether the policy had a key encrypt too many tokens already before the step.
func (c *checker) exceeded() bool {
	if c.before == nil || c.before.policy.CheckRate() == nil {
		return false
	}
	current, next := c.before.chain(keyset.Encryption)
	if current != nil {
		next = append(next, current)
	}
	return slices.ContainsFunc(next, func(r *record) bool { return r.alg == keyset.Direct })
}

// checkSilence refuses a step after which nothing signs, if something did before.
func (c *checker) checkSilence(use keyset.Use) {
	signer := c.before.signer(use)
	if signer == nil || c.force || signer.state(c.now) != keyset.Active && c.after.last(use) != nil {
		return // the last one goes on in its grace, as before
	}
	lead := c.policy.Lead(signer.alg)
	how := "publish a successor with keygen rotate"
	if c.before.outside[use] {
		how = "make a successor where the private keys are, and bring its public half in with keygen import"
	}
	c.refuse("no key of use %s would sign any more; %s, which may sign after its lead of %s; earliest safe: %s", use, how, span.Format(lead), stamp(c.policy.SafeFrom(signer.alg, c.now)))
}

// sameGap reports whether what is between two keys was so before.
func (c *checker) sameGap(x, y *record) bool {
	wasX, wasY := c.was(x), c.was(y)
	return wasX != nil && wasY != nil && sameDates(wasX.dates, x.dates) && sameDates(wasY.dates, y.dates)
}

// checkSingle refuses two keys of a use that are active at the time of the step, if they were not before.
func (c *checker) checkSingle(use keyset.Use) {
	active := slices.DeleteFunc(c.after.usesOf(use), func(r *record) bool { return r.pruned || r.state(c.now) != keyset.Active })
	for i := 1; i < len(active); i++ {
		if x, y := active[i-1], active[i]; !c.sameGap(x, y) {
			c.refuse("keys %s and %s would sign at the same time", x.id, y.id)
		}
	}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
