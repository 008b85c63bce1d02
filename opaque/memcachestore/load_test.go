//go:build unix

package memcachestore_test

import (
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/opaque/memcachestore"
)

func TestLoadSoak(t *testing.T) {
	apptest.Load(t, apptest.Backend{
		Addr:  start(t),
		Named: true,
		Open: func(t testing.TB, addr string, now func() time.Time) opaque.Store {
			return newStore(t, memcachestore.Config{Addr: addr, Now: now})
		},
	})
}
