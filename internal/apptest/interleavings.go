package apptest

import (
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// soaks reports whether the long form of a test is asked for.
func soaks() bool { return os.Getenv("CLOAKROOM_SOAK") == "1" }

// Interleavings lets a few requests come to one session at once, in 200 random
// orders of their calls to the store; with CLOAKROOM_SOAK=1 in the environment
// in 100,000. They load, save, renew, log in, move from the cookie to the store
// and back, log out, and end all sessions of the subject. Nothing that has
// ended comes back, no credential from before a login or renewal opens the
// session, and no change is lost.
//
// Half of the orders are of mode opaque, with two instances, the others of mode
// auto.
func Interleavings(t *testing.T, newStore NewStore) {
	t.Helper()
	orders := 200
	if soaks() {
		orders = 100_000
	}
	clock := NewClock(time.Now())
	store := newStore(t, clock.Now)
	const workers = 16 // most of the time, each waits for the store
	var next, failed atomic.Int64
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for seed := next.Add(1); seed <= int64(orders) && failed.Load() == 0; seed = next.Add(1) {
				mode := Modes()[1+seed/2%2]
				if v := (Play{Mode: mode, Seed: uint64(seed), Store: store, Clock: clock}).Run(t); v != "" {
					failed.Add(1)
					t.Errorf("mode %s, seed %d: %s", mode, seed, v)
				}
			}
		})
	}
	all.Wait()
	require.Zero(t, failed.Load())
}
