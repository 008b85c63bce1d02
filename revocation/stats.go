package revocation

import (
	"cmp"
	"time"
)

// Stats are figures about a [List], for metrics and readiness probes. The
// counters begin at 0 when the list is opened. Without Config.Log, all but
// Sessions and Subjects are 0.
type Stats struct {
	// Staleness is how long ago this list last knew everything that had ended on
	// other instances. It counts from the beginning of the last complete read of
	// the Log, or from the opening of the list if there was none. About a second
	// is normal.
	Staleness time.Duration

	// Sessions and Subjects are how many entries the list keeps about single
	// sessions, and about all sessions of a subject, with a tag, or of everybody.
	// They include some entries that have expired, as [List.Len] does.
	Sessions, Subjects int

	// Appends and FailedAppends count the calls of Log.Append that succeeded and
	// failed. One call may bring many entries, and a failed one is repeated.
	Appends, FailedAppends uint64

	// Losses counts how often this list found that the Log had forgotten entries.
	Losses uint64

	// ClockOffset is how far the clock of the Log's server is ahead of this
	// process's, at least, or behind if negative; see [Reading]. 0 means that no
	// difference is known.
	ClockOffset time.Duration
}

// Stats returns the present figures. It takes no lock.
func (l *List) Stats() Stats {
	s := Stats{
		Staleness: l.staleness(),
		Sessions:  int(l.sessions.count.Load()),
		Subjects:  int(l.subjects.count.Load() + l.tagged.count.Load() + l.all.count.Load()),
	}
	if f := l.feed; f != nil {
		s.Appends, s.FailedAppends, s.Losses = f.appends.Load(), f.failedAppends.Load(), f.losses.Load()
		s.ClockOffset = time.Duration(f.clockOffset.Load())
	}
	return s
}

func (l *List) staleness() time.Duration {
	if l.feed == nil {
		return 0
	}
	return age(l.now(), *cmp.Or(l.feed.readAt.Load(), &l.feed.begun))
}

// age returns how long ago at was. The monotonic clock stands still while a
// virtual machine is suspended, and the other one can be set back.
func age(now, at time.Time) time.Duration {
	return max(now.Sub(at), now.Round(0).Sub(at.Round(0)), 0)
}
