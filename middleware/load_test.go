package middleware_test

import (
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/opaque"
)

func TestInterleavingsSoak(t *testing.T) {
	apptest.Interleavings(t, func(t testing.TB, now func() time.Time) opaque.Store { return newMemory(t, now) })
}
