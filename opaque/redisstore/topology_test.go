package redisstore_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/servertest"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/opaque/redisstore"
	"github.com/cloakroom-go/cloakroom/opaque/storetest"
)

func portOf(t *testing.T, addr string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	return port
}

// startCluster starts three servers that share the slots.
func startCluster(t *testing.T) []server {
	t.Helper()
	var servers []server
	var buses []string
	for range 3 {
		bus := portOf(t, servertest.FreeAddr(t))
		servers = append(servers, startServer(t, "--cluster-enabled", "yes", "--cluster-port", bus))
		buses = append(buses, bus)
	}
	for i, s := range servers {
		s.command(t, "CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1))
		s.command(t, "CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(16384*i/3), strconv.Itoa(16384*(i+1)/3-1))
		s.command(t, "CLUSTER", "MEET", "127.0.0.1", portOf(t, servers[0].addr), buses[0])
	}
	for _, s := range servers {
		require.Eventually(t, func() bool {
			answer, err := ask(t.Context(), s.addr, "GET", "x")
			return err == nil && !strings.HasPrefix(answer, "-CLUSTERDOWN")
		}, 30*time.Second, 10*time.Millisecond)
	}
	return servers
}

// allow makes the user "app" with the least rights and some more, and returns a
// Config for it.
func (s server) allow(t *testing.T, more ...string) redisstore.Config {
	t.Helper()
	s.command(t, append(append([]string{"ACL", "SETUSER", "app"}, leastRights...), more...)...)
	cfg := s.config()
	cfg.Username, cfg.Password = "app", "secret"
	return cfg
}

func TestContractInCluster(t *testing.T) {
	servers := startCluster(t)
	var cfg redisstore.Config
	for _, s := range servers {
		cfg = s.allow(t, "+cluster|slots", "+cluster|shards", "+asking")
	}
	cfg.Cluster = true
	storetest.Run(t, func(t *testing.T) opaque.Store { return open(t, cfg) })
	for _, s := range servers {
		require.NotEqual(t, ":0", s.command(t, "DBSIZE"), "the sessions should be spread over all servers")
	}
}

// The settings of every server count, not only those of the one in Addrs.
func TestEvictionInCluster(t *testing.T) {
	servers := startCluster(t)
	servers[2].command(t, "CONFIG", "SET", "maxmemory", "100mb")
	servers[2].command(t, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
	_, err := redisstore.New(t.Context(), redisstore.Config{Addrs: []string{servers[0].addr}, Cluster: true})
	require.ErrorContains(t, err, "allkeys-lru")
	require.ErrorContains(t, err, servers[2].addr)
}

// startSentinel starts a Sentinel that watches the master by the name "shop".
func startSentinel(t *testing.T, master server) (addr string) {
	t.Helper()
	addr = servertest.FreeAddr(t)
	dir := servertest.Dir(t, nil)
	conf := filepath.Join(dir, "sentinel.conf")
	require.NoError(t, os.WriteFile(conf, fmt.Appendf(nil, "bind 127.0.0.1\nport %s\n"+
		"sentinel monitor shop 127.0.0.1 %s 1\n"+
		"sentinel down-after-milliseconds shop 500\n"+
		"sentinel failover-timeout shop 3000\n", portOf(t, addr), portOf(t, master.addr)), 0o600))
	servertest.Start(t, servertest.Config{
		Program: servertest.Program(t, "redis-sentinel"),
		Args:    []string{conf},
		Dir:     dir,
		Ready:   func(ctx context.Context) error { return ping(ctx, addr) },
	})
	return addr
}

// When the master is gone, the Sentinel makes the replica the new one, and the
// store goes on there without having been told.
func TestFailover(t *testing.T) {
	master := startServer(t)
	replica := startServer(t, "--replicaof", "127.0.0.1 "+portOf(t, master.addr))
	sentinel := startSentinel(t, master)
	require.Eventually(t, func() bool { // it learns of the replica from the master
		answer, err := ask(t.Context(), sentinel, "SENTINEL", "REPLICAS", "shop")
		return err == nil && answer == "*1"
	}, 30*time.Second, 10*time.Millisecond)

	cfg := master.allow(t, "+role")
	replica.allow(t, "+role")
	cfg.Addrs, cfg.SentinelMaster = []string{sentinel}, "shop"
	store := open(t, cfg)
	key := put(t, store, newItem(1, "x"))
	require.Eventually(t, func() bool {
		answer, err := ask(t.Context(), replica.addr, "EXISTS", "cloakroom:s:"+key)
		return err == nil && answer == ":1"
	}, 30*time.Second, 10*time.Millisecond)

	master.process.Kill()
	swapped := false
	require.Eventually(t, func() bool {
		var err error
		ctx, cancel := context.WithTimeout(t.Context(), deadline)
		defer cancel()
		swapped, err = store.Swap(ctx, key, 1, newItem(2, "y"))
		return err == nil
	}, 30*time.Second, 20*time.Millisecond)
	require.True(t, swapped)
	require.Equal(t, ":1", replica.command(t, "EXISTS", "cloakroom:s:"+key))
}
