package apptest_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
)

// A starvedStore is a good store on a machine that has no time for some of its
// calls, until it has failed three times.
type starvedStore struct {
	opaque.Store
	mu     sync.Mutex // guards the rest
	random *rand.Rand
	left   int
}

func starve(s opaque.Store) opaque.Store {
	return &starvedStore{Store: s, random: rand.New(rand.NewPCG(1, 1)), left: 3}
}

func (s *starvedStore) run(do func() error) error {
	s.mu.Lock()
	fails := s.left > 0 && s.random.IntN(20) == 0
	if fails {
		s.left--
	}
	s.mu.Unlock()
	if !fails {
		return do()
	}
	<-time.After(5 * time.Second)
	return fmt.Errorf("%w: %w", context.DeadlineExceeded, session.Unavailable)
}

func (s *starvedStore) Get(ctx context.Context, key string) (item opaque.Item, ok bool, err error) {
	err = s.run(func() error {
		item, ok, err = s.Store.Get(ctx, key)
		return err
	})
	return item, ok, err
}

func (s *starvedStore) Swap(ctx context.Context, key string, v uint64, item opaque.Item) (ok bool, err error) {
	err = s.run(func() error {
		ok, err = s.Store.Swap(ctx, key, v, item)
		return err
	})
	return ok, err
}

// A forgetful store has an item from before back after a swap: who writes
// without looking does that.
type forgetful struct{ opaque.Store }

func (s forgetful) Swap(ctx context.Context, key string, _ uint64, item opaque.Item) (bool, error) {
	_ = s.Store.Delete(ctx, key)
	return true, s.Store.Create(ctx, key, item)
}

// Calls that ran out of time are no violation, and hide none: neither of a
// store that writes without looking, nor of a log that loses entries.
func TestRaceOnABusyMachine(t *testing.T) {
	play := func(seed int, change func(opaque.Store) opaque.Store) (violation string) {
		synctest.Test(t, func(t *testing.T) {
			clock := apptest.NewClock(time.Now())
			memory, err := opaque.NewMemoryStore(opaque.MemoryConfig{Now: clock.Now})
			require.NoError(t, err)
			defer memory.Close()
			violation = apptest.Play{Mode: "opaque", Seed: uint64(seed), Store: change(memory), Clock: clock}.Run(t)
		})
		return violation
	}
	caught, again, lost := 0, 0, 0
	for seed := range 30 {
		require.Empty(t, play(seed, starve), "seed %d", seed)
		if play(seed, func(s opaque.Store) opaque.Store { return starve(forgetful{s}) }) != "" {
			caught++
		}
		v := several(t, apptest.Modes()[seed%3], seed, 2, apptest.NoFault, starve)
		require.Empty(t, v.Violation, "seed %d", seed)
		again += v.Again
		if several(t, "stateless", seed, 2, apptest.Drops, starve).Violation != "" {
			lost++
		}
	}
	require.Positive(t, again, "no attempt was starved")
	require.Positive(t, caught)
	require.Positive(t, lost)
	t.Logf("%d attempts began anew; a plain write was caught in %d orders of 30, lost entries in %d", again, caught, lost)
}
