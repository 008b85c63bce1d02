package apptest

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/session"
)

// A Latency is how long after the answer to a logout another instance still
// opened the session.
type Latency struct{ P50, P99, Worst time.Duration }

// String rounds to microseconds.
func (l Latency) String() string {
	return fmt.Sprintf("p50 %v, p99 %v, worst %v", l.P50.Round(time.Microsecond), l.P99.Round(time.Microsecond),
		l.Worst.Round(time.Microsecond))
}

// MeasureLogout logs n sessions out on a, and measures until b refuses them. If
// b asks for news at an interval, the logouts come at any time within it, 16 at
// once; with 0 they come one after the other.
func MeasureLogout(t testing.TB, a, b *middleware.Middleware, n int, interval time.Duration) Latency {
	t.Helper()
	took := make([]time.Duration, n)
	sessions := make(chan int, n)
	credentials := make([]string, n)
	for i := range credentials {
		credentials[i] = Begin(t, a, fmt.Sprint("user ", i))
		sessions <- i
	}
	close(sessions)
	together, pause := 1, 50*time.Microsecond
	if interval > 0 {
		together, pause = 16, time.Millisecond
	}
	var all sync.WaitGroup
	for range together {
		all.Go(func() {
			for i := range sessions {
				if interval > 0 {
					<-time.After(rand.N(interval))
				}
				took[i] = measureLogout(t, a, b, credentials[i], pause)
			}
		})
	}
	all.Wait()
	slices.Sort(took)
	return Latency{P50: took[n/2], P99: took[n*99/100], Worst: took[n-1]}
}

// measureLogout looks whether b opens the session, with a pause in between.
func measureLogout(t testing.TB, a, b *middleware.Middleware, credential string, pause time.Duration) time.Duration {
	assert.NotEmpty(t, SubjectOf(b, credential))
	status, _ := Visit(a, credential, func(s *session.Session) { assert.NoError(t, s.Destroy()) })
	answered := time.Now()
	assert.Equal(t, http.StatusOK, status)
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for SubjectOf(b, credential) != "" {
		if time.Since(answered) > time.Minute {
			t.Error("the session never ended on the other instance")
			break
		}
		<-tick.C
	}
	return time.Since(answered)
}
