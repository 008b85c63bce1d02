package keys

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

// A Ring holds the keys in force: the keys that sign, verify and are published,
// all from one snapshot. The zero Ring is empty: it signs and verifies nothing.
// A Ring is safe for concurrent use, and must not be copied.
type Ring struct {
	cfg     RingConfig     // zero if the ring has no file
	stop    func()         // ends follow; nil if the ring has no file
	running sync.WaitGroup // follow

	following atomic.Bool // whether the file is being followed
	single    atomic.Bool // the file itself is a mount point
	mu        sync.Mutex  // held while snap is replaced; guards past
	past      history
	forced    forcedLook // because of unknown key IDs
	late      forcedLook // because nobody has looked for long
	snap      atomic.Pointer[snapshot]
	seen      atomic.Pointer[sighting]
}

// A history is what a ring remembers for as long as it lives, whatever replaces
// its keys.
type history struct {
	generation int64                     // of the file, the highest that was in force
	digest     [sha256.Size]byte         // of its content
	revoked    map[string]bool           // by key ID
	seals      map[string]*atomic.Uint64 // counts of tokens, by key ID
}

// A snapshot is immutable, except for the cache in it.
type snapshot struct {
	set       *keyset.Set
	byID      map[string]*keyset.Key // those that were pruned, too
	info      fs.FileInfo            // of the file; nil without one
	published atomic.Pointer[publication]
}

// NewRing returns a ring of these keys, which come from no file. There is no
// policy: keys sign until the second that their dates say, and clocks are taken
// to agree.
func NewRing(keys ...*Key) (*Ring, error) {
	r := new(Ring)
	if err := r.Replace(keys...); err != nil {
		return nil, err
	}
	return r, nil
}

// Replace puts these keys in force, and no others, or, with an error, leaves
// the keys as they are. If the ring follows a file, its next look brings back
// those of the file, as Reload does.
func (r *Ring) Replace(keys ...*Key) error {
	s, err := keyset.NewBareSet(inner(keys)...)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.install(s, nil)
}

// install swaps the snapshot. The caller holds r.mu.
func (r *Ring) install(s *keyset.Set, info fs.FileInfo) error {
	old := r.load()
	set, err := s.Settled().Map(func(k *keyset.Key) (*keyset.Key, error) {
		if before := old.byID[k.ID()]; before != nil && !before.Same(k) {
			return nil, fmt.Errorf("keys: key %s was exchanged for another with the same ID; make a new key instead", k.ID())
		}
		return k.InRing(s.Policy(), r.past.count(k)), nil
	})
	if err != nil {
		return err
	}
	next := &snapshot{set: set, byID: make(map[string]*keyset.Key), info: info}
	for _, k := range slices.Concat(set.Keys(), set.Pruned()) {
		next.byID[k.ID()] = k
	}
	r.snap.Store(next)
	return nil
}

// count returns the count of the tokens that a key has encrypted: a reload must
// not reset it.
func (h *history) count(k *keyset.Key) *atomic.Uint64 {
	if k.Use() != keyset.Encryption {
		return nil
	}
	if h.seals == nil {
		h.seals = make(map[string]*atomic.Uint64)
	}
	if h.seals[k.ID()] == nil {
		h.seals[k.ID()] = new(atomic.Uint64)
	}
	return h.seals[k.ID()]
}

// remember notes what came from the file.
func (h *history) remember(s *keyset.Set, digest [sha256.Size]byte) {
	h.generation, h.digest = s.Generation(), digest
	if h.revoked == nil {
		h.revoked = make(map[string]bool)
	}
	for _, k := range slices.Concat(s.Keys(), s.Pruned()) {
		h.revoked[k.ID()] = h.revoked[k.ID()] || k.IsRevoked()
	}
}

func (r *Ring) load() *snapshot {
	if s := r.snap.Load(); s != nil {
		return s
	}
	none, _ := keyset.NewBareSet()
	return &snapshot{set: none}
}

// Set returns the keys that are in force, with their policy. It is the same
// until they are replaced.
func (r *Ring) Set() *Set { return (*Set)(r.load().set) }

// Current returns the key that makes new tokens of a use: of the active keys
// the one that became active last, and of two such the one with the lower ID,
// so that all instances choose the same. If none is active, because the
// successor of the last one is missing, that one goes on for the grace of the
// policy, and Health says so. The error wraps ErrNoActiveKey, or ErrUnavailable
// if the key file could not be read for that long.
//
// An asymmetric key that the ring's own JWK Set does not list never signs,
// because nobody could verify. For Encryption the key is nil without an error
// as long as no key has begun to encrypt. Once one has, its absence is an
// error: tokens must not become readable because a key ran out.
func (r *Ring) Current(use Use, now time.Time) (*Key, error) {
	s, err := r.usable(now)
	if err != nil {
		return nil, err
	}
	k, _ := s.set.Signs(keyset.Use(use), now)
	if k == nil {
		if err = s.set.Problem(keyset.Use(use), now); err != nil { // the clock may be what is wrong
			err = fmt.Errorf("%w (this clock says %s)", err, now.UTC().Format(time.RFC3339))
		}
		return nil, err
	}
	if use == Signature && !k.Algorithm().Symmetric() {
		if p, err := s.publish(now); err != nil || !p.kids[k.ID()] {
			return nil, fmt.Errorf("%w: the JWK Set does not list key %s", ErrNoActiveKey, k.ID())
		}
	}
	return (*Key)(k), nil
}

// Key returns the key that a token names, for verifying or decrypting: one that
// is pending, active or retiring. An ID that is not known makes the ring look
// whether its file has changed, twice at once and then every 30 seconds at
// most: another instance may have been faster to read it. It waits for that no
// longer than ctx. The error wraps ErrUnknownKey, ErrKeyExpired or
// ErrKeyRevoked; a client must not learn which.
func (r *Ring) Key(ctx context.Context, kid string, now time.Time) (*Key, error) {
	k := r.load().byID[kid]
	if k == nil {
		k = r.reloadFor(ctx, kid, now)
	}
	if k == nil {
		return nil, ErrUnknownKey // without the kid: it is text from a token
	}
	if err := k.Trusted(now); err != nil {
		return nil, fmt.Errorf("%w (key %s)", err, k.ID())
	}
	return (*Key)(k), nil
}
