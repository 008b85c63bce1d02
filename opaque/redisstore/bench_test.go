package redisstore_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/valkey-io/valkey-go"
)

// BenchmarkGet has a bare GET of the client beside ours, each with a deadline:
// what the store adds is the difference. There are 32 goroutines for each CPU.
func BenchmarkGet(b *testing.B) {
	s := startServer(b)
	store := open(b, s.config())
	key := newKey()
	require.NoError(b, store.Create(b.Context(), key, newItem(1, strings.Repeat("x", 200))))
	client, err := valkey.NewClient(valkey.ClientOption{
		InitAddress: []string{s.addr}, ForceSingleClient: true, DisableCache: true, DisableRetry: true, PipelineMultiplex: -1,
	})
	require.NoError(b, err)
	defer client.Close()

	run := func(name string, get func(ctx context.Context) error) {
		b.Run(name, func(b *testing.B) {
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
					if err := get(ctx); err != nil {
						b.Error(err)
					}
					cancel()
				}
			})
		})
	}
	run("store", func(ctx context.Context) error {
		_, _, err := store.Get(ctx, key)
		return err
	})
	run("bare", func(ctx context.Context) error {
		_, err := client.Do(ctx, client.B().Get().Key("cloakroom:s:"+key).Build()).AsBytes()
		return err
	})
}
