// Package redisstore keeps sessions in Redis or Valkey, for applications that
// run as several processes.
//
//	store, err := redisstore.New(ctx, redisstore.Config{
//		Addrs:    []string{"redis.example.com:6380"},
//		TLS:      &tls.Config{},
//		Username: "shop", Password: password,
//	})
//
// [New] connects, and refuses a server that is older than Redis 6.2, that would
// drop sessions when its memory is full, or whose user lacks rights. Each
// operation is one round trip and touches one key. Commands of concurrent
// requests share a connection.
//
// An operation that fails is never tried again here: its error wraps
// [session.Unavailable], and the carrier finds out what happened.
//
// The store is also a [revocation.Log], so that what has ended on one instance
// has ended on all, within milliseconds. Package config uses it without being
// told to. An instance waits for news on a connection of its own.
//
// And it is a [devices.Index], which lists the sessions of a subject, with a
// key for each subject. Each of its operations is one round trip.
//
// What the server has acknowledged can be lost in a failover, because replicas
// lag. Set min-replicas-to-write to 1 where there are replicas, and turn on
// persistence (appendonly yes) if sessions must survive a restart.
//
// An ACL user needs these rights, with the keys ~cloakroom:* or of another
// Prefix. New tries each, with commands that have no effect, and names those
// that are missing:
//
//	-@all +get +set +getrange +setrange +pexpire +del +eval +evalsha +hello +ping +info
//	+xadd +xread +xrange +xdel +time +hget +hset +hdel +hlen +hgetall +pttl
//
// and more with a cluster, with Sentinels and with CacheFor:
//
//	+cluster|slots +cluster|shards +asking
//	+role
//	+client|tracking +client|caching
//
// and a user of a Sentinel needs these, with allchannels:
//
//	-@all +sentinel|sentinels +sentinel|get-master-addr-by-name +subscribe +hello +ping
package redisstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/valkey-io/valkey-go"

	"github.com/cloakroom-go/cloakroom/internal/recent"
	"github.com/cloakroom-go/cloakroom/internal/stored"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
)

// maxData bounds the data of an item, in bytes. Redis closes the connection on
// which it gets more than proto-max-bulk-len, 512 MB by default, and the
// requests of others share that connection.
const maxData = 64 << 20

// A Store is an [opaque.Store], a [revocation.Log] and a [devices.Index] in
// Redis or Valkey. The zero Store is closed: all its operations fail.
type Store struct {
	cfg    Config
	client valkey.Client // nil in the zero Store
	conns  *connections
	swap   *valkey.Lua
	touch  *valkey.Lua
	index  indexScripts

	// The keys that must not be read from the cache.
	written, deleted recent.Map[struct{}]

	log logState

	stop    context.CancelFunc
	looking sync.WaitGroup // the goroutine that checks the settings
}

var _ opaque.Store = (*Store)(nil)

// New connects to the server, and checks its version, its settings, and the
// rights of its user. It reports every mistake in cfg at once. If the server
// can't be reached, the error wraps [session.Unavailable].
func New(ctx context.Context, cfg Config) (*Store, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &Store{
		cfg:   cfg.withDefaults(),
		swap:  valkey.NewLuaScript(swapScript),
		touch: valkey.NewLuaScript(touchScript),
		index: newIndexScripts(),
	}
	if s.cfg.CacheFor > 0 {
		s.written.Period, s.deleted.Period = newsTakes, s.cfg.CacheFor
	}
	s.conns = newConnections(s.cfg)
	client, err := valkey.NewClient(s.options())
	if err != nil {
		if client != nil {
			client.Close()
		}
		return nil, s.failure("connect", err)
	}
	s.client = client
	if err := s.check(ctx); err != nil {
		client.Close()
		return nil, err
	}
	s.log.sweep.Store(newSweep())
	s.checkRepeatedly()
	return s, nil
}

// options says how the client works. It neither retries a command nor reads
// from a replica.
func (s *Store) options() valkey.ClientOption {
	o := valkey.ClientOption{
		InitAddress:       s.cfg.Addrs,
		DialCtxFn:         s.conns.dial,
		TLSConfig:         s.cfg.TLS,
		Username:          s.cfg.Username,
		Password:          s.cfg.Password,
		SelectDB:          s.cfg.Database,
		ConnWriteTimeout:  s.cfg.Timeout,
		ForceSingleClient: !s.cfg.Cluster && s.cfg.SentinelMaster == "",
		DisableRetry:      true,
		DisableCache:      s.cfg.CacheFor == 0,
		CacheSizeEachConn: cacheBytes,
		PipelineMultiplex: -1, // one connection: more of them were slower
	}
	o.Dialer.Timeout = s.cfg.Timeout
	o.ClusterOption.ShardsRefreshInterval = topologyInterval
	o.Sentinel = valkey.SentinelOption{
		Dialer:                  o.Dialer,
		TLSConfig:               s.cfg.TLS,
		MasterSet:               s.cfg.SentinelMaster,
		Username:                s.cfg.SentinelUsername,
		Password:                s.cfg.SentinelPassword,
		TopologyRefreshInterval: topologyInterval,
	}
	return o
}

// topologyInterval is how often the client asks who the master is, in case that
// it has missed the news of a failover.
const topologyInterval = 5 * time.Second

// Close waits for the operations that are under way, and closes the
// connections. All operations fail from then on. The server keeps the items.
func (s *Store) Close() error {
	if s.client == nil {
		return nil
	}
	s.stop()
	s.looking.Wait()
	s.client.Close()
	return nil
}

// Get implements [opaque.Store]. It may return an item that has expired, for as
// long as Linger.
func (s *Store) Get(ctx context.Context, key string) (opaque.Item, bool, error) {
	reply, err := s.call(ctx, "get", func(ctx context.Context) valkey.ValkeyResult {
		return s.read(ctx, s.key(key))
	})
	if valkey.IsValkeyNil(err) {
		return opaque.Item{}, false, nil
	}
	if err != nil {
		return opaque.Item{}, false, err
	}
	value, err := reply.AsBytes()
	if err != nil {
		return opaque.Item{}, false, s.failure("get", err)
	}
	item, ok := stored.Decode(value)
	if !ok {
		return opaque.Item{}, false, fmt.Errorf("redisstore: get: the server has %d bytes under the key, "+
			"which are no item: does another application use the same Prefix? %w", len(value), session.Unavailable)
	}
	return item, true, nil
}

// Create implements [opaque.Store].
func (s *Store) Create(ctx context.Context, key string, item opaque.Item) error {
	if err := validate(item, 0); err != nil {
		return err
	}
	px := s.life(item)
	_, err := s.write(ctx, "create", s.key(key), func(ctx context.Context) valkey.ValkeyResult {
		cmd := s.client.B().Set().Key(s.key(key)).Value(valkey.BinaryString(stored.Encode(item))).Nx().PxMilliseconds(px)
		return s.client.Do(ctx, cmd.Build())
	})
	if valkey.IsValkeyNil(err) {
		return fmt.Errorf("redisstore: create: the key is in use: %w", session.Conflict)
	}
	return err
}

// Swap implements [opaque.Store].
func (s *Store) Swap(ctx context.Context, key string, version uint64, item opaque.Item) (bool, error) {
	if err := validate(item, version); err != nil {
		return false, err
	}
	return s.run(ctx, "swap", s.swap, key,
		valkey.BinaryString(binary.BigEndian.AppendUint64(nil, version)),
		number(s.now().Unix()),
		valkey.BinaryString(stored.Encode(item)),
		number(s.life(item)))
}

// Touch implements [opaque.Store].
func (s *Store) Touch(ctx context.Context, key string, seenAt, idleDeadline time.Time) (bool, error) {
	return s.run(ctx, "touch", s.touch, key,
		number(s.now().Unix()),
		number(seenAt.Unix()),
		number(idleDeadline.Unix()),
		number(s.cfg.Linger.Milliseconds()))
}

// Delete implements [opaque.Store].
func (s *Store) Delete(ctx context.Context, key string) error {
	defer s.deleted.Put(s.key(key), struct{}{}, 0)
	_, err := s.write(ctx, "delete", s.key(key), func(ctx context.Context) valkey.ValkeyResult {
		return s.client.Do(ctx, s.client.B().Del().Key(s.key(key)).Build())
	})
	return err
}

// run runs a script that returns whether it found the item as it wants it.
func (s *Store) run(
	ctx context.Context, op string, script *valkey.Lua, key string, args ...string,
) (ok bool, err error) {
	reply, err := s.write(ctx, op, s.key(key), func(ctx context.Context) valkey.ValkeyResult {
		return script.Exec(ctx, s.client, []string{s.key(key)}, args)
	})
	if err != nil {
		return false, err
	}
	if ok, err = reply.AsBool(); err != nil {
		return false, s.failure(op, err)
	}
	return ok, nil
}

// write is a call that may change what is stored under key. A write that was
// refused counts, too: the caller has seen an item that is out of date.
func (s *Store) write(ctx context.Context, op, key string, do command) (valkey.ValkeyResult, error) {
	s.written.Put(key, struct{}{}, 0)
	defer s.written.Put(key, struct{}{}, 0) // the period begins when the write has ended
	return s.call(ctx, op, do)
}

// call bounds a command by the deadline of ctx, or by Timeout if it has none. A
// connection that owed an answer until then is closed, so that the next command
// gets a new one.
func (s *Store) call(ctx context.Context, op string, do command) (valkey.ValkeyResult, error) {
	var none valkey.ValkeyResult
	if s.client == nil {
		return none, notDone(op, valkey.ErrClosing)
	}
	if err := ctx.Err(); err != nil {
		return none, notDone(op, err)
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.cfg.Timeout)
		defer cancel()
	}
	start := time.Now() // not the clock of sessions: this measures the network
	reply, err := s.conns.await(ctx, do)
	if err == nil {
		err = reply.Error()
	}
	if err == nil || valkey.IsValkeyNil(err) {
		return reply, err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		s.conns.closeSilent(start)
	}
	return none, s.failure(op, err)
}

// A command sends one to the server, and returns its reply.
type command func(ctx context.Context) valkey.ValkeyResult

func (s *Store) key(key string) string { return s.cfg.Prefix + "s:" + key }

// life is how many milliseconds the server keeps the item. It is a duration and
// not an instant: the server's clock may be ahead of ours, and would drop the
// item at once.
func (s *Store) life(item opaque.Item) int64 {
	seconds := min(item.OverAt().Unix(), longestLife) - s.now().Unix()
	return max(1, seconds*1000+s.cfg.Linger.Milliseconds())
}

func (s *Store) now() time.Time {
	if s.cfg.Now == nil {
		return time.Now()
	}
	return s.cfg.Now()
}

func number(n int64) string { return strconv.FormatInt(n, 10) }
