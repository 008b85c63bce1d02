package keys

import (
	"time"

	"github.com/cloakroom-go/cloakroom/internal/jose"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

// Matches compares a token's header with the key: kid, alg and, for encryption,
// enc must be the key's own (RFC 8725, Section 3.1).
func (k *Key) Matches(h *jose.Header) error { return k.inner().Matches(h) }

// Open decrypts a token that passed the gate. Every failure looks the same and
// wraps ErrForged (RFC 7516, Section 11.5), except for a key that is not for this
// token.
func (k *Key) Open(token *jose.JWE) ([]byte, error) { return k.inner().Open(token) }

// Seal encrypts plaintext into a compact JWE.
func (k *Key) Seal(plaintext []byte, cty string) (string, error) {
	return k.inner().Seal(plaintext, cty)
}

// SealedLength is the length of what Seal makes of that many bytes of plaintext.
func (k *Key) SealedLength(plaintext int, cty string) int {
	return k.inner().SealedLength(plaintext, cty)
}

// Sign returns the JWS signature of signingInput (RFC 7515, Section 5.1).
func (k *Key) Sign(signingInput string) ([]byte, error) { return k.inner().Sign(signingInput) }

// SignatureLength is the size of the key's signatures, in bytes.
func (k *Key) SignatureLength() int { return k.inner().SignatureLength() }

// Verify returns nil if signature is the key's own over signingInput.
func (k *Key) Verify(signingInput string, signature []byte) error {
	return k.inner().Verify(signingInput, signature)
}

// TokensUntil is the latest exp that a token of the key may have; the zero time
// means any.
func (k *Key) TokensUntil() time.Time { return k.inner().TokensUntil() }

// HasPrivate reports whether the key can sign, or seal and open.
func (k *Key) HasPrivate() bool { return k.inner().HasPrivate() }

// Uses is how many tokens this process has encrypted with the key.
func (k *Key) Uses() uint64 { return k.inner().Uses() }

// Keys returns all keys in the order of the file, whatever their state.
func (r *Ring) Keys() []*Key { return r.Set().Keys() }

// Pruned returns what is remembered of keys that were pruned.
func (r *Ring) Pruned() []*Key { return outer(r.load().set.Pruned()) }

// Policy returns the policy of the key file, with the defaults in place of zeros;
// without a file, the zero Policy.
func (r *Ring) Policy() Policy { return r.Set().Policy() }

// SealedSince returns when the first encryption key began to be used, and whether
// one has by now.
func (r *Ring) SealedSince(now time.Time) (time.Time, bool) {
	return r.load().set.UsedSince(keyset.Encryption, now)
}

// Symmetric reports whether both sides need the same secret, so that there is no
// public key.
func (a Algorithm) Symmetric() bool { return keyset.Algorithm(a).Symmetric() }

// State is the state of a key with these dates at the time now, if it was not
// revoked.
func (d Dates) State(now time.Time) State { return State(keyset.Dates(d).State(now)) }
