package keys

import (
	"context"
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
	keyLook   forcedLook  // because a token names an unknown key
	lateLook  forcedLook  // because nobody has looked for long

	mu      sync.Mutex // held while the file is read or the keys are replaced
	past    history
	snap    atomic.Pointer[snapshot] // written under mu, as are the next two
	look    atomic.Pointer[lastLook]
	isMount atomic.Bool // the file itself is a mount point
}

// A snapshot is immutable, except for the cache of its publication.
type snapshot struct {
	set       *keyset.Set
	byID      map[string]*keyset.Key // with those that were pruned
	info      fs.FileInfo            // of the file; nil without one
	published atomic.Pointer[publication]
}

// NewRing returns a ring of these keys, which come from no file. Without a
// policy there is no grace: keys sign exactly as their dates say, as if all
// clocks agreed.
func NewRing(keys ...*Key) (*Ring, error) {
	r := new(Ring)
	if err := r.Replace(keys...); err != nil {
		return nil, err
	}
	return r, nil
}

// Replace puts these keys in force instead of all others. With an error, the
// keys stay as they are. If the ring follows a file, its next look brings back
// the keys of the file, as Reload does.
func (r *Ring) Replace(keys ...*Key) error {
	all := make([]*keyset.Key, len(keys))
	for i, k := range keys {
		all[i] = k.inner()
	}
	s, err := keyset.NewBareSet(all...)
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
			return nil, fmt.Errorf("keys: key %s was exchanged for another with the same ID; "+
				"make a new key instead", k.ID())
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

func (r *Ring) load() *snapshot {
	if s := r.snap.Load(); s != nil {
		return s
	}
	none, _ := keyset.NewBareSet()
	return &snapshot{set: none}
}

// Set returns the keys in force, with their policy. It returns the same Set
// until other keys are in force.
func (r *Ring) Set() *Set { return (*Set)(r.load().set) }

// Current returns the key that makes new tokens of a use: the active key that
// became active last. Of two such keys it is the one with the lower ID, so that
// all instances choose the same. If the last key has ended without a successor,
// it goes on for the grace of the policy, and Health says so. The error wraps
// ErrNoActiveKey, or ErrUnavailable if the key file could not be read for that
// long.
//
// An asymmetric key that the ring's own JWK Set does not list never signs,
// because nobody could verify. For Encryption the key is nil without an error
// as long as no key has begun to encrypt. From then on a missing key is an
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
// is pending, active or retiring. For an unknown ID it first looks whether the
// key file has changed, because another instance may have read the new file
// earlier. There are at most two such looks at once, and then one in 30
// seconds, because anybody can invent key IDs. It waits no longer than ctx. The
// error wraps ErrUnknownKey, ErrKeyExpired or ErrKeyRevoked; a client must not
// learn which.
func (r *Ring) Key(ctx context.Context, kid string, now time.Time) (*Key, error) {
	k := r.load().byID[kid]
	if k == nil {
		r.keyLook.wait(ctx, r, now, func() bool { return r.load().byID[kid] == nil })
		k = r.load().byID[kid]
	}
	if k == nil {
		return nil, ErrUnknownKey // without the kid: it is text from a token
	}
	if err := k.Trusted(now); err != nil {
		return nil, fmt.Errorf("%w (key %s)", err, k.ID())
	}
	return (*Key)(k), nil
}

func (r *Ring) now() time.Time {
	if r.cfg.Now != nil {
		return r.cfg.Now()
	}
	return time.Now()
}
