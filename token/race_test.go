package token_test

import (
	"context"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/token"
)

// A plainStore writes without looking, as the stores of other libraries do. It
// is here to be caught.
type plainStore struct{ opaque.Store }

func (s plainStore) Swap(ctx context.Context, key string, _ uint64, item opaque.Item) (bool, error) {
	_ = s.Store.Delete(ctx, key)
	return true, s.Store.Create(ctx, key, item)
}

// play runs a few requests in the order of a seed. Besides the store and the
// list, they stop before each access to the token memory.
func play(t *testing.T, mode string, seed uint64, plain bool) (violation string) {
	clock := apptest.NewClock(time.Now())
	memory, err := opaque.NewMemoryStore(opaque.MemoryConfig{Now: clock.Now})
	require.NoError(t, err)
	t.Cleanup(func() { memory.Close() })
	var store opaque.Store = memory
	if plain {
		store = plainStore{store}
	}
	return apptest.Play{Mode: mode, Seed: seed, Store: store, Clock: clock, OnMemory: token.SetStep}.Run(t)
}

func seeds() int {
	if os.Getenv("CLOAKROOM_SOAK") != "" {
		return 100_000
	}
	return 1000
}

func TestRaceEndedStaysEnded(t *testing.T) {
	for _, mode := range []string{"stateless", "opaque", "auto"} {
		t.Run(mode, func(t *testing.T) {
			for seed := range seeds() {
				synctest.Test(t, func(t *testing.T) {
					if violation := play(t, mode, uint64(seed), false); violation != "" {
						t.Fatalf("seed %d: %s", seed, violation)
					}
				})
				if t.Failed() {
					return
				}
			}
		})
	}
}

// The same test must catch a store with a plain write: otherwise it proves
// nothing.
func TestRaceCatchesPlainWrite(t *testing.T) {
	caught, orders := 0, 0
	for ; caught == 0 && orders < 1000; orders++ {
		synctest.Test(t, func(t *testing.T) {
			if play(t, "opaque", uint64(orders), true) != "" {
				caught++
			}
		})
	}
	require.Positive(t, caught)
	t.Logf("a plain write was caught in order %d", orders)
}
