package redisstore_test

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/itemtest"
	"github.com/cloakroom-go/cloakroom/internal/servertest"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/opaque/redisstore"
	"github.com/cloakroom-go/cloakroom/session"
)

// openAt opens the store at a URL.
func openAt(t *testing.T, at string, o opaque.OpenOptions) (*redisstore.Store, error) {
	t.Helper()
	u, err := url.Parse(at)
	require.NoError(t, err)
	require.Contains(t, redisstore.Opener().Schemes, u.Scheme)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	store, err := redisstore.Opener().Open(ctx, u, o)
	if err != nil {
		require.Nil(t, store)
		return nil, err
	}
	t.Cleanup(func() { require.NoError(t, store.(*redisstore.Store).Close()) })
	return store.(*redisstore.Store), nil
}

func TestOpener(t *testing.T) {
	s := startServer(t)
	store, err := openAt(t, "redis://"+s.addr+"/3?prefix=shop:", opaque.OpenOptions{
		Linger: time.Hour, OnProblem: func(error) {}, Timeout: patience,
	})
	require.NoError(t, err)
	item := itemtest.New(1, "x")
	item.Deadline = item.IdleDeadline
	key := put(t, store, item)
	require.Equal(t, ":0", s.command(t, "DBSIZE"), "it is in database 3")
	require.NoError(t, store.Delete(t.Context(), key))

	// Linger arrives, and the clock too.
	past := func() time.Time { return time.Now().Add(-90 * time.Minute) }
	store, err = openAt(t, "redis://"+s.addr, opaque.OpenOptions{Linger: 2 * time.Hour, Now: past, Timeout: patience})
	require.NoError(t, err)
	key = put(t, store, item)
	require.InDelta(t, (270 * time.Minute).Milliseconds(), s.life(t, key), 30_000)
}

func TestOpenerWithTLS(t *testing.T) {
	dir := t.TempDir()
	cfg := startTLS(t)
	conn, err := tls.Dial("tcp", cfg.Addrs[0], cfg.TLS)
	require.NoError(t, err)
	defer conn.Close()
	block := pem.Block{Type: "CERTIFICATE", Bytes: conn.ConnectionState().PeerCertificates[0].Raw}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ca.pem"), pem.EncodeToMemory(&block), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "empty.pem"), nil, 0o600))
	at, o := "rediss://app@"+cfg.Addrs[0], opaque.OpenOptions{Password: cfg.Password, Timeout: patience}
	_, err = openAt(t, at, o)
	require.ErrorContains(t, err, "certificate", "the system does not know who signed it")
	_, err = openAt(t, at+"?ca_file="+filepath.Join(dir, "none.pem"), o)
	require.ErrorContains(t, err, "redisstore: ca_file: open ")
	_, err = openAt(t, at+"?ca_file="+filepath.Join(dir, "empty.pem"), o)
	require.ErrorContains(t, err, "redisstore: ca_file has no certificate")
	at += "?ca_file=" + filepath.Join(dir, "ca.pem")
	_, err = openAt(t, at, opaque.OpenOptions{Password: "hunter2", Timeout: patience})
	require.ErrorContains(t, err, "WRONGPASS")
	require.NotContains(t, err.Error(), "hunter2")
	store, err := openAt(t, at, o)
	require.NoError(t, err)
	put(t, store, itemtest.New(1, "x"))
}

func TestOpenerWithCache(t *testing.T) {
	s := startServer(t)
	store, err := openAt(t, "redis://"+s.addr+"?cache_for=1m", opaque.OpenOptions{Timeout: patience})
	require.NoError(t, err)
	key := put(t, open(t, s.config()), itemtest.New(1, "x"))
	before := s.reads(t) // New tries GET, too
	for range 10 {
		require.Equal(t, uint64(1), versionOf(t, store, key))
	}
	require.Equal(t, before+1, s.reads(t))
}

func openerOfACluster(t *testing.T, servers []server) {
	at := "redis://" + servertest.FreeAddr(t) + "?cluster=true&addr=" + servers[1].addr + "&addr=" + servers[2].addr
	store, err := openAt(t, at, opaque.OpenOptions{Timeout: patience})
	require.NoError(t, err)
	for range 20 {
		put(t, store, itemtest.New(1, "x"))
	}
}

func TestOpenerOfASentinel(t *testing.T) {
	master := startServer(t)
	at := "redis://" + startSentinel(t, master).addr + "?sentinel_master=shop"
	store, err := openAt(t, at, opaque.OpenOptions{Timeout: patience})
	require.NoError(t, err)
	key := put(t, store, itemtest.New(1, "x"))
	require.Equal(t, ":1", master.command(t, "EXISTS", "cloakroom:s:"+key))
}

func TestOpenerRefuses(t *testing.T) {
	for _, row := range []struct {
		name, url string
		o         opaque.OpenOptions
		want      string
	}{
		{"unknown parameter", "redis://localhost?clustr=true", opaque.OpenOptions{}, `redisstore: the parameter "clustr" is unknown; known are addr, ca_file, cache_for, cluster, insecure_eviction, insecure_plain, prefix, sentinel_master`},
		{"not a bool", "redis://localhost?cluster=1", opaque.OpenOptions{}, `redisstore: the parameter "cluster" must be true or false`},
		{"not a duration", "redis://localhost?cache_for=5", opaque.OpenOptions{}, `redisstore: the parameter "cache_for" must be a duration`},
		{"long cache", "redis://localhost?cache_for=1h", opaque.OpenOptions{}, "redisstore: cache_for is 1h0m0s"},
		{"path", "redis://localhost/hunter2", opaque.OpenOptions{}, "redisstore: the URL must have the form redis://host:port/number: the path is the number of a database"},
		{"no host", "redis:hunter2", opaque.OpenOptions{}, "redisstore: the URL must have the form"},
		{"plain text", "redis://cache.example", opaque.OpenOptions{}, "redisstore: the scheme rediss is required for cache.example:6379, which is not this machine; insecure_plain=true allows plain text"},
		{"user alone", "rediss://hunter2@localhost", opaque.OpenOptions{}, "redisstore: a password is required with a user"},
		{"database of a cluster", "redis://localhost/1?cluster=true", opaque.OpenOptions{}, "redisstore: the number of the database is 1: a cluster has only 0"},
		{"both", "redis://localhost?cluster=true&sentinel_master=shop", opaque.OpenOptions{}, "redisstore: cluster excludes sentinel_master"},
		{"two servers", "redis://localhost?addr=localhost:1", opaque.OpenOptions{}, "redisstore: addr has several servers: set cluster or sentinel_master"},
		{"prefix", "redis://localhost?prefix={a}", opaque.OpenOptions{}, "redisstore: prefix must be at most 64"},
		{"CA without TLS", "redis://localhost?ca_file=/x", opaque.OpenOptions{}, "redisstore: ca_file needs the scheme rediss"},
		{"linger", "redis://localhost", opaque.OpenOptions{Linger: 48 * time.Hour}, "redisstore: linger is 48h0m0s"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := openAt(t, row.url, row.o)
			require.ErrorContains(t, err, row.want)
			require.NotContains(t, err.Error(), "hunter2")
		})
	}
	_, err := openAt(t, "redis://"+servertest.FreeAddr(t), opaque.OpenOptions{})
	require.ErrorIs(t, err, session.Unavailable)
}
