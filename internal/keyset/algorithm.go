package keyset

import (
	"github.com/golang-jwt/jwt/v5"

	"github.com/cloakroom-go/cloakroom/internal/jose"
)

// Algorithm is the alg of RFC 7518 and RFC 8037 that a key is for. The enc of
// encrypted tokens is always A256GCM.
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

// Default is the algorithm that the keys of a new file have for a use. ES256 is
// the one that nearly every other service can verify.
func (u Use) Default() Algorithm {
	if u == Encryption {
		return Direct
	}
	return ES256
}

// A kind says what keys an algorithm takes, and what it does with them.
type kind struct {
	use    Use
	kty    string            // RFC 7517, Section 4.1
	method jwt.SigningMethod // nil if it encrypts
}

// kind returns the zero kind for an algorithm that is not known.
func (a Algorithm) kind() kind {
	switch a {
	case ES256:
		return kind{Signature, "EC", jwt.SigningMethodES256}
	case EdDSA:
		return kind{Signature, "OKP", jwt.SigningMethodEdDSA}
	case PS256:
		return kind{Signature, "RSA", jwt.SigningMethodPS256}
	case RS256:
		return kind{Signature, "RSA", jwt.SigningMethodRS256}
	case HS256:
		return kind{Signature, "oct", jwt.SigningMethodHS256}
	case Direct, A256KW:
		return kind{Encryption, "oct", nil}
	case ECDHESA256KW:
		return kind{Encryption, "EC", nil}
	}
	return kind{}
}

// Use returns what the algorithm does, or "" for one that is not known.
func (a Algorithm) Use() Use { return a.kind().use }

// Symmetric reports whether both sides need the same secret, so that there is
// no public key.
func (a Algorithm) Symmetric() bool { return a.kind().kty == "oct" }
