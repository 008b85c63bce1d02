package keyset

import (
	"crypto"
	"crypto/cipher"
	"crypto/subtle"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/internal/jose"
)

// Key is one key with its algorithm and its dates. It is immutable and safe for
// concurrent use. Printing it shows only its ID and its algorithm.
type Key struct {
	id      string
	alg     Algorithm
	dates   Dates
	revoked *revocation // nil if not
	gone    bool        // the private half was in the file, and was erased

	// An *ecdsa.PrivateKey, ed25519.PrivateKey, *rsa.PrivateKey, []byte or
	// externalKey; nil in a public key.
	private any
	public  crypto.PublicKey // *ecdsa.PublicKey, ed25519.PublicKey or *rsa.PublicKey; nil if symmetric

	method jwt.SigningMethod // of a signature key
	check  any               // what method verifies with

	aead    cipher.AEAD       // of a Direct key
	headers map[string][]byte // encoded JWE headers by cty; never written after construction
	scratch *sync.Pool        // of *[]byte, in which Seal puts tokens together
	seals   *atomic.Uint64    // tokens encrypted; shared by the copies of the key in a Ring

	tokensUntil time.Time // see TokensUntil
}

// ID is the key's kid: for an asymmetric key its RFC 7638 thumbprint, else
// random.
func (k *Key) ID() string { return k.id }

// Algorithm is the only algorithm that the key is for.
func (k *Key) Algorithm() Algorithm { return k.alg }

// Use says whether the key signs or encrypts.
func (k *Key) Use() Use { return k.alg.Use() }

// Dates returns the instants at which the key changes its state.
func (k *Key) Dates() Dates { return k.dates }

// TokensUntil is the latest exp that a token of the key may have; the zero time
// means any. It is the end of verifying. For a key of a Ring whose file has a
// policy it is earlier by leeway and clock skew: otherwise a verifier whose
// clock is ahead would refuse tokens that have not expired.
func (k *Key) TokensUntil() time.Time {
	if k.tokensUntil.IsZero() {
		return k.dates.VerifyUntil
	}
	return k.tokensUntil
}

// Revoked says whether the key was revoked, when, and why, in words for people.
// A revoked key is revoked at any time, also before that instant.
func (k *Key) Revoked() (at time.Time, reason string, revoked bool) {
	if k.revoked == nil {
		return time.Time{}, "", false
	}
	return k.revoked.at, k.revoked.reason, true
}

// IsRevoked reports whether the key was revoked.
func (k *Key) IsRevoked() bool { return k.revoked != nil }

// IsPruned reports whether only a note is left of the key.
func (k *Key) IsPruned() bool { return k.private == nil && k.public == nil }

// State is the key's state at the time now.
func (k *Key) State(now time.Time) State { return stateAt(k.dates, k.revoked != nil, now) }

// HasPrivate reports whether the key can sign, or seal and open. The others can
// only verify: keys of a public set, keys whose private half is in a KMS that
// is not attached, and retired keys whose private half was erased.
func (k *Key) HasPrivate() bool { return k.private != nil }

// Erased reports whether the private half was erased. Then nothing can sign
// with the key again, whatever its dates say.
func (k *Key) Erased() bool { return k.gone }

// Public returns the public key, as *ecdsa.PublicKey, ed25519.PublicKey or
// *rsa.PublicKey; nil for a symmetric key.
func (k *Key) Public() crypto.PublicKey { return k.public }

// matches compares a token's header with the key: kid, alg and, for encryption,
// enc must be the key's own (RFC 8725, Section 3.1).
func (k *Key) matches(h *jose.Header) error {
	enc := ""
	if k.Use() == Encryption {
		enc = jose.A256GCM
	}
	if h.Kid != k.id || h.Alg != string(k.alg) || h.Enc != enc {
		return fmt.Errorf("token: kid, alg or enc is not that of key %s: %w", k.id, fault.Inner(errWrongKey))
	}
	return nil
}

// Format implements fmt.Formatter, so that no verb prints the private key.
func (k Key) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "keys.Key(%s %s)", k.alg, jose.ShownKid(k.id))
}

// Trusted returns nil if tokens of the key are accepted at the time now, else
// the reason why not.
func (k *Key) Trusted(now time.Time) error {
	switch s := k.State(now); {
	case s == Revoked:
		return ErrKeyRevoked
	case s == Expired, k.IsPruned(): // also if the clock was set back after it was pruned
		return ErrKeyExpired
	case s.trusted():
		return nil
	}
	return ErrUnknownKey // staged: nobody should know it yet
}

// WithDates returns the key with other dates.
func (k *Key) WithDates(d Dates) (*Key, error) { return k.with(d, k.revoked) }

// with returns a copy of k with other dates and another revocation.
func (k *Key) with(d Dates, r *revocation) (*Key, error) {
	if err := d.check(); err != nil {
		return nil, fmt.Errorf("%w (key %s)", err, k.id)
	}
	c := *k
	c.dates, c.revoked, c.tokensUntil = d.whole(), r, time.Time{}
	return &c, nil
}

// InRing returns the key as it is in a ring with the policy p, which counts the
// key's tokens in seals.
func (k *Key) InRing(p Policy, seals *atomic.Uint64) *Key {
	c := *k
	c.seals = seals
	if end := k.dates.VerifyUntil; !end.IsZero() {
		c.tokensUntil = end.Add(-p.Leeway - p.ClockSkew)
	}
	return &c
}

// Same reports whether two keys with one ID are one key. A private half may
// have been erased meanwhile.
func (k *Key) Same(other *Key) bool {
	return k.alg == other.alg && (k.IsPruned() || other.IsPruned() || k.SameMaterial(other))
}

// SameMaterial reports whether two keys differ at most in their IDs, algorithms
// and dates. A private half may be missing in one of them.
func (k *Key) SameMaterial(other *Key) bool {
	if k.public != nil {
		return k.public.(interface{ Equal(crypto.PublicKey) bool }).Equal(other.public)
	}
	x, _ := k.private.([]byte)
	y, symmetric := other.private.([]byte)
	return symmetric && subtle.ConstantTimeCompare(x, y) == 1
}

// erased returns a copy of k without the private half.
func (k *Key) erased() *Key {
	c := *k
	c.private, c.aead, c.gone = nil, nil, k.gone || k.private != nil && !k.External()
	return &c
}
