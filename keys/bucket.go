package keys

import "time"

// A bucket bounds how often something happens: fetchBurst times at once, and
// every fetchEvery on average. The zero bucket is full. It is not safe for
// concurrent use.
type bucket struct {
	used   time.Duration // fetchEvery for each time, less what has passed since
	filled time.Time     // when used was computed
}

// take reports whether it may happen at the time now. Callers come a little out
// of order, which must not add time; a clock that was set back must not stop
// things for long.
func (b *bucket) take(now time.Time) bool {
	passed := now.Sub(b.filled)
	if passed > 0 {
		b.used = max(0, b.used-passed)
	}
	if passed > 0 || passed < -maxDisorder {
		b.filled = now
	}
	if b.used > (fetchBurst-1)*fetchEvery {
		return false
	}
	b.used += fetchEvery
	return true
}
