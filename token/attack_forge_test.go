package token_test

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwe"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
)

const (
	attackIssuer  = "https://app.example"
	attackService = "https://orders.example"
	attackID      = "AAAAAAAAAAAAAAAAAAAAAA" // the session in forged tokens
)

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func unb64(t testing.TB, s string) []byte {
	b, err := base64.RawURLEncoding.DecodeString(s)
	require.NoError(t, err)
	return b
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func quoted(s string) string {
	text, _ := json.Marshal(s)
	return string(text)
}

// An object is JSON text in the making: names and raw values by turns. Names
// may hold escapes, and may repeat.
type object []string

func (o object) with(name, value string) object {
	next := append(object(nil), o...)
	for i := 0; i < len(next); i += 2 {
		if next[i] == name {
			next[i+1] = value
			return next
		}
	}
	return append(next, name, value)
}

func (o object) without(name string) (next object) {
	for i := 0; i < len(o); i += 2 {
		if o[i] != name {
			next = append(next, o[i], o[i+1])
		}
	}
	return next
}

// first and last put name in front or behind, also if it is there already.
func (o object) first(name, value string) object { return append(object{name, value}, o...) }
func (o object) last(name, value string) object {
	return append(append(object(nil), o...), name, value)
}

func (o object) get(name string) string {
	for i := 0; i < len(o); i += 2 {
		if o[i] == name {
			return o[i+1]
		}
	}
	return ""
}

func (o object) String() string {
	var members []string
	for i := 0; i < len(o); i += 2 {
		members = append(members, `"`+o[i]+`":`+o[i+1])
	}
	return "{" + strings.Join(members, ",") + "}"
}

// A material is a key file of which the test knows the private keys, so that it
// can sign and encrypt what the product never would.
type material struct {
	sig, enc       keys.Algorithm
	sigKID, encKID string
	private        any // *ecdsa.PrivateKey, *rsa.PrivateKey, ed25519.PrivateKey or []byte
	secret         any // *ecdsa.PrivateKey or []byte
	signing, both  string
}

func newMaterial(t testing.TB, now time.Time, sig, enc keys.Algorithm) *material {
	t.Helper()
	m := &material{sig: sig, enc: enc, private: newPrivate(t, sig), secret: newPrivate(t, enc)}
	signs, kid := keyEntry(t, m.private, sig, "", now)
	m.sigKID = kid
	seals, kid := keyEntry(t, m.secret, enc, "", now)
	m.encKID = kid
	m.signing = writeKeys(t, signs)
	m.both = writeKeys(t, signs, seals)
	return m
}

func newPrivate(t testing.TB, alg keys.Algorithm) any {
	switch alg {
	case keys.ES256, keys.ECDHESA256KW:
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		return key
	case keys.PS256, keys.RS256:
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		require.NoError(t, err)
		return key
	case keys.EdDSA:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		require.NoError(t, err)
		return key
	}
	return random(32)
}

// keyEntry writes one key as a key file has it; an empty kid stands for the
// right one.
func keyEntry(t testing.TB, private any, alg keys.Algorithm, kid string, now time.Time) (map[string]any, string) {
	t.Helper()
	imported, err := jwk.Import(private)
	require.NoError(t, err)
	if _, secret := private.([]byte); secret && kid == "" {
		kid = b64(random(16))
	} else if kid == "" {
		sum, err := imported.Thumbprint(crypto.SHA256)
		require.NoError(t, err)
		kid = b64(sum)
	}
	text, err := json.Marshal(imported)
	require.NoError(t, err)
	var entry map[string]any
	require.NoError(t, json.Unmarshal(text, &entry))
	from := now.Add(-time.Hour).Unix()
	entry["kid"], entry["alg"], entry["use"] = kid, string(alg), string(keyset.Algorithm(alg).Use())
	entry["created"], entry["publish_at"], entry["sign_from"] = from, from, from
	return entry, kid
}

// writeKeys writes a key file and returns its path.
func writeKeys(t testing.TB, entries ...map[string]any) string {
	t.Helper()
	text, err := json.Marshal(map[string]any{"generation": 1, "keys": entries})
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "keys.json")
	require.NoError(t, os.WriteFile(path, text, 0o600))
	return path
}

func openRing(t testing.TB, path string) *keys.Ring {
	t.Helper()
	set, err := keys.File{Path: path}.Read()
	require.NoError(t, err)
	ring, err := set.Ring()
	require.NoError(t, err)
	return ring
}

// A forge makes credentials for one setting. Unless an attack says otherwise
// they have the right keys, header and claims, so that each is refused for the
// one thing that is wrong with it.
type forge struct {
	*material
	t      testing.TB
	bearer bool // service tokens
	sealed bool // session tokens are encrypted
	now    time.Time
	header object // of the signed token
	outer  object // of the encrypted one
	claims object
	trap   string // URL of a server that must not be asked
}

func newForge(t testing.TB, m *material, now time.Time, bearer, sealed bool, trap string) *forge {
	f := &forge{material: m, t: t, bearer: bearer, sealed: sealed, now: now, trap: trap}
	at := func(d time.Duration) string { return fmt.Sprint(now.Add(d).Unix()) }
	f.outer = object{"alg", quoted(string(m.enc)), "cty", `"JWT"`, "enc", `"A256GCM"`, "kid", quoted(m.encKID)}
	f.claims = object{"iss", quoted(attackIssuer), "aud", quoted(attackIssuer), "sub", `"mallory"`, "auth_time",
		at(0),
		"sid", quoted(attackID), "gen", "1", "jti", quoted(b64(random(12))), "iat", at(0), "exp", at(20 * time.Minute)}
	typ := "cloakroom+jwt"
	if bearer {
		typ = "at+jwt"
		f.claims = append(f.claims.with("aud", quoted(attackService)).with("exp", at(time.Minute)),
			"client_id", quoted(attackIssuer), "since", at(0)+"000")
	} else {
		f.claims = append(f.claims.with("auth_time", at(0)+".000"), "ver", "1", "lin", `"bGluZWFnZTE"`,
			"crt", at(0), "dl", at(12*time.Hour), "data", `{"a":1}`)
	}
	f.header = object{"alg", quoted(string(m.sig)), "kid", quoted(m.sigKID), "typ", quoted(typ)}
	return f
}

// input is what a signature covers.
func (f *forge) input(header, claims string) string {
	return b64([]byte(header)) + "." + b64([]byte(claims))
}

// jws is a token, not encrypted, that is genuine save for header and claims.
func (f *forge) jws(header, claims string) string {
	input := f.input(header, claims)
	return input + "." + b64(f.signature(input))
}

// sign returns it in the form of the setting.
func (f *forge) sign(header, claims string) string { return f.seal(f.jws(header, claims)) }

// good is a token that must open.
func (f *forge) good() string { return f.sign(f.header.String(), f.claims.String()) }

// withHeader and withClaims are genuine tokens save for these.
func (f *forge) withHeader(header string) string { return f.sign(header, f.claims.String()) }
func (f *forge) withClaims(claims string) string { return f.sign(f.header.String(), claims) }

// mac is a token whose signature is an HMAC, in the form of the setting.
func (f *forge) mac(secret []byte, header, claims string) string {
	input := f.input(header, claims)
	return f.seal(input + "." + b64(hmac256(secret, input)))
}

func hmac256(secret []byte, input string) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(input))
	return h.Sum(nil)
}

// signature signs with the right key, in that key's algorithm.
func (f *forge) signature(input string) []byte { return signWith(f.t, f.private, f.sig, input) }

func signWith(t testing.TB, private any, alg keys.Algorithm, input string) []byte {
	sum := sha256.Sum256([]byte(input))
	switch key := private.(type) {
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
		require.NoError(t, err)
		return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	case ed25519.PrivateKey:
		return ed25519.Sign(key, []byte(input))
	case *rsa.PrivateKey:
		if alg == keys.RS256 {
			signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
			require.NoError(t, err)
			return signature
		}
		signature, err := rsa.SignPSS(rand.Reader, key, crypto.SHA256, sum[:],
			&rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		require.NoError(t, err)
		return signature
	}
	return hmac256(private.([]byte), input)
}

// seal encrypts inner with the right key, if the setting's tokens are
// encrypted.
func (f *forge) seal(inner string) string {
	if !f.sealed {
		return inner
	}
	return f.jwe(inner)
}

// jwe encrypts plaintext with the right key.
func (f *forge) jwe(plaintext string) string {
	if f.enc == keys.Direct {
		return f.direct(f.outer.String(), plaintext)
	}
	var alg jwa.KeyEncryptionAlgorithm = jwa.A256KW()
	to := f.secret
	if key, ok := f.secret.(*ecdsa.PrivateKey); ok {
		alg, to = jwa.ECDH_ES_A256KW(), &key.PublicKey
	}
	return f.jwx(alg, jwa.A256GCM(), to, f.encKID, plaintext)
}

// direct encrypts plaintext with the shared key itself, under any header.
func (f *forge) direct(header, plaintext string) string {
	secret, ok := f.secret.([]byte)
	if !ok {
		secret = random(32)
	}
	return directWith(f.t, secret, header, plaintext)
}

func directWith(t testing.TB, secret []byte, header, plaintext string) string {
	block, err := aes.NewCipher(secret)
	require.NoError(t, err)
	aead, err := cipher.NewGCM(block)
	require.NoError(t, err)
	iv, protected := random(12), b64([]byte(header))
	sealed := aead.Seal(nil, iv, []byte(plaintext), []byte(protected))
	end := len(plaintext)
	return protected + ".." + b64(iv) + "." + b64(sealed[:end]) + "." + b64(sealed[end:])
}

// jwx encrypts with whatever that library can do.
func (f *forge) jwx(alg jwa.KeyEncryptionAlgorithm, enc jwa.ContentEncryptionAlgorithm, to any, kid, plaintext string,
	more ...jwe.EncryptOption) string {
	headers := jwe.NewHeaders()
	require.NoError(f.t, headers.Set(jwe.KeyIDKey, kid))
	require.NoError(f.t, headers.Set(jwe.ContentTypeKey, "JWT"))
	options := append([]jwe.EncryptOption{jwe.WithKey(alg, to), jwe.WithContentEncryption(enc),
		jwe.WithProtectedHeaders(headers)}, more...)
	token, err := jwe.Encrypt([]byte(plaintext), options...)
	require.NoError(f.t, err)
	return string(token)
}
