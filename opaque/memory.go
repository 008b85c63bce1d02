package opaque

import (
	"context"
	"fmt"
	"hash/maphash"
	"math"
	"sync/atomic"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/session"
)

// MemoryConfig configures a [MemoryStore]. The zero MemoryConfig is ready to
// use.
type MemoryConfig struct {
	_ [0]func() // no unkeyed literals, no comparison

	// MaxSessions is how many sessions the store keeps, including expired ones
	// that it has not removed yet. When it is full, Create fails: a live session
	// is never dropped to make room. A renewed session and the marker at its old
	// key count as one. There can be as many markers as sessions. 0 means
	// 1,000,000.
	MaxSessions int

	// MaxBytes is how much memory the items may take: keys, data and 120 bytes for
	// each item. When it is reached, Create fails, and so does a Swap to more
	// data. Renewals may take a sixteenth more. 0 means 1 GiB.
	MaxBytes int64

	// AnonymousPercent is how much of MaxSessions and of MaxBytes the sessions
	// without a subject may take. Anybody can make those, so the rest is kept for
	// visitors who log in. 0 means 75; 100 means no separate limit.
	AnonymousPercent int

	// Linger is how long an expired item can still be read, so that a visitor who
	// comes back late is told that the session has expired. 0 means 10 minutes; a
	// negative Linger means not at all. Fractions of a second are rounded up.
	Linger time.Duration

	// OnExpire, if not nil, is called once for each item that is removed because
	// it has expired. It is not called for deleted items, nor at Close. Calls come
	// from one goroutine, one after the other, and no lock is held. Nothing else
	// is removed during a call, so hand slow work to another goroutine. OnExpire
	// must not call Close.
	OnExpire func(key string, item Item)

	// Now is the clock. If nil, time.Now.
	Now func() time.Time
}

const (
	defaultMaxSessions = 1_000_000
	defaultMaxBytes    = 1 << 30
	defaultLinger      = 10 * time.Minute

	// itemOverhead is the memory that an item takes beside its key and data: 80
	// bytes, and what is not in use of pages and chunks. TestMemoryPerSession
	// measures it.
	itemOverhead = 120

	// maxData is how many bytes of data an item may have: the numbers of a shard
	// have 32 bits.
	maxData = 1 << 30

	// shardCount is high so that few requests wait for one lock.
	shardCount = 256
)

// A MemoryStore is a [Store] in the memory of this process. It is fast, holds
// millions of sessions, and loses all of them in a restart. Expired ones are
// removed in small steps, so that a look-up never waits for a sweep of the
// whole store. At a limit it refuses new sessions with [session.Unavailable].
//
// The garbage collector does not look at the items, so a collection takes as
// long with a million sessions as with none. Create and Swap copy the data. Get
// does not: while somebody refers to the data that it returned, up to 32 KiB of
// other data stay in memory, too. The zero MemoryStore is closed: all its
// operations fail.
type MemoryStore struct {
	shards [shardCount]shard // first, so that they begin with a cache line
	cfg    MemoryConfig
	linger int64 // seconds
	seed   maphash.Seed
	open   atomic.Bool
	limits limits

	burst int // items removed since the last rest; only the remover uses it

	due  atomic.Int64  // unix second at which the remover looks again
	wake chan struct{} // asks the remover to look now
	stop chan struct{} // closed by Close
	done chan struct{} // closed when the remover has ended
}

var _ InProcessStore = (*MemoryStore)(nil)

// NewMemoryStore returns a store that removes expired items in a goroutine of
// its own, until Close. It reports every mistake in cfg at once.
func NewMemoryStore(cfg MemoryConfig) (*MemoryStore, error) {
	bad := fault.In("opaque: MemoryConfig")
	bad.If(cfg.MaxSessions < 0, "MaxSessions", "is %d: must not be negative", cfg.MaxSessions)
	bad.If(cfg.MaxBytes < 0, "MaxBytes", "is %d: must not be negative", cfg.MaxBytes)
	bad.If(cfg.AnonymousPercent < 0 || cfg.AnonymousPercent > 100, "AnonymousPercent",
		"is %d: must be between 0 and 100; 0 means %d", cfg.AnonymousPercent, defaultAnonymousPercent)
	if err := bad.Err(); err != nil {
		return nil, err
	}
	s := &MemoryStore{
		cfg:  cfg.withDefaults(),
		seed: maphash.MakeSeed(),
		wake: make(chan struct{}, 1),
		stop: make(chan struct{}),
		done: make(chan struct{}),
	}
	for i := range s.shards {
		s.shards[i].seed = s.seed
	}
	s.limits.set(s.cfg)
	s.linger = int64((s.cfg.Linger + time.Second - 1) / time.Second)
	s.due.Store(math.MaxInt64)
	s.open.Store(true)
	go s.remove()
	return s, nil
}

func (c MemoryConfig) withDefaults() MemoryConfig {
	if c.MaxSessions == 0 {
		c.MaxSessions = defaultMaxSessions
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = defaultMaxBytes
	}
	if c.AnonymousPercent == 0 {
		c.AnonymousPercent = defaultAnonymousPercent
	}
	if c.Linger == 0 {
		c.Linger = defaultLinger
	}
	c.Linger = max(c.Linger, 0)
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Get implements [Store]. It returns an expired item until Linger has passed.
func (s *MemoryStore) Get(ctx context.Context, key string) (item Item, ok bool, err error) {
	if err := s.ready(ctx); err != nil {
		return Item{}, false, err
	}
	sh, r, data := s.lock(key)
	defer sh.mu.Unlock()
	if r == 0 {
		return Item{}, false, nil
	}
	return sh.slot(r).item(data), true, nil
}

// Headers returns the items under keys, in this order, without Data. An item
// that is absent is the zero Item.
func (s *MemoryStore) Headers(ctx context.Context, keys []string) ([]Item, error) {
	items := make([]Item, len(keys))
	for i, key := range keys {
		var err error
		if items[i], _, err = s.Get(ctx, key); err != nil {
			return nil, err
		}
		items[i].Data = nil
	}
	return items, nil
}

// Create implements [Store].
func (s *MemoryStore) Create(ctx context.Context, key string, item Item) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	if err := checkItem(item, 0); err != nil {
		return err
	}
	tookPlace := s.takePlace(item)
	if err := s.create(key, item, tookPlace); err != nil {
		if tookPlace {
			s.returnPlace(item.Instead)
		}
		return err
	}
	s.notice(s.now(), item.OverAt().Unix()+s.linger)
	return nil
}

func (s *MemoryStore) create(key string, item Item, tookPlace bool) error {
	large := encodeLarge(key, item.Data)
	sh, hash := s.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if r, _ := sh.find(key, hash); r != 0 {
		return fmt.Errorf("opaque: create: the key is in use: %w", session.Conflict)
	}
	sl := slot{anonymous: item.Anonymous}
	sl.set(item)
	if err := s.limits.enter(&sl, sizeOf(len(key), item.Data), tookPlace); err != nil {
		return err
	}
	sh.add(key, hash, sl, item.Data, large)
	return nil
}

// Swap implements [Store].
func (s *MemoryStore) Swap(ctx context.Context, key string, version uint64, item Item) (ok bool, err error) {
	if err := s.ready(ctx); err != nil {
		return false, err
	}
	if err := checkItem(item, version); err != nil {
		return false, err
	}
	now := s.now()
	if ok, err = s.swap(key, version, item, now); ok {
		s.notice(now, item.OverAt().Unix()+s.linger)
	}
	return ok, err
}

func (s *MemoryStore) swap(key string, version uint64, item Item, now int64) (bool, error) {
	large := encodeLarge(key, item.Data)
	sh, r, before := s.lock(key)
	defer sh.mu.Unlock()
	if r == 0 {
		return false, nil
	}
	sl := sh.slot(r)
	if sl.version != version || sl.over() <= now {
		return false, nil
	}
	if err := s.limits.grow(sl.anonymous, int64(len(item.Data)-len(before)), !sl.placed); err != nil {
		return false, err
	}
	sl.set(item)
	sh.advance(r)
	sh.replace(r, key, item.Data, large)
	return true, nil
}

// checkItem returns an error if the store can't take the item.
func checkItem(item Item, replaces uint64) error {
	if len(item.Data) > maxData {
		return fmt.Errorf("opaque: memory store: data of %d bytes: at most %d are allowed: %w",
			len(item.Data), maxData, session.TooLarge)
	}
	return item.Validate(replaces)
}

// Touch implements [Store].
func (s *MemoryStore) Touch(ctx context.Context, key string, seenAt, idleDeadline time.Time) (ok bool, err error) {
	if err := s.ready(ctx); err != nil {
		return false, err
	}
	now := s.now()
	s.notice(now, math.MaxInt64)
	sh, r, _ := s.lock(key)
	defer sh.mu.Unlock()
	if r == 0 {
		return false, nil
	}
	sl := sh.slot(r)
	if sl.over() <= now {
		return false, nil
	}
	sl.seen = max(sl.seen, seenAt.Unix())
	sl.idle = max(sl.idle, min(idleDeadline.Unix(), sl.deadline))
	return true, nil
}

// Delete implements [Store].
func (s *MemoryStore) Delete(ctx context.Context, key string) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	sh, r, data := s.lock(key)
	defer sh.mu.Unlock()
	if r != 0 {
		s.drop(sh, r, len(key), data)
	}
	return nil
}

// drop removes an item. The caller holds the shard's lock.
func (s *MemoryStore) drop(sh *shard, r ref, keyLen int, data []byte) {
	s.limits.leave(sh.slot(r), sizeOf(keyLen, data))
	sh.drop(r)
}

// InProcess implements [InProcessStore].
func (s *MemoryStore) InProcess() bool { return true }

// Len returns how many items the store keeps, including expired ones.
func (s *MemoryStore) Len() int { return int(s.limits.items.Load()) }

// Bytes returns how much memory the items take, counted as for
// MemoryConfig.MaxBytes.
func (s *MemoryStore) Bytes() int64 { return s.limits.bytes.Load() }

// Close closes the store. It waits for a running OnExpire; afterwards all
// operations fail. A second Close does nothing. The error is always nil.
func (s *MemoryStore) Close() error {
	if s.open.CompareAndSwap(true, false) {
		close(s.stop)
	}
	if s.done != nil {
		<-s.done
	}
	return nil
}

func (s *MemoryStore) ready(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("opaque: memory store: %w: %w", err, ErrNotDone)
	}
	if !s.open.Load() {
		return fmt.Errorf("opaque: memory store: closed, or not made by NewMemoryStore: %w", ErrNotDone)
	}
	return nil
}

func (s *MemoryStore) now() int64 { return s.cfg.Now().Unix() }

// lock locks the shard of key, and returns the slot and the data of its item,
// or 0.
func (s *MemoryStore) lock(key string) (*shard, ref, []byte) {
	sh, hash := s.shard(key)
	sh.mu.Lock()
	r, data := sh.find(key, hash)
	return sh, r, data
}

func (s *MemoryStore) shard(key string) (sh *shard, hash uint32) {
	h := maphash.String(s.seed, key)
	return &s.shards[h>>32%shardCount], uint32(h)
}

// sizeOf returns how much memory an item takes, counted as for
// MemoryConfig.MaxBytes.
func sizeOf(keyLen int, data []byte) int64 { return itemOverhead + int64(keyLen+len(data)) }
