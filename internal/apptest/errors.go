//go:build unix

package apptest

import (
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/cloakroom-go/cloakroom/internal/servertest"
	"github.com/cloakroom-go/cloakroom/opaque"
)

// Errors sends 500 requests a second, for 5 seconds or with CLOAKROOM_SOAK=1
// in the environment for 60, while one call to the store in five fails, half of
// them after it was done, and each takes up to half a second. Nobody is let in,
// nobody is logged out, and each answer comes within the middleware's timeouts.
// In the end the server can't be reached for a while, and requests get good
// answers within a second after that.
func Errors(t *testing.T, b Backend) {
	t.Helper()
	const perSecond = 500
	seconds := 5
	if soaks() {
		seconds = 60
	}
	clock := NewClock(time.Now())
	start := time.Now()
	l := b.open(t, 2, clock.Now)
	busy := time.Since(start) // a machine that makes stores slowly also mends connections slowly
	behind := make([]opaque.Store, len(l.stores))
	failing := make([]*faulty, len(l.stores))
	for i, s := range l.stores {
		failing[i] = &faulty{Store: s}
		failing[i].set(failingSlowly)
		behind[i] = failing[i]
	}
	c := newCrowd(t, clock, 2*perSecond, timeout, false, behind...)
	var all sync.WaitGroup
	tick := time.NewTicker(time.Second / perSecond)
	defer tick.Stop()
	for i := range perSecond * seconds {
		<-tick.C
		if i%perSecond == 0 {
			clock.Advance(10 * time.Second)
		}
		all.Go(func() { c.request(c.visitors[i%len(c.visitors)]) })
	}
	all.Wait()
	assert.Less(t, c.slowest, bound)
	assert.Positive(t, c.statuses()[http.StatusServiceUnavailable], "nothing failed")

	for _, f := range failing {
		f.set(nil)
	}
	answers := c.statuses()
	l.spoil(func([]byte) (servertest.Mode, time.Duration) { return servertest.Refuse, 0 })
	for i := range 50 {
		<-tick.C
		c.request(c.visitors[i])
	}
	l.spoil(nil)
	recovery := c.recover(t, time.Second+busy)
	t.Logf("answers %v, the slowest after %v; the first good one %v after an outage", answers, c.slowest, recovery)
	c.judge()
	c.fails(t)
}

const (
	timeout = 2 * time.Second // of the middleware, to open a session, and again to save it

	// bound has half a second for what a lost answer adds, and a second for a
	// busy machine.
	bound = 2*timeout + 500*time.Millisecond + time.Second
)

// failingSlowly fails one call in five.
func failingSlowly([]byte) (servertest.Mode, time.Duration) {
	delay := rand.N(500 * time.Millisecond)
	switch rand.IntN(10) {
	case 0:
		return servertest.Refuse, delay
	case 1:
		return servertest.Cut, delay
	}
	return servertest.Pass, delay
}
