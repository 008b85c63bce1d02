package keyset_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/jose"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
)

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func unmarshal(text []byte, v any) error { return json.Unmarshal(text, v) }

// publicEncodings are what attackers use as the HMAC secret (CVE-2015-9235).
func publicEncodings(t *testing.T, public *ecdsa.PublicKey) [][]byte {
	der, err := x509.MarshalPKIXPublicKey(public)
	require.NoError(t, err)
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	imported, err := jwk.Import(public)
	require.NoError(t, err)
	object, err := json.Marshal(imported)
	require.NoError(t, err)
	point, err := public.Bytes()
	require.NoError(t, err)
	return [][]byte{der, text, text[:len(text)-1], object, point, point[1:]}
}

func parseJWE(t testing.TB, token string) *jose.JWE {
	t.Helper()
	p, err := jose.ParseJWE(token)
	require.NoError(t, err)
	return p
}

// member returns a member of a JWK as text.
func member(t testing.TB, k jwk.Key, name string) string {
	t.Helper()
	text, err := json.Marshal(k)
	require.NoError(t, err)
	var members map[string]any
	require.NoError(t, json.Unmarshal(text, &members))
	value, ok := members[name].(string)
	require.True(t, ok, name)
	return value
}

// public takes the private members out of a JWK.
func public(m map[string]any) {
	for _, name := range []string{"d", "p", "q", "dp", "dq", "qi"} {
		delete(m, name)
	}
}

// keyText cuts the only key out of a key file.
func keyText(t testing.TB, file string) string {
	t.Helper()
	var set struct{ Keys []json.RawMessage }
	require.NoError(t, json.Unmarshal([]byte(file), &set))
	require.Len(t, set.Keys, 1)
	return string(set.Keys[0])
}

// unsummed takes the checksum out of the text of a key file, so that the text
// can be edited.
func unsummed(t testing.TB, file []byte) string {
	t.Helper()
	before, _, found := strings.Cut(string(file), ",\n  \"checksum\": \"")
	require.True(t, found, "no checksum")
	return before + "\n}\n"
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// modulus is an odd number of that many bits; nobody knows its factors.
func modulus(bits int) *big.Int {
	n := new(big.Int).SetBytes(random(bits / 8))
	return n.SetBit(n.SetBit(n, bits-1, 1), 0, 1)
}

// exportPrivate gives the private half of a key in the form of the standard
// library.
func exportPrivate(t testing.TB, k *keyset.Key, to *crypto.Signer) error {
	t.Helper()
	var raw any
	if err := jwk.Export(fileJWK(t, k), &raw); err != nil {
		return err
	}
	*to = raw.(crypto.Signer)
	return nil
}

func at(hours int) time.Time { return t0.Add(time.Duration(hours) * time.Hour) }

// life is published at hour h, signs from h+1 to h+3 and verifies until h+5.
func life(h int) keyset.Dates {
	return keyset.Dates{Created: at(h), PublishAt: at(h), SignFrom: at(h + 1), SignUntil: at(h + 3),
		VerifyUntil: at(h + 5)}
}

// newRing returns a ring of keys that come from no file.
func newRing(t testing.TB, list ...*keyset.Key) *keys.Ring {
	t.Helper()
	var public []*keys.Key
	for _, k := range list {
		public = append(public, (*keys.Key)(k))
	}
	r, err := keys.NewRing(public...)
	require.NoError(t, err)
	return r
}

func generate(t testing.TB, alg keyset.Algorithm, d ...keyset.Dates) *keyset.Key {
	t.Helper()
	var dates keyset.Dates
	if len(d) > 0 {
		dates = d[0]
	}
	k, err := keyset.Generate(alg, dates)
	require.NoError(t, err)
	return k
}

// RSA keys take a second to make, so most tests share two.
var rsaPairs = map[keyset.Algorithm]func() [2]*keyset.Key{
	keyset.PS256: sync.OnceValue(func() [2]*keyset.Key { return rsaPair(keyset.PS256) }),
	keyset.RS256: sync.OnceValue(func() [2]*keyset.Key { return rsaPair(keyset.RS256) }),
}

func rsaPair(alg keyset.Algorithm) (pair [2]*keyset.Key) {
	for i := range pair {
		k, err := keyset.Generate(alg, keyset.Dates{})
		if err != nil {
			panic(err)
		}
		pair[i] = k
	}
	return pair
}

// two returns two different keys without dates.
func two(t testing.TB, alg keyset.Algorithm) (k, other *keyset.Key) {
	t.Helper()
	if shared, ok := rsaPairs[alg]; ok {
		pair := shared()
		return pair[0], pair[1]
	}
	return generate(t, alg), generate(t, alg)
}

func one(t testing.TB, alg keyset.Algorithm) *keyset.Key {
	k, _ := two(t, alg)
	return k
}

// fileJWK returns the key's entry in a key file, as jwx reads it.
func fileJWK(t testing.TB, k *keyset.Key) jwk.Key {
	t.Helper()
	s, err := keyset.NewSet(k)
	require.NoError(t, err)
	text, err := s.Encode()
	require.NoError(t, err)
	set, err := jwk.Parse(text)
	require.NoError(t, err, "a key file is a JWK Set that others can read")
	got, ok := set.Key(0)
	require.True(t, ok)
	return got
}
