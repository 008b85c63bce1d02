// Package keys holds the keys that sign and encrypt tokens: their life from
// publication to retirement, the key file, and the public key set that other
// services verify with.
//
// Use [OpenRing] where users log in. Use [NewRemote], or [ParsePublicSet] for a
// static file, in a service that only has to know who is calling. An application
// never makes keys: [Generate], [Import] and the methods of [File] that write are
// for cmd/keygen, package rotation and tests. [NewRing] is for tests, and for keys
// that don't come from a key file.
//
// A key has one algorithm and one use for ever (RFC 8725, Section 3.1): a
// signature key never decrypts, and an encryption key never verifies. The header
// of a token is compared with that, and decides nothing. Nothing returns a private
// key.
//
// The state of a key is computed from its dates and the time, and never stored. So
// instances that read the same file agree without talking to each other. A [Ring]
// serves signing, verification and the JWKS endpoint from one immutable snapshot; a
// reload replaces it as a whole, or leaves the old one in force.
//
// These are refused when a key is loaded:
//
//   - RSA keys below 2048 bits, with an exponent that is even or outside 65537 to
//     2^31-1, or with the ROCA weakness;
//   - points off the curve, base points, and Ed25519 points that have a small order
//     or are not canonical;
//   - private keys that don't belong to their public key;
//   - HMAC keys shorter than 32 bytes, and AES keys of another size than 32 bytes;
//   - secrets and private keys that a person typed, that were padded, or that follow
//     a pattern;
//   - a key ID that is not the RFC 7638 thumbprint of an asymmetric key;
//   - unknown members, and files that others can read.
package keys

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

// Use is what a key is for (RFC 7517, Section 4.2).
type Use string

const (
	Signature  Use = "sig" // signs and verifies
	Encryption Use = "enc" // seals and opens
)

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

// maxSeals is how many tokens one Direct key may encrypt: half of what NIST SP 800-38D,
// Section 8.3, allows for random nonces. A Ring counts within its process alone.
const maxSeals = 1 << 31

// jwksMaxAge is how long caches may keep the public key set that Ring.Handler serves.
// A key must be published for longer than that before it signs.
const jwksMaxAge = 10 * time.Minute
