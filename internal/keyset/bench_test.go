package keyset_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwe"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/jose"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

func BenchmarkSign(b *testing.B) {
	for _, alg := range signing {
		k := one(b, alg)
		b.Run(string(alg), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = k.Sign(benchInput)
			}
		})
	}
}

var benchInput = strings.Repeat("x", 480)

func BenchmarkVerify(b *testing.B) {
	for _, alg := range signing {
		k := one(b, alg)
		signature, err := k.Sign(benchInput)
		require.NoError(b, err)
		b.Run(string(alg), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if k.Verify(benchInput, signature) != nil {
					b.Fatal("not verified")
				}
			}
		})
	}
}

// BenchmarkRawES256 is what BenchmarkVerify/ES256 is measured against.
func BenchmarkRawES256(b *testing.B) {
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(b, err)
	digest := sha256.Sum256([]byte(benchInput))
	r, s, err := ecdsa.Sign(rand.Reader, secret, digest[:])
	require.NoError(b, err)
	for b.Loop() {
		digest := sha256.Sum256([]byte(benchInput))
		if !ecdsa.Verify(&secret.PublicKey, digest[:], r, s) {
			b.Fatal("not verified")
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	plaintext := bytes.Repeat([]byte("x"), 500)
	for _, alg := range encryption {
		k := one(b, alg)
		b.Run(string(alg), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = k.Seal(plaintext, "JWT")
			}
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	plaintext := bytes.Repeat([]byte("x"), 500)
	for _, alg := range encryption {
		k := one(b, alg)
		token, err := k.Seal(plaintext, "JWT")
		require.NoError(b, err)
		parsed, err := jose.ParseJWE(token)
		require.NoError(b, err)
		b.Run(string(alg), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := k.Open(parsed); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkJWX is the cost of the library for what Seal and Open do with a
// Direct key.
func BenchmarkJWX(b *testing.B) {
	k := generate(b, keyset.Direct)
	var secret []byte
	require.NoError(b, jwk.Export(fileJWK(b, k), &secret))
	plaintext := bytes.Repeat([]byte("x"), 500)
	token, err := jwe.Encrypt(plaintext, jwe.WithKey(jwa.DIRECT(), secret), jwe.WithContentEncryption(jwa.A256GCM()))
	require.NoError(b, err)
	b.Run("seal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = jwe.Encrypt(plaintext, jwe.WithKey(jwa.DIRECT(), secret), jwe.WithContentEncryption(jwa.A256GCM()))
		}
	})
	b.Run("open", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = jwe.Decrypt(token, jwe.WithKey(jwa.DIRECT(), secret))
		}
	})
}
