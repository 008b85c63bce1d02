package keys

import (
	"context"
	"crypto"
	"crypto/subtle"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Ring is the keys that are in force: what signs, what verifies and what is
// published, all from one snapshot. The zero Ring is empty: it signs and verifies nothing. A Ring is
// safe for concurrent use, and must not be copied.
type Ring struct {
	Now func() time.Time // clock of Handler; if nil, time.Now; set it before the first use

	path string // "" if the ring has no file
	opts []FileOption
	mu   sync.Mutex // held by who replaces snap
	snap atomic.Pointer[snapshot]
}

// A snapshot is immutable, save for the cache in it.
type snapshot struct {
	keys       []*Key
	byID       map[string]*Key
	generation int64
	info       fs.FileInfo // of the file; nil without one
	published  atomic.Pointer[publication]
}

// NewRing returns a ring of these keys, which come from no file.
func NewRing(keys ...*Key) (*Ring, error) {
	r := new(Ring)
	if err := r.Replace(keys...); err != nil {
		return nil, err
	}
	return r, nil
}

// OpenRing returns a ring of the keys in a key file. See ReadFile for what the file must be like.
func OpenRing(path string, opts ...FileOption) (*Ring, error) {
	r := &Ring{path: path, opts: slices.Clone(opts)}
	if path == "" {
		return nil, errors.New("keys: no path of a key file")
	}
	if err := r.Reload(); err != nil {
		return nil, err
	}
	return r, nil
}

// Reload reads the key file again and puts all of it in force, or, with an
// error, leaves the keys as they are. It refuses a file of an earlier
// generation, such as a restored backup, in which revoked keys may come back to life: restart to accept it.
func (r *Ring) Reload() error {
	if r.path == "" {
		return errors.New("keys: the ring has no key file to reload; use Replace")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s, info, err := readFile(r.path, r.opts)
	if err != nil {
		return err
	}
	if old := r.load(); s.generation < old.generation {
		return fmt.Errorf("%w: %s has generation %d, and %d is in force; restart if you want to go back", ErrInvalidFile, r.path, s.generation, old.generation)
	}
	return r.install(s, info)
}

// Replace puts these keys in force, and no others, or, with an error, leaves
// the keys as they are. A later Reload brings back those of the file.
func (r *Ring) Replace(keys ...*Key) error {
	s, err := NewSet(keys...)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.install(s, nil)
}

// install swaps the snapshot. The caller holds r.mu.
func (r *Ring) install(s *Set, info fs.FileInfo) error {
	old := r.load()
	next := &snapshot{byID: make(map[string]*Key), generation: s.generation, info: info}
	for _, k := range s.keys {
		if before := old.byID[k.id]; before != nil {
			if !before.same(k) {
				return fmt.Errorf("keys: key %s was exchanged for another with the same ID; make a new key instead", k.id)
			}
			again := *k
			again.seals = before.seals // or a reload would reset the count
			k = &again
		}
		next.keys = append(next.keys, k)
		next.byID[k.id] = k
	}
	r.snap.Store(next)
	return nil
}

func (r *Ring) load() *snapshot {
	if s := r.snap.Load(); s != nil {
		return s
	}
	return &snapshot{}
}

// Watch reloads the key file whenever it has changed, looking every so often
// until ctx ends. It reports each reload that failed, with the old keys still in
// force, and tries again the next time. It also reports, once for each key, that
// a key has used up half of the tokens that it may encrypt: the error wraps
// [ErrExhausted]. report may be nil. Watch returns the cause of ctx's end.
func (r *Ring) Watch(ctx context.Context, every time.Duration, report func(error)) error {
	if every <= 0 {
		return errors.New("keys: Watch needs a positive interval")
	}
	if report == nil {
		report = func(error) {}
	}
	warned := make(map[string]bool)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
			if !r.current() {
				if err := r.Reload(); err != nil {
					report(err)
				}
			}
			r.warn(warned, report)
		}
	}
}

// warn reports the keys that near their end, except those that were reported before.
func (r *Ring) warn(warned map[string]bool, report func(error)) {
	for _, k := range r.load().keys {
		if k.alg == Direct && k.Uses() >= maxSeals/2 && !warned[k.id] {
			warned[k.id] = true
			report(fmt.Errorf("%w: key %s has encrypted %d so far", ErrExhausted, k.id, k.Uses()))
		}
	}
}

// current reports whether the file is the one that was read.
func (r *Ring) current() bool {
	read := r.load().info
	now, err := os.Stat(r.path)
	return err == nil && read != nil && os.SameFile(read, now) && read.Size() == now.Size() && read.ModTime().Equal(now.ModTime()) && read.Mode() == now.Mode()
}

// Keys returns all keys in the order of the file, whatever their state.
func (r *Ring) Keys() []*Key { return slices.Clone(r.load().keys) }

// Signer returns the key to sign with: of the active signature keys the one that became active last, and of
// two such the one with the lower ID, so that all instances choose the same. The error wraps ErrNoActiveKey.
func (r *Ring) Signer(now time.Time) (*Key, error) {
	if k := r.load().active(Signature, now); k != nil {
		return k, nil
	}
	return nil, fmt.Errorf("%w (to sign)", ErrNoActiveKey)
}

// Sealer returns the key to encrypt with, chosen as Signer chooses. It is nil without an error as long as
// no encryption key has begun to be used. Once one has, its absence is an error that wraps
// ErrNoActiveKey: tokens must not become readable because a key ran out.
func (r *Ring) Sealer(now time.Time) (*Key, error) {
	s := r.load()
	if k := s.active(Encryption, now); k != nil {
		return k, nil
	}
	if _, ever := s.sealedSince(now); !ever {
		return nil, nil
	}
	return nil, fmt.Errorf("%w (to encrypt)", ErrNoActiveKey)
}

// SealedSince returns when the first encryption key began to be used, and
// whether one has by now. It counts all keys in the ring, whatever became of them. A token that is not
// encrypted is then only good if it is older.
func (r *Ring) SealedSince(now time.Time) (time.Time, bool) {
	return r.load().sealedSince(now)
}

// Key returns the key that a token names, for verifying or decrypting: one that is pending, active
// or retiring. The error wraps ErrUnknownKey, ErrKeyExpired or ErrKeyRevoked; a client must not learn which.
func (r *Ring) Key(_ context.Context, kid string, now time.Time) (*Key, error) {
	k := r.load().byID[kid]
	if k == nil {
		return nil, ErrUnknownKey // without the kid: it is text from a token
	}
	if err := k.trusted(now); err != nil {
		return nil, fmt.Errorf("%w (key %s)", err, k.id)
	}
	return k, nil
}

func (s *snapshot) active(use Use, now time.Time) (best *Key) {
	for _, k := range s.keys {
		if k.Use() != use || k.private == nil || k.State(now) != Active {
			continue
		}
		if best == nil || k.newer(best) {
			best = k
		}
	}
	return best
}

func (k *Key) newer(than *Key) bool {
	if !k.dates.SignFrom.Equal(than.dates.SignFrom) {
		return k.dates.SignFrom.After(than.dates.SignFrom)
	}
	return k.id < than.id
}

func (s *snapshot) sealedSince(now time.Time) (since time.Time, ever bool) {
	for _, k := range s.keys {
		from := k.dates.SignFrom
		if k.Use() != Encryption || now.Before(from) {
			continue
		}
		if !ever || from.Before(since) {
			since, ever = from, true
		}
	}
	return since, ever
}

// same reports whether two keys with one ID are one key. A private half may have been erased meanwhile.
func (k *Key) same(other *Key) bool {
	if k.alg != other.alg {
		return false
	}
	if k.public != nil {
		return k.public.(interface{ Equal(crypto.PublicKey) bool }).Equal(other.public)
	}
	return subtle.ConstantTimeCompare(k.private.([]byte), other.private.([]byte)) == 1
}
