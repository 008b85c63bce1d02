package apptest_test

import (
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/opaque"
)

// several runs some requests on instances that share a log. Each of change is
// put around the store.
func several(t *testing.T, mode string, seed, instances int, fault apptest.Fault,
	change ...func(opaque.Store) opaque.Store) (v apptest.Verdict) {
	synctest.Test(t, func(t *testing.T) {
		clock := apptest.NewClock(time.Now())
		memory, err := opaque.NewMemoryStore(opaque.MemoryConfig{Now: clock.Now})
		require.NoError(t, err)
		defer memory.Close()
		var store opaque.Store = memory
		for _, f := range change {
			store = f(store)
		}
		v = apptest.Several{
			Mode: mode, Seed: uint64(seed), Instances: instances, Store: store, Clock: clock, Wait: synctest.Wait,
			Fault: fault,
		}.Run(t)
	})
	return v
}

// What one instance has ended opens on none that has heard of it, in whichever
// order they hear; logins that follow hold; and in the end all instances answer
// alike. Until an instance has heard, it opens what has ended elsewhere: that
// is counted.
func TestRaceSeveralInstances(t *testing.T) {
	seeds := 30
	if os.Getenv("CLOAKROOM_SOAK") == "1" {
		seeds = 16_700 // 100,200 in all
	}
	var sum apptest.Verdict
	for _, mode := range apptest.Modes() {
		for _, instances := range []int{2, 3} {
			t.Run(fmt.Sprint(mode, " ", instances), func(t *testing.T) {
				for seed := range seeds {
					v := several(t, mode, seed, instances, apptest.NoFault)
					require.Empty(t, v.Violation, "seed %d", seed)
					sum.Add(v)
				}
			})
		}
	}
	require.Positive(t, sum.Early, "no instance was ever late")
	require.Positive(t, sum.Logins)
	apptest.Account(t, "%s: %v", t.Name(), sum)
}

// The same test must flag a feed that loses entries, and one that reads what is
// above its position although entries below it come later.
func TestRaceFlagsFeeds(t *testing.T) {
	for _, tt := range []struct {
		name  string
		mode  string
		fault apptest.Fault
	}{
		{"drops", "stateless", apptest.Drops},
		{"drops", "opaque", apptest.Drops},
		{"drops", "auto", apptest.Drops},
		{"seq above last", "stateless", apptest.SeqAbove},
	} {
		seed := 0
		for several(t, tt.mode, seed, 2, tt.fault).Violation == "" {
			seed++
			require.Less(t, seed, 1000)
		}
		t.Logf("%s, mode %s: flagged in schedule %d", tt.name, tt.mode, seed)
	}
}
