package session

import (
	"time"

	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/internal/instant"
)

// Policy says how long sessions live. The zero Policy stands for the defaults.
type Policy struct {
	// IdleTimeout ends a session that has had no request for this long. 0 means 20
	// minutes, or Lifetime if that is shorter. At most Lifetime.
	IdleTimeout time.Duration

	// Lifetime ends a session this long after it was created or last logged in to,
	// even if it is in use. 0 means 12 hours.
	Lifetime time.Duration

	// RememberedIdleTimeout and RememberedLifetime replace IdleTimeout and
	// Lifetime for sessions that [Session.Remember] was called for. 0 means 14 and
	// 30 days, or the ordinary limit if that is longer; the 14 days never exceed
	// RememberedLifetime. Neither may be shorter than the ordinary limit.
	RememberedIdleTimeout, RememberedLifetime time.Duration

	// TouchEvery is how old the recorded activity may become: until then, a
	// request that changes nothing also writes nothing. A session may therefore
	// end up to TouchEvery early, never late. 0 means 1 minute or a quarter of
	// IdleTimeout, whichever is less; at most a quarter of IdleTimeout.
	TouchEvery time.Duration
}

const day = 24 * time.Hour

// AAL1 is the longest Policy that NIST SP 800-63B-4, Section 2.1.3 allows at
// authentication assurance level 1: 30 days, without a shorter idle timeout.
func AAL1() Policy { return same(30*day, 30*day) }

// AAL2 is the longest Policy that NIST SP 800-63B-4, Section 2.2.3 advises at
// level 2: 24 hours, or 1 hour without activity, also for a remembered visitor.
func AAL2() Policy { return same(time.Hour, day) }

// AAL3 is the longest Policy that NIST SP 800-63B-4, Section 2.3.3 allows at
// level 3: 12 hours, or 15 minutes without activity, also for a remembered
// visitor.
func AAL3() Policy { return same(15*time.Minute, 12*time.Hour) }

// same returns a Policy with the same limits for all sessions.
func same(idle, lifetime time.Duration) Policy {
	return Policy{
		IdleTimeout: idle, Lifetime: lifetime,
		RememberedIdleTimeout: idle, RememberedLifetime: lifetime,
	}
}

// WithDefaults returns p with its zero fields filled in. The remembered limits
// of the result are then the longest that any session has.
func (p Policy) WithDefaults() Policy {
	fill := func(field *time.Duration, value time.Duration) {
		if *field == 0 {
			*field = value
		}
	}
	fill(&p.Lifetime, 12*time.Hour)
	fill(&p.IdleTimeout, min(20*time.Minute, p.Lifetime))
	fill(&p.RememberedLifetime, max(30*day, p.Lifetime))
	fill(&p.RememberedIdleTimeout, min(max(14*day, p.IdleTimeout), p.RememberedLifetime))
	fill(&p.TouchEvery, min(time.Minute, p.IdleTimeout/4))
	return p
}

// Validate reports every mistake in p at once. Zero fields are valid.
func (p Policy) Validate() error {
	p = p.WithDefaults()
	const (
		tooShort = "%v is too short: at least %v"
		tooLong  = "%v is longer than the lifetime of %v: shorten it, or set %s to %[1]v or more"
		shorter  = "%v is shorter than the ordinary %s of %v: set it to that or more"
	)
	idle, lifetime, longIdle, longest := p.IdleTimeout, p.Lifetime, p.RememberedIdleTimeout, p.RememberedLifetime
	bad := fault.In("session: Policy")
	bad.If(idle < time.Second, "IdleTimeout", tooShort, idle, time.Second)
	bad.If(lifetime < time.Second, "Lifetime", tooShort, lifetime, time.Second)
	bad.If(idle > lifetime, "IdleTimeout", tooLong, idle, lifetime, fault.Name("Policy.Lifetime"))
	bad.If(longIdle < idle, "RememberedIdleTimeout", shorter, longIdle, "idle timeout", idle)
	bad.If(longest < lifetime, "RememberedLifetime", shorter, longest, "lifetime", lifetime)
	bad.If(longIdle > longest, "RememberedIdleTimeout", tooLong, longIdle, longest,
		fault.Name("Policy.RememberedLifetime"))
	bad.If(p.TouchEvery < 0 || p.TouchEvery > idle/4, "TouchEvery",
		"%v is not between 0 and %v, a quarter of the idle timeout: set it to that or less", p.TouchEvery, idle/4)
	return bad.Err()
}

// limits returns the limits that rec is under.
func (p *Policy) limits(rec *Record) (idle, lifetime time.Duration) {
	if rec.Persistent {
		return p.RememberedIdleTimeout, p.RememberedLifetime
	}
	return p.IdleTimeout, p.Lifetime
}

// Over decides whether the session of rec is over at now: 0 if it lives,
// otherwise [IdleTimeout] or [LifetimeOver]. At the deadline itself it is over
// (RFC 7519, Section 4.1.4). A record made under a longer policy is held to p.
func (p Policy) Over(rec *Record, now time.Time) Reason {
	idle, lifetime := p.limits(rec)
	switch {
	case !now.Before(rec.Deadline), !now.Before(rec.startedAt().Add(lifetime)):
		return LifetimeOver
	case !now.Before(rec.IdleDeadline), !now.Before(rec.SeenAt.Add(idle)):
		return IdleTimeout
	}
	return 0
}

// End returns when the session of rec is over if there is no more activity: the
// first instant at which [Policy.Over] says so.
func (p Policy) End(rec *Record) time.Time {
	idle, lifetime := p.limits(rec)
	return instant.Earliest(rec.Deadline, rec.startedAt().Add(lifetime), rec.IdleDeadline, rec.SeenAt.Add(idle))
}

// start gives rec the absolute deadline of a session that has just begun, or
// has just come under other limits.
func (p *Policy) start(rec *Record) {
	_, lifetime := p.limits(rec)
	rec.Deadline = rec.startedAt().Add(lifetime).Truncate(time.Second)
}

// seen gives rec the time fields that it has after activity at now. Activity
// never moves the absolute deadline, and never moves anything back.
func (p *Policy) seen(rec *Record, now time.Time) {
	idle, lifetime := p.limits(rec)
	now = now.Truncate(time.Second)
	rec.Deadline = instant.Earliest(rec.Deadline, rec.startedAt().Add(lifetime).Truncate(time.Second))
	if now.After(rec.SeenAt) {
		rec.SeenAt = now
	}
	rec.IdleDeadline = instant.Earliest(rec.SeenAt.Add(idle).Truncate(time.Second), rec.Deadline)
}
