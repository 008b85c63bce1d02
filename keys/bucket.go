package keys

import "time"

// Anybody can make us fetch a key set, or look at a key file, with a token that
// has an invented key ID. So both have these limits.
const (
	fetchBurst  = 2                // at once: the first must not delay a real one
	fetchEvery  = 30 * time.Second // on average
	maxDisorder = time.Minute      // by which callers that read the clock earlier may come later
)

// A bucket bounds how often something happens: fetchBurst times at once, and
// every fetchEvery on average. The zero bucket allows fetchBurst times. It is
// not safe for concurrent use.
type bucket struct {
	used   time.Duration // fetchEvery for each time, less the time since then
	filled time.Time     // when used was computed
}

// take reports whether it may happen at the time now. A caller that comes a
// little out of order must not win time. A clock that was set back must not
// stop everything until it gets there again.
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
