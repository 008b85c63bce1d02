package redisstore_test

import (
	"context"
	"crypto/tls"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/itemtest"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/opaque/redisstore"
	"github.com/cloakroom-go/cloakroom/opaque/storetest"
	"github.com/cloakroom-go/cloakroom/session"
)

func TestContract(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	storetest.RunRemote(t, s.addr, func(t *testing.T, addr string) opaque.Store {
		cfg := s.config()
		cfg.Addrs = []string{addr}
		return open(t, cfg)
	})
}

func TestContractWithTLSAndLeastRights(t *testing.T) {
	t.Parallel()
	cfg := startTLS(t)
	storetest.Run(t, func(t *testing.T) opaque.Store { return open(t, cfg) })
}

// A server's clock that is ahead or behind changes nothing, nor does a visitor
// who comes a little late: the caller's clock decides, and the server keeps the
// item for as long as Linger.
func TestCallersClock(t *testing.T) {
	s := startServer(t)
	for _, skew := range []time.Duration{-100 * time.Hour, -time.Minute, time.Minute, 100 * time.Hour} {
		t.Run(skew.String(), func(t *testing.T) {
			cfg := s.config()
			cfg.Now = func() time.Time { return time.Now().Add(skew) }
			store, key, item := open(t, cfg), itemtest.Key(), itemtest.New(1, "x")
			item.IdleDeadline = cfg.Now().Add(time.Hour).Truncate(time.Second)
			item.Deadline = item.IdleDeadline.Add(time.Hour)
			require.NoError(t, store.Create(t.Context(), key, item))
			ok, err := store.Touch(t.Context(), key, cfg.Now(), cfg.Now().Add(90*time.Minute))
			require.NoError(t, err)
			require.True(t, ok)
			require.InDelta(t, (92 * time.Minute).Milliseconds(), s.life(t, key), 30_000)
			item.Version = 2
			ok, err = store.Swap(t.Context(), key, 1, item)
			require.NoError(t, err)
			require.True(t, ok)
			require.InDelta(t, (62 * time.Minute).Milliseconds(), s.life(t, key), 30_000)
		})
	}
}

func TestLinger(t *testing.T) {
	s := startServer(t)
	store, key, item := open(t, s.config()), itemtest.Key(), itemtest.New(1, "x")
	item.IdleDeadline = time.Now().Add(-30 * time.Second)
	require.NoError(t, store.Create(t.Context(), key, item))
	_, ok, err := store.Get(t.Context(), key)
	require.NoError(t, err)
	require.True(t, ok, "over for 30 s")
	require.InDelta(t, (90 * time.Second).Milliseconds(), s.life(t, key), 30_000)
}

// life returns the milliseconds until the server removes the item.
func (s server) life(t *testing.T, key string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(strings.TrimPrefix(s.command(t, "PTTL", "cloakroom:s:"+key), ":"), 10, 64)
	require.NoError(t, err)
	return n
}

// The last instant that can be written must not make the server's arithmetic
// overflow.
func TestVeryLongLife(t *testing.T) {
	store, key, item := open(t, startServer(t).config()), itemtest.Key(), itemtest.New(1, "x")
	item.Deadline = time.Unix(1<<50, 0)
	require.NoError(t, store.Create(t.Context(), key, item))
	ok, err := store.Touch(t.Context(), key, time.Now(), item.Deadline)
	require.NoError(t, err)
	require.True(t, ok)
	got, ok, err := store.Get(t.Context(), key)
	require.NoError(t, err)
	require.True(t, ok)
	require.True(t, got.IdleDeadline.Equal(item.Deadline))
}

// A touch that the server refuses half way does not make the session end
// earlier.
func TestTouchIsNotHalfDone(t *testing.T) {
	s := startServer(t)
	for _, lacking := range []string{"-getrange", "-pexpire", "-setrange"} {
		item, all := itemtest.New(1, "x"), open(t, s.config())
		key := put(t, all, item)
		store := open(t, s.allow(t))
		s.allow(t, lacking) // New would refuse the user
		before := s.life(t, key)
		_, err := store.Touch(t.Context(), key, time.Now().Add(time.Minute), time.Now().Add(90*time.Minute))
		require.ErrorIs(t, err, session.Unavailable, lacking)
		got, ok, err := all.Get(t.Context(), key)
		require.NoError(t, err, lacking)
		require.True(t, ok, lacking)
		require.True(t, got.IdleDeadline.Equal(item.IdleDeadline), lacking)
		require.True(t, got.SeenAt.Equal(item.SeenAt), lacking)
		require.GreaterOrEqual(t, s.life(t, key), before-patience.Milliseconds(), lacking)
	}
}

func TestTooLarge(t *testing.T) {
	store, item := open(t, startServer(t).config()), itemtest.New(1, "")
	item.Data = make([]byte, 64<<20+1)
	require.ErrorIs(t, store.Create(t.Context(), itemtest.Key(), item), session.TooLarge)
}

func TestPrefix(t *testing.T) {
	s := startServer(t)
	shop, blog := s.config(), s.config()
	shop.Prefix, blog.Prefix = "shop:", "blog:"
	key := itemtest.Key()
	require.NoError(t, open(t, shop).Create(t.Context(), key, itemtest.New(1, "shop")))
	require.NoError(t, open(t, blog).Create(t.Context(), key, itemtest.New(1, "blog")))
	require.Equal(t, ":1", s.command(t, "EXISTS", "shop:s:"+key))
	require.Equal(t, ":1", s.command(t, "EXISTS", "blog:s:"+key))
}

// A value that this package did not write is an error and not an absent item:
// the visitor must not lose the cookie.
func TestForeignValue(t *testing.T) {
	s := startServer(t)
	store, key := open(t, s.config()), itemtest.Key()
	s.command(t, "SET", "cloakroom:s:"+key, "short")
	_, ok, err := store.Get(t.Context(), key)
	require.ErrorIs(t, err, session.Unavailable)
	require.False(t, ok)
	require.NotContains(t, err.Error(), "short")

	s.command(t, "DEL", "cloakroom:s:"+key)
	s.command(t, "LPUSH", "cloakroom:s:"+key, "a list")
	_, _, err = store.Get(t.Context(), key)
	require.ErrorIs(t, err, session.Unavailable)
	require.NotContains(t, err.Error(), key)
}

func TestClosed(t *testing.T) {
	closed, err := redisstore.New(t.Context(), startServer(t).config())
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	require.NoError(t, closed.Close())
	for name, store := range map[string]*redisstore.Store{"closed": closed, "zero": {}} {
		for method, err := range itemtest.Errors(t.Context(), store, itemtest.Key()) {
			require.ErrorIs(t, err, session.Unavailable, "%s: %s", name, method)
		}
		for method, err := range indexErrors(t.Context(), newSubject(store)) {
			require.ErrorIs(t, err, session.Unavailable, "%s: %s", name, method)
		}
		require.NoError(t, store.Close(), name)
	}
}

func TestConfigMistakes(t *testing.T) {
	local := []string{"127.0.0.1:6379"}
	for _, row := range []struct {
		name string
		cfg  redisstore.Config
		want string
	}{
		{"no server", redisstore.Config{}, "Addrs is required"},
		{"no port", redisstore.Config{Addrs: []string{"localhost"}}, `Addrs has "localhost"`},
		{"several servers", redisstore.Config{Addrs: []string{"[::1]:1", "localhost:2"}}, "set Cluster or SentinelMaster"},
		{"both kinds", redisstore.Config{Addrs: local, Cluster: true, SentinelMaster: "m"}, "Config.Cluster excludes"},
		{"plain text", redisstore.Config{Addrs: []string{"192.0.2.1:6379"}}, "TLS is required for 192.0.2.1:6379"},
		{"plain text by name", redisstore.Config{Addrs: []string{"localhost.example.com:6379"}}, "TLS is required"},
		{"old TLS", redisstore.Config{Addrs: local, TLS: &tls.Config{MinVersion: tls.VersionTLS10}}, "Config.TLS has a MinVersion"},
		{"user only", redisstore.Config{Addrs: local, Username: "app"}, "Password is required"},
		{"sentinel's user only", redisstore.Config{Addrs: local, SentinelMaster: "m", SentinelUsername: "app"},
			"SentinelPassword is required"},
		{"no sentinel", redisstore.Config{Addrs: local, SentinelPassword: "x"}, "SentinelPassword needs a SentinelMaster"},
		{"database", redisstore.Config{Addrs: local, Database: -1}, "Database is -1"},
		{"database in cluster", redisstore.Config{Addrs: local, Database: 1, Cluster: true}, "Database is 1"},
		{"hash tag", redisstore.Config{Addrs: local, Prefix: "{shop}:"}, "Prefix must be"},
		{"long prefix", redisstore.Config{Addrs: local, Prefix: strings.Repeat("x", 65)}, "Prefix must be"},
		{"timeout", redisstore.Config{Addrs: local, Timeout: -1}, "Timeout is -1ns"},
		{"linger", redisstore.Config{Addrs: local, Linger: -1}, "Linger is -1ns"},
		{"cache", redisstore.Config{Addrs: local, CacheFor: -1}, "CacheFor is -1ns"},
		{"long cache", redisstore.Config{Addrs: local, CacheFor: time.Hour}, "CacheFor is 1h"},
		{"cache for a moment", redisstore.Config{Addrs: local, CacheFor: time.Microsecond}, "CacheFor is 1µs"},
		{"long linger", redisstore.Config{Addrs: local, Linger: 25 * time.Hour}, "Linger is 25h"},
	} {
		store, err := redisstore.New(t.Context(), row.cfg)
		require.ErrorContains(t, err, row.want, row.name)
		require.Nil(t, store, row.name)
	}
	// All at once.
	_, err := redisstore.New(t.Context(), redisstore.Config{Prefix: "{", Timeout: -1})
	require.ErrorContains(t, err, "Prefix")
	require.ErrorContains(t, err, "Timeout")
}

// What another machine answers isn't asked here: the connection isn't refused.
func TestInsecurePlain(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	cfg := redisstore.Config{Addrs: []string{"192.0.2.1:6379"}, InsecurePlain: true, Timeout: 50 * time.Millisecond}
	_, err := redisstore.New(ctx, cfg)
	require.ErrorIs(t, err, session.Unavailable)
	require.NotContains(t, err.Error(), "TLS is required")
}

func TestPasswordStaysOutOfErrors(t *testing.T) {
	cfg := startTLS(t)
	cfg.Password = "not-the-password"
	_, err := redisstore.New(t.Context(), cfg)
	require.ErrorIs(t, err, session.Unavailable)
	require.ErrorContains(t, err, "WRONGPASS")
	require.NotContains(t, err.Error(), cfg.Password)

	cfg.Password, cfg.TLS = "secret", &tls.Config{}
	_, err = redisstore.New(t.Context(), cfg)
	require.ErrorIs(t, err, session.Unavailable, "a certificate that nobody trusts")
}
