// Package instant compares points in time.
//
// Use [Earliest] for the end of something that several limits bound,
// [MaxSecond] where an instant comes from outside, and [Ahead] to compare two
// clocks.
package instant

import (
	"slices"
	"time"
)

// MaxSecond is the last second of the year 9999, in seconds since 1970. RFC
// 3339 can't write a later one.
const MaxSecond = 253402300799

// Earliest returns the earliest of several instants.
func Earliest(t ...time.Time) time.Time { return slices.MinFunc(t, time.Time.Compare) }

// Latest returns the latest of several instants.
func Latest(t ...time.Time) time.Time { return slices.MaxFunc(t, time.Time.Compare) }

// Ahead returns how far a server's clock is ahead of this process's, at least;
// negative if it is behind. there is the server's time when it answered a
// request, and sent and received are this process's around that. The result
// takes the whole time between the two off the difference, so a process that
// stood still in between reports nothing false.
func Ahead(there, sent, received time.Time) time.Duration {
	// The monotonic clock would hide that the other one was set in between.
	sent, received = sent.Round(0), received.Round(0)
	if d := there.Sub(Latest(sent, received)); d > 0 {
		return d
	}
	return min(there.Sub(Earliest(sent, received)), 0)
}
