//go:build unix

package memcachestore_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/opaque/memcachestore"
)

func TestTablesSoak(t *testing.T) {
	t.Parallel()
	addr := start(t)
	open := func(t testing.TB, now func() time.Time) opaque.Store {
		cfg := memcachestore.Config{Addr: addr, Prefix: "app:", Timeout: 20 * time.Second, Now: now}
		return apptest.Instances(newStore(t, cfg), newStore(t, cfg))
	}
	apptest.Run(t, open)
	apptest.RunRaw(t, open, raw{addr, memcache.New(addr)})
}

// A raw is what somebody can do who reaches the server.
type raw struct {
	addr   string
	client *memcache.Client
}

func (r raw) Keys(t testing.TB) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		keys, err := r.keys(ctx)
		if err == nil {
			return keys
		}
		require.NoError(t, ctx.Err(), "%v", err)
	}
}

// keys fails while the server's own crawler is at work.
func (r raw) keys(ctx context.Context) (keys []string, err error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", r.addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if _, err := fmt.Fprint(conn, "lru_crawler metadump all\r\n"); err != nil {
		return nil, err
	}
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		key, isKey := strings.CutPrefix(lines.Text(), "key=")
		switch {
		case isKey:
			key, _, _ = strings.Cut(key, " ")
			if key, err = url.PathUnescape(key); err != nil {
				return nil, err
			}
			keys = append(keys, key)
		case lines.Text() == "END":
			return keys, nil
		default:
			return nil, errors.New(lines.Text())
		}
	}
	return nil, errors.New("the answer has no end")
}

func (r raw) Read(t testing.TB, key string) []byte {
	t.Helper()
	item, err := r.client.Get(key)
	if errors.Is(err, memcache.ErrCacheMiss) {
		return nil // it has expired
	}
	require.NoError(t, err)
	return item.Value
}

func (r raw) Write(t testing.TB, key string, value []byte) {
	t.Helper()
	require.NoError(t, r.client.Set(&memcache.Item{Key: key, Value: value}))
}
