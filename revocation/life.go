package revocation

import (
	"cmp"
	"math"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// until returns the second at which every session that lives now has expired.
// If tokens are made only for so long after an end, it is the second at which
// every token has expired that is made in that time.
func (l *List) until(now time.Time) uint32 {
	if l.lifetime == 0 {
		return forever
	}
	return l.overAfter(now, l.lifetime)
}

// madeFor returns how long after the end of a session another token of it can
// be made: not at all by this process, and with a Log only as long as another
// instance may be stale, and a minute for a request that is under way. known is
// false if there is no limit.
func (c Config) madeFor() (d time.Duration, known bool) {
	switch {
	case c.SingleInstance:
		return 0, true
	case c.Log != nil && !c.InsecureServeStale:
		return c.staleness() + time.Minute, true
	}
	return 0, false
}

func (c Config) staleness() time.Duration { return cmp.Or(c.MaxStaleness, DefaultMaxStaleness) }

// untilOver returns the second from which no token opens the session of rec.
// Its tokens expire at its deadline or earlier: only a login moves the
// deadline, and a login begins another generation. With SingleInstance the
// newest token was made before now, and has rec's idle timeout. But an instance
// that has not heard of the end may log somebody in, or have the session
// remembered, so with a Log the longest idle timeout of all counts.
func (l *List) untilOver(rec *session.Record, now time.Time) uint32 {
	if rec.Deadline.IsZero() || l.made > 0 {
		return l.until(now)
	}
	over := l.overAfter(rec.Deadline, 0)
	// If the idle deadline is cut off by the absolute one, it does not show the
	// idle timeout.
	if idle := rec.IdleDeadline.Sub(rec.SeenAt); l.short && idle > 0 && rec.IdleDeadline.Before(rec.Deadline) {
		over = min(over, l.overAfter(now, idle))
	}
	// If clocks differ a little, the entry must not have expired already.
	return max(over, l.overAfter(now, time.Minute))
}

// overAfter returns the second that begins no earlier than d after t, by the
// clock of every instance.
func (l *List) overAfter(t time.Time, d time.Duration) uint32 {
	// One after the other: the sum of two long durations can be negative.
	return second(t.Add(d).Add(l.skew).Add(time.Second - 1))
}

func second(t time.Time) uint32 { return uint32(min(max(t.Unix(), 0), math.MaxUint32)) }

func millis(t time.Time) int64 { return max(t.UnixMilli(), 0) }
