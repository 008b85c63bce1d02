// Package instant compares points in time.
//
// Use [Earliest] for the end of something that several limits bound, and
// [MaxSecond] where an instant comes from outside.
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
