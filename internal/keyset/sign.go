package keyset

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
)

// Sign returns the JWS signature of signingInput (RFC 7515, Section 5.1). It
// fails if the key is not for signing or has no private half. If an external
// signer fails, the error wraps the signer's.
func (k *Key) Sign(signingInput string) ([]byte, error) {
	if k.method == nil || k.private == nil {
		return nil, fmt.Errorf("%w: key %s can't sign", errWrongKey, k.id)
	}
	var signature []byte
	var err error
	if s := k.signer(); s != nil {
		signature, err = k.signExternally(s, signingInput)
	} else {
		signature, err = k.method.Sign(signingInput, k.private)
	}
	if err != nil {
		return nil, fmt.Errorf("keys: sign with key %s: %w", k.id, err)
	}
	return signature, nil
}

// Verify returns nil if signature is the key's own over signingInput. The error
// wraps ErrForged if it is not.
//
// An ECDSA signature has the fixed size of RFC 7518, Section 3.4, with r and s
// between 1 and n-1. A PSS salt has the size of the hash (Section 3.5). A valid
// ECDSA signature has a second form, with n-s in place of s, that verifies too.
// So nothing may identify a token by its text.
func (k *Key) Verify(signingInput string, signature []byte) error {
	if k.method == nil {
		return fmt.Errorf("%w: key %s can't verify", errWrongKey, k.id)
	}
	if len(signature) != k.SignatureLength() {
		return fmt.Errorf("%w: signature of the wrong size", ErrForged)
	}
	if err := k.method.Verify(signingInput, signature, k.check); err != nil {
		return fmt.Errorf("%w: bad signature", ErrForged)
	}
	return nil
}

// SignatureLength is the size of the key's signatures, in bytes; 0 for an
// encryption key.
func (k *Key) SignatureLength() int {
	switch k.alg {
	case ES256:
		return 64
	case EdDSA:
		return ed25519.SignatureSize
	case PS256, RS256:
		return k.public.(*rsa.PublicKey).Size()
	case HS256:
		return sha256.Size
	}
	return 0
}

// publicHalf returns the public key of a private one, or nil for a secret.
func publicHalf(private any) crypto.PublicKey {
	if s, ok := private.(crypto.Signer); ok {
		return s.Public()
	}
	return nil
}
