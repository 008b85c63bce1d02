package rotation_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/keys/rotation"
)

// A rotation that Close ends while it waits for the lock has not failed.
func TestCloseWhileLocked(t *testing.T) {
	bubble(t, func(t *testing.T, f keyset.File) {
		release, held := make(chan bool), make(chan error, 1)
		go func() { held <- f.Update(t.Context(), func(*keyset.Set) error { <-release; return nil }) }()
		synctest.Wait()
		m := start(t, f, nil)
		time.Sleep(day - time.Minute + time.Second)
		m.stop(t)
		m.quiet(t)
		close(release)
		require.NoError(t, <-held)
	})
}

func TestCloseWaitsForARotation(t *testing.T) {
	bubble(t, func(t *testing.T, f keyset.File) {
		release, closed := make(chan bool), false
		r, err := rotation.NewRotator(rotation.RotatorConfig{
			File: keys.File(f), OnRotated: func([]string) { <-release },
		})
		require.NoError(t, err)
		time.Sleep(day)
		go func() {
			_ = r.Close()
			closed = true
		}()
		synctest.Wait()
		require.False(t, closed, "it calls OnRotated still")
		close(release)
		synctest.Wait()
		require.True(t, closed)
	})
}
