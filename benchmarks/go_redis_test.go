//go:build goredis

package benchmarks_test

import (
	"context"
	"testing"

	"github.com/alexedwards/scs/goredisstore"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// goRedis returns the apps that use go-redis: one of scs, and two that get a
// key.
func goRedis(tb testing.TB, addr, key string) []*app {
	tb.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr, PoolSize: connections, ContextTimeoutEnabled: true})
	tb.Cleanup(func() { _ = client.Close() })
	pipelined, err := client.AutoPipeline()
	require.NoError(tb, err)
	return []*app{
		scsIn("scs-go-redis", goredisstore.New(client), idleTimeout),
		query("go-redis", func(ctx context.Context) error { return client.Get(ctx, key).Err() }),
		query("go-redis-pipelined", func(ctx context.Context) error { return pipelined.Get(ctx, key).Err() }),
	}
}
