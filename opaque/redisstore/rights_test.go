package redisstore_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/opaque/redisstore"
	"github.com/cloakroom-go/cloakroom/session"
)

// New names each right that the user lacks, and what it names is enough. The
// data stays as it was.
func TestRights(t *testing.T) {
	s := startServer(t)
	key := "cloakroom:{feed}:log"
	store := open(t, s.allow(t))
	require.NoError(t, store.Append(t.Context(), ended(3)))
	before, keys := s.command(t, "EVAL", "return redis.call('DUMP', KEYS[1])", "1", key), s.command(t, "DBSIZE")
	rights := strings.Fields(redisstore.Rights(redisstore.Config{}))
	require.Len(t, rights, 22)
	for _, right := range rights {
		if right == "+hello" {
			continue // Redis 7 lets everybody
		}
		cfg := s.allow(t, "-"+right[1:])
		lacks(t, cfg, "~cloakroom:* "+right)
	}
	lacks(t, s.allow(t, "-xadd", "-get", "-xdel"), "ACL SETUSER app ~cloakroom:* +get +xadd +xdel")

	cfg := s.allow(t, "resetkeys", "~cloakroom:s:*") // as for a store without a log and an index
	lacks(t, cfg, "~cloakroom:* +xadd +xread +xrange +xdel +hget +hset +hdel +hlen +hgetall +pttl")
	cfg.Prefix = "shop:"
	keyed := "+get +set +getrange +setrange +pexpire +del +eval +evalsha +xadd +xread +xrange +xdel " +
		"+hget +hset +hdel +hlen +hgetall +pttl"
	_, given, _ := strings.Cut(lacks(t, cfg, "~shop:* "+keyed), "ACL SETUSER ")
	s.command(t, append([]string{"ACL", "SETUSER"}, strings.Fields(given)...)...)
	open(t, cfg)

	require.Equal(t, before, s.command(t, "EVAL", "return redis.call('DUMP', KEYS[1])", "1", key))
	require.Equal(t, keys, s.command(t, "DBSIZE"))
}

// lacks expects that New refuses the user, and returns the error.
func lacks(t *testing.T, cfg redisstore.Config, want string) string {
	t.Helper()
	_, err := redisstore.New(t.Context(), cfg)
	require.ErrorContains(t, err, want+" (server "+cfg.Addrs[0]+")")
	require.NotErrorIs(t, err, session.Unavailable, "waiting does not help")
	return strings.TrimSuffix(err.Error(), " (server "+cfg.Addrs[0]+")")
}

// Every server of a cluster has users of its own.
func rightsInCluster(t *testing.T, servers []server) {
	var cfg redisstore.Config
	for _, s := range servers {
		cfg = s.allow(t, "+cluster|slots", "+cluster|shards", "+asking")
	}
	cfg.Cluster = true
	open(t, cfg)
	servers[2].command(t, "ACL", "SETUSER", "app", "-xadd", "-asking")
	_, err := redisstore.New(t.Context(), cfg)
	require.ErrorContains(t, err, "ACL SETUSER app ~cloakroom:* +xadd +asking (server "+servers[2].addr+")")
	require.NotContains(t, err.Error(), servers[1].addr)
	servers[0].command(t, "ACL", "SETUSER", "app", "-cluster")
	_, err = redisstore.New(t.Context(), cfg)
	require.ErrorContains(t, err, "+cluster|slots")
}

// What a user with one right less can't do is named when it fails, too.
func TestRightsAreTaken(t *testing.T) {
	s := startServer(t)
	store := open(t, s.allow(t))
	s.allow(t, "-xadd")
	err := store.Append(t.Context(), ended(1))
	require.ErrorIs(t, err, session.Unavailable)
	require.ErrorContains(t, err, "ACL SETUSER app ~cloakroom:* "+redisstore.Rights(redisstore.Config{}))
}

// The documentation has the same rights.
func TestRightsAreDocumented(t *testing.T) {
	one := redisstore.Rights(redisstore.Config{})
	more := func(c redisstore.Config) string {
		rest, ok := strings.CutPrefix(redisstore.Rights(c), one+" ")
		require.True(t, ok)
		return rest
	}
	cluster, sentinels := more(redisstore.Config{Cluster: true}), more(redisstore.Config{SentinelMaster: "m"})
	cache := more(redisstore.Config{CacheFor: 1})
	for file, want := range map[string][]string{
		"../../docs/stores.md": {"~shop:* -@all " + one + " ```",
			"`" + cluster + "`", "`" + sentinels + "`", "`" + cache + "`"},
		"store.go": {" -@all " + one + " and more", " " + cluster + " " + sentinels + " " + cache + " and a user"},
	} {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		text := strings.Join(strings.Fields(strings.ReplaceAll(string(data), "//", "")), " ")
		for _, part := range want {
			require.Contains(t, text, part, file)
		}
	}
}
