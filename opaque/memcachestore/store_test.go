//go:build unix

package memcachestore_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/itemtest"
	"github.com/cloakroom-go/cloakroom/internal/servertest"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/opaque/memcachestore"
	"github.com/cloakroom-go/cloakroom/opaque/storetest"
	"github.com/cloakroom-go/cloakroom/session"
)

// start starts a server with these further arguments.
func start(t *testing.T, args ...string) (addr string) {
	t.Helper()
	addr = servertest.FreeAddr(t)
	startAt(t, addr, args...)
	return addr
}

func startAt(t *testing.T, addr string, args ...string) *servertest.Process {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	return servertest.Start(t, servertest.Config{
		Program: servertest.Program(t, "memcached"),
		Args:    append([]string{"-l", host, "-p", port, "-U", "0"}, args...),
		As:      servertest.User(t, "nobody"), // it refuses to run as root
		Stop:    syscall.SIGKILL,              // it has nothing to lose, and takes a second to stop
		Ready:   func(context.Context) error { return memcache.New(addr).Ping() },
	})
}

func newStore(t testing.TB, cfg memcachestore.Config) *memcachestore.Store {
	t.Helper()
	s, err := memcachestore.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// key returns a different one for each n.
func key(n int) string { return fmt.Sprintf("%043d", n) }

func create(t *testing.T, s opaque.Store, key string, it opaque.Item) {
	t.Helper()
	require.NoError(t, s.Create(t.Context(), key, it))
}

// version returns the version of the item under key, 0 if there is none.
func version(t *testing.T, s opaque.Store, key string) uint64 {
	t.Helper()
	it, ok, err := s.Get(t.Context(), key)
	require.NoError(t, err)
	require.Equal(t, ok, it.Version > 0)
	return it.Version
}

func TestContract(t *testing.T) {
	t.Parallel()
	storetest.RunRemote(t, start(t), func(t *testing.T, addr string) opaque.Store {
		return newStore(t, memcachestore.Config{Addr: addr})
	})
}

func TestUnixSocket(t *testing.T) {
	as := servertest.User(t, "nobody")
	dir := servertest.Dir(t, as)
	socket := dir + "/memcached.sock"
	servertest.Start(t, servertest.Config{
		Program: servertest.Program(t, "memcached"),
		Args:    []string{"-s", socket},
		As:      as, Dir: dir, Stop: syscall.SIGKILL,
		Ready: func(context.Context) error { return memcache.New(socket).Ping() },
	})
	s := newStore(t, memcachestore.Config{Addr: socket})
	create(t, s, key(1), itemtest.New(1, "x"))
	require.EqualValues(t, 1, version(t, s, key(1)))
}

func TestMistakes(t *testing.T) {
	rows := []struct {
		name string
		cfg  memcachestore.Config
		want string // "" means that New succeeds
	}{
		{"host and port", memcachestore.Config{Addr: "localhost:11211"}, ""},
		{"IPv6", memcachestore.Config{Addr: "[::1]:11211"}, ""},
		{"socket", memcachestore.Config{Addr: "/run/memcached.sock"}, ""},
		{"longest prefix", memcachestore.Config{Addr: "h:1", Prefix: strings.Repeat("p", 200)}, ""},
		{"no address", memcachestore.Config{}, "memcachestore: Config.Addr"},
		{"no port", memcachestore.Config{Addr: "localhost"}, "memcachestore: Config.Addr"},
		{"URL", memcachestore.Config{Addr: "memcache://localhost:1"}, "memcachestore: Config.Addr"},
		{"long prefix", memcachestore.Config{Addr: "h:1", Prefix: strings.Repeat("p", 201)}, "memcachestore: Config.Prefix"},
		{"space", memcachestore.Config{Addr: "h:1", Prefix: "a b"}, "memcachestore: Config.Prefix"},
		{"line break", memcachestore.Config{Addr: "h:1", Prefix: "a\r\n"}, "memcachestore: Config.Prefix"},
		{"not ASCII", memcachestore.Config{Addr: "h:1", Prefix: "ä"}, "memcachestore: Config.Prefix"},
		{"negative time", memcachestore.Config{Addr: "h:1", Timeout: -1}, "memcachestore: Config.Timeout"},
	}
	for _, tt := range rows {
		t.Run(tt.name, func(t *testing.T) {
			s, err := memcachestore.New(tt.cfg)
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.want)
			require.Nil(t, s)
		})
	}
	_, err := memcachestore.New(memcachestore.Config{Prefix: " ", Timeout: -1})
	for _, field := range []string{"Addr", "Prefix", "Timeout"} {
		require.ErrorContains(t, err, "Config."+field, "all mistakes at once")
	}
}

func TestPrefix(t *testing.T) {
	addr := start(t)
	a := newStore(t, memcachestore.Config{Addr: addr, Prefix: "a:"})
	b := newStore(t, memcachestore.Config{Addr: addr, Prefix: strings.Repeat("b", 200)})
	create(t, a, key(1), itemtest.New(1, "a"))
	require.Zero(t, version(t, b, key(1)))
	create(t, b, key(1), itemtest.New(2, "b"))
	require.NoError(t, a.Delete(t.Context(), key(1)))
	require.EqualValues(t, 2, version(t, b, key(1)))
}

// An item at the server's limit of 1 MiB, and one above it.
func TestTooLarge(t *testing.T) {
	s := newStore(t, memcachestore.Config{Addr: start(t)})
	const limit = 1<<20 - 134 // of the data: the key, our header and the server's need the rest
	largest, larger := itemtest.New(2, strings.Repeat("x", limit)), itemtest.New(3, strings.Repeat("x", limit+1))
	create(t, s, key(1), itemtest.New(1, "old"))
	ok, err := s.Swap(t.Context(), key(1), 1, largest)
	require.NoError(t, err)
	require.True(t, ok)

	ok, err = s.Swap(t.Context(), key(1), 2, larger)
	require.ErrorIs(t, err, session.TooLarge)
	require.NotErrorIs(t, err, session.Unavailable)
	require.False(t, ok)
	require.EqualValues(t, 2, version(t, s, key(1)), "the old item has to stay")

	require.ErrorIs(t, s.Create(t.Context(), key(2), larger), session.TooLarge)
	require.Zero(t, version(t, s, key(2)))
	require.Error(t, s.Create(t.Context(), key(1), larger))
	require.EqualValues(t, 2, version(t, s, key(1)), "the old item has to stay")
}

// An expired item can be read for two minutes more, and no longer.
func TestLinger(t *testing.T) {
	s := newStore(t, memcachestore.Config{Addr: start(t)})
	for seconds, want := range map[int]uint64{-100: 1, -30: 1, -3600: 0, -120: 0} {
		over := itemtest.New(1, "over")
		over.IdleDeadline = time.Now().Add(time.Duration(seconds) * time.Second)
		create(t, s, key(-seconds), over)
		require.Equal(t, want, version(t, s, key(-seconds)), "over for %d s", -seconds)
	}
}

// The caller's clock decides what has expired, however wrong the server's is.
func TestClock(t *testing.T) {
	addr := start(t)
	at := func(shift time.Duration) *memcachestore.Store {
		return newStore(t, memcachestore.Config{Addr: addr, Now: func() time.Time { return time.Now().Add(shift) }})
	}
	now, behind, ahead := at(0), at(-3*time.Hour), at(3*time.Hour)
	create(t, now, key(1), itemtest.New(1, "x")) // for one hour
	ok, err := ahead.Touch(t.Context(), key(1), time.Now(), time.Now().Add(2*time.Hour))
	require.NoError(t, err)
	require.False(t, ok, "on the clock that is ahead it has expired")
	ok, err = ahead.Swap(t.Context(), key(1), 1, itemtest.New(2, "y"))
	require.NoError(t, err)
	require.False(t, ok, "on the clock that is ahead it has expired")
	ok, err = now.Swap(t.Context(), key(1), 1, itemtest.New(2, "y"))
	require.NoError(t, err)
	require.True(t, ok)

	early := itemtest.New(1, "of another clock")
	early.SeenAt = early.SeenAt.Add(-3 * time.Hour)
	early.IdleDeadline, early.Deadline = early.SeenAt.Add(time.Minute), early.SeenAt.Add(time.Hour)
	create(t, behind, key(2), early)
	ok, err = behind.Touch(t.Context(), key(2), early.SeenAt, early.SeenAt.Add(time.Hour))
	require.NoError(t, err)
	require.True(t, ok, "the server removed an item that lives on its instance's clock")
}

// Lives around the limits of what the protocol can say about them.
func TestLives(t *testing.T) {
	s := newStore(t, memcachestore.Config{Addr: start(t)})
	end2038 := time.Unix(1<<31-1, 0)
	rows := map[string]time.Time{
		"29 days":            time.Now().AddDate(0, 0, 29),
		"30 days":            time.Now().Add(30 * 24 * time.Hour),
		"30 days and linger": time.Now().Add(30*24*time.Hour - 2*time.Minute + time.Second),
		"a year":             time.Now().AddDate(1, 0, 0),
		"the end of 2038":    end2038,
		"later":              end2038.AddDate(0, 0, 1),
		"the year 9999":      time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC),
	}
	n := 0
	for name, end := range rows {
		n++
		it := itemtest.New(1, name)
		it.IdleDeadline, it.Deadline = end, end
		create(t, s, key(n), it)
		got, ok, err := s.Get(t.Context(), key(n))
		require.NoError(t, err)
		require.True(t, ok, name)
		assert.Equal(t, end.Unix(), got.Deadline.Unix(), name)
	}
}

// A full server drops sessions that live. Nothing may bring them back.
func TestEviction(t *testing.T) {
	s := newStore(t, memcachestore.Config{Addr: start(t, "-m", "2")})
	data := strings.Repeat("x", 1000)
	evicted := "" // each key is looked at once, because that keeps it in the server
	for n := 0; evicted == ""; n++ {
		require.Less(t, n, 100, "nothing was evicted: the test would pass without testing")
		for i := range 100 {
			create(t, s, key(100*n+i), itemtest.New(1, data))
		}
		if version(t, s, key(n)) == 0 {
			evicted = key(n)
		}
	}
	ok, err := s.Swap(t.Context(), evicted, 1, itemtest.New(2, data))
	require.NoError(t, err)
	require.False(t, ok)
	ok, err = s.Touch(t.Context(), evicted, time.Now(), time.Now().Add(time.Hour))
	require.NoError(t, err)
	require.False(t, ok)
	require.Zero(t, version(t, s, evicted))
}

// With -M a full server keeps what it has, and refuses what is new.
func TestFullWithoutEviction(t *testing.T) {
	s := newStore(t, memcachestore.Config{Addr: start(t, "-M", "-m", "2")})
	data := strings.Repeat("x", 1000)
	n, err := 0, error(nil)
	for ; err == nil; n++ {
		require.Less(t, n, 50_000, "the server is never full: the test would pass without testing")
		err = s.Create(t.Context(), key(n), itemtest.New(1, data))
	}
	require.ErrorIs(t, err, opaque.ErrNotDone)
	require.ErrorContains(t, err, "full")
	for i := range n - 1 {
		require.EqualValues(t, 1, version(t, s, key(i)), "a session was dropped")
	}
	_, err = s.Swap(t.Context(), key(0), 1, itemtest.New(2, data))
	require.ErrorIs(t, err, opaque.ErrNotDone)
	require.EqualValues(t, 1, version(t, s, key(0)), "the old item has to stay")
	for i := range 10 {
		require.NoError(t, s.Delete(t.Context(), key(i)))
	}
	create(t, s, key(n), itemtest.New(1, data))
}

func TestClose(t *testing.T) {
	s := newStore(t, memcachestore.Config{Addr: start(t)})
	create(t, s, key(1), itemtest.New(1, "x"))
	require.NoError(t, s.Close())
	for name, err := range itemtest.Errors(t.Context(), s, key(1)) {
		require.ErrorIs(t, err, session.Unavailable, name)
	}
	require.NoError(t, s.Close())
	var zero memcachestore.Store
	for name, err := range itemtest.Errors(t.Context(), &zero, key(1)) {
		require.ErrorIs(t, err, session.Unavailable, name)
	}
	require.NoError(t, zero.Close())
}
