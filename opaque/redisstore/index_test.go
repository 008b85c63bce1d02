package redisstore_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/devices"
	"github.com/cloakroom-go/cloakroom/devices/indextest"
	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/internal/itemtest"
	"github.com/cloakroom-go/cloakroom/internal/servertest"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/opaque/redisstore"
	"github.com/cloakroom-go/cloakroom/session"
)

func testIndex(t *testing.T, cfg redisstore.Config) {
	indextest.Run(t, func(t *testing.T, now func() time.Time) devices.Index {
		cfg.Now = now
		return open(t, cfg)
	})
}

func TestIndex(t *testing.T) {
	t.Parallel()
	testIndex(t, startServer(t).allow(t))
}

func indexInCluster(t *testing.T, servers []server) {
	var cfg redisstore.Config
	for _, s := range servers {
		cfg = s.allow(t, "+cluster|slots", "+cluster|shards", "+asking")
	}
	cfg.Cluster = true
	testIndex(t, cfg)
	var keys []string
	store := open(t, cfg)
	for range 20 {
		keys = append(keys, itemtest.Key(), put(t, store, itemtest.New(uint64(len(keys)+1), "x")))
	}
	items, err := store.Headers(t.Context(), keys)
	require.NoError(t, err)
	for i, it := range items {
		require.Equal(t, uint64(i%2*i), it.Version)
	}
}

// No session survives its end, or is missing in a list, whatever happens at
// once.
func TestIndexRaceSoak(t *testing.T) {
	cfg := startServer(t).config()
	apptest.RaceIndex(t, func(t testing.TB) (opaque.Store, devices.Index) {
		return open(t, cfg), open(t, cfg)
	})
}

// entry is one of a session that lives for a day.
func entry(id string, keys ...string) devices.Entry {
	now := time.Now().Truncate(time.Second)
	return devices.Entry{ID: id, Keys: keys, CountsFrom: now, SeenAt: now, TokenUntil: now, Until: now.Add(24 * time.Hour),
		Details: []byte("details")}
}

// A subjectOf is a subject in a store.
type subjectOf struct {
	*redisstore.Store
	name string
}

func newSubject(store *redisstore.Store) subjectOf { return subjectOf{store, itemtest.Key()} }

func (s subjectOf) key() string { return "cloakroom:x:{" + s.name + "}" }

func (s subjectOf) enter(t *testing.T, e devices.Entry) error {
	t.Helper()
	return s.Enter(t.Context(), s.name, e, "", devices.MaxEntries)
}

func (s subjectOf) ids(t *testing.T) (ids []string) {
	t.Helper()
	all, err := s.List(t.Context(), s.name)
	require.NoError(t, err)
	for _, e := range all {
		ids = append(ids, e.ID)
	}
	slices.Sort(ids)
	return ids
}

// The server keeps a subject for as long as its last entry, an instant for an
// hour, and both for Linger longer, whatever the server's clock says.
func TestIndexLife(t *testing.T) {
	s := startServer(t)
	for _, skew := range []time.Duration{0, -100 * time.Hour, 100 * time.Hour} {
		t.Run(skew.String(), func(t *testing.T) {
			cfg, at := s.config(), time.Now().Add(skew).Truncate(time.Second)
			cfg.Now = func() time.Time { return at }
			of := newSubject(open(t, cfg))
			lives := func(want time.Duration) {
				t.Helper()
				require.InDelta(t, want.Milliseconds(), s.number(t, "PTTL", of.key()), 30_000)
			}
			until := func(id string, life time.Duration) {
				e := entry(id, "key")
				e.Until, e.CountsFrom = at.Add(life), at.Add(time.Minute)
				require.NoError(t, of.enter(t, e))
			}
			until("a", 5*time.Hour)
			lives(5*time.Hour + 2*time.Minute)
			until("b", 2*time.Hour)
			lives(5*time.Hour + 2*time.Minute)
			_, err := of.Mark(t.Context(), of.name, "", at)
			require.NoError(t, err)
			lives(5*time.Hour + 2*time.Minute)
			require.NoError(t, of.Leave(t.Context(), of.name, "a"))
			require.NoError(t, of.Leave(t.Context(), of.name, "b"))
			lives(time.Hour + 2*time.Minute)
			at = at.Add(50 * time.Minute)
			until("c", time.Second)
			lives(time.Hour + 2*time.Minute) // not a minute less
			require.NoError(t, of.Leave(t.Context(), of.name, "c"))
			lives(12 * time.Minute)

			of.name = itemtest.Key()
			until("a", 5*time.Hour)
			require.NoError(t, of.Leave(t.Context(), of.name, "a"))
			require.Equal(t, ":0", s.command(t, "EXISTS", of.key()))
			until("a", time.Minute)
			at = at.Add(time.Hour)
			require.Empty(t, of.ids(t))
			until("b", time.Minute)
			require.Equal(t, ":1", s.command(t, "HLEN", of.key()), "the entry that is over is gone")
			e := entry("c", "key")
			e.Until = time.Unix(1<<50, 0)
			require.NoError(t, of.enter(t, e), "a life that overflows")
		})
	}
}

// What no version of this package has written is a marked entry without keys.
// It counts, can't be entered again, and can be taken out. The others are as
// they were.
func TestForeignEntry(t *testing.T) {
	s := startServer(t)
	of, now := newSubject(open(t, s.config())), time.Now()
	header := strings.Repeat("\x00", 28) + "\xff\x00\x00\x00" // goes until 2105
	rest := "\x03key\x00details"
	for _, value := range []string{
		"", "\x01", "\x00\x00" + header + rest, "\x02\x00" + header + rest, "\x01\x00" + header,
		"\x01\x00" + header + rest[:1], "\x01\x00" + header + rest[:4], "\x01\x00" + header + "\xff" + rest,
	} {
		of.name = itemtest.Key()
		require.NoError(t, of.enter(t, entry("a", "key")))
		s.command(t, "HSET", of.key(), "foreign", value)
		require.Equal(t, []string{"a", "foreign"}, of.ids(t), "%q", value)
		require.ErrorIs(t, of.Enter(t.Context(), of.name, entry("b", "key"), "", 2), session.TooMany)
		require.ErrorIs(t, of.enter(t, entry("foreign", "key")), session.Ended)
		for _, id := range []string{"foreign", ""} {
			marked, err := of.Mark(t.Context(), of.name, id, now.Add(-time.Hour))
			require.NoError(t, err)
			require.Len(t, marked, 1, "%q", value)
			require.Equal(t, "foreign", marked[0].ID)
			require.True(t, marked[0].Marked)
			require.Empty(t, marked[0].Keys)
		}
		ok, err := of.Extend(t.Context(), of.name, "foreign", now, now)
		require.NoError(t, err)
		require.False(t, ok)
		require.NoError(t, of.Leave(t.Context(), of.name, "foreign", "key"))
		require.Equal(t, []string{"a"}, of.ids(t), "%q", value)
	}
}

// An instant that can't be read is taken for the current second.
func TestForeignInstant(t *testing.T) {
	s := startServer(t)
	cfg := s.config()
	cfg.Now = func() time.Time { return time.Now().Truncate(time.Second) }
	of := newSubject(open(t, cfg))
	require.NoError(t, of.enter(t, entry("a", "key")))
	s.command(t, "HSET", of.key(), "", "foreign")
	e := entry("b", "key")
	require.ErrorIs(t, of.enter(t, e), session.Ended)
	require.ErrorIs(t, of.enter(t, e), session.Ended)
	e.CountsFrom = e.CountsFrom.Add(time.Minute)
	require.NoError(t, of.enter(t, e))
	require.Equal(t, []string{"a", "b"}, of.ids(t))
}

// A key of another application is an error, and nobody gets in.
func TestForeignSubject(t *testing.T) {
	s := startServer(t)
	of := newSubject(open(t, s.config()))
	s.command(t, "SET", of.key(), "foreign")
	for name, err := range indexErrors(t.Context(), of) {
		require.ErrorIs(t, err, session.Unavailable, name)
		require.ErrorContains(t, err, "WRONGTYPE", name)
		require.NotContains(t, err.Error(), of.name, name)
	}
	s.command(t, "LPUSH", "cloakroom:s:list", "foreign")
	_, err := of.Headers(t.Context(), []string{"list"})
	require.ErrorIs(t, err, session.Unavailable)
}

// indexErrors calls each method of an index.
func indexErrors(ctx context.Context, of subjectOf) map[string]error {
	var enter, list, extend, mark, all, leave error
	enter = of.Enter(ctx, of.name, entry("a", "key"), "", 1)
	_, list = of.List(ctx, of.name)
	_, extend = of.Extend(ctx, of.name, "a", time.Now().Add(time.Minute), time.Now())
	_, mark = of.Mark(ctx, of.name, "a", time.Time{})
	_, all = of.Mark(ctx, of.name, "", time.Now())
	leave = of.Leave(ctx, of.name, "a")
	return map[string]error{
		"enter": enter, "list": list, "extend": extend, "mark": mark, "mark all": all, "leave": leave,
	}
}

// Sessions can be ended, but not begun, while the server's memory is full. A
// server that takes no writes does nothing.
func TestIndexIsRefused(t *testing.T) {
	s := startServer(t, "--replica-serve-stale-data", "yes")
	of := newSubject(open(t, s.config()))
	require.NoError(t, of.enter(t, entry("a", "key")))
	require.NoError(t, of.enter(t, entry("b", "key")))
	s.command(t, "CONFIG", "SET", "maxmemory", "1")
	err := of.enter(t, entry("c", "key"))
	require.ErrorIs(t, err, opaque.ErrNotDone)
	require.ErrorContains(t, err, "OOM")
	marked, err := of.Mark(t.Context(), of.name, "a", time.Time{})
	require.NoError(t, err)
	require.Len(t, marked, 1)
	marked, err = of.Mark(t.Context(), of.name, "", time.Now())
	require.NoError(t, err)
	require.Len(t, marked, 2)
	require.NoError(t, of.Leave(t.Context(), of.name, "b"))
	require.Equal(t, []string{"a"}, of.ids(t))

	s.command(t, "CONFIG", "SET", "maxmemory", "0")
	of.name = itemtest.Key()
	require.NoError(t, of.enter(t, entry("a", "key")))
	s.command(t, "REPLICAOF", "127.0.0.1", "1")
	for name, err := range indexErrors(t.Context(), of) {
		if name != "list" {
			require.ErrorIs(t, err, opaque.ErrNotDone, name)
		}
	}
	require.Equal(t, []string{"a"}, of.ids(t))
}

// After an answer that got lost, the same call again is harmless.
func TestIndexWithLostAnswers(t *testing.T) {
	s := startServer(t)
	proxy := servertest.NewProxy(t, s.addr)
	cfg := s.config()
	cfg.Addrs = []string{proxy.Addr()}
	of := newSubject(open(t, cfg))
	require.NoError(t, of.Leave(t.Context(), of.name, "x")) // the script is loaded
	require.NoError(t, of.enter(t, entry("x", "key")))
	try := func(f func() error) {
		t.Helper()
		proxy.Set(servertest.Cut)
		err := f()
		require.ErrorIs(t, err, session.Unavailable)
		require.NotErrorIs(t, err, opaque.ErrNotDone)
		proxy.Set(servertest.Pass)
		require.Eventually(t, func() bool {
			err := f()
			return !errors.Is(err, opaque.ErrNotDone) && !errors.Is(err, session.Unavailable)
		}, patience, time.Millisecond)
	}
	e := entry("a", "one")
	try(func() error { return of.Enter(t.Context(), of.name, e, "", 2) })
	e.Keys = []string{"two"}
	try(func() error { return of.Enter(t.Context(), of.name, e, "one", 2) })
	all, err := of.List(t.Context(), of.name)
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.Contains(t, [][]string{all[0].Keys, all[1].Keys}, []string{"one", "two"})
	try(func() error { return of.Leave(t.Context(), of.name, "a", "one") })
	try(func() error { return of.Leave(t.Context(), of.name, "a") })
	require.Equal(t, []string{"x"}, of.ids(t))
}

// Another instance's changes are in the headers at once, also with the cache.
func TestHeaders(t *testing.T) {
	s := startServer(t)
	store, other := open(t, withCache(s.config(), longCache)), open(t, s.config())
	item := itemtest.New(7, "some data")
	key, gone := put(t, other, item), put(t, other, item)
	versionOf(t, store, key) // into the cache
	versionOf(t, store, gone)
	seen, idle := item.SeenAt.Add(time.Minute), item.IdleDeadline.Add(time.Minute)
	_, err := other.Touch(t.Context(), key, seen, idle)
	require.NoError(t, err)
	require.NoError(t, other.Delete(t.Context(), gone))
	s.command(t, "SET", "cloakroom:s:foreign", "short")
	items, err := store.Headers(t.Context(), []string{gone, key, itemtest.Key(), "foreign", key})
	require.NoError(t, err)
	require.Len(t, items, 5)
	for _, i := range []int{0, 2, 3} {
		require.Zero(t, items[i])
	}
	for _, i := range []int{1, 4} {
		require.Equal(t, uint64(7), items[i].Version)
		require.Empty(t, items[i].Data)
		require.True(t, items[i].SeenAt.Equal(seen))
		require.True(t, items[i].IdleDeadline.Equal(idle))
		require.True(t, items[i].Deadline.Equal(item.Deadline))
	}
	items, err = store.Headers(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, items)
}

// What the layout has no room for is refused.
func TestEntryThatDoesNotFit(t *testing.T) {
	of := newSubject(open(t, startServer(t).config()))
	long := strings.Repeat("x", 65)
	details := entry("a", "key")
	details.Details = make([]byte, devices.MaxDetails+1)
	timeless := entry("a", "key")
	timeless.Until = time.Time{}
	for _, e := range []devices.Entry{
		timeless, entry("", "key"), entry(long, "key"), entry("a"), entry("a", ""), entry("a", "key", long), details,
		entry("a", slices.Repeat([]string{"key"}, devices.MaxKeys+1)...),
	} {
		require.ErrorIs(t, of.enter(t, e), session.BadValue)
	}
	require.NoError(t, of.enter(t, entry(long[1:], long[1:])))
}
