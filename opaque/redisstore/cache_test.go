package redisstore_test

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/itemtest"
	"github.com/cloakroom-go/cloakroom/internal/servertest"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/opaque/redisstore"
	"github.com/cloakroom-go/cloakroom/opaque/storetest"
	"github.com/cloakroom-go/cloakroom/session"
)

// Tests that wait for the cache to forget use shortCache; the others would
// notice if they had to wait for longCache.
const (
	shortCache = 300 * time.Millisecond
	longCache  = time.Minute
)

func withCache(cfg redisstore.Config, d time.Duration) redisstore.Config {
	cfg.CacheFor = d
	return cfg
}

func TestContractWithCache(t *testing.T) {
	t.Parallel()
	cfg := withCache(startServer(t).allow(t, "+client|tracking", "+client|caching"), longCache)
	storetest.Run(t, func(t *testing.T) opaque.Store { return open(t, cfg) })
}

// versionOf returns the version that the store has, and 0 if it has no item.
func versionOf(t *testing.T, store *redisstore.Store, key string) uint64 {
	t.Helper()
	item, _, err := store.Get(t.Context(), key)
	require.NoError(t, err)
	return item.Version
}

// reads returns how many times the server has executed GET.
func (s server) reads(t *testing.T) int {
	t.Helper()
	_, rest, some := strings.Cut(s.command(t, "INFO", "commandstats"), "cmdstat_get:calls=")
	if !some {
		return 0
	}
	calls, _, _ := strings.Cut(rest, ",")
	n, err := strconv.Atoi(calls)
	require.NoError(t, err)
	return n
}

// A cached item is not read again, until another process changes or ends it.
func TestCache(t *testing.T) {
	s := startServer(t)
	ours, theirs := open(t, withCache(s.config(), longCache)), open(t, s.config())
	key := put(t, theirs, itemtest.New(1, "x"))
	require.Equal(t, uint64(1), versionOf(t, ours, key))
	before := s.reads(t)
	for range 100 {
		require.Equal(t, uint64(1), versionOf(t, ours, key))
	}
	require.Equal(t, before, s.reads(t))

	ok, err := theirs.Swap(t.Context(), key, 1, itemtest.New(2, "y"))
	require.NoError(t, err)
	require.True(t, ok)
	require.Eventually(t, func() bool { return versionOf(t, ours, key) == 2 }, 5*time.Second, time.Millisecond)
	require.NoError(t, theirs.Delete(t.Context(), key))
	require.Eventually(t, func() bool { return versionOf(t, ours, key) == 0 }, 5*time.Second, time.Millisecond)
}

// What this process has written, or was refused to write, it reads from the
// server: the news that others have changed it may be late, or got lost.
func TestWrittenKeysAreNotCached(t *testing.T) {
	s := startServer(t)
	theirs := open(t, s.config())
	for _, row := range []struct {
		name string
		do   func(ctx context.Context, ours *redisstore.Store, key string) error
		want uint64
	}{
		{"swap", func(ctx context.Context, ours *redisstore.Store, key string) error {
			_, err := ours.Swap(ctx, key, 1, itemtest.New(2, "y"))
			return err
		}, 2},
		{"refused swap", func(ctx context.Context, ours *redisstore.Store, key string) error {
			_, err := ours.Swap(ctx, key, 5, itemtest.New(6, "y"))
			return err
		}, 1},
		{"touch", func(ctx context.Context, ours *redisstore.Store, key string) error {
			_, err := ours.Touch(ctx, key, time.Now(), time.Now().Add(time.Hour))
			return err
		}, 1},
		{"delete", func(ctx context.Context, ours *redisstore.Store, key string) error {
			return ours.Delete(ctx, key)
		}, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			ours, key := open(t, withCache(s.config(), longCache)), put(t, theirs, itemtest.New(1, "x"))
			require.Equal(t, uint64(1), versionOf(t, ours, key))
			require.NoError(t, row.do(t.Context(), ours, key))
			before := s.reads(t)
			for range 10 {
				require.Equal(t, row.want, versionOf(t, ours, key))
			}
			require.Equal(t, before+10, s.reads(t))
		})
	}
}

// Other written keys are read from the cache again after a second or two, when
// the news of the write must have arrived. A session that has ended here does
// not depend on them.
func TestDeletedKeysAreNotCached(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	ours := open(t, withCache(s.config(), longCache))
	ended, changed := put(t, ours, itemtest.New(1, "x")), put(t, ours, itemtest.New(1, "x"))
	require.NoError(t, ours.Delete(t.Context(), ended))
	require.Eventually(t, func() bool {
		before := s.reads(t)
		return versionOf(t, ours, changed) == 1 && s.reads(t) == before
	}, 10*time.Second, 50*time.Millisecond)
	before := s.reads(t)
	for range 10 {
		require.Zero(t, versionOf(t, ours, ended))
	}
	require.Equal(t, before+10, s.reads(t))
}

// throughProxy returns a store with a cache behind a proxy, and an item that it
// has in its cache.
func throughProxy(t *testing.T, s server, cacheFor time.Duration) (*redisstore.Store, *servertest.Proxy, string) {
	t.Helper()
	proxy := servertest.NewProxy(t, s.addr)
	cfg := withCache(s.config(), cacheFor)
	cfg.Addrs = []string{proxy.Addr()}
	store, key := open(t, cfg), put(t, open(t, s.config()), itemtest.New(1, "x"))
	require.Equal(t, uint64(1), versionOf(t, store, key))
	return store, proxy, key
}

// The news of a change can't reach a connection that is cut, so a new one
// begins with an empty cache.
func TestCacheAfterReconnect(t *testing.T) {
	s := startServer(t)
	ours, proxy, key := throughProxy(t, s, longCache)
	theirs := open(t, s.config())
	proxy.Set(servertest.Refuse)
	_, err := theirs.Swap(t.Context(), key, 1, itemtest.New(2, "y"))
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		_, _, err := ours.Get(t.Context(), key)
		return err != nil
	}, 5*time.Second, time.Millisecond, "what was cached should end with the connection")
	require.ErrorIs(t, getError(t, ours, key), session.Unavailable)
	proxy.Set(servertest.Pass)
	heals(t, ours)
	require.Equal(t, uint64(2), versionOf(t, ours, key))
}

// A connection on which nothing arrives any more, and which nobody has closed,
// is out of date for CacheFor and not longer.
func TestCacheOfHalfOpenConnection(t *testing.T) {
	s := startServer(t)
	ours, proxy, key := throughProxy(t, s, shortCache)
	theirs := open(t, s.config())
	proxy.Set(servertest.Swallow)
	_, err := theirs.Swap(t.Context(), key, 1, itemtest.New(2, "y"))
	require.NoError(t, err)
	changed := time.Now()
	require.Eventually(t, func() bool {
		return within(t, deadline, func(ctx context.Context) error {
			_, _, err := ours.Get(ctx, key)
			return err
		}) != nil
	}, 5*time.Second, time.Millisecond)
	require.Less(t, time.Since(changed), shortCache+deadline+slack)
	proxy.Set(servertest.Pass)
	heals(t, ours)
	require.Equal(t, uint64(2), versionOf(t, ours, key))
}

func getError(t *testing.T, store *redisstore.Store, key string) error {
	t.Helper()
	_, _, err := store.Get(t.Context(), key)
	return err
}

// Of several requests that miss the same key, one asks the server. If its
// client hangs up, the others still get the item.
func TestCacheSharesNoCancellation(t *testing.T) {
	s := startServer(t)
	ours, proxy, _ := throughProxy(t, s, longCache)
	key, before := put(t, open(t, s.config()), itemtest.New(1, "x")), s.reads(t)
	proxy.Delay(deadline)
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan error)
	go func() {
		_, _, err := ours.Get(ctx, key)
		first <- err
	}()
	require.Eventually(t, func() bool { return s.reads(t) > before }, 5*time.Second, time.Millisecond)
	others := make(chan error)
	for range 8 {
		go func() { others <- getError(t, ours, key) }()
	}
	time.AfterFunc(deadline/2, cancel) // the others are waiting then
	require.ErrorIs(t, <-first, session.Unavailable)
	for range 8 {
		require.NoError(t, <-others)
	}
}

// Without the right to CLIENT CACHING the server would send no news.
func TestCacheNeedsRights(t *testing.T) {
	s := startServer(t)
	for _, right := range []string{"+client|tracking", "+client|caching"} {
		cfg := withCache(s.allow(t, "+client|tracking", "+client|caching", "-"+right[1:]), longCache)
		_, err := redisstore.New(t.Context(), cfg)
		require.ErrorContains(t, err, right)
	}
}
