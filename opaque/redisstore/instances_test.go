package redisstore_test

import (
	"testing"

	"github.com/cloakroom-go/cloakroom/internal/instancetest"
	"github.com/cloakroom-go/cloakroom/opaque/redisstore"
)

// Three instances of an application share a server.
func TestInstances(t *testing.T) {
	s := startServer(t)
	instancetest.Run(t, instancetest.Store{
		Opener: redisstore.Opener(),
		Addr:   s.addr,
		URL:    func(addr, prefix string) string { return "redis://" + addr + "?prefix=" + prefix },
		Lose: func(t *testing.T, prefix string) {
			s.command(t, "EVAL", "return redis.call('DEL', unpack(redis.call('KEYS', ARGV[1] .. '*')))", "0", prefix)
		},
	})
}
