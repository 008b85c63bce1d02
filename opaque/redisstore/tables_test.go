package redisstore_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/valkey-io/valkey-go"

	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/opaque"
)

func TestTablesSoak(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	newStore := func(t testing.TB, now func() time.Time) opaque.Store {
		cfg := s.config()
		cfg.Now = now
		return apptest.Instances(open(t, cfg), open(t, cfg))
	}
	apptest.Run(t, newStore)
	apptest.RunRaw(t, newStore, breakIn(t, s))
}

func breakIn(t *testing.T, s server) raw {
	t.Helper()
	client, err := valkey.NewClient(valkey.ClientOption{InitAddress: []string{s.addr}, DisableCache: true})
	require.NoError(t, err)
	t.Cleanup(client.Close)
	return raw{client}
}

// TestTablesWithCacheSoak is TestTablesSoak with reads from the memory of the
// process.
func TestTablesWithCacheSoak(t *testing.T) {
	if os.Getenv("CLOAKROOM_SOAK") != "1" {
		return
	}
	s := startServer(t)
	apptest.Run(t, func(t testing.TB, now func() time.Time) opaque.Store {
		cfg := s.config()
		cfg.Now, cfg.CacheFor = now, 5*time.Second
		return open(t, cfg)
	})
}

// A raw is what somebody can do who has the server's password.
type raw struct{ valkey.Client }

func (r raw) Keys(t testing.TB) []string {
	t.Helper()
	keys, err := r.Do(t.Context(), r.B().Keys().Pattern("*").Build()).AsStrSlice()
	require.NoError(t, err)
	return keys
}

// Read returns a string, or all fields and values of a hash or of a stream.
func (r raw) Read(t testing.TB, key string) (value []byte) {
	t.Helper()
	kind, err := r.Do(t.Context(), r.B().Type().Key(key).Build()).ToString()
	require.NoError(t, err)
	switch kind {
	case "hash":
		fields, err := r.Do(t.Context(), r.B().Hgetall().Key(key).Build()).AsStrMap()
		require.NoError(t, err)
		for field, v := range fields {
			value = append(value, field+"\n"+v+"\n"...)
		}
		return value
	case "stream":
		entries, err := r.Do(t.Context(), r.B().Xrange().Key(key).Start("-").End("+").Build()).AsXRange()
		require.NoError(t, err)
		for _, e := range entries {
			value = fmt.Append(value, e)
		}
		return value
	}
	value, err = r.Do(t.Context(), r.B().Get().Key(key).Build()).AsBytes()
	if valkey.IsValkeyNil(err) {
		return nil // it has expired
	}
	require.NoError(t, err)
	return value
}

func (r raw) Write(t testing.TB, key string, value []byte) {
	t.Helper()
	require.NoError(t, r.Do(t.Context(), r.B().Set().Key(key).Value(valkey.BinaryString(value)).Build()).Error())
}
