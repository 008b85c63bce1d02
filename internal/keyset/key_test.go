package keyset_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"fmt"
	"log/slog"
	"math/big"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwe"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/jose"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

var (
	signing    = []keyset.Algorithm{keyset.ES256, keyset.EdDSA, keyset.PS256, keyset.RS256, keyset.HS256}
	encryption = []keyset.Algorithm{keyset.Direct, keyset.A256KW, keyset.ECDHESA256KW}
	all        = append(append([]keyset.Algorithm{}, signing...), encryption...)
)

// t0 is the time at which most tests begin.
var t0 = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func TestAlgorithm(t *testing.T) {
	tests := []struct {
		alg       keyset.Algorithm
		use       keyset.Use
		symmetric bool
	}{
		{keyset.ES256, keyset.Signature, false}, {keyset.EdDSA, keyset.Signature, false}, {keyset.PS256, keyset.Signature, false}, {keyset.RS256, keyset.Signature, false}, {keyset.HS256, keyset.Signature, true},
		{keyset.Direct, keyset.Encryption, true}, {keyset.A256KW, keyset.Encryption, true}, {keyset.ECDHESA256KW, keyset.Encryption, false},
		{"none", "", false}, {"", "", false}, {"es256", "", false}, {"HS512", "", false},
	}
	for _, tt := range tests {
		require.Equal(t, tt.use, tt.alg.Use(), tt.alg)
		require.Equal(t, tt.symmetric, tt.alg.Symmetric(), tt.alg)
		if tt.use == "" {
			_, err := keyset.Generate(tt.alg, keyset.Dates{})
			require.ErrorContains(t, err, "unknown algorithm")
		}
	}
}

func TestGenerate(t *testing.T) {
	for _, alg := range all {
		t.Run(string(alg), func(t *testing.T) {
			k := generate(t, alg, keyset.Dates{Created: t0.Add(time.Millisecond), SignFrom: t0})
			require.Equal(t, alg, k.Algorithm())
			require.Equal(t, alg.Use(), k.Use())
			require.True(t, k.HasPrivate())
			require.Equal(t, alg.Symmetric(), k.Public() == nil)
			require.Equal(t, t0, k.Dates().Created, "whole seconds")
			require.NoError(t, jose.CheckKid(k.ID()))
			if alg.Symmetric() {
				require.Len(t, k.ID(), 22, "128 random bits")
				require.NotEqual(t, k.ID(), generate(t, alg).ID())
				return
			}
			require.Len(t, k.ID(), 43, "SHA-256 thumbprint")
			_, _, revoked := k.Revoked()
			require.False(t, revoked)
		})
	}
}

// The same key always has the same ID, and it is the one of RFC 7638.
func TestIDIsTheThumbprint(t *testing.T) {
	for _, alg := range []keyset.Algorithm{keyset.ES256, keyset.EdDSA, keyset.RS256} {
		k := one(t, alg)
		want, err := fileJWK(t, k).Thumbprint(5) // crypto.SHA256
		require.NoError(t, err)
		require.Equal(t, b64(want), k.ID())
	}
}

func TestGenerateRefusesDates(t *testing.T) {
	day := 24 * time.Hour
	tests := []struct {
		name, want string
		in         keyset.Dates
	}{
		{"sign before publish", "sign_from is before publish_at", keyset.Dates{PublishAt: t0, SignFrom: t0.Add(-day)}},
		{"publish without sign", "sign_from is before publish_at", keyset.Dates{PublishAt: t0}},
		{"end before begin", "sign_until is before sign_from", keyset.Dates{SignFrom: t0, SignUntil: t0.Add(-day)}},
		{"verify ends before sign", "verify_until is before sign_until", keyset.Dates{SignUntil: t0, VerifyUntil: t0.Add(-day)}},
		{"verify end alone", "verify_until without sign_until", keyset.Dates{VerifyUntil: t0}},
		{"before 1970", "before 1970", keyset.Dates{Created: time.Unix(-1, 0)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := keyset.Generate(keyset.EdDSA, tt.in)
			require.ErrorContains(t, err, tt.want)
		})
	}
}

// A key ID is an argument of commands.
func TestIDDoesNotBeginWithADash(t *testing.T) {
	for range 300 {
		require.NotEqual(t, byte('-'), generate(t, keyset.Direct).ID()[0])
	}
}

func TestSignAndVerify(t *testing.T) {
	const input = "aGVhZGVy.cGF5bG9hZA"
	for _, alg := range signing {
		t.Run(string(alg), func(t *testing.T) {
			k, other := two(t, alg)
			signature, err := k.Sign(input)
			require.NoError(t, err)
			require.Len(t, signature, k.SignatureLength())
			require.NoError(t, k.Verify(input, signature))
			require.ErrorIs(t, k.Verify(input+"A", signature), keyset.ErrForged)
			require.ErrorIs(t, other.Verify(input, signature), keyset.ErrForged)
			for _, bad := range [][]byte{nil, {}, {0}, signature[1:], append(bytes.Clone(signature), 0),
				append([]byte{0}, signature...), make([]byte, len(signature))} {
				require.ErrorIs(t, k.Verify(input, bad), keyset.ErrForged)
			}
			for bit := 0; bit < len(signature)*8; bit += 1 + len(signature)/4 {
				flipped := bytes.Clone(signature)
				flipped[bit/8] ^= 1 << (bit % 8)
				require.ErrorIs(t, k.Verify(input, flipped), keyset.ErrForged, "bit %d", bit)
			}
		})
	}
}

// A10, A11: the numbers of an ECDSA signature.
func TestVerifyRefusesECDSANumbers(t *testing.T) {
	const input = "a.b"
	k := generate(t, keyset.ES256)
	signature, err := k.Sign(input)
	require.NoError(t, err)
	n := elliptic.P256().Params().N
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	raw := func(r, s *big.Int) []byte {
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	}
	zero, one, less := new(big.Int), big.NewInt(1), new(big.Int).Sub(n, big.NewInt(1))
	for _, a := range []*big.Int{zero, one, less, n, r} {
		for _, b := range []*big.Int{zero, one, less, n, s} {
			if a != r || b != s {
				require.ErrorIs(t, k.Verify(input, raw(a, b)), keyset.ErrForged)
			}
		}
	}
	der, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
	require.NoError(t, err)
	require.ErrorIs(t, k.Verify(input, der), keyset.ErrForged)
	require.NoError(t, k.Verify(input, raw(r, new(big.Int).Sub(n, s))), "the second form; the doc comment says so")
}

// A12: RFC 7518, Section 3.5: the salt has the size of the hash.
func TestVerifyRefusesPSSSalts(t *testing.T) {
	k := one(t, keyset.PS256)
	var secret rsa.PrivateKey
	require.NoError(t, jwk.Export(fileJWK(t, k), &secret))
	digest := sha256.Sum256([]byte("a.b"))
	for _, salt := range []int{0, 1, 20, 31, 32, 33, 64} {
		signature, err := rsa.SignPSS(rand.Reader, &secret, 5, digest[:], &rsa.PSSOptions{SaltLength: salt})
		require.NoError(t, err)
		require.Equal(t, salt == 32, k.Verify("a.b", signature) == nil, "salt of %d bytes", salt)
	}
	signature, err := rsa.SignPKCS1v15(rand.Reader, &secret, 5, digest[:])
	require.NoError(t, err)
	require.ErrorIs(t, k.Verify("a.b", signature), keyset.ErrForged, "RS256 made with a PS256 key")
}

// A key of one use does nothing of the other.
func TestUseIsFixed(t *testing.T) {
	for _, alg := range encryption {
		k := one(t, alg)
		_, err := k.Sign("a.b")
		require.ErrorIs(t, err, keyset.ErrWrongKey)
		require.ErrorIs(t, k.Verify("a.b", make([]byte, 32)), keyset.ErrWrongKey)
		require.Zero(t, k.SignatureLength())
	}
	for _, alg := range signing {
		k := one(t, alg)
		_, err := k.Seal([]byte("x"), "")
		require.ErrorIs(t, err, keyset.ErrWrongKey)
		_, err = k.Open(&jose.JWE{Header: jose.Header{Alg: string(alg), Kid: k.ID(), Enc: "A256GCM"}})
		require.ErrorIs(t, err, keyset.ErrWrongKey)
		require.Zero(t, k.SealedLength(100, "JWT"))
		require.Zero(t, k.Uses())
	}
}

func TestMatches(t *testing.T) {
	sig, enc := generate(t, keyset.ES256), generate(t, keyset.Direct)
	tests := []struct {
		name string
		k    *keyset.Key
		in   jose.Header
		ok   bool
	}{
		{"signature", sig, jose.Header{Alg: "ES256", Kid: sig.ID(), Typ: "x"}, true},
		{"encryption", enc, jose.Header{Alg: "dir", Enc: "A256GCM", Kid: enc.ID(), Cty: "JWT"}, true},
		{"other alg", sig, jose.Header{Alg: "HS256", Kid: sig.ID()}, false},
		{"other kid", sig, jose.Header{Alg: "ES256", Kid: enc.ID()}, false},
		{"enc on a signature", sig, jose.Header{Alg: "ES256", Enc: "A256GCM", Kid: sig.ID()}, false},
		{"other key wrapping", enc, jose.Header{Alg: "A256KW", Enc: "A256GCM", Kid: enc.ID()}, false},
		{"no enc", enc, jose.Header{Alg: "dir", Kid: enc.ID()}, false},
		{"empty", sig, jose.Header{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.k.Matches(&tt.in)
			require.Equal(t, tt.ok, err == nil)
			if !tt.ok {
				require.ErrorIs(t, err, keyset.ErrWrongKey)
			}
		})
	}
}

func TestPrintingShowsNoSecret(t *testing.T) {
	for _, alg := range all {
		k := one(t, alg)
		want := fmt.Sprintf("keys.Key(%s %s)", alg, k.ID())
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x", "%q"} {
			require.Equal(t, want, fmt.Sprintf(format, k), format)
			require.Equal(t, want, fmt.Sprintf(format, *k), format)
		}
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "key", k)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "key", k)
		var secret struct{ D, K string }
		text, err := fileJWK(t, k).(interface{ MarshalJSON() ([]byte, error) }).MarshalJSON()
		require.NoError(t, err)
		require.NoError(t, unmarshal(text, &secret))
		require.NotContains(t, log.String(), secret.D+secret.K)
	}
}

// jwx reads what we sign and encrypt, and the reverse.
func TestInteroperatesWithJWX(t *testing.T) {
	for _, alg := range signing {
		t.Run(string(alg), func(t *testing.T) {
			k := one(t, alg)
			theirs := fileJWK(t, k)
			a, ok := jwa.LookupSignatureAlgorithm(string(alg))
			require.True(t, ok)
			input := b64([]byte(fmt.Sprintf(`{"alg":%q,"kid":%q}`, alg, k.ID()))) + "." + b64([]byte("payload"))
			signature, err := k.Sign(input)
			require.NoError(t, err)
			payload, err := jws.Verify([]byte(input+"."+b64(signature)), jws.WithKey(a, theirs))
			require.NoError(t, err)
			require.Equal(t, "payload", string(payload))

			token, err := jws.Sign([]byte("payload"), jws.WithKey(a, theirs))
			require.NoError(t, err)
			parsed, err := jose.ParseJWS(string(token))
			require.NoError(t, err)
			require.NoError(t, k.Matches(&parsed.Header))
			require.NoError(t, k.Verify(parsed.SigningInput, parsed.Signature))
		})
	}
	for _, alg := range encryption {
		t.Run(string(alg), func(t *testing.T) {
			k := one(t, alg)
			theirs := fileJWK(t, k)
			a, ok := jwa.LookupKeyEncryptionAlgorithm(string(alg))
			require.True(t, ok)
			token, err := k.Seal([]byte("plaintext"), "JWT")
			require.NoError(t, err)
			plaintext, err := jwe.Decrypt([]byte(token), jwe.WithKey(a, theirs))
			require.NoError(t, err)
			require.Equal(t, "plaintext", string(plaintext))

			headers := jwe.NewHeaders()
			require.NoError(t, headers.Set("cty", "JWT"))
			made, err := jwe.Encrypt([]byte("plaintext"), jwe.WithKey(a, theirs), jwe.WithContentEncryption(jwa.A256GCM()),
				jwe.WithProtectedHeaders(headers))
			require.NoError(t, err)
			parsed, err := jose.ParseJWE(string(made))
			require.NoError(t, err)
			plaintext, err = k.Open(parsed)
			require.NoError(t, err)
			require.Equal(t, "plaintext", string(plaintext))
		})
	}
}

// golang-jwt's parser reads what we sign, and we verify what it signs.
func TestInteroperatesWithGolangJWT(t *testing.T) {
	for _, alg := range signing {
		t.Run(string(alg), func(t *testing.T) {
			k := one(t, alg)
			var secret any
			require.NoError(t, jwk.Export(fileJWK(t, k), &secret))
			public := any(k.Public())
			if alg == keyset.HS256 {
				public = secret
			}
			input := b64([]byte(fmt.Sprintf(`{"alg":%q,"kid":%q}`, alg, k.ID()))) + "." + b64([]byte(`{"sub":"alice"}`))
			signature, err := k.Sign(input)
			require.NoError(t, err)
			parsed, err := jwt.Parse(input+"."+b64(signature), func(*jwt.Token) (any, error) { return public, nil },
				jwt.WithValidMethods([]string{string(alg)}))
			require.NoError(t, err)
			require.True(t, parsed.Valid)

			token := jwt.NewWithClaims(jwt.GetSigningMethod(string(alg)), jwt.MapClaims{"sub": "alice"})
			token.Header["kid"] = k.ID()
			text, err := token.SignedString(secret)
			require.NoError(t, err)
			mine, err := jose.ParseJWS(text)
			require.NoError(t, err)
			require.NoError(t, k.Matches(&mine.Header))
			require.NoError(t, k.Verify(mine.SigningInput, mine.Signature))
		})
	}
}

// A2: the public key, in any encoding, is no HMAC secret of ours: the key that
// a token names has one algorithm, and it is not HS256.
func TestPublicKeyIsNoSecret(t *testing.T) {
	k := generate(t, keyset.ES256)
	for _, encoding := range publicEncodings(t, k.Public().(*ecdsa.PublicKey)) {
		input := b64([]byte(fmt.Sprintf(`{"alg":"HS256","kid":%q}`, k.ID()))) + "." + b64([]byte(`{}`))
		signature, err := jwt.SigningMethodHS256.Sign(input, encoding)
		require.NoError(t, err)
		parsed, err := jose.ParseJWS(input + "." + b64(signature))
		require.NoError(t, err)
		require.ErrorIs(t, k.Matches(&parsed.Header), keyset.ErrWrongKey)
		require.ErrorIs(t, k.Verify(parsed.SigningInput, parsed.Signature), keyset.ErrForged)
	}
}
