//go:build unix

package middleware_test

import (
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/opaque"
)

func TestLoadSoak(t *testing.T) {
	apptest.Load(t, apptest.Backend{Open: func(t testing.TB, _ string, now func() time.Time) opaque.Store {
		return newMemory(t, now)
	}})
}
