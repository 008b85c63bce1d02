package keys

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Ring is the keys that are in force: what signs, what verifies and what is
// published, all from one snapshot. The zero Ring is empty: it signs and verifies nothing. A Ring is
// safe for concurrent use, and must not be copied.
type Ring struct {
	clock  func() time.Time // of Handler, Health and Watch; nil means time.Now
	file   File             // without a path if the ring has none
	single atomic.Bool      // the file is a mount point itself
	mu     sync.Mutex       // held by who replaces snap, and guards past
	past   history
	forced forcedLook // because of unknown key IDs
	late   forcedLook // because nobody has looked for long
	snap   atomic.Pointer[snapshot]
	watch  atomic.Pointer[sighting]
}

// A history is what a ring remembers for as long as it lives, whatever replaces its keys.
type history struct {
	generation int64                     // of the file, the highest that was in force
	digest     [sha256.Size]byte         // of its content
	revoked    map[string]bool           // by key ID
	seals      map[string]*atomic.Uint64 // counts of tokens, by key ID
}

// A snapshot is immutable, except for the cache in it.
type snapshot struct {
	keys       []*Key
	pruned     []*Key
	byID       map[string]*Key // both
	policy     Policy          // zero without a file: then there is no grace, and clocks agree
	generation int64
	info       fs.FileInfo // of the file; nil without one
	published  atomic.Pointer[publication]
}

// NewRing returns a ring of these keys, which come from no file. There is no policy: keys sign until the
// second that their dates say, and clocks are taken to agree.
func NewRing(keys ...*Key) (*Ring, error) {
	r := new(Ring)
	if err := r.Replace(keys...); err != nil {
		return nil, err
	}
	return r, nil
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
	return r.install(s, Policy{}, nil)
}

// install swaps the snapshot. The caller holds r.mu.
func (r *Ring) install(s *Set, p Policy, info fs.FileInfo) error {
	old := r.load()
	next := &snapshot{byID: make(map[string]*Key), pruned: s.pruned, policy: p, generation: s.generation, info: info}
	for _, k := range s.keys {
		before := old.byID[k.id]
		if before != nil && !before.same(k) {
			return fmt.Errorf("keys: key %s was exchanged for another with the same ID; make a new key instead", k.id)
		}
		k = k.under(p, r.past.count(k))
		next.keys = append(next.keys, k)
		next.byID[k.id] = k
	}
	for _, k := range s.pruned {
		next.byID[k.id] = k
	}
	r.snap.Store(next)
	return nil
}

// count returns the count of the tokens that a key has encrypted: a reload must not reset it.
func (h *history) count(k *Key) *atomic.Uint64 {
	if k.Use() != Encryption || k.seals == nil {
		return k.seals
	}
	if h.seals == nil {
		h.seals = make(map[string]*atomic.Uint64)
	}
	if h.seals[k.id] == nil {
		h.seals[k.id] = k.seals
	}
	return h.seals[k.id]
}

// remember notes what came from the file.
func (h *history) remember(s *Set, digest [sha256.Size]byte) {
	h.generation, h.digest = s.generation, digest
	if h.revoked == nil {
		h.revoked = make(map[string]bool)
	}
	for _, k := range slices.Concat(s.keys, s.pruned) {
		h.revoked[k.id] = h.revoked[k.id] || k.revoked != nil
	}
}

// under returns k as it is in a ring with the policy p.
func (k *Key) under(p Policy, seals *atomic.Uint64) *Key {
	again := *k
	again.seals = seals
	if end := k.dates.VerifyUntil; !end.IsZero() {
		again.tokensUntil = end.Add(-p.Leeway - p.ClockSkew)
	}
	return &again
}

func (r *Ring) load() *snapshot {
	if s := r.snap.Load(); s != nil {
		return s
	}
	return &snapshot{}
}

// Keys returns all keys in the order of the file, whatever their state.
func (r *Ring) Keys() []*Key { return slices.Clone(r.load().keys) }

// Pruned returns what is remembered of keys that were pruned, see [Set.Pruned].
func (r *Ring) Pruned() []*Key { return slices.Clone(r.load().pruned) }

// Set returns what is in force, for looking at it.
func (r *Ring) Set() *Set {
	s := r.load()
	return (&Set{keys: s.keys, pruned: s.pruned, policy: s.policy, generation: s.generation}).Clone()
}

// Policy returns the policy of the key file, with the defaults in place of zeros; without a file, the zero Policy.
func (r *Ring) Policy() Policy { return r.load().policy }

// Signer returns the key to sign with: of the active signature keys the one that became active last, and of
// two such the one with the lower ID, so that all instances choose the same. If none is active, because the successor
// of the last one has failed to appear, that one goes on for the grace of the policy, and Health says so. The error wraps
// ErrNoActiveKey, or ErrUnavailable if the key file, which is being watched, could not be read for that long.
//
// An asymmetric key that the ring's own JWK Set does not list never signs: nobody could verify.
func (r *Ring) Signer(now time.Time) (*Key, error) {
	s, err := r.usable(now)
	if err != nil {
		return nil, err
	}
	k, _ := s.signs(Signature, now)
	if k == nil {
		return nil, atThisTime(s.noneActive(Signature, now), now)
	}
	if !k.alg.Symmetric() {
		if p, err := s.publish(now); err != nil || !p.kids[k.id] {
			return nil, fmt.Errorf("%w: the JWK Set does not list key %s", ErrNoActiveKey, k.id)
		}
	}
	return k, nil
}

// Sealer returns the key to encrypt with, chosen as Signer chooses. It is nil without an error as long as
// no encryption key has begun to be used. Once one has, its absence is an error that wraps
// ErrNoActiveKey: tokens must not become readable because a key ran out.
func (r *Ring) Sealer(now time.Time) (*Key, error) {
	s, err := r.usable(now)
	if err != nil {
		return nil, err
	}
	if k, _ := s.signs(Encryption, now); k != nil {
		return k, nil
	}
	if _, ever := s.sealedSince(now); !ever {
		return nil, nil
	}
	return nil, atThisTime(s.noneActive(Encryption, now), now)
}

// atThisTime adds what the clock says, which may be what is wrong.
func atThisTime(err error, now time.Time) error {
	return fmt.Errorf("%w (this clock says %s)", err, now.UTC().Format(time.RFC3339))
}

// noneActive says what to do about a use that has no active key. If one is going
// to be active, the clock may be behind: so it is with the first key of a new
// file.
func (s *snapshot) noneActive(use Use, now time.Time) error {
	does := map[Use]string{Signature: "signs", Encryption: "encrypts"}[use]
	var next *Key
	for _, k := range s.keys {
		waits := k.Use() == use && k.private != nil && (k.State(now) == Staged || k.State(now) == Pending) && k.dates.signs()
		if waits && (next == nil || next.newer(k)) {
			next = k
		}
	}
	if next == nil {
		return fmt.Errorf("%w that %s; run: keygen check, and keygen rotate", ErrNoActiveKey, does)
	}
	return fmt.Errorf("%w that %s: key %s does from %s on; set the clock if it is behind, else run: keygen rotate", ErrNoActiveKey, does, next.id, next.dates.SignFrom.UTC().Format(time.RFC3339))
}

// SealedSince returns when the first encryption key began to be used, and
// whether one has by now. It counts all keys in the ring that had a time to encrypt, whatever became of them. A token
// that is not encrypted is then only good if it is older.
func (r *Ring) SealedSince(now time.Time) (time.Time, bool) {
	return r.load().sealedSince(now)
}

// Key returns the key that a token names, for verifying or decrypting: one that is pending, active
// or retiring. An ID that is not known makes the ring look whether its file has changed, twice at once and then every 30 seconds at most: another
// instance may have been faster to read it. It waits for that no longer than ctx. The error wraps ErrUnknownKey, ErrKeyExpired or ErrKeyRevoked; a client must
// not learn which.
func (r *Ring) Key(ctx context.Context, kid string, now time.Time) (*Key, error) {
	k := r.load().byID[kid]
	if k == nil {
		k = r.reloadFor(ctx, kid, now)
	}
	if k == nil {
		return nil, ErrUnknownKey // without the kid: it is text from a token
	}
	if err := k.trusted(now); err != nil {
		return nil, fmt.Errorf("%w (key %s)", err, k.id)
	}
	return k, nil
}

// signs returns the key of a use that makes new tokens, and whether it does so
// in its grace; nil if there is none.
func (s *snapshot) signs(use Use, now time.Time) (best *Key, overrun bool) {
	for _, k := range s.keys {
		if k.Use() != use || k.private == nil || k.State(now) != Active {
			continue
		}
		if best == nil || k.newer(best) {
			best = k
		}
	}
	if best == nil {
		best = s.last(use, now)
		overrun = best != nil
	}
	return best, overrun
}

// last returns the key that ceased to sign last, if that is no longer ago than the grace.
func (s *snapshot) last(use Use, now time.Time) (best *Key) {
	for _, k := range s.keys {
		d := k.dates
		if k.Use() != use || k.private == nil || k.State(now) != Retiring || !d.signs() || !now.Before(d.SignUntil.Add(s.policy.Grace)) {
			continue
		}
		if best == nil || d.SignUntil.After(best.dates.SignUntil) || d.SignUntil.Equal(best.dates.SignUntil) && k.id < best.id {
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
	for _, k := range s.byID {
		from := k.dates.SignFrom
		if k.Use() != Encryption || !k.began(now) {
			continue
		}
		if !ever || from.Before(since) {
			since, ever = from, true
		}
	}
	return since, ever
}

// began reports whether the key has begun to make tokens: neither withdrawn nor revoked before that.
func (k *Key) began(now time.Time) bool {
	from := k.dates.SignFrom
	return k.dates.signs() && !now.Before(from) && (k.revoked == nil || !k.revoked.at.Before(from))
}

// same reports whether two keys with one ID are one key. A private half may have been erased meanwhile.
func (k *Key) same(other *Key) bool {
	if k.alg != other.alg {
		return false
	}
	if k.husk() || other.husk() {
		return true
	}
	if k.public != nil {
		return k.public.(interface{ Equal(crypto.PublicKey) bool }).Equal(other.public)
	}
	return subtle.ConstantTimeCompare(k.private.([]byte), other.private.([]byte)) == 1
}
