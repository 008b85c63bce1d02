package redisstore_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/opaque/redisstore"
)

func TestEviction(t *testing.T) {
	for _, row := range []struct {
		maxmemory, policy string
		refused           bool
	}{
		{"0", "allkeys-lru", false}, // without a limit nothing is dropped
		{"100mb", "noeviction", false},
		{"100mb", "allkeys-lru", true},
		{"100mb", "volatile-lru", true}, // every session is volatile
		{"100mb", "volatile-ttl", true},
	} {
		s := startServer(t, "--maxmemory", row.maxmemory, "--maxmemory-policy", row.policy)
		if !row.refused {
			open(t, s.config())
			continue
		}
		store, err := redisstore.New(t.Context(), s.config())
		require.ErrorContains(t, err, row.policy)
		require.Nil(t, store)
		cfg := s.config()
		cfg.InsecureEviction = true
		open(t, cfg)
	}
}
