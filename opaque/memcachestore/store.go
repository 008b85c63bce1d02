// Package memcachestore keeps opaque sessions in Memcached, for sites whose
// instances share one Memcached server already.
//
// Use [New], and give the [Store] to opaque.NewCarrier or as
// config.Options.Store; or [Opener], if the configuration names the server by
// its URL. It keeps the contract of opaque.Store, except where
// Memcached itself can't:
//
//   - A restart of the server loses every session.
//   - A full server evicts items, also live sessions. Started with -M it
//     refuses new and changed items instead, and they fail with
//     session.Unavailable until others have expired. Give it enough memory in
//     either case, and watch the counter "evictions" of its command stats.
//   - Memcached has no replicas. While the server is out of reach, requests are
//     denied, and nobody is logged out.
//   - It can't list sessions, so there is no index of a subject's sessions.
//
// A visitor whose session was lost is logged out; nothing brings a session back
// that has ended. Keep nothing in the session that must survive.
//
// All instances must use the same server. Sessions are not spread over several
// ones: a copy that was left on a server of an older list would come back when
// the list changes back.
//
// Memcached has no passwords in the protocol used here, and no encryption. The
// records are encrypted, so who reaches the server reads no session and opens
// none of others. But it can delete and replay them, and write sessions of its
// own, for any subject. Let only the application reach it.
package memcachestore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/internal/stored"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
)

// A Config configures a [Store].
type Config struct {
	_ [0]func() // no unkeyed literals, no comparison

	// Addr is the server: "host:port", or the absolute path of a Unix socket. A
	// name is resolved for each new connection. Required.
	Addr string

	// Prefix stands in front of each key, so that several applications can use
	// one server. It has at most 200 characters: ASCII, without spaces.
	Prefix string

	// Timeout is how long the server may take to accept a connection, and again
	// to answer, even if the context of the call allows more. A call whose context
	// ends returns at that moment, and its connection is freed within this time. 0
	// means 2 seconds.
	Timeout time.Duration

	// Now is the clock that decides whether an item has expired. If nil, time.Now.
	Now func() time.Time
}

const (
	defaultTimeout = 2 * time.Second
	maxPrefix      = 200 // of the 250 bytes of a key in Memcached

	// maxIdle is high so that a busy instance need not connect for each command;
	// the server allows 1024 connections unless it is told otherwise.
	maxIdle = 64
)

// A Store is an [opaque.Store] in Memcached. An item that is too large for the
// server (1 MiB with its key, unless the server has -I) fails with
// [session.TooLarge], and the one before stays.
//
// An expired item can still be read for 2 minutes. The caller's clock decides
// whether it has expired; the server only removes it. It counts the time until
// then by its own clock, so the two may differ. Only where more than 30 days
// are left does it know the date alone, and must not be ahead by more than
// those 2 minutes.
//
// The zero Store is closed: all its operations fail.
type Store struct {
	cfg    Config
	client *memcache.Client

	mu      sync.RWMutex // guards open, and running.Add against Close
	open    bool
	running sync.WaitGroup // calls of the client
}

var _ opaque.Store = (*Store)(nil)

// New returns a store, and reports every mistake in cfg at once. It connects
// when the store is first used.
func New(cfg Config) (*Store, error) {
	bad := fault.In("memcachestore: Config")
	bad.If(!isAddr(cfg.Addr), "Addr", `is %q: must be "host:port", or the absolute path of a Unix socket`, cfg.Addr)
	bad.If(len(cfg.Prefix) > maxPrefix, "Prefix", "has %d characters: at most %d", len(cfg.Prefix), maxPrefix)
	bad.If(strings.ContainsFunc(cfg.Prefix, isNoKey), "Prefix", "is %q: must be ASCII without spaces", cfg.Prefix)
	bad.If(cfg.Timeout < 0, "Timeout", "is %v: must not be negative", cfg.Timeout)
	if err := bad.Err(); err != nil {
		return nil, err
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	client := memcache.NewFromSelector(server(cfg.Addr))
	client.Timeout, client.MaxIdleConns = cfg.Timeout, maxIdle
	return &Store{cfg: cfg, client: client, open: true}, nil
}

func isAddr(addr string) bool {
	if strings.HasPrefix(addr, "/") {
		return true
	}
	_, port, err := net.SplitHostPort(addr)
	return err == nil && port != ""
}

func isNoKey(r rune) bool { return r <= ' ' || r >= 0x7f }

// A server is the one that the client uses for every key. The client's own list
// of servers would resolve a name only once.
type server string

func (s server) Network() string {
	if strings.HasPrefix(string(s), "/") {
		return "unix"
	}
	return "tcp"
}

func (s server) String() string                      { return string(s) }
func (s server) PickServer(string) (net.Addr, error) { return s, nil }
func (s server) Each(f func(net.Addr) error) error   { return f(s) }

// Get implements [opaque.Store].
func (s *Store) Get(ctx context.Context, key string) (opaque.Item, bool, error) {
	got := s.await(ctx, func() outcome {
		item, _, err := s.read(ctx, key)
		if errors.Is(err, memcache.ErrCacheMiss) {
			return outcome{}
		}
		return outcome{item: item, ok: err == nil, err: err}
	})
	return got.item, got.ok, got.err
}

// Create implements [opaque.Store].
func (s *Store) Create(ctx context.Context, key string, item opaque.Item) error {
	if err := item.Validate(0); err != nil {
		return err
	}
	return s.await(ctx, func() outcome {
		err := s.client.Add(s.entry(key, item, 0))
		if errors.Is(err, memcache.ErrNotStored) {
			err = fmt.Errorf("memcachestore: the key is in use: %w", session.Conflict)
		}
		return outcome{err: err}
	}).err
}

// Swap implements [opaque.Store].
func (s *Store) Swap(ctx context.Context, key string, version uint64, item opaque.Item) (bool, error) {
	if err := item.Validate(version); err != nil {
		return false, err
	}
	return s.update(ctx, key, func(stored opaque.Item) (opaque.Item, step) {
		if stored.Version != version {
			return stored, refuse
		}
		return item, write
	})
}

// Touch implements [opaque.Store].
func (s *Store) Touch(ctx context.Context, key string, seenAt, idleDeadline time.Time) (bool, error) {
	return s.update(ctx, key, func(stored opaque.Item) (opaque.Item, step) {
		next := stored
		next.SeenAt = later(stored.SeenAt, seenAt)
		next.IdleDeadline = later(stored.IdleDeadline, idleDeadline)
		if next.IdleDeadline.After(next.Deadline) {
			next.IdleDeadline = next.Deadline
		}
		if next.SeenAt.Equal(stored.SeenAt) && next.IdleDeadline.Equal(stored.IdleDeadline) {
			return stored, keep
		}
		return next, write
	})
}

// later returns the later of two instants, in whole seconds.
func later(stored, other time.Time) time.Time {
	return time.Unix(max(stored.Unix(), other.Unix()), 0)
}

// Delete implements [opaque.Store].
func (s *Store) Delete(ctx context.Context, key string) error {
	return s.await(ctx, func() outcome {
		err := s.client.Delete(s.cfg.Prefix + key)
		if errors.Is(err, memcache.ErrCacheMiss) {
			err = nil
		}
		return outcome{err: err}
	}).err
}

// Close closes the connections. It waits for calls that nobody waits for any
// more, at most a few times the Timeout. Afterwards all operations fail. A
// second Close does nothing. The error is always nil.
func (s *Store) Close() error {
	s.mu.Lock()
	wasOpen := s.open
	s.open = false
	s.mu.Unlock()
	s.running.Wait()
	if wasOpen {
		_ = s.client.Close() // nobody can do anything about an error
	}
	return nil
}

// A step is what update does with the item that it has read.
type step int

const (
	refuse step = iota // report false
	keep               // report true: there is nothing to change
	write              // replace it
)

// update replaces the item under key by the one that change makes of it, unless
// it has expired. A write counts only if the item is still the one that was
// read (cas); if another caller was faster, update reads again. So there is
// always one caller that gets on.
func (s *Store) update(ctx context.Context, key string, change func(opaque.Item) (opaque.Item, step)) (bool, error) {
	got := s.await(ctx, func() outcome {
		for ctx.Err() == nil {
			ok, err := s.tryUpdate(ctx, key, change)
			switch {
			case errors.Is(err, memcache.ErrCacheMiss):
				return outcome{} // before the read, or between it and cas
			case !errors.Is(err, memcache.ErrCASConflict):
				return outcome{ok: ok, err: err}
			}
		}
		return outcome{err: notDone{ctx.Err()}}
	})
	return got.ok, got.err
}

func (s *Store) tryUpdate(ctx context.Context, key string, change func(opaque.Item) (opaque.Item, step)) (bool, error) {
	stored, cas, err := s.read(ctx, key)
	if err != nil {
		return false, notDone{err}
	}
	if !s.cfg.Now().Before(stored.OverAt()) {
		return false, nil
	}
	next, step := change(stored)
	if step != write {
		return step == keep, nil
	}
	if err := ctx.Err(); err != nil {
		return false, notDone{err} // the caller has gone, so nothing may change any more
	}
	err = s.client.CompareAndSwap(s.entry(key, next, cas))
	return err == nil, err
}

// read returns the item under key, and the number that cas compares. It asks a
// second time if the connection was broken, because a connection that has been
// idle may have been closed by the server, and a read may be repeated.
func (s *Store) read(ctx context.Context, key string) (opaque.Item, uint64, error) {
	got, err := s.client.Get(s.cfg.Prefix + key)
	if isBroken(err) && ctx.Err() == nil {
		_ = s.client.Close() // the idle connections, which are as old
		got, err = s.client.Get(s.cfg.Prefix + key)
	}
	if err != nil {
		return opaque.Item{}, 0, err
	}
	if got.Key != s.cfg.Prefix+key {
		return opaque.Item{}, 0, errWrongAnswer
	}
	item, ok := stored.Decode(got.Value)
	if !ok {
		return opaque.Item{}, 0, errWrongAnswer
	}
	return item, got.CasID, nil
}

// entry returns item as Memcached keeps it. cas is 0 for a new one.
func (s *Store) entry(key string, item opaque.Item, cas uint64) *memcache.Item {
	return &memcache.Item{
		Key:        s.cfg.Prefix + key,
		Value:      stored.Encode(item),
		Expiration: expiration(item, s.cfg.Now()),
		CasID:      cas,
	}
}
