package storeurl_test

import (
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/internal/storeurl"
)

func TestParse(t *testing.T) {
	for _, good := range []string{
		"memory:", "redis://localhost", "rediss://app:p%40ss%2Fw@h.example:6380/0?prefix=shop:", "sqlite:sessions.db",
		"sqlite:/var/lib/a%23b.db", "memcache:///run/memcached.sock", "postgres://a:1,b:2/shop?sslmode=disable",
	} {
		_, err := storeurl.Parse(good)
		require.NoError(t, err, good)
	}
	for in, want := range map[string]string{
		"": "is not a URL", "hunter2": "is not a URL", "//hunter2@h": "is not a URL", "redis://u:hunter2 x@h": "is not a URL",
		"redis://u:hun#ter2@h": "is not a URL", "redis://u:hunter2%zz@h": "is not a URL",
		"redis://u:12/hunter2@h/0": "has an @ behind the user", "redis://u:12?hunter2@h/0": "has an @ behind the user",
		"redis:hunter2@h": "has an @ behind the user", "redis://u:12#hunter2": "has a #", "redis://h/#": "has a #",
		"redis://h?a=%zz": "parameters after the ? that can't be read", "redis://h?password=hunter2": "has a password among",
		"redis://h?sslPassword=hunter2": "has a password among", "redis://h?pwd=hunter2": "has a password among",
	} {
		_, err := storeurl.Parse(in)
		require.ErrorContains(t, err, want, in)
		require.NotContains(t, err.Error(), "hunter2")
		require.Empty(t, storeurl.Shown(in))
	}
}

func TestShown(t *testing.T) {
	for in, want := range map[string]string{
		"redis://app:hunter2@h:1/0?prefix=a": "redis://app:xxxxx@h:1/0?prefix=a",
		"redis://:hunter2@h":                 "redis://:xxxxx@h",
		"redis://app@h?a=b&A=%2F":            "redis://app@h?a=b&A=%2F",
		"sqlite:a b.db":                      "sqlite:a b.db",
	} {
		require.Equal(t, want, storeurl.Shown(in))
	}
}

func TestQuery(t *testing.T) {
	read := func(query string) *storeurl.Query {
		return storeurl.ReadQuery(&url.URL{RawQuery: query}, "addr[]", "cluster", "conns", "prefix")
	}
	q := read("addr=a&addr=b&cluster=true&conns=3&prefix=shop%3A")
	require.Equal(t, []string{"a", "b"}, q.All("addr"))
	require.True(t, q.Bool("cluster", false))
	require.Equal(t, 3, q.Int("conns", 5))
	require.Equal(t, "shop:", q.Text("prefix"))
	require.NoError(t, q.Err("p"))

	q = read("")
	require.Empty(t, q.All("addr"))
	require.True(t, q.Bool("cluster", true))
	require.Equal(t, 5, q.Int("conns", 5))
	require.NoError(t, q.Err("p"))

	q = read("clustr=true&conns=hunter2&cluster=hunter2&prefix=&Hunter2=1&addr=")
	require.False(t, q.Bool("cluster", false))
	require.Equal(t, 5, q.Int("conns", 5))
	require.EqualError(t, q.Err("p"), `p: a parameter is unknown; known are addr, cluster, conns, prefix
p: the parameter "addr" has no value
p: the parameter "cluster" must be true or false
p: the parameter "clustr" is unknown; known are addr, cluster, conns, prefix
p: the parameter "conns" must be a whole number, at least 1
p: the parameter "prefix" has no value`)
	require.EqualError(t, read("prefix=a&prefix=b").Err("p"), `p: the parameter "prefix" is repeated`)
	for _, number := range []string{"0", "-1", "1e3", "99999999999"} {
		q := read("conns=" + number)
		require.Equal(t, 5, q.Int("conns", 5))
		require.Error(t, q.Err("p"), number)
	}
}

func TestDuration(t *testing.T) {
	read := func(query string) (time.Duration, error) {
		q := storeurl.ReadQuery(&url.URL{RawQuery: query}, "cache_for")
		return q.Duration("cache_for"), q.Err("p")
	}
	for query, want := range map[string]time.Duration{
		"": 0, "cache_for=5s": 5 * time.Second, "cache_for=1m": time.Minute,
	} {
		got, err := read(query)
		require.NoError(t, err, query)
		require.Equal(t, want, got, query)
	}
	for _, bad := range []string{"0", "5", "-5s", "hunter2", "99999999999h"} {
		_, err := read("cache_for=" + bad)
		require.EqualError(t, err, `p: the parameter "cache_for" must be a duration such as 5s`)
	}
}

func TestRename(t *testing.T) {
	names := map[fault.Name]string{"Config.Prefix": "prefix", "Config.Linger": "linger"}
	bad := fault.In("p: Config")
	bad.If(true, "Prefix", "excludes %s", fault.Name("Linger"))
	bad.If(true, "Other", "is %d", 3)
	require.EqualError(t, storeurl.Rename(bad.Err(), "p", names), "p: prefix excludes linger\np: Config.Other is 3")
	other := errors.New("p: down")
	require.Equal(t, other, storeurl.Rename(other, "p", names))
}

func TestAddr(t *testing.T) {
	for in, want := range map[string]string{
		"redis://cache.example":      "cache.example:1",
		"redis://cache.example:2/0":  "cache.example:2",
		"redis://[::1]":              "[::1]:1",
		"redis://app:x@127.0.0.1:25": "127.0.0.1:25",
	} {
		u, err := url.Parse(in)
		require.NoError(t, err)
		require.Equal(t, want, storeurl.Addr(u, "1"))
	}
}

func TestIsLocal(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "127.0.0.1": true, "127.8.9.10": true, "::1": true,
		"": false, "localhost.example": false, "192.0.2.1": false, "127.0.0.1.example": false, "::2": false,
	} {
		require.Equal(t, want, storeurl.IsLocal(host), host)
	}
}
