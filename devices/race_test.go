package devices_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/devices"
	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/opaque"
)

func TestRaceIndex(t *testing.T) {
	apptest.RaceIndex(t, func(t testing.TB) (opaque.Store, devices.Index) {
		store, err := opaque.NewMemoryStore(opaque.MemoryConfig{})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, store.Close()) })
		return store, devices.NewMemory(nil)
	})
}
