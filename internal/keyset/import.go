package keyset

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
)

// Import makes a key of one from elsewhere, such as a PEM file, a secret store
// or a KMS:
//
//   - an *ecdsa.PrivateKey on P-256, an ed25519.PrivateKey, or an
//     *rsa.PrivateKey;
//   - a []byte for HS256, dir and A256KW: a secret of random bytes, not text;
//   - an *ecdsa.PublicKey, an ed25519.PublicKey or an *rsa.PublicKey: a
//     signature key that only verifies;
//   - any other [crypto.Signer]: a signature key whose private half stays in a
//     KMS or an HSM.
//
// What is refused in a key file is refused here too: see the package comment.
// So are RSA keys whose modulus is a prime, a power of one, or the product of
// two primes that are close together; to find out takes up to 150 milliseconds.
// The key is copied, except for a signer. Its ID is the RFC 7638 thumbprint,
// which may begin with a dash; that of a secret is random, as with [Generate].
//
// A signer is called for each token that is made, by many goroutines in
// parallel and without a context: it needs a time limit of its own. It gets the
// SHA-256 digest. With EdDSA, or if it is a [crypto.MessageSigner], it gets the
// message. With PS256 it also gets *rsa.PSSOptions. Its answer is verified
// before it is used. A key file never holds a signer, only the public half.
func Import(alg Algorithm, key any, d Dates) (*Key, error) {
	if alg.Use() == "" {
		return nil, errUnknownAlgorithm
	}
	if err := d.check(); err != nil {
		return nil, err
	}
	if isNil(key) {
		return nil, errors.New("keys: the key to import is nil")
	}
	k, err := adopt(alg, key)
	if err == nil {
		err = k.checkFactors()
	}
	if err != nil {
		return nil, err
	}
	return k.with(d, nil)
}

func adopt(alg Algorithm, key any) (*Key, error) {
	if secret, ok := key.([]byte); ok || alg.Symmetric() {
		if !ok || !alg.Symmetric() {
			return nil, notFor(alg)
		}
		return build(alg, "", bytes.Clone(secret), nil)
	}
	switch p := key.(type) {
	case *ecdsa.PrivateKey, *rsa.PrivateKey, ed25519.PrivateKey:
		return adoptPrivate(alg, p)
	case *ed25519.PrivateKey: // has the methods of a signer, too
		return adoptPrivate(alg, *p)
	}
	if alg.Use() != Signature {
		return nil, fmt.Errorf("keys: the key for %s must be an *ecdsa.PrivateKey: "+
			"without its private half it would be of no use", alg)
	}
	if s, ok := key.(crypto.Signer); ok {
		k, err := adoptPublic(alg, s.Public())
		if err != nil {
			return nil, fmt.Errorf("%w (the public key of a signer)", err)
		}
		return k.withSigner(s), nil
	}
	return adoptPublic(alg, key)
}

// adoptPrivate makes a key of a copy of private, in the form that it would have
// if it came from a key file.
func adoptPrivate(alg Algorithm, private any) (k *Key, err error) {
	defer incomplete(&k, &err)
	switch p := private.(type) {
	case ed25519.PrivateKey:
		if len(p) != ed25519.PrivateKeySize {
			return nil, fmt.Errorf("keys: Ed25519 private key of %d bytes: 64 are needed; "+
				"make them of a seed with ed25519.NewKeyFromSeed", len(p))
		}
	case *rsa.PrivateKey:
		if len(p.Primes) != 2 {
			return nil, errors.New("keys: RSA private key without exactly two primes")
		}
		// Values that were computed before may be those of another key, or missing.
		whole := &rsa.PrivateKey{PublicKey: p.PublicKey, D: p.D, Primes: p.Primes}
		whole.Precompute()
		private = whole
	}
	return adoptCopy(alg, publicHalf(private), private)
}

// adoptPublic makes a key of a copy of public.
func adoptPublic(alg Algorithm, public any) (k *Key, err error) {
	defer incomplete(&k, &err)
	if isNil(public) {
		return nil, notFor(alg)
	}
	return adoptCopy(alg, public, public)
}

// adoptCopy makes a key of a copy of raw, whose public half is given.
func adoptCopy(alg Algorithm, public, raw any) (*Key, error) {
	if err := checkPublic(alg, public); err != nil { // says what is wrong, better than the library
		return nil, err
	}
	m, err := describe(raw)
	if err != nil {
		return nil, errors.New("keys: the numbers of the key are missing, out of range or don't belong together")
	}
	return m.key(alg, "")
}

// incomplete makes an error of a panic. A key that was put together by hand may
// lack a number, and the libraries don't all look before they use it.
func incomplete(k **Key, err *error) {
	if recover() != nil {
		*k, *err = nil, errors.New("keys: a number of the key is missing or out of range")
	}
}

func notFor(alg Algorithm) error { return fmt.Errorf("keys: not a key for %s", alg) }
