package redisstore_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/itemtest"
	"github.com/cloakroom-go/cloakroom/internal/servertest"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/opaque/redisstore"
	"github.com/cloakroom-go/cloakroom/opaque/storetest"
	"github.com/cloakroom-go/cloakroom/session"
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

// A cluster needs some seconds to agree on itself, so there is one for all
// tests.
func TestCluster(t *testing.T) {
	t.Parallel()
	servers := startCluster(t)
	for _, sub := range []struct {
		name string
		test func(t *testing.T, servers []server)
	}{
		{"contract", contractInCluster},
		{"log", logInCluster},
		{"index", indexInCluster},
		{"opener", openerOfACluster},
		{"rights", rightsInCluster},
		{"moving slot", movingSlot},
		{"moving log", movingLog},
		{"eviction", evictionInCluster},
	} {
		t.Run(sub.name, func(t *testing.T) { sub.test(t, servers) })
	}
}

func contractInCluster(t *testing.T, servers []server) {
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
func evictionInCluster(t *testing.T, servers []server) {
	servers[2].command(t, "CONFIG", "SET", "maxmemory", "100mb")
	servers[2].command(t, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
	_, err := redisstore.New(t.Context(), redisstore.Config{Addrs: []string{servers[0].addr}, Cluster: true})
	require.ErrorContains(t, err, "allkeys-lru")
	require.ErrorContains(t, err, servers[2].addr)
}

// A slot moves from one server to another while requests change a session in
// it. They notice nothing, with and without the cache: no error, and no change
// is lost.
func movingSlot(t *testing.T, servers []server) {
	from, to := servers[0], servers[1]
	var cfg redisstore.Config
	for _, s := range servers {
		cfg = s.allow(t, "+cluster|slots", "+cluster|shards", "+asking", "+client|tracking", "+client|caching")
	}
	cfg.Cluster = true
	plain, cached := open(t, cfg), open(t, withCache(cfg, longCache))
	var key string
	slot := 1 << 14
	for slot >= 1<<14/3 { // until it is one of the first server's
		key = itemtest.Key()
		slot = from.number(t, "CLUSTER", "KEYSLOT", "cloakroom:s:"+key)
	}
	require.NoError(t, plain.Create(t.Context(), key, itemtest.New(1, "x")))

	ctx, stop := context.WithCancel(t.Context())
	var done atomic.Int64
	var running sync.WaitGroup
	for _, store := range []*redisstore.Store{plain, plain, cached, cached} {
		running.Go(func() {
			for ctx.Err() == nil {
				if err := raise(t.Context(), store, key); !assert.NoError(t, err) {
					return
				}
				done.Add(1)
			}
		})
	}
	var listed atomic.Int64
	others := []string{put(t, plain, itemtest.New(1, "x")), itemtest.Key(), put(t, plain, itemtest.New(1, "x"))}
	running.Go(func() { listed.Store(readHeaders(ctx, t, cached, append(others, key))) })
	requestsGoOn := func() {
		t.Helper()
		want := done.Load() + 40
		require.Eventually(t, func() bool { return done.Load() >= want }, 10*time.Second, time.Millisecond)
	}
	requestsGoOn()
	moveSlot(t, slot, "cloakroom:s:"+key, from, to, servers, requestsGoOn)
	stop()
	running.Wait()
	require.Equal(t, uint64(1+done.Load()), versionOf(t, plain, key))
	require.Equal(t, uint64(1+done.Load()), versionOf(t, cached, key))
	require.Greater(t, listed.Load(), int64(1))
	require.Equal(t, ":1", to.command(t, "EXISTS", "cloakroom:s:"+key))
}

// readHeaders reads headers until the end of ctx. It returns the version of the
// last item, which must not go back.
func readHeaders(ctx context.Context, t *testing.T, store *redisstore.Store, keys []string) (version int64) {
	for ctx.Err() == nil {
		items, err := store.Headers(t.Context(), keys)
		if !assert.NoError(t, err) || !assert.LessOrEqual(t, version, int64(items[len(keys)-1].Version)) {
			break
		}
		version = int64(items[len(keys)-1].Version)
	}
	return version
}

// The log moves to another server while somebody appends to it and somebody
// else waits for news. Neither notices anything.
func movingLog(t *testing.T, servers []server) {
	const log = "cloakroom:{feed}:log"
	slot := servers[0].number(t, "CLUSTER", "KEYSLOT", log)
	from, to := servers[slot*3>>14], servers[(slot*3>>14+1)%3]
	cfg := from.config()
	cfg.Cluster = true
	a, b := open(t, cfg), open(t, cfg)
	_, pos := readAll(t, b, "")
	ctx, stop := context.WithCancel(t.Context())
	var appended, heard atomic.Int64
	var running sync.WaitGroup
	running.Go(func() {
		for ctx.Err() == nil && assert.NoError(t, a.Append(t.Context(), ended(2))) {
			appended.Add(2)
		}
	})
	running.Go(func() {
		for ctx.Err() == nil || heard.Load() < appended.Load() {
			r, err := b.Read(t.Context(), pos, 500*time.Millisecond)
			if !assert.NoError(t, err) || !assert.False(t, r.Lost) {
				return
			}
			pos = r.Next
			heard.Add(int64(len(r.Entries)))
		}
	})
	newsGoOn := func() {
		t.Helper()
		want := appended.Load() + 40
		require.Eventually(t, func() bool { return heard.Load() >= want }, patience, time.Millisecond)
	}
	newsGoOn()
	moveSlot(t, slot, log, from, to, servers, newsGoOn)
	stop()
	running.Wait()
	require.Equal(t, appended.Load(), heard.Load())
	require.Equal(t, ":1", to.command(t, "EXISTS", log))
}

// moveSlot moves a slot with one key in it as an administrator does, and calls
// then after each step.
func moveSlot(t *testing.T, slot int, key string, from, to server, all []server, then func()) {
	t.Helper()
	number, fromID, toID := strconv.Itoa(slot), from.command(t, "CLUSTER", "MYID"), to.command(t, "CLUSTER", "MYID")
	to.command(t, "CLUSTER", "SETSLOT", number, "IMPORTING", fromID)
	from.command(t, "CLUSTER", "SETSLOT", number, "MIGRATING", toID)
	then()
	from.command(t, "MIGRATE", "127.0.0.1", portOf(t, to.addr), key, "0", "5000")
	then()                                           // with ASK
	for _, s := range append([]server{to}, all...) { // the new owner first
		s.command(t, "CLUSTER", "SETSLOT", number, "NODE", toID)
	}
	then() // with MOVED
}

// raise raises the version of an item by 1, as often as others are faster.
func raise(ctx context.Context, store *redisstore.Store, key string) error {
	for {
		item, found, err := store.Get(ctx, key)
		if err != nil || !found {
			return cmp.Or(err, errors.New("the item is gone"))
		}
		ok, err := store.Swap(ctx, key, item.Version, itemtest.New(item.Version+1, "y"))
		if ok || err != nil {
			return err
		}
	}
}

// sentinelRights are those that the store needs at a Sentinel.
const sentinelRights = "on >sentinel-secret allchannels -@all " +
	"+sentinel|sentinels +sentinel|get-master-addr-by-name +subscribe +hello +ping"

// startSentinel starts a Sentinel that watches the master by the name "shop",
// and knows the user "finder".
func startSentinel(t *testing.T, master server) server {
	t.Helper()
	s := server{addr: servertest.FreeAddr(t)}
	dir := servertest.Dir(t, nil)
	conf := filepath.Join(dir, "sentinel.conf")
	require.NoError(t, os.WriteFile(conf, fmt.Appendf(nil, "bind 127.0.0.1\nport %s\n"+
		"user finder %s\n"+
		"sentinel monitor shop 127.0.0.1 %s 1\n"+
		"sentinel down-after-milliseconds shop 500\n"+
		"sentinel failover-timeout shop 3000\n", portOf(t, s.addr), sentinelRights, portOf(t, master.addr)), 0o600))
	s.process = servertest.Start(t, servertest.Config{
		Program: servertest.Program(t, "redis-sentinel"),
		Args:    []string{conf},
		Dir:     dir,
		Ready:   func(ctx context.Context) error { return ping(ctx, s.addr) },
	})
	return s
}

// startReplicated starts a master, a replica and a Sentinel that knows both.
// All of them give the store the least rights.
func startReplicated(t *testing.T) (master, replica, sentinel server, cfg redisstore.Config) {
	t.Helper()
	master = startServer(t)
	replica = startServer(t, "--replicaof", "127.0.0.1 "+portOf(t, master.addr))
	sentinel = startSentinel(t, master)
	// In milliseconds. With its own 10 and 2 seconds, a failover takes that long.
	sentinel.command(t, "SENTINEL", "DEBUG", "INFO-PERIOD", "100", "PUBLISH-PERIOD", "100")
	require.Eventually(t, func() bool { // it learns of the replica from the master
		answer, err := ask(t.Context(), sentinel.addr, "SENTINEL", "REPLICAS", "shop")
		return err == nil && answer == "*1"
	}, 30*time.Second, 10*time.Millisecond)
	cfg = master.allow(t, "+role")
	replica.allow(t, "+role")
	cfg.Addrs, cfg.SentinelMaster = []string{sentinel.addr}, "shop"
	cfg.SentinelUsername, cfg.SentinelPassword = "finder", "sentinel-secret"
	return master, replica, sentinel, cfg
}

// awaits waits until the replica has the item.
func (s server) awaits(t *testing.T, key string) {
	t.Helper()
	require.Eventually(t, func() bool {
		answer, err := ask(t.Context(), s.addr, "EXISTS", "cloakroom:s:"+key)
		return err == nil && answer == ":1"
	}, 30*time.Second, 10*time.Millisecond)
}

// When the master is gone, the Sentinel makes the replica the new one, and the
// store goes on there without having been told.
func TestFailover(t *testing.T) {
	t.Parallel()
	master, replica, _, cfg := startReplicated(t)
	store := open(t, cfg)
	key := put(t, store, itemtest.New(1, "x"))
	replica.awaits(t, key)
	master.process.Kill()
	swapped := false
	require.Eventually(t, func() bool {
		var err error
		ctx, cancel := context.WithTimeout(t.Context(), deadline)
		defer cancel()
		swapped, err = store.Swap(ctx, key, 1, itemtest.New(2, "y"))
		return err == nil
	}, 30*time.Second, 20*time.Millisecond)
	require.True(t, swapped)
	require.Equal(t, ":1", replica.command(t, "EXISTS", "cloakroom:s:"+key))
}

// has looks into what the server says of its replication. It says no if it
// can't find out: a Sentinel cuts the connections of a server that changes its
// role.
func (s server) has(t *testing.T, line string) bool {
	t.Helper()
	answer, err := ask(t.Context(), s.addr, "INFO", "replication")
	return err == nil && strings.Contains(answer, line)
}

// An administrator gives the role of the master to the replica, while requests
// go on. The old master lives on. Changes that it has acknowledged last may be
// lost, but nobody is logged out.
func TestSwitchover(t *testing.T) {
	master, replica, sentinel, cfg := startReplicated(t)
	store := open(t, cfg)
	key := put(t, store, itemtest.New(1, "x"))
	replica.awaits(t, key)
	require.Eventually(t, func() bool { // the Sentinel finds the replica good enough only after a while
		answer, err := ask(t.Context(), sentinel.addr, "SENTINEL", "FAILOVER", "shop")
		return err == nil && answer == "+OK"
	}, 30*time.Second, 50*time.Millisecond)
	version := uint64(1)
	require.Eventually(t, func() bool {
		err := within(t, deadline, func(ctx context.Context) error {
			ok, err := store.Swap(ctx, key, version, itemtest.New(version+1, "y"))
			if ok {
				version++
			}
			return err
		})
		if err != nil {
			require.ErrorIs(t, err, session.Unavailable)
		}
		return err == nil && replica.has(t, "role:master") && master.has(t, "role:slave")
	}, 30*time.Second, 5*time.Millisecond)
	now := versionOf(t, store, key)
	require.LessOrEqual(t, now, version)
	ok, err := store.Swap(t.Context(), key, now, itemtest.New(now+1, "z"))
	require.NoError(t, err)
	require.True(t, ok)
}

// The address of a managed server leads to the new master after a failover, but
// open connections still lead to the old one, which is a replica now. The first
// write that it refuses makes the store connect again.
func TestReadOnlyConnectionIsGivenUp(t *testing.T) {
	master, next := startServer(t), startServer(t)
	proxy := servertest.NewProxy(t, master.addr)
	cfg := master.config()
	cfg.Addrs = []string{proxy.Addr()}
	store := open(t, cfg)
	put(t, store, itemtest.New(1, "x"))
	proxy.Lead(next.addr)
	master.command(t, "REPLICAOF", "127.0.0.1", portOf(t, next.addr))
	require.Eventually(t, func() bool { return store.Create(t.Context(), itemtest.Key(), itemtest.New(1, "y")) == nil },
		5*time.Second, time.Millisecond)
	require.Equal(t, ":1", next.command(t, "DBSIZE"))
}

func TestSentinelRefuses(t *testing.T) {
	cfg := redisstore.Config{
		Addrs: []string{startSentinel(t, startServer(t)).addr}, SentinelMaster: "shop",
		SentinelUsername: "finder", SentinelPassword: "not-the-password",
	}
	_, err := redisstore.New(t.Context(), cfg)
	require.ErrorIs(t, err, session.Unavailable)
	require.ErrorContains(t, err, "WRONGPASS")
	require.NotContains(t, err.Error(), cfg.SentinelPassword)
}
