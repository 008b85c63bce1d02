package benchmarks_test

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/alexedwards/scs/redisstore"
	"github.com/boj/redistore"
	redigo "github.com/gomodule/redigo/redis"
	"github.com/stretchr/testify/require"
	"github.com/valkey-io/valkey-go"

	"github.com/cloakroom-go/cloakroom/internal/servertest"
	"github.com/cloakroom-go/cloakroom/opaque"
	ourstore "github.com/cloakroom-go/cloakroom/opaque/redisstore"
)

// connections is how many connections a pool may have: one for each client.
const connections = 256

// cacheFor is how long a client keeps what it has read, at most.
const cacheFor = 5 * time.Second

func inRedis(tb testing.TB) []*app {
	tb.Helper()
	addr := startRedis(tb)
	open := func(cacheFor time.Duration) *ourstore.Store {
		store, err := ourstore.New(tb.Context(), ourstore.Config{Addrs: []string{addr}, CacheFor: cacheFor})
		require.NoError(tb, err)
		tb.Cleanup(func() { _ = store.Close() })
		return store
	}
	store := open(0)
	pool := newPool(addr)
	tb.Cleanup(func() { _ = pool.Close() })
	gorilla, err := redistore.NewRediStoreWithPool(pool, random(32))
	require.NoError(tb, err)
	gorilla.SetMaxAge(int(idleTimeout / time.Second))
	plain, cached := oursIn(tb, "ours", store, nil), oursIn(tb, "ours-cached", open(cacheFor), nil)
	// What an instance has just written, it reads from the server for a second.
	cached.on[create] = plain.on[create]
	return append([]*app{
		plain,
		cached,
		scsIn("scs-redigo", redisstore.New(pool), idleTimeout),
		gorillaIn("gorilla-redigo", gorilla),
	}, bareGets(tb, addr, store)...)
}

func startRedis(tb testing.TB) (addr string) {
	tb.Helper()
	addr = servertest.FreeAddr(tb)
	_, port, err := net.SplitHostPort(addr)
	require.NoError(tb, err)
	servertest.Start(tb, servertest.Config{
		Program: servertest.Program(tb, "redis-server"),
		Args:    []string{"--bind", "127.0.0.1", "--port", port, "--save", ""},
		Ready:   servertest.Dial(addr),
	})
	return addr
}

// newPool returns a pool that keeps its connections, and doesn't test them
// before each use as redistore's own does.
func newPool(addr string) *redigo.Pool {
	return &redigo.Pool{MaxIdle: connections, MaxActive: connections, Wait: true, Dial: func() (redigo.Conn, error) {
		return redigo.Dial("tcp", addr, redigo.DialReadTimeout(timeout), redigo.DialWriteTimeout(timeout))
	}}
}

// bareGets returns apps that get the item of a session and do nothing with it,
// with a deadline as a middleware has it.
func bareGets(tb testing.TB, addr string, store opaque.Store) []*app {
	tb.Helper()
	key := "cloakroom:s:" + newItem(tb, store)
	valkeyClient, err := valkey.NewClient(valkey.ClientOption{
		InitAddress: []string{addr}, ForceSingleClient: true, DisableRetry: true, PipelineMultiplex: -1,
	})
	require.NoError(tb, err)
	tb.Cleanup(valkeyClient.Close)
	return append(goRedis(tb, addr, key),
		query("valkey-go", func(ctx context.Context) (err error) {
			_, err = valkeyClient.Do(ctx, valkeyClient.B().Get().Key(key).Build()).AsBytes()
			return err
		}),
		query("valkey-go-cached", func(ctx context.Context) (err error) {
			_, err = valkeyClient.DoCache(ctx, valkeyClient.B().Get().Key(key).Cache(), cacheFor).AsBytes()
			return err
		}),
	)
}

// query returns an app that only reads from a server.
func query(peer string, ask func(ctx context.Context) error) *app {
	return only(peer, func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), timeout)
		defer cancel()
		if err := ask(ctx); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		answer(w, 1)
	})
}
