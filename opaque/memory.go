package opaque

import (
	"container/heap"
	"context"
	"fmt"
	"hash/maphash"
	"math"
	"strings"
	"sync"
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

	// MaxBytes is how much memory the items may take: keys, data and 176 bytes for
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

	// itemOverhead is the memory that an item takes beside its key and data: the
	// entry, a slot in the map and one in the queue. BenchmarkMemoryStoreMillion
	// measures it.
	itemOverhead = 176

	// shardCount is high so that a shard is small (4,000 of 1,000,000 items), and
	// its lock is held only briefly, even while its map or its queue grows.
	shardCount = 256
)

// A MemoryStore is a [Store] in the memory of this process. It is fast, holds
// millions of sessions, and loses all of them in a restart. Expired ones are
// removed in small steps, so that a look-up never waits for a sweep of the
// whole store. At a limit it refuses new sessions with [session.Unavailable].
//
// Data is kept and returned without copying. The zero MemoryStore is closed:
// all its operations fail.
type MemoryStore struct {
	cfg    MemoryConfig
	linger int64 // seconds
	seed   maphash.Seed
	open   atomic.Bool
	limits limits
	shards [shardCount]shard

	burst int // entries removed since the last rest; only the remover uses it

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
	sh := s.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e := sh.items[key]
	if e == nil {
		return Item{}, false, nil
	}
	return e.item(), true, nil
}

// Create implements [Store].
func (s *MemoryStore) Create(ctx context.Context, key string, item Item) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	if err := item.Validate(0); err != nil {
		return err
	}
	e := &entry{key: strings.Clone(key), anonymous: item.Anonymous} // key may point into a larger string
	e.set(item)
	tookPlace := s.takePlace(item)
	if err := s.create(e, tookPlace); err != nil {
		if tookPlace {
			s.returnPlace(item.Instead)
		}
		return err
	}
	s.notice(s.now(), item.OverAt().Unix()+s.linger)
	return nil
}

func (s *MemoryStore) create(e *entry, tookPlace bool) error {
	sh := s.shard(e.key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.items[e.key] != nil {
		return fmt.Errorf("opaque: create: the key is in use: %w", session.Conflict)
	}
	if err := s.limits.enter(e, tookPlace); err != nil {
		return err
	}
	sh.add(e)
	return nil
}

// Swap implements [Store].
func (s *MemoryStore) Swap(ctx context.Context, key string, version uint64, item Item) (ok bool, err error) {
	if err := s.ready(ctx); err != nil {
		return false, err
	}
	if err := item.Validate(version); err != nil {
		return false, err
	}
	now := s.now()
	if ok, err = s.swap(key, version, item, now); ok {
		s.notice(now, item.OverAt().Unix()+s.linger)
	}
	return ok, err
}

func (s *MemoryStore) swap(key string, version uint64, item Item, now int64) (bool, error) {
	sh := s.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e := sh.items[key]
	if e == nil || e.version != version || e.over() <= now {
		return false, nil
	}
	if err := s.limits.grow(e, int64(len(item.Data)-len(e.data)), !e.placed); err != nil {
		return false, err
	}
	e.set(item)
	sh.queue.advance(e)
	return true, nil
}

// Touch implements [Store].
func (s *MemoryStore) Touch(ctx context.Context, key string, seenAt, idleDeadline time.Time) (ok bool, err error) {
	if err := s.ready(ctx); err != nil {
		return false, err
	}
	now := s.now()
	s.notice(now, math.MaxInt64)
	sh := s.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e := sh.items[key]
	if e == nil || e.over() <= now {
		return false, nil
	}
	e.seen = max(e.seen, seenAt.Unix())
	// The entry stays where it is in the queue: the remover moves it when it gets
	// to the front. So a touch is cheap.
	e.idle = max(e.idle, min(idleDeadline.Unix(), e.deadline))
	return true, nil
}

// Delete implements [Store].
func (s *MemoryStore) Delete(ctx context.Context, key string) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	sh := s.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if e := sh.items[key]; e != nil {
		sh.drop(e)
		s.limits.leave(e)
	}
	return nil
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

func (s *MemoryStore) shard(key string) *shard {
	return &s.shards[maphash.String(s.seed, key)%shardCount]
}

// A shard is a part of the store with a lock of its own.
type shard struct {
	mu    sync.Mutex // guards items, queue and the entries in them
	items map[string]*entry
	queue queue
	_     [24]byte // so that each shard has a cache line of its own
}

func (sh *shard) add(e *entry) {
	if sh.items == nil {
		sh.items = make(map[string]*entry)
	}
	sh.items[e.key] = e
	heap.Push(&sh.queue, e)
}

func (sh *shard) drop(e *entry) {
	delete(sh.items, e.key)
	heap.Remove(&sh.queue, int(e.pos))
	if len(sh.items) == 0 {
		sh.items, sh.queue = nil, nil // a map doesn't shrink: free the memory of a rush
	}
}

// An entry is an Item in 80 bytes, a size class of the allocator. One field
// more would make it 96.
type entry struct {
	key                  string
	data                 []byte
	version              uint64
	seen, idle, deadline int64 // unix seconds
	pos                  int32 // in the queue
	anonymous            bool  // as Item.Anonymous
	placed               bool  // counts as a session: see limits
}

func (e *entry) set(item Item) {
	e.data, e.version = item.Data, item.Version
	e.seen, e.idle, e.deadline = item.SeenAt.Unix(), item.IdleDeadline.Unix(), item.Deadline.Unix()
}

func (e *entry) item() Item {
	return Item{
		Version:      e.version,
		SeenAt:       time.Unix(e.seen, 0).UTC(),
		IdleDeadline: time.Unix(e.idle, 0).UTC(),
		Deadline:     time.Unix(e.deadline, 0).UTC(),
		Data:         e.data,
	}
}

func (e *entry) over() int64 { return min(e.idle, e.deadline) }

func (e *entry) size() int64 { return itemOverhead + int64(len(e.key)+len(e.data)) }
