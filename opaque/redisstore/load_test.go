//go:build unix

package redisstore_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/opaque"
)

func TestLoadSoak(t *testing.T) {
	s := startServer(t)
	apptest.Load(t, apptest.Backend{
		Addr: s.addr,
		Open: func(t testing.TB, addr string, now func() time.Time) opaque.Store {
			cfg := s.config()
			cfg.Addrs, cfg.Now = []string{addr}, now
			return open(t, cfg)
		},
		// Several answers may come together. The client panics if it gets more of
		// them than it has asked for, so only single ones are crossed.
		Record: func(answer []byte) bool {
			var length int
			_, err := fmt.Sscanf(string(answer[:min(len(answer), 16)]), "$%d\r\n", &length)
			return err == nil && length > 32 && len(answer) == len(fmt.Sprintf("$%d\r\n\r\n", length))+length
		},
	})
}

// With reads from the memory of the process, nothing that this process has
// ended or changed opens in its old state.
func TestInterleavingsWithCacheSoak(t *testing.T) {
	cfg := withCache(startServer(t).config(), longCache)
	apptest.Interleavings(t, func(t testing.TB, now func() time.Time) opaque.Store {
		cfg.Now = now
		return open(t, cfg)
	})
}
