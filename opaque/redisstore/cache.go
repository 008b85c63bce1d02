package redisstore

import (
	"context"
	"errors"
	"time"

	"github.com/valkey-io/valkey-go"
)

const (
	longestCacheFor = time.Minute

	// cacheBytes is how much memory the cache of one connection may take.
	cacheBytes = 64 << 20
)

// read sends GET, or takes the reply from the cache. The cache belongs to a
// connection and ends with it. The server tells the connection which keys were
// changed, but a moment later.
//
// A key that this process has written is not read from the cache. By the time
// it may be again, whatever was cached before the write is older than CacheFor.
// So the caller sees its own writes even if the server's news got lost.
func (s *Store) read(ctx context.Context, key string) valkey.ValkeyResult {
	get := s.client.B().Get().Key(key)
	if _, written := s.written.Get(key); written || s.cfg.CacheFor == 0 {
		return s.client.Do(ctx, get.Build())
	}
	// Without ToStaticTTL the client would also ask how long the server keeps the
	// key, which doesn't matter: an item knows when it expires.
	reply := s.client.DoCache(ctx, get.Cache().ToStaticTTL(), s.cfg.CacheFor)
	if err := reply.Error(); ctx.Err() == nil &&
		(errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		// Of several that miss the same key, one asks the server, and the others get
		// its error. This one has time left.
		return s.client.Do(ctx, s.client.B().Get().Key(key).Build())
	}
	return reply
}
