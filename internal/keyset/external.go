package keyset

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"reflect"
)

// External reports whether an external signer, such as a KMS or an HSM, holds
// the private key. It can then never be written to a file.
func (k *Key) External() bool { return k.signer() != nil }

// externalKey wraps a signer whose private key must never be written out,
// whatever the type of the signer: one that came out of a vault may be an
// *ecdsa.PrivateKey.
type externalKey struct{ crypto.Signer }

// signer returns what signs for an external key; nil for any other key.
func (k *Key) signer() crypto.Signer {
	e, _ := k.private.(externalKey)
	return e.Signer
}

// attach returns a copy of k that signs with the signer of the same public key.
// It returns k itself if no signer fits, or if k can't be an external key.
func attach(k *Key, signers []crypto.Signer) (*Key, error) {
	for i, s := range signers {
		if isNil(s) {
			return nil, fmt.Errorf("keys: signer number %d is nil", i+1)
		}
	}
	if k.private != nil || k.gone || k.public == nil || k.Use() != Signature {
		return k, nil
	}
	for _, s := range signers {
		// A thumbprint stands for one key (RFC 7638, Section 7). A public key of
		// another kind, or a weak one, is an error here, and fits no key.
		if other, err := adoptPublic(k.alg, s.Public()); err == nil && other.id == k.id {
			return k.withSigner(s), nil
		}
	}
	return k, nil
}

func (k *Key) withSigner(s crypto.Signer) *Key {
	c := *k
	c.private = externalKey{s}
	return &c
}

// signExternally lets s sign, and returns nothing that the public key does not
// verify: a KMS that was told to use another key would log everybody out.
func (k *Key) signExternally(s crypto.Signer, signingInput string) ([]byte, error) {
	signature, err := crypto.SignMessage(s, rand.Reader, []byte(signingInput), signerOpts(k.alg))
	if err != nil {
		return nil, fmt.Errorf("the signer failed: %w", err)
	}
	if k.alg == ES256 {
		if signature, err = rawECDSA(signature); err != nil {
			return nil, err
		}
	}
	if k.Verify(signingInput, signature) != nil {
		return nil, errors.New("the signer's answer does not verify; check which key it uses, and with which algorithm")
	}
	return signature, nil
}

// signerOpts says how to sign: RFC 7518, Sections 3.3 to 3.5, and RFC 8037,
// Section 3.1.
func signerOpts(alg Algorithm) crypto.SignerOpts {
	switch alg {
	case EdDSA:
		return crypto.Hash(0) // the message itself
	case PS256:
		return &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
	}
	return crypto.SHA256
}

// rawECDSA turns the signature that a crypto.Signer makes, ASN.1 DER, into that
// of RFC 7518, Section 3.4: r and s in 32 bytes each.
func rawECDSA(der []byte) ([]byte, error) {
	bad := errors.New("the signer's answer is not an ECDSA signature on P-256 in ASN.1 DER")
	var numbers struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &numbers); err != nil {
		return nil, bad
	}
	// Unmarshal skips what comes after the two numbers.
	if again, err := asn1.Marshal(numbers); err != nil || !bytes.Equal(again, der) {
		return nil, bad
	}
	n := elliptic.P256().Params().N
	raw := make([]byte, 64)
	for i, number := range [...]*big.Int{numbers.R, numbers.S} {
		if number.Sign() <= 0 || number.Cmp(n) >= 0 {
			return nil, bad
		}
		number.FillBytes(raw[32*i : 32*i+32])
	}
	return raw, nil
}

// isNil reports whether v is nil or a pointer that is.
func isNil(v any) bool {
	p := reflect.ValueOf(v)
	return !p.IsValid() || p.Kind() == reflect.Pointer && p.IsNil()
}
