package revocation_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/revocation"
)

// A clock that differs by more than half of Skew is reported, in either
// direction: once, and again when the clocks have agreed for a while. The list
// goes on all the same.
func TestClocksThatDiffer(t *testing.T) {
	for name, sign := range map[string]time.Duration{"behind": 1, "ahead of": -1} {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			var problems []error
			log := newMemoryLog()
			set := func(ahead time.Duration) {
				log.set(func() { log.ahead = sign * ahead })
				time.Sleep(time.Second)
			}
			expect := func(n int) {
				t.Helper()
				synctest.Wait()
				mu.Lock()
				defer mu.Unlock()
				require.Len(t, problems, n, "%v", problems)
			}
			l := shared(t, log, func(c *revocation.Config) {
				c.Skew = 5 * time.Second
				c.OnProblem = func(err error) { mu.Lock(); problems = append(problems, err); mu.Unlock() }
			})
			set(2500 * time.Millisecond)
			expect(0)
			require.Equal(t, sign*2500*time.Millisecond, l.Stats().ClockOffset)
			set(2501 * time.Millisecond)
			expect(1)
			require.EqualError(t, problems[0], "revocation: the clock of this machine is at least 2.501s "+name+" that of the "+
				"log's server: when the clocks of two instances differ by more than Skew, 5s, the end of all sessions of a "+
				"subject may miss some of them; synchronize the clocks of all machines by NTP, or raise Skew (revocations.skew)")
			set(time.Hour)
			require.NoError(t, l.Fresh())
			require.Equal(t, sign*time.Hour, l.Stats().ClockOffset)
			for range 3 { // slow reads in between
				set(0)
				time.Sleep(50 * time.Second)
				set(time.Hour)
			}
			expect(1)
			set(0)
			time.Sleep(time.Minute)
			set(3 * time.Second)
			expect(2)
			require.NoError(t, l.Close())
		})
	}
}

// With Skew 0 there is one clock.
func TestClocksWithoutSkew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemoryLog()
		log.ahead = time.Hour
		l := shared(t, log, func(c *revocation.Config) { c.OnProblem = func(err error) { t.Error(err) } })
		time.Sleep(time.Second)
		require.NoError(t, l.Fresh())
		require.Equal(t, time.Hour, l.Stats().ClockOffset)
		require.NoError(t, l.Close())
	})
}
