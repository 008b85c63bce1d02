package rotation

import (
	"slices"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

// maxChain bounds how many keys of a use wait to sign, with those that have to be made before one that is published late.
const maxChain = 20

// end lets a key sign until t. A key that was published under a policy with longer
// tokens goes on verifying for as long as these need: it may have signed some.
func (b *book) end(r *record, t time.Time) {
	verify := b.policy.VerifyOnly()
	if was := r.was; !was.VerifyUntil.IsZero() && b.known(r) {
		verify = max(verify, was.VerifyUntil.Sub(was.SignUntil))
	}
	r.dates.SignUntil, r.dates.VerifyUntil = t, t.Add(verify)
	if b.over(r) {
		r.dates.VerifyUntil = latest(r.dates.VerifyUntil, r.was.VerifyUntil)
	}
}

// over reports whether the key may have ceased to sign already by another clock, so that its tokens must not be counted
// from an earlier instant now.
func (b *book) over(r *record) bool {
	return !r.was.SignUntil.IsZero() && !r.was.SignUntil.After(b.now.Add(b.policy.ClockSkew))
}

// arrange lets the keys of a use sign one after the other: current until t,
// then each of next for a rotation period. What is published too late for that begins later, and
// the one before it goes on until then, or a new one signs in between.
func (b *book) arrange(current *record, next []*record, t time.Time) {
	for i := 0; i < len(next); i++ {
		if i > 0 {
			next = b.bridge(next, i, next[i-1].alg, t)
			t = latest(t, b.safe(next[i]))
		}
		r := next[i]
		if current != nil {
			b.end(current, t)
		}
		if r.dates.PublishAt.After(b.now) {
			r.dates.PublishAt = earliest(r.dates.PublishAt, t)
		}
		t = latest(t, r.dates.PublishAt)
		r.dates.SignFrom = t
		t = t.Add(b.policy.RotationPeriod)
		b.end(r, t)
		current = r
	}
}

// bridge puts a new key before next[i], if that one is published so late that it can't sign from t on, and a new one can
// sooner: else the key before it would have to go on for long. What was published a moment ago, by another clock, is not late.
func (b *book) bridge(next []*record, i int, alg keyset.Algorithm, t time.Time) []*record {
	ready := latest(t, latest(b.policy.SafeFrom(alg, b.now), b.policy.SafeFrom(next[i].alg, b.now)).Add(b.policy.ClockSkew))
	if b.outside[alg.Use()] || len(next) >= maxChain || !b.safe(next[i]).After(ready) {
		return next
	}
	return slices.Insert(next, i, b.add(alg, b.now))
}

// ensure sees to it that a key of the use signs and that a standby is published
// to follow it. It changes nothing if that is so, if nobody has asked for a key of this use, or if the next one has to be made
// in a KMS.
func (b *book) ensure(use keyset.Use) {
	current, next := b.chain(use)
	b.settle(use, current)
	switch {
	case b.linked(use, current, next), len(next) == 0 && b.outside[use]:
		return
	case len(next) == 0:
		next = append(next, b.add(b.algorithm(use), b.now))
	}
	switch {
	case current == nil:
		b.startFirst(use, next)
	case current.open():
		b.lineUp(current, next, current.dates.SignFrom.Add(b.policy.RotationPeriod))
	default:
		b.lineUp(current, next, current.dates.SignUntil)
	}
}

// settle ends the active keys of a use other than the current one. Files from elsewhere have some; a Ring lets only the
// newest sign.
func (b *book) settle(use keyset.Use, current *record) {
	for _, r := range b.records {
		if r != current && r.use() == use && !r.pruned && r.dates.Signs() && r.state(b.now) == keyset.Active {
			b.end(r, b.now)
		}
	}
}

// linked reports whether nothing is to be arranged: each key hands over to the next, or nobody has asked for any.
func (b *book) linked(use keyset.Use, current *record, next []*record) bool {
	if len(next) == 0 {
		return current == nil && b.newest(use) == nil
	}
	for i, r := range next {
		if i > 0 {
			current = next[i-1]
		}
		if current != nil && !current.dates.SignUntil.Equal(r.dates.SignFrom) {
			return false
		}
		if current == nil && (!b.idle(use) || r.dates.SignFrom.Before(b.safe(r))) {
			return false
		}
	}
	return true
}

// lineUp lets current sign until end, or until the first of next may follow it.
func (b *book) lineUp(current *record, next []*record, end time.Time) {
	next = b.bridge(next, 0, current.alg, end)
	t := latest(end, b.safe(next[0]), b.now)
	b.arrange(current, b.stock(next, t), t)
}

// stock adds a standby to next, if the only one there signs from t on, which is now.
func (b *book) stock(next []*record, t time.Time) []*record {
	if alg := next[0].alg; len(next) == 1 && !t.After(b.now) && !b.outside[alg.Use()] {
		next = append(next, b.add(alg, b.now))
	}
	return next
}

// startFirst makes the first waiting key active when none is. It does so
// immediately, except for encryption: an application that has never had a key to
// encrypt with can wait until everybody knows the first one.
func (b *book) startFirst(use keyset.Use, next []*record) {
	for _, r := range next {
		if r.dates.Created.After(b.now) { // by a clock that was ahead: its dates mean nothing
			r.dates.PublishAt = earliest(r.dates.PublishAt, b.now)
		}
	}
	last := b.last(use)
	t := b.since() // waiting would help nobody
	switch {
	case b.idle(use):
		t = latest(b.safe(next[0]), b.now)
	case last != nil: // it goes on until then
		next = b.bridge(next, 0, last.alg, b.graceEnd(last))
		t = earliest(latest(b.safe(next[0]), b.now), b.graceEnd(last))
	}
	if r := next[0]; r.planned && t.Before(b.safe(r)) {
		r.dates.PublishAt = earliest(r.dates.PublishAt, b.since())
	}
	b.arrange(nil, b.stock(next, t), t)
}

// since returns when a key is published that signs immediately: a clock_skew ago,
// because instances whose clock is behind must sign and verify with it too.
func (b *book) since() time.Time { return b.now.Add(-b.policy.ClockSkew) }

// idle reports whether the application needs no key of this use, because it does
// not encrypt yet.
func (b *book) idle(use keyset.Use) bool { return use == keyset.Encryption && b.newest(use) == nil }
