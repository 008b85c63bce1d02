//lint:file-ignore SA1019 keys that were put together by hand, number by number, are what Import must refuse

package keyset_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log"
	"math/big"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

// A key that another program made, for a service that must go on with it.
func ExampleImport() {
	text, err := os.ReadFile("private.pem")
	if err != nil {
		log.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		log.Fatal("no PEM")
	}
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		log.Fatal(err)
	}
	key, err := keyset.Import(keyset.ES256, private, keyset.Dates{Created: time.Now()})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(key.ID())
}

// importedRSA is a key that takes a second to make.
var importedRSA = sync.OnceValue(func() *rsa.PrivateKey {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return private
})

func newECDSA(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	private, err := ecdsa.GenerateKey(curve, rand.Reader)
	require.NoError(t, err)
	return private
}

func newEd25519(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return private
}

// newPrivate makes the standard library's key of an asymmetric algorithm.
func newPrivate(t testing.TB, alg keyset.Algorithm) crypto.Signer {
	t.Helper()
	switch alg {
	case keyset.EdDSA:
		return newEd25519(t)
	case keyset.PS256, keyset.RS256:
		return importedRSA()
	}
	return newECDSA(t, elliptic.P256())
}

var (
	external   = []keyset.Algorithm{keyset.ES256, keyset.EdDSA, keyset.PS256, keyset.RS256}
	asymmetric = append(external[:len(external):len(external)], keyset.ECDHESA256KW)
)

func TestImportPrivate(t *testing.T) {
	dates := keyset.Dates{Created: t0, SignFrom: t0.Add(time.Millisecond)}
	for _, alg := range asymmetric {
		t.Run(string(alg), func(t *testing.T) {
			private := newPrivate(t, alg)
			k, err := keyset.Import(alg, private, dates)
			require.NoError(t, err)
			require.Equal(t, alg, k.Algorithm())
			require.True(t, k.HasPrivate())
			require.True(t, private.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(k.Public()))
			require.Equal(t, keyset.Dates{Created: t0, SignFrom: t0}, k.Dates(), "whole seconds")
			imported, err := jwk.Import(private.Public())
			require.NoError(t, err)
			sum, err := imported.Thumbprint(crypto.SHA256)
			require.NoError(t, err)
			require.Equal(t, b64(sum), k.ID(), "RFC 7638")
			works(t, k)
			require.Equal(t, member(t, private2JWK(t, private), "d"), member(t, fileJWK(t, k), "d"),
				"the file holds the same key")
		})
	}
}

func private2JWK(t testing.TB, private any) jwk.Key {
	t.Helper()
	k, err := jwk.Import(private)
	require.NoError(t, err)
	return k
}

// works signs and verifies, or seals and opens.
func works(t testing.TB, k *keyset.Key) {
	t.Helper()
	if k.Use() == keyset.Signature {
		signature, err := k.Sign("a.b")
		require.NoError(t, err)
		require.NoError(t, k.Verify("a.b", signature))
		return
	}
	token, err := k.Seal([]byte("text"), "JWT")
	require.NoError(t, err)
	text, err := k.Open(parseJWE(t, token))
	require.NoError(t, err)
	require.Equal(t, "text", string(text))
}

func TestImportSecret(t *testing.T) {
	for _, alg := range []keyset.Algorithm{keyset.HS256, keyset.Direct, keyset.A256KW} {
		t.Run(string(alg), func(t *testing.T) {
			secret := random(32)
			k, err := keyset.Import(alg, secret, keyset.Dates{})
			require.NoError(t, err)
			require.Nil(t, k.Public())
			require.Equal(t, b64(secret), member(t, fileJWK(t, k), "k"))
			works(t, k)
			again, err := keyset.Import(alg, secret, keyset.Dates{})
			require.NoError(t, err)
			require.NotEqual(t, k.ID(), again.ID(), "the ID says nothing of the secret")
			for range 300 {
				again, err = keyset.Import(alg, secret, keyset.Dates{})
				require.NoError(t, err)
				require.Len(t, again.ID(), 22, "128 random bits")
				require.NotEqual(t, byte('-'), again.ID()[0])
			}
		})
	}
}

// A public key verifies, and its private half may be attached later.
func TestImportPublic(t *testing.T) {
	for _, alg := range external {
		t.Run(string(alg), func(t *testing.T) {
			private := newPrivate(t, alg)
			k, err := keyset.Import(alg, private.Public(), keyset.Dates{})
			require.NoError(t, err)
			require.False(t, k.HasPrivate())
			whole, err := keyset.Import(alg, private, keyset.Dates{})
			require.NoError(t, err)
			require.Equal(t, whole.ID(), k.ID())
			signature, err := whole.Sign("a.b")
			require.NoError(t, err)
			require.NoError(t, k.Verify("a.b", signature))
			_, err = k.Sign("a.b")
			require.ErrorIs(t, err, keyset.ErrWrongKey)
			require.False(t, fileJWK(t, k).Has("d"))
		})
	}
}

// What the caller does with its key afterwards is its own affair.
func TestImportCopies(t *testing.T) {
	secret, seeded, point, modulus := random(32), newEd25519(t), newECDSA(t, elliptic.P256()), *importedRSA()
	modulus.N, modulus.D = new(big.Int).Set(modulus.N), new(big.Int).Set(modulus.D)
	public := bytes.Clone(newEd25519(t).Public().(ed25519.PublicKey))
	tests := []struct {
		name  string
		alg   keyset.Algorithm
		key   any
		spoil func()
	}{
		{"secret", keyset.HS256, secret, func() { clear(secret) }},
		{"Ed25519", keyset.EdDSA, seeded, func() { clear(seeded) }},
		{"ECDSA", keyset.ES256, point, func() { *point = *newECDSA(t, elliptic.P256()) }},
		{"ECDSA numbers", keyset.ES256, newECDSA(t, elliptic.P256()), nil},
		{"RSA", keyset.PS256, &modulus, func() { modulus.N.SetInt64(15); modulus.D.SetInt64(3); modulus.E = 3 }},
		{"public Ed25519", keyset.EdDSA, ed25519.PublicKey(public), func() { clear(public) }},
		{"signer", keyset.EdDSA, &kms{Signer: newEd25519(t)}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k, err := keyset.Import(tt.alg, tt.key, keyset.Dates{})
			require.NoError(t, err)
			before := fileText(t, k)
			switch p := tt.key.(type) {
			case *ecdsa.PrivateKey:
				x, d := p.X, p.D
				x.SetInt64(1)
				d.SetInt64(1)
			case *kms:
				clear(p.Public().(ed25519.PublicKey))
			}
			if tt.spoil != nil {
				tt.spoil()
			}
			require.Equal(t, before, fileText(t, k))
		})
	}
}

func fileText(t testing.TB, k *keyset.Key) string {
	t.Helper()
	s, err := keyset.NewSet(k)
	require.NoError(t, err)
	text, err := s.Encode()
	require.NoError(t, err)
	return string(text)
}

// A pointer to an Ed25519 key has the methods of a signer, but is none of a
// KMS.
func TestImportPointerToEd25519(t *testing.T) {
	private := newEd25519(t)
	k, err := keyset.Import(keyset.EdDSA, &private, keyset.Dates{})
	require.NoError(t, err)
	require.Equal(t, b64(private.Seed()), member(t, fileJWK(t, k), "d"))
}

// A private key without the values that speed it up, or with those of another,
// is completed.
func TestImportRSAWithoutPrecomputation(t *testing.T) {
	whole := importedRSA()
	bare := &rsa.PrivateKey{PublicKey: whole.PublicKey, D: whole.D, Primes: whole.Primes}
	spoiled := &rsa.PrivateKey{PublicKey: whole.PublicKey, D: whole.D, Primes: whole.Primes}
	spoiled.Precomputed.Dp, spoiled.Precomputed.Dq, spoiled.Precomputed.Qinv = big.NewInt(3), big.NewInt(5), big.NewInt(7)
	for _, private := range []*rsa.PrivateKey{bare, spoiled} {
		k, err := keyset.Import(keyset.RS256, private, keyset.Dates{})
		require.NoError(t, err)
		works(t, k)
		for _, name := range []string{"p", "q", "dp", "dq", "qi"} {
			require.Equal(t, member(t, private2JWK(t, whole), name), member(t, fileJWK(t, k), name),
				"RFC 7518, Section 6.3.2: all of them")
		}
	}
}

func TestImportRefuses(t *testing.T) {
	p256, p384, seeded, whole := newECDSA(t, elliptic.P256()), newECDSA(t, elliptic.P384()), newEd25519(t), importedRSA()
	halves := ecdsa.PrivateKey{PublicKey: newECDSA(t, elliptic.P256()).PublicKey, D: p256.D}
	exchanged := append(bytes.Clone(seeded[:32]), newEd25519(t)[32:]...)
	montgomery, err := p256.ECDH()
	require.NoError(t, err)
	n := elliptic.P256().Params().N
	rsaWith := func(change func(k *rsa.PrivateKey)) *rsa.PrivateKey {
		k := &rsa.PrivateKey{PublicKey: whole.PublicKey, D: whole.D, Primes: whole.Primes}
		change(k)
		return k
	}
	small := &rsa.PublicKey{N: modulus(1024), E: 65537}
	tests := []struct {
		name string
		alg  keyset.Algorithm
		key  any
		want string
	}{
		{"unknown algorithm", "ES512", p256, "unknown algorithm"},
		{"no algorithm", "", p256, "unknown algorithm"},
		{"nil", keyset.ES256, nil, "the key to import is nil"},
		{"nil ECDSA", keyset.ES256, (*ecdsa.PrivateKey)(nil), "the key to import is nil"},
		{"nil public ECDSA", keyset.ES256, (*ecdsa.PublicKey)(nil), "the key to import is nil"},
		{"nil RSA", keyset.PS256, (*rsa.PrivateKey)(nil), "the key to import is nil"},
		{"nil public RSA", keyset.PS256, (*rsa.PublicKey)(nil), "the key to import is nil"},
		{"nil pointer to Ed25519", keyset.EdDSA, (*ed25519.PrivateKey)(nil), "the key to import is nil"},
		{"nil signer", keyset.EdDSA, (*kms)(nil), "the key to import is nil"},
		{"nil Ed25519", keyset.EdDSA, ed25519.PrivateKey(nil), "Ed25519 private key of 0 bytes"},
		{"nil public Ed25519", keyset.EdDSA, ed25519.PublicKey(nil), "not a key for EdDSA"},
		{"nil secret", keyset.HS256, []byte(nil), "HS256 key of 0 bytes"},
		{"empty ECDSA", keyset.ES256, &ecdsa.PrivateKey{}, "not a key for ES256"},
		{"empty public ECDSA", keyset.ES256, &ecdsa.PublicKey{}, "not a key for ES256"},
		{"ECDSA without point", keyset.ES256, &ecdsa.PrivateKey{PublicKey: ecdsa.PublicKey{Curve: elliptic.P256()}, D: p256.D}, "missing or out of range"},
		{"public ECDSA without point", keyset.ES256, &ecdsa.PublicKey{Curve: elliptic.P256()}, "missing or out of range"},
		{"ECDSA without number", keyset.ES256, &ecdsa.PrivateKey{PublicKey: p256.PublicKey}, "the numbers of the key are missing"},
		{"empty RSA", keyset.PS256, &rsa.PrivateKey{}, "without exactly two primes"},
		{"empty public RSA", keyset.PS256, &rsa.PublicKey{}, "missing or out of range"},
		{"RSA without modulus", keyset.PS256, rsaWith(func(k *rsa.PrivateKey) { k.N = nil }), "missing or out of range"},
		{"RSA without exponent", keyset.PS256, rsaWith(func(k *rsa.PrivateKey) { k.D = nil }), "the numbers of the key are missing"},
		{"RSA with a missing prime", keyset.PS256, rsaWith(func(k *rsa.PrivateKey) { k.Primes = []*big.Int{k.Primes[0], nil} }), "the numbers of the key are missing"},

		{"other curve", keyset.ES256, p384, "not a key for ES256"},
		{"other public curve", keyset.ES256, &p384.PublicKey, "not a key for ES256"},
		{"off the curve", keyset.ES256, &ecdsa.PublicKey{Curve: elliptic.P256(), X: big.NewInt(1), Y: big.NewInt(1)}, "not a point on P-256"},
		{"halves of two ECDSA keys", keyset.ES256, &halves, "don't belong together"},
		{"halves of two ECDSA keys, to encrypt", keyset.ECDHESA256KW, &halves, "don't belong together"},
		{"ECDSA number zero", keyset.ES256, &ecdsa.PrivateKey{PublicKey: p256.PublicKey, D: new(big.Int)}, "don't belong together"},
		{"ECDSA number beyond the order", keyset.ES256, &ecdsa.PrivateKey{PublicKey: p256.PublicKey, D: new(big.Int).Add(n, p256.D)}, "keys: "},
		{"huge ECDSA number", keyset.ES256, &ecdsa.PrivateKey{PublicKey: p256.PublicKey, D: new(big.Int).Lsh(n, 512)}, "missing or out of range"},
		{"short Ed25519", keyset.EdDSA, seeded[:63], "Ed25519 private key of 63 bytes"},
		{"a seed", keyset.EdDSA, seeded[:32], "of 32 bytes: 64 are needed; make them of a seed"},
		{"long Ed25519", keyset.EdDSA, append(seeded[:64:64], 0), "Ed25519 private key of 65 bytes"},
		{"short public Ed25519", keyset.EdDSA, seeded.Public().(ed25519.PublicKey)[:31], "not a key for EdDSA"},
		{"halves of two Ed25519 keys", keyset.EdDSA, ed25519.PrivateKey(exchanged), "don't belong together"},
		{"small RSA", keyset.PS256, small, "RSA key of 1024 bits"},
		{"RSA with a small exponent", keyset.PS256, rsaWith(func(k *rsa.PrivateKey) { k.E = 3 }), "exponent must be odd and at least 65537"},
		{"RSA with another exponent", keyset.PS256, rsaWith(func(k *rsa.PrivateKey) { k.E = 65539 }), "don't belong together"},
		{"RSA with another private exponent", keyset.RS256, rsaWith(func(k *rsa.PrivateKey) { k.D = new(big.Int).Add(k.D, big.NewInt(2)) }), "don't belong together"},
		{"RSA with another modulus", keyset.RS256, rsaWith(func(k *rsa.PrivateKey) { k.N = modulus(2048) }), "don't belong together"},
		{"RSA of one prime", keyset.RS256, rsaWith(func(k *rsa.PrivateKey) { k.Primes = k.Primes[:1] }), "without exactly two primes"},
		{"RSA of three primes", keyset.RS256, rsaWith(func(k *rsa.PrivateKey) { k.Primes = []*big.Int{k.Primes[0], k.Primes[1], big.NewInt(3)} }), "without exactly two primes"},
		{"RSA with primes of another", keyset.RS256, rsaWith(func(k *rsa.PrivateKey) { k.Primes = []*big.Int{modulus(1024), modulus(1024)} }), "don't belong together"},

		{"short secret", keyset.HS256, random(31), "HS256 key of 31 bytes"},
		{"long secret", keyset.Direct, random(33), "exactly 32 are needed"},
		{"password", keyset.HS256, []byte(strings.Repeat("Password1 ", 4)), "the key is text"},
		{"repeating secret", keyset.A256KW, append(make([]byte, 31), 0xff), "repeats"},
		{"secret for an asymmetric algorithm", keyset.ES256, random(32), "not a key for ES256"},
		{"Ed25519 for a symmetric algorithm", keyset.HS256, seeded, "not a key for HS256"},
		{"public key for a symmetric algorithm", keyset.HS256, seeded.Public(), "not a key for HS256"},
		{"RSA for ES256", keyset.ES256, whole, "not a key for ES256"},
		{"ECDSA for EdDSA", keyset.EdDSA, p256, "not a key for EdDSA"},
		{"Ed25519 to encrypt", keyset.ECDHESA256KW, seeded, "not a key for ECDH-ES+A256KW"},
		{"public key to encrypt", keyset.ECDHESA256KW, &p256.PublicKey, "must be an *ecdsa.PrivateKey"},
		{"signer to encrypt", keyset.ECDHESA256KW, &kms{Signer: p256}, "must be an *ecdsa.PrivateKey"},
		{"signer for a symmetric algorithm", keyset.HS256, &kms{Signer: p256}, "not a key for HS256"},
		{"signer with another kind of key", keyset.EdDSA, &kms{Signer: p256}, "not a key for EdDSA (the public key of a signer)"},
		{"signer without public key", keyset.EdDSA, &kms{}, "not a key for EdDSA (the public key of a signer)"},
		{"signer with a weak key", keyset.PS256, &kms{public: small}, "RSA key of 1024 bits"},
		{"signer with a key without numbers", keyset.PS256, &kms{public: &rsa.PublicKey{}}, "missing or out of range"},
		{"key of another package", keyset.ES256, montgomery, "not a key for ES256"},
		{"ECDSA by value", keyset.ES256, *p256, "not a key for ES256"},
		{"PEM text", keyset.ES256, "-----BEGIN PRIVATE KEY-----", "not a key for ES256"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k, err := keyset.Import(tt.alg, tt.key, keyset.Dates{})
			require.ErrorContains(t, err, tt.want)
			require.ErrorContains(t, err, "keys: ")
			require.Nil(t, k)
		})
	}
}

func TestImportRefusesDates(t *testing.T) {
	_, err := keyset.Import(keyset.HS256, random(32), keyset.Dates{VerifyUntil: t0})
	require.ErrorContains(t, err, "verify_until without sign_until")
}

// One in 64 would, and a command would take it for an option.
func TestGeneratedIDsBeginWithoutADash(t *testing.T) {
	for range 1000 {
		require.NotEqual(t, byte('-'), generate(t, keyset.EdDSA).ID()[0])
	}
}
