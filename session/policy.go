package session

import (
	"errors"
	"fmt"
	"time"
)

// Policy says how long sessions live. The zero Policy stands for the defaults.
type Policy struct {
	// IdleTimeout ends a session that has had no request for so long.
	// 0 means 20 minutes, or Lifetime if that is shorter. At most Lifetime.
	IdleTimeout time.Duration

	// Lifetime ends a session so long after it was created, and anew after each
	// login, whatever the activity. 0 means 12 hours, or IdleTimeout if that is
	// longer.
	Lifetime time.Duration

	// TouchEvery is how stale the recorded activity may be: within it, a request
	// that changes nothing also writes nothing. A session may therefore end up to
	// TouchEvery early, never late. 0 means 1 minute or a quarter of IdleTimeout,
	// whichever is less; at most a quarter of IdleTimeout.
	TouchEvery time.Duration
}

// AAL1 is the longest Policy that NIST SP 800-63B-4, Section 2.1.3 allows at
// authentication assurance level 1: 30 days, and no idle timeout of its own.
func AAL1() Policy { return Policy{IdleTimeout: 30 * 24 * time.Hour, Lifetime: 30 * 24 * time.Hour} }

// AAL2 is the longest Policy that NIST SP 800-63B-4, Section 2.2.3 advises at
// level 2: 24 hours, or 1 hour without activity.
func AAL2() Policy { return Policy{IdleTimeout: time.Hour, Lifetime: 24 * time.Hour} }

// AAL3 is the longest Policy that NIST SP 800-63B-4, Section 2.3.3 allows at
// level 3: 12 hours, or 15 minutes without activity.
func AAL3() Policy { return Policy{IdleTimeout: 15 * time.Minute, Lifetime: 12 * time.Hour} }

// WithDefaults returns p with its zero fields filled in.
func (p Policy) WithDefaults() Policy {
	if p.Lifetime == 0 {
		p.Lifetime = max(12*time.Hour, p.IdleTimeout)
	}
	if p.IdleTimeout == 0 {
		p.IdleTimeout = min(20*time.Minute, p.Lifetime)
	}
	if p.TouchEvery == 0 {
		p.TouchEvery = min(time.Minute, p.IdleTimeout/4)
	}
	return p
}

// Validate reports every mistake in p at once. Zero fields are no mistake.
func (p Policy) Validate() error {
	p = p.WithDefaults()
	var errs []error
	if p.IdleTimeout < time.Second {
		errs = append(errs, fmt.Errorf("session: Policy.IdleTimeout %v: must be at least 1s", p.IdleTimeout))
	}
	if p.Lifetime < time.Second {
		errs = append(errs, fmt.Errorf("session: Policy.Lifetime %v: must be at least 1s", p.Lifetime))
	}
	if p.IdleTimeout > p.Lifetime {
		errs = append(errs, fmt.Errorf("session: Policy.IdleTimeout %v is longer than Lifetime %v: shorten it or raise Lifetime", p.IdleTimeout, p.Lifetime))
	}
	if p.TouchEvery < 0 || p.TouchEvery > p.IdleTimeout/4 {
		errs = append(errs, fmt.Errorf("session: Policy.TouchEvery %v: must be between 0 and a quarter of IdleTimeout %v", p.TouchEvery, p.IdleTimeout))
	}
	return errors.Join(errs...)
}

// Over decides whether the session of rec is over at now: 0 if it lives,
// otherwise [IdleTimeout] or [LifetimeOver]. At the deadline itself it is over
// (RFC 7519, Section 4.1.4). A record made under a longer policy is held to p.
func (p Policy) Over(rec *Record, now time.Time) Reason {
	switch {
	case !now.Before(rec.Deadline), !now.Before(rec.startedAt().Add(p.Lifetime)):
		return LifetimeOver
	case !now.Before(rec.IdleDeadline), !now.Before(rec.SeenAt.Add(p.IdleTimeout)):
		return IdleTimeout
	}
	return 0
}

// TouchDue reports whether the activity at now should be recorded.
func (p Policy) TouchDue(rec *Record, now time.Time) bool {
	return now.Sub(rec.SeenAt) >= p.TouchEvery
}

// seen returns rec's time fields after activity at now. Activity never moves
// the absolute deadline, and never moves anything back.
func (p Policy) seen(rec Record, now time.Time) Record {
	now = now.Truncate(time.Second)
	rec.Deadline = earliest(rec.Deadline, rec.startedAt().Add(p.Lifetime).Truncate(time.Second))
	if now.After(rec.SeenAt) {
		rec.SeenAt = now
	}
	rec.IdleDeadline = earliest(rec.SeenAt.Add(p.IdleTimeout).Truncate(time.Second), rec.Deadline)
	return rec
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
