//go:build !goredis

package benchmarks_test

import "testing"

// goRedis returns nothing, because go-redis takes a minute to compile with the
// race detector. The tag goredis, which make bench-peers sets, brings it in.
func goRedis(testing.TB, string, string) []*app { return nil }
