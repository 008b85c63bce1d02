package redisstore

import (
	"context"
	"errors"
	"time"

	"github.com/valkey-io/valkey-go"

	"github.com/cloakroom-go/cloakroom/internal/recent"
)

const (
	longestCacheFor = time.Minute

	// cacheBytes is how much memory the cache of one connection may take.
	cacheBytes = 64 << 20

	// newsTakes is how long the server's news of a change may take. They have
	// arrived after less than 200 milliseconds on a machine with too much to do.
	newsTakes = time.Second
)

// read sends GET, or takes the reply from the cache. The cache belongs to a
// connection and ends with it. The server tells the connection which keys were
// changed, but a moment later, also if this process has changed them. So what
// this process has just written, or was refused to write, is read from the
// server: the caller sees its own writes.
//
// What this process has deleted is read from the server until everything that
// was cached before is older than CacheFor. So a session that has ended here is
// over, even if the news get lost.
func (s *Store) read(ctx context.Context, key string) valkey.ValkeyResult {
	get := s.client.B().Get().Key(key)
	if s.cfg.CacheFor == 0 || has(&s.written, key) || has(&s.deleted, key) {
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

func has(keys *recent.Map[struct{}], key string) bool {
	_, ok := keys.Get(key)
	return ok
}
