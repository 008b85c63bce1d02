package revocation

import (
	"math"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// until returns the second at which every session that lives now is over, or,
// with SingleInstance, has only tokens that were made after now.
func (l *List) until(now time.Time) uint32 {
	if l.lifetime == 0 {
		return forever
	}
	return l.overAfter(now, l.lifetime)
}

// untilOver returns the second from which no token opens the session of rec.
// Its tokens have its deadline or an earlier one: only a login moves it, and
// that begins another generation. With SingleInstance the newest token was made
// before now, and has rec's idle timeout.
func (l *List) untilOver(rec *session.Record, now time.Time) uint32 {
	if rec.Deadline.IsZero() {
		return l.until(now)
	}
	over := l.overAfter(rec.Deadline, 0)
	// An idle deadline that is the absolute one doesn't tell the idle timeout.
	if idle := rec.IdleDeadline.Sub(rec.SeenAt); l.single && idle > 0 && rec.IdleDeadline.Before(rec.Deadline) {
		over = min(over, l.overAfter(now, idle))
	}
	// Clocks that are a little apart must not make an entry that is over already.
	return max(over, l.overAfter(now, time.Minute))
}

// overAfter returns the second that begins no earlier than d after t, by every
// clock.
func (l *List) overAfter(t time.Time, d time.Duration) uint32 {
	// One after the other: the sum of two long durations can be negative.
	return second(t.Add(d).Add(l.skew).Add(time.Second - 1))
}

func second(t time.Time) uint32 { return uint32(min(max(t.Unix(), 0), math.MaxUint32)) }

func millis(t time.Time) int64 { return max(t.UnixMilli(), 0) }
