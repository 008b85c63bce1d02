package redisstore

import (
	"context"
	"errors"
	"sync"
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
	if s.cfg.CacheFor == 0 || s.written.has(key) {
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

// recentKeys has the keys of the last period, and some that are older by up to
// another period.
type recentKeys struct {
	period time.Duration

	mu         sync.Mutex // guards what follows
	since      time.Time  // when this began
	this, last map[string]struct{}
}

// add does nothing if the period is 0.
func (r *recentKeys) add(key string) {
	if r.period == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn()
	if r.this == nil {
		r.this = map[string]struct{}{}
	}
	r.this[key] = struct{}{}
}

func (r *recentKeys) has(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn()
	_, inThis := r.this[key]
	_, inLast := r.last[key]
	return inThis || inLast
}

// turn begins a new period if this one is over. The clock is not the one of
// sessions: the client measures CacheFor by the time of the system, too.
func (r *recentKeys) turn() {
	switch passed := time.Since(r.since); {
	case passed >= 2*r.period:
		r.this, r.last = nil, nil
	case passed >= r.period:
		r.this, r.last = nil, r.this
	default:
		return
	}
	r.since = time.Now()
}
