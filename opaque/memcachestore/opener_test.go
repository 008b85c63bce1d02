//go:build unix

package memcachestore_test

import (
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/itemtest"
	"github.com/cloakroom-go/cloakroom/internal/servertest"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/opaque/memcachestore"
	"github.com/cloakroom-go/cloakroom/session"
)

func openAt(t *testing.T, at string, o opaque.OpenOptions) (*memcachestore.Store, error) {
	t.Helper()
	u, err := url.Parse(at)
	require.NoError(t, err)
	require.Equal(t, []string{u.Scheme}, memcachestore.Opener().Schemes)
	store, err := memcachestore.Opener().Open(t.Context(), u, o)
	if err != nil {
		require.Nil(t, store)
		return nil, err
	}
	t.Cleanup(func() { require.NoError(t, store.(*memcachestore.Store).Close()) })
	return store.(*memcachestore.Store), nil
}

func TestOpener(t *testing.T) {
	addr := start(t)
	opened, err := openAt(t, "memcache://"+addr+"?prefix=shop:", opaque.OpenOptions{Timeout: 5 * time.Second})
	require.NoError(t, err)
	create(t, opened, key(1), itemtest.New(1, "x"))
	require.EqualValues(t, 1, version(t, newStore(t, memcachestore.Config{Addr: addr, Prefix: "shop:"}), key(1)))
	late := func() time.Time { return time.Now().Add(24 * time.Hour) }
	opened, err = openAt(t, "memcache://"+addr+"?prefix=shop:", opaque.OpenOptions{Now: late})
	require.NoError(t, err)
	ok, err := opened.Swap(t.Context(), key(1), 1, itemtest.New(2, "y"))
	require.NoError(t, err)
	require.False(t, ok, "by its clock the session has expired")
}

func TestOpenerRefuses(t *testing.T) {
	for _, row := range []struct {
		name, url string
		o         opaque.OpenOptions
		want      string
	}{
		{"unknown parameter", "memcache://localhost?prefx=a", opaque.OpenOptions{}, `memcachestore: the parameter "prefx" is unknown; known are prefix`},
		{"user", "memcache://hunter2@localhost", opaque.OpenOptions{}, "memcachestore: Memcached has no users and passwords"},
		{"password", "memcache://localhost", opaque.OpenOptions{Password: "hunter2"}, "memcachestore: Memcached has no users and passwords"},
		{"linger", "memcache://localhost", opaque.OpenOptions{Linger: time.Hour}, "memcachestore: an expired session is kept for 2 minutes; leave linger out"},
		{"path", "memcache://localhost/hunter2", opaque.OpenOptions{}, "memcachestore: the URL must have the form memcache://host:port or memcache:///path/of/socket"},
		{"no host", "memcache:hunter2", opaque.OpenOptions{}, "memcachestore: the URL must have the form"},
		{"nothing", "memcache:", opaque.OpenOptions{}, "memcachestore: the URL must have the form"},
		{"prefix", "memcache://localhost?prefix=a%20b", opaque.OpenOptions{}, `memcachestore: prefix is "a b"`},
		{"no socket", "memcache:///nowhere/memcached.sock", opaque.OpenOptions{}, "no such file"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := openAt(t, row.url, row.o)
			require.ErrorContains(t, err, row.want)
			require.NotContains(t, err.Error(), "hunter2")
		})
	}
	_, err := openAt(t, "memcache://"+servertest.FreeAddr(t), opaque.OpenOptions{})
	require.ErrorIs(t, err, session.Unavailable, "it is asked at the start")
}
