package redisstore

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A key stays for at least the period after its last write, however the
// periods fall, and for less than two.
func TestRecentKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := recentKeys{period: time.Second}
		require.False(t, r.has("a"))
		for range 20 {
			time.Sleep(330 * time.Millisecond) // of the bubble's clock
			r.add("a")
			time.Sleep(time.Second)
			require.True(t, r.has("a"))
			time.Sleep(time.Second)
			require.False(t, r.has("a"))
		}
		r.add("a")
		for range 3 {
			time.Sleep(900 * time.Millisecond)
			r.add("a")
			r.add("b")
		}
		require.True(t, r.has("a"))
		time.Sleep(time.Hour)
		require.False(t, r.has("a"))
		require.Empty(t, r.this)
		require.Empty(t, r.last)
	})
}

// Without a cache, nothing is kept.
func TestRecentKeysWithoutCache(t *testing.T) {
	var r recentKeys
	r.add("a")
	require.Empty(t, r.this)
}
