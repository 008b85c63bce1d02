// Package keyset holds keys and sets of them, with what they may do and when:
// the part of package keys that must not be called from outside of this module.
//
// Use [Set.Signer] and the methods of [Key] to make and read tokens, and
// [File.Update] to change a key file. The changes of a [Set] keep only what holds
// whatever its policy: history is not rewritten. Whether a change would reject a
// valid token, package rotation tells.
//
// What is refused when a key is loaded, the comment of package keys lists.
package keyset

import (
	"errors"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/jose"
)

// Algorithm is the alg of RFC 7518 and RFC 8037 that a key is for. Encryption is
// with enc A256GCM always.
type Algorithm string

const (
	ES256 Algorithm = jose.ES256 // ECDSA on P-256; the default for signatures
	EdDSA Algorithm = jose.EdDSA // Ed25519
	PS256 Algorithm = jose.PS256 // RSASSA-PSS
	RS256 Algorithm = jose.RS256 // RSASSA-PKCS1-v1_5, for verifiers that know nothing else
	HS256 Algorithm = jose.HS256 // HMAC: whoever verifies can also sign

	Direct       Algorithm = jose.Direct       // AES-256-GCM with the key itself; the default for encryption
	A256KW       Algorithm = jose.A256KW       // a fresh AES key for each token, wrapped with this one
	ECDHESA256KW Algorithm = jose.ECDHESA256KW // as A256KW, wrapped for a P-256 public key
)

// Use is the purpose of a key: to sign or to encrypt (RFC 7517, Section 4.2).
type Use string

const (
	Signature  Use = "sig" // signs and verifies
	Encryption Use = "enc" // seals and opens
)

// Uses returns both uses, in the order in which plans, steps and tables have
// them.
func Uses() [2]Use { return [...]Use{Signature, Encryption} }

// Default is the algorithm that the keys of a new file have for a use: other
// services can verify signatures with ES256.
func (u Use) Default() Algorithm {
	if u == Encryption {
		return Direct
	}
	return ES256
}

// Use returns what the algorithm does, or "" for one that is not known.
func (a Algorithm) Use() Use {
	switch a {
	case ES256, EdDSA, PS256, RS256, HS256:
		return Signature
	case Direct, A256KW, ECDHESA256KW:
		return Encryption
	}
	return ""
}

// Symmetric reports whether both sides need the same secret, so that there is no public key.
func (a Algorithm) Symmetric() bool {
	return a == HS256 || a == Direct || a == A256KW
}

// kty is the key type of RFC 7517, Section 4.1, that the algorithm takes.
func (a Algorithm) kty() string {
	switch a {
	case ES256, ECDHESA256KW:
		return "EC"
	case EdDSA:
		return "OKP"
	case PS256, RS256:
		return "RSA"
	case HS256, Direct, A256KW:
		return "oct"
	}
	return ""
}

// Why there is no key, or why a token is refused. Clients get the same answer for
// all of them except ErrUnavailable, which means that nobody could decide.
var (
	ErrUnknownKey  = errors.New("keys: no key with this ID")
	ErrKeyExpired  = errors.New("keys: the key has expired")
	ErrKeyRevoked  = errors.New("keys: the key was revoked")
	ErrNoActiveKey = errors.New("keys: no active key")
	ErrExhausted   = errors.New("keys: one encryption key is good for 2^31 tokens; run: keygen rotate --use enc")
	ErrUnavailable = errors.New("keys: key set unavailable")
	ErrForged      = errors.New("keys: the token was not made with this key") // bad signature, or can't be decrypted
)

// errWrongKey is a mistake of the program, or a token that names a key for another
// purpose.
var errWrongKey = errors.New("keys: wrong use for this key")

// What is wrong with a key file, beside the errors of package io/fs.
var (
	ErrUnsafeFile  = errors.New("keys: key file is not safe")  // wrong owner or mode
	ErrInvalidFile = errors.New("keys: key file is not valid") // truncated, corrupt, encrypted under something else, or keys that are refused
	ErrLocked      = errors.New("keys: another process is changing the key file")
)

// MaxSeals is how many tokens one Direct key may encrypt: half of what NIST SP 800-38D,
// Section 8.3, allows for random nonces. A Ring counts within its process alone.
const MaxSeals = 1 << 31

// JWKSMaxAge is how long caches may keep the public key set that Ring.Handler serves.
// A key must be published for longer than that before it signs.
const JWKSMaxAge = 10 * time.Minute
