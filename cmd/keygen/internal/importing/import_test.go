package importing

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/keytest"
	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
	"github.com/cloakroom-go/cloakroom/internal/secret"
)

// aKey is a key of a kind in a form, and its public half.
func aKey(t testing.TB, kind, form string, members ...string) (private, public []byte) {
	t.Helper()
	k, p, err := keytest.Generate(kind)
	require.NoError(t, err)
	private, err = keytest.Encode(form, k, members)
	require.NoError(t, err)
	if p != nil {
		public, err = keytest.Encode(form, p, members)
		require.NoError(t, err)
	}
	return private, public
}

func both(t testing.TB, kind, form string, members ...string) [2][]byte {
	private, public := aKey(t, kind, form, members...)
	return [2][]byte{private, public}
}

// Each form of each kind of key is told for what it is.
func TestParseIncoming(t *testing.T) {
	for name, row := range map[string]struct {
		in   [2][]byte // private and public
		want [2]any
	}{
		"P-256, PKCS #8":   {both(t, "p256", "pkcs8"), [2]any{&ecdsa.PrivateKey{}, &ecdsa.PublicKey{}}},
		"P-256, SEC 1":     {both(t, "p256", "sec1"), [2]any{&ecdsa.PrivateKey{}, &ecdsa.PublicKey{}}},
		"P-256, JWK":       {both(t, "p256", "jwk"), [2]any{&ecdsa.PrivateKey{}, &ecdsa.PublicKey{}}},
		"P-384, PKCS #8":   {both(t, "p384", "pkcs8"), [2]any{&ecdsa.PrivateKey{}, &ecdsa.PublicKey{}}},
		"P-384, JWK":       {both(t, "p384", "jwk"), [2]any{&ecdsa.PrivateKey{}, &ecdsa.PublicKey{}}},
		"Ed25519, PKCS #8": {both(t, "ed25519", "pkcs8"), [2]any{ed25519.PrivateKey{}, ed25519.PublicKey{}}},
		"Ed25519, JWK":     {both(t, "ed25519", "jwk"), [2]any{ed25519.PrivateKey{}, ed25519.PublicKey{}}},
		"X25519, PKCS #8":  {both(t, "x25519", "pkcs8"), [2]any{&ecdh.PrivateKey{}, &ecdh.PublicKey{}}},
		"X25519, JWK":      {both(t, "x25519", "jwk"), [2]any{&ecdh.PrivateKey{}, &ecdh.PublicKey{}}},
		"RSA, PKCS #8":     {both(t, "rsa2048", "pkcs8"), [2]any{&rsa.PrivateKey{}, &rsa.PublicKey{}}},
		"RSA, PKCS #1":     {both(t, "rsa2048", "pkcs1"), [2]any{&rsa.PrivateKey{}, &rsa.PublicKey{}}},
		"RSA, JWK":         {both(t, "rsa2048", "jwk"), [2]any{&rsa.PrivateKey{}, &rsa.PublicKey{}}},
		"secret, JWK":      {both(t, "oct32", "jwk"), [2]any{[]byte{}, nil}},
		"secret of 1 byte": {[2][]byte{[]byte(`{"kty":"oct","k":"AA"}`)}, [2]any{[]byte{}, nil}},
	} {
		for i, text := range row.in {
			if text == nil {
				continue
			}
			for _, around := range []string{"%s", "\n\t %s\r\n", "\n\n%s\n\n\n"} {
				all, err := parseIncoming(fmt.Appendf(nil, around, text), "")
				require.NoError(t, err, name)
				require.Len(t, all, 1, name)
				require.IsType(t, row.want[i], all[0].raw, name)
			}
		}
	}
}

// Line ends of other systems, text between and parameters of the curve do no harm.
func TestParsePEM(t *testing.T) {
	a, b := both(t, "p256", "sec1"), both(t, "ed25519", "pkcs8")
	const curve = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
	join := func(parts ...any) []byte { return fmt.Append(nil, parts...) }
	for name, row := range map[string]struct {
		in   []byte
		want []string
	}{
		"one":             {a[0], []string{"PEM block 1 (EC PRIVATE KEY)"}},
		"several":         {slices.Concat(a[0], b[0], a[1]), []string{"PEM block 1 (EC PRIVATE KEY)", "PEM block 2 (PRIVATE KEY)", "PEM block 3 (PUBLIC KEY)"}},
		"parameters":      {join(curve, string(a[0])), []string{"PEM block 2 (EC PRIVATE KEY)"}},
		"text around":     {join("ES256 kid\n", string(a[1]), "\nmore text: x\n", string(b[1])), []string{"PEM block 1 (PUBLIC KEY)", "PEM block 2 (PUBLIC KEY)"}},
		"CR LF":           {bytes.ReplaceAll(a[0], []byte("\n"), []byte("\r\n")), []string{"PEM block 1 (EC PRIVATE KEY)"}},
		"no line at last": {bytes.TrimSpace(a[0]), []string{"PEM block 1 (EC PRIVATE KEY)"}},
	} {
		all, err := parsePEM(row.in)
		require.NoError(t, err, name)
		var got []string
		for _, in := range all {
			got = append(got, in.where)
		}
		require.Equal(t, row.want, got, name)
	}
}

// What is no key says what to do, and never shows what it is.
func TestParseIncomingRefuses(t *testing.T) {
	ec, _ := aKey(t, "p256", "pkcs8")
	der, _ := aKey(t, "p256", "der")
	cert, _ := aKey(t, "p256", "cert")
	sealed, err := keytest.Seal([]byte("x"), "A256KW", "A256GCM", bytes.Repeat([]byte{1}, 32), 1)
	require.NoError(t, err)
	block := func(kind string) string {
		return "-----BEGIN " + kind + "-----\nAAAA\n-----END " + kind + "-----\n"
	}
	for in, want := range map[string]string{
		"hunter2":                "neither PEM",
		"[]":                     "neither PEM",
		"\"x\"":                  "neither PEM",
		"{}":                     "it is no JWK (which has kty)",
		`{"keys":[],"kty":"EC"}`: "it is no JWK (which has kty)",
		`{"keys":{}}`:            "not a JSON array",
		`{"keys":[1]}`:           "the JWK: jose: not a JSON object",
		`{"keys":null}`:          "not a JSON array",
		`{"keys":[]}`:            "without keys",
		`{"kty":1}`:              "kty or crv is not known",
		`{"kty":"EC"}`:           "kty or crv is not known",
		`{"kty":"EC","crv":"P-257","x":"AA","y":"AA"}`: "kty or crv is not known",
		`{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}`: "kty or crv is not known",
		`{"kty":"oct"}`:                                        "kty or crv is not known",
		`{"kty":"oct","k":1}`:                                  "kty or crv is not known",
		`{"kty":"oct","k":"AA"} {}`:                            "strict JSON",
		`{"kty":"oct","k":"AA","K":"AA","k":"AB"}`:             "strict JSON",
		`{"kty":"oct","k":"AA","kid":1}`:                       `member "kid"`,
		`{"kty":"oct","k":"AA","alg":null}`:                    `member "alg"`,
		`{"kty":"oct","k":"AA","use":["sig"]}`:                 `member "use"`,
		`{"kty":"oct","k":"AA","key_ops":"sign"}`:              `member "key_ops"`,
		`{"kty":"RSA","n":"AA","e":"AQAB","oth":[{"r":"AA"}]}`: "more than two primes",
		`{"kty":"AKP","alg":"ML-DSA-65","pub":"AA"}`:           "kty or crv is not known",
		`{"ciphertext":"AA","recipients":[]}`:                  "only the compact form",
		string(sealed):                                         "neither PEM",
		string(der):                                            "openssl pkey -inform DER",
		string(cert):                                           "it is a certificate",
		"\x00\x01\x02":                                         "it is binary, and neither",
		"\xff\xfe-\x00-\x00":                                   "it is UTF-16",
		"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI me@here":        "ssh-keygen -e -m PKCS8",
		"ecdsa-sha2-nistp256 AAAAE2VjZHNh":                     "ssh-keygen -e -m PKCS8",
		"sk-ssh-ed25519@openssh.com AAAA":                      "ssh-keygen -e -m PKCS8",
		"---- BEGIN SSH2 PUBLIC KEY ----":                      "ssh-keygen -e -m PKCS8",
		block("OPENSSH PRIVATE KEY"):                           "ssh-keygen -p -N '' -m PKCS8",
		block("ENCRYPTED PRIVATE KEY"):                         "openssl pkey -in FILE | keygen import -",
		block("TRUSTED CERTIFICATE"):                           "it is a certificate",
		block("CERTIFICATE REQUEST"):                           "it is no key that can be imported",
		block("DSA PRIVATE KEY"):                               "it is no key that can be imported",
		block("PGP PRIVATE KEY BLOCK"):                         "it is no key that can be imported",
		block("EC PARAMETERS"):                                 "only EC PARAMETERS",
		block("PRIVATE KEY"):                                   "PEM block 1 (PRIVATE KEY)",
		block("EC PRIVATE KEY"):                                "PEM block 1 (EC PRIVATE KEY)",
		block("RSA PRIVATE KEY"):                               "PEM block 1 (RSA PRIVATE KEY)",
		block("PUBLIC KEY"):                                    "PEM block 1 (PUBLIC KEY)",
		block("RSA PUBLIC KEY"):                                "PEM block 1 (RSA PUBLIC KEY)",
		string(ec) + block("PRIVATE KEY"):                      "PEM block 2 (PRIVATE KEY)",
		string(ec) + "-----BEGIN PRIVATE KEY-----\nAA!A\n-----END PRIVATE KEY-----\n": "a PEM block is damaged",
		string(ec[:len(ec)/2]): "a PEM block is damaged",
		"  " + strings.ReplaceAll(string(ec), "\n", "\n  ") + string(ec):                                 "a PEM block is damaged",
		strings.Replace(string(ec), "-----END PRIVATE", "-----END PUBLIC", 1):                            "a PEM block is damaged",
		"-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END EC PRIVATE KEY-----\n": "openssl pkey -in FILE",
	} {
		all, err := parseIncoming([]byte(in), "")
		require.ErrorContains(t, err, want, "%.60q", in)
		require.Nil(t, all)
		require.NotContains(t, err.Error(), "AAAA", "%.60q", in)
		require.NotContains(t, err.Error(), "hunter2")
	}
}

// A set with more keys than a key file takes is not looked through.
func TestParseJWKsBounded(t *testing.T) {
	set := func(n int) []byte {
		return []byte(`{"keys":[` + strings.TrimSuffix(strings.Repeat(`{"kty":"oct","k":"AA"},`, n), ",") + `]}`)
	}
	all, err := parseJWKs(set(maxImported), "")
	require.NoError(t, err)
	require.Len(t, all, maxImported)
	require.Equal(t, "key 100 of the JWK Set", all[99].where)
	_, err = parseJWKs(set(maxImported+1), "")
	require.ErrorContains(t, err, "more than 100 keys")
}

// Of a set, a kid picks one key, and the others may be of any kind.
func TestParseJWKsByKid(t *testing.T) {
	const set = `{"keys":[{"kty":"AKP","kid":"pq"},{"kty":"oct","k":"AAAA","kid":"a"},{"kty":"oct","k":"AAAB","kid":"b"},{"kty":"oct","k":"AAAC"},{"kty":"oct","k":"AAAD","kid":"b"}]}`
	all, err := parseIncoming([]byte(set), "a")
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Equal(t, []byte{0, 0, 0}, all[0].raw)
	require.Equal(t, "key 2 of the JWK Set", all[0].where)
	for kid, want := range map[string]struct {
		text string
		code int
	}{"b": {"2 keys have", tool.ExitRefused}, "z": {"no key has", tool.ExitNotFound}, "A": {"no key has", tool.ExitNotFound}} {
		_, err := parseIncoming([]byte(set), kid)
		require.ErrorContains(t, err, want.text)
		require.Equal(t, want.code, tool.ExitCode(err))
	}
	_, err = parseIncoming([]byte(set), "pq")
	require.ErrorContains(t, err, "key 1 of the JWK Set: kty or crv")
	_, err = parseIncoming([]byte(set), "")
	require.Error(t, err)
	all, err = parseIncoming([]byte(`{"kty":"oct","k":"AAAA","kid":"a"}`), "a")
	require.NoError(t, err)
	require.Equal(t, "a", all[0].kid)
}

// The kind of the key, what the file says of it and the flag must agree.
func TestChooseAlgorithm(t *testing.T) {
	raw := make(map[string]any)
	for _, kind := range []string{"p256", "p384", "ed25519", "x25519", "rsa2048", "rsa1024", "oct32", "text"} {
		var err error
		raw[kind], _, err = keytest.Generate(kind)
		require.NoError(t, err)
	}
	for _, row := range []struct {
		kind, alg, use string
		ops            []string
		flag           keyset.Algorithm
		want           keyset.Algorithm // "" for an error
		code           int              // the exit code
	}{
		// By the kind alone.
		{kind: "p256", want: keyset.ES256},
		{kind: "ed25519", want: keyset.EdDSA},
		{kind: "rsa2048", code: tool.ExitUsage},
		{kind: "oct32", code: tool.ExitUsage},
		{kind: "p384", code: tool.ExitRefused},
		{kind: "x25519", code: tool.ExitRefused},

		// With the flag.
		{kind: "p256", flag: keyset.ES256, want: keyset.ES256},
		{kind: "p256", flag: keyset.ECDHESA256KW, want: keyset.ECDHESA256KW},
		{kind: "p256", flag: keyset.EdDSA, code: tool.ExitUsage},
		{kind: "p256", flag: keyset.Direct, code: tool.ExitUsage},
		{kind: "ed25519", flag: keyset.EdDSA, want: keyset.EdDSA},
		{kind: "ed25519", flag: keyset.ES256, code: tool.ExitUsage},
		{kind: "rsa2048", flag: keyset.PS256, want: keyset.PS256},
		{kind: "rsa2048", flag: keyset.RS256, want: keyset.RS256},
		{kind: "rsa2048", flag: keyset.HS256, code: tool.ExitUsage}, // the classic confusion
		{kind: "oct32", flag: keyset.HS256, want: keyset.HS256},
		{kind: "oct32", flag: keyset.Direct, want: keyset.Direct},
		{kind: "oct32", flag: keyset.A256KW, want: keyset.A256KW},
		{kind: "oct32", flag: keyset.RS256, code: tool.ExitUsage},
		{kind: "p384", flag: keyset.ES256, code: tool.ExitRefused},

		// With the JWK's alg.
		{kind: "p256", alg: "ES256", want: keyset.ES256},
		{kind: "p256", alg: "ECDH-ES+A256KW", want: keyset.ECDHESA256KW},
		{kind: "p256", alg: "ECDH-ES", code: tool.ExitRefused},
		{kind: "p256", alg: "ES384", code: tool.ExitRefused},
		{kind: "p256", alg: "es256", code: tool.ExitRefused},
		{kind: "p256", alg: "none", code: tool.ExitRefused},
		{kind: "p256", alg: "HS256", code: tool.ExitRefused},
		{kind: "p256", alg: "ES256", flag: keyset.ES256, want: keyset.ES256},
		{kind: "p256", alg: "ES256", flag: keyset.ECDHESA256KW, code: tool.ExitUsage},
		{kind: "ed25519", alg: "EdDSA", want: keyset.EdDSA},
		{kind: "ed25519", alg: "Ed25519", want: keyset.EdDSA},
		{kind: "ed25519", alg: "Ed448", code: tool.ExitRefused},
		{kind: "rsa2048", alg: "RS256", want: keyset.RS256},
		{kind: "rsa2048", alg: "PS256", want: keyset.PS256},
		{kind: "rsa2048", alg: "RS256", flag: keyset.PS256, code: tool.ExitUsage},
		{kind: "rsa2048", alg: "RS512", code: tool.ExitRefused},
		{kind: "rsa2048", alg: "RSA-OAEP", code: tool.ExitRefused},
		{kind: "rsa2048", alg: "HS256", code: tool.ExitRefused},
		{kind: "oct32", alg: "HS256", want: keyset.HS256},
		{kind: "oct32", alg: "HS512", code: tool.ExitRefused},
		{kind: "oct32", alg: "dir", want: keyset.Direct},
		{kind: "oct32", alg: "A256GCM", want: keyset.Direct},
		{kind: "oct32", alg: "A256GCM", flag: keyset.Direct, want: keyset.Direct},
		{kind: "oct32", alg: "A128GCM", code: tool.ExitRefused},
		{kind: "oct32", alg: "A256KW", want: keyset.A256KW},

		// With use and key_ops, which narrow it down.
		{kind: "p256", use: "sig", want: keyset.ES256},
		{kind: "p256", use: "enc", want: keyset.ECDHESA256KW},
		{kind: "p256", use: "enc", alg: "ES256", code: tool.ExitRefused},
		{kind: "p256", use: "tls", code: tool.ExitRefused},
		{kind: "p256", ops: []string{"sign"}, want: keyset.ES256},
		{kind: "p256", ops: []string{"verify", "sign"}, want: keyset.ES256},
		{kind: "p256", ops: []string{"deriveKey"}, want: keyset.ECDHESA256KW},
		{kind: "p256", ops: []string{"wrapKey", "unwrapKey"}, want: keyset.ECDHESA256KW},
		{kind: "p256", ops: []string{"sign", "deriveBits"}, code: tool.ExitRefused},
		{kind: "p256", ops: []string{"deriveBits"}, flag: keyset.ES256, code: tool.ExitUsage},
		{kind: "p256", ops: []string{"frobnicate"}, code: tool.ExitRefused},
		{kind: "p256", use: "sig", ops: []string{"sign"}, want: keyset.ES256},
		{kind: "p256", use: "enc", ops: []string{"sign"}, code: tool.ExitRefused},
		{kind: "rsa2048", use: "sig", code: tool.ExitUsage},
		{kind: "rsa2048", use: "enc", code: tool.ExitRefused},
		{kind: "rsa2048", ops: []string{"encrypt"}, code: tool.ExitRefused},
		{kind: "oct32", use: "sig", want: keyset.HS256},
		{kind: "oct32", use: "enc", code: tool.ExitUsage},
		{kind: "oct32", ops: []string{"sign", "verify"}, want: keyset.HS256},
		{kind: "oct32", ops: []string{"encrypt", "decrypt"}, want: keyset.Direct},
		{kind: "oct32", ops: []string{"wrapKey", "unwrapKey"}, want: keyset.A256KW},
		{kind: "oct32", use: "enc", ops: []string{"decrypt"}, want: keyset.Direct},
		{kind: "oct32", alg: "dir", ops: []string{"wrapKey"}, code: tool.ExitRefused},

		// What is weak is refused before anybody is asked for an algorithm.
		{kind: "rsa1024", code: tool.ExitRefused},
		{kind: "text", code: tool.ExitRefused},
	} {
		in := incoming{raw: raw[row.kind], alg: row.alg, use: row.use, ops: row.ops}
		got, err := in.chooseAlgorithm(row.flag)
		require.Equal(t, row.want, got, "%+v", row)
		if row.want != "" {
			require.NoError(t, err, "%+v", row)
			continue
		}
		require.Error(t, err, "%+v", row)
		require.Equal(t, row.code, tool.ExitCode(err), "%+v: %v", row, err)
	}
}

// Every algorithm has keys that fit it, and no key fits an algorithm that it is not for.
func TestFitting(t *testing.T) {
	all := []keyset.Algorithm{keyset.ES256, keyset.EdDSA, keyset.PS256, keyset.RS256, keyset.HS256, keyset.Direct, keyset.A256KW, keyset.ECDHESA256KW}
	fit := make(map[keyset.Algorithm]bool)
	for _, kind := range []string{"p256", "p384", "ed25519", "x25519", "rsa2048", "oct32"} {
		private, public, err := keytest.Generate(kind)
		require.NoError(t, err)
		if public != nil {
			require.Equal(t, fitting(private), fitting(public))
		}
		for _, alg := range all {
			_, err := keyset.Import(alg, private, keyset.Dates{})
			require.Equal(t, slices.Contains(fitting(private), alg), err == nil, "%s %s", kind, alg)
			fit[alg] = fit[alg] || err == nil
		}
	}
	require.Len(t, slices.Collect(maps.Keys(fit)), len(all))
	for alg, ok := range fit {
		require.True(t, ok, alg)
	}
	for _, other := range []any{nil, "text", elliptic.P256(), json.Number("1")} {
		require.Empty(t, fitting(other))
		require.Equal(t, "a key of another kind", kindOf(other))
	}
}

// What may be imported depends on which half there is, and on what it is for.
func TestCandidate(t *testing.T) {
	for _, row := range []struct {
		kind, alg            string
		public               bool
		verifyOnly, external bool
		wantPrivate, left    bool
		wantErr              string
	}{
		{kind: "p256", wantPrivate: true},
		{kind: "p256", verifyOnly: true, left: true},
		{kind: "p256", external: true, wantErr: "this is the private one"},
		{kind: "p256", public: true, wantErr: "it is a public key, and can't sign"},
		{kind: "p256", public: true, verifyOnly: true},
		{kind: "p256", public: true, external: true},
		{kind: "p256", alg: "ECDH-ES+A256KW", wantPrivate: true},
		{kind: "p256", alg: "ECDH-ES+A256KW", verifyOnly: true, wantPrivate: true},
		{kind: "p256", alg: "ECDH-ES+A256KW", public: true, verifyOnly: true, wantErr: "without its private half"},
		{kind: "p256", alg: "ECDH-ES+A256KW", public: true, external: true, wantErr: "without its private half"},
		{kind: "ed25519", verifyOnly: true, left: true},
		{kind: "oct32", alg: "HS256", wantPrivate: true},
		{kind: "oct32", alg: "HS256", verifyOnly: true, wantPrivate: true},
		{kind: "oct32", alg: "HS256", external: true, wantErr: "this is the private one"},
		{kind: "oct32", alg: "dir", verifyOnly: true, wantPrivate: true},
		{kind: "text", alg: "HS256", wantErr: "the key is text"},
	} {
		private, public, err := keytest.Generate(row.kind)
		require.NoError(t, err)
		in := incoming{raw: private}
		if row.public {
			in.raw = public
		}
		c, err := in.candidate(&importFlags{alg: row.alg, verifyOnly: row.verifyOnly, external: row.external})
		if row.wantErr != "" {
			require.ErrorContains(t, err, row.wantErr, "%+v", row)
			require.Equal(t, tool.ExitRefused, tool.ExitCode(err), "%+v", row)
			continue
		}
		require.NoError(t, err, "%+v", row)
		require.Equal(t, row.wantPrivate, c.private, "%+v", row)
		require.Equal(t, row.left, c.left, "%+v", row)
		k, err := c.make(keyset.Dates{})
		require.NoError(t, err)
		require.Equal(t, row.wantPrivate, k.HasPrivate(), "%+v", row)
		require.Equal(t, k.ID(), c.id)
	}
}

func TestRefuseTwice(t *testing.T) {
	a, b := &candidate{id: "a"}, &candidate{id: "b"}
	s, u := &candidate{incoming: incoming{raw: []byte("s")}}, &candidate{incoming: incoming{raw: []byte("u")}}
	require.NoError(t, refuseTwice(nil))
	require.NoError(t, refuseTwice([]*candidate{a, b, s, u}))
	require.Equal(t, tool.ExitRefused, tool.ExitCode(refuseTwice([]*candidate{a, b, a})))
	require.Equal(t, tool.ExitRefused, tool.ExitCode(refuseTwice([]*candidate{s, u, {incoming: incoming{raw: []byte("s")}, id: "other"}})))
}

// A new file's first keys have the dates that keygen init gives.
func TestFirstKeys(t *testing.T) {
	now := time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)
	private, _, err := keytest.Generate("p256")
	require.NoError(t, err)
	secret, _, err := keytest.Generate("oct32")
	require.NoError(t, err)
	got, err := firstKeys([]*candidate{
		{incoming: incoming{raw: private}, algorithm: keyset.ES256, private: true},
		{incoming: incoming{raw: secret}, algorithm: keyset.Direct, private: true},
	}, now)
	require.NoError(t, err)
	want, err := rotation.New(keyset.Policy{}, now, keyset.ES256, keyset.Direct)
	require.NoError(t, err)
	require.ElementsMatch(t, shapes(want), shapes(got))
	require.Empty(t, rotation.Inspect(got, now))
	require.Equal(t, rotation.NextDue(want, now), rotation.NextDue(got, now))
}

// shapes are what is told of keys but their IDs.
func shapes(s *keyset.Set) (all []string) {
	for _, k := range s.Keys() {
		all = append(all, fmt.Sprint(k.Algorithm(), k.Dates(), k.HasPrivate()))
	}
	return all
}

func TestParseJWEHeader(t *testing.T) {
	token := func(header string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(header)) + ".AAAA.AAAA.AAAA.AAAA"
	}
	for header, want := range map[string]string{
		`{"alg":"A256KW","enc":"A256GCM"}`:                                                    "",
		`{"alg":"A256KW","enc":"A256GCM","cty":"jwk+json","typ":"JOSE","kid":"x","p2s":"AA"}`: "",
		`{"alg":"PBES2-HS256+A128KW","enc":"A256GCM","p2c":1000}`:                             "",
		`{"alg":"PBES2-HS256+A128KW","enc":"A256GCM","p2c":10000000}`:                         "",
		`{"alg":"PBES2-HS256+A128KW","enc":"A256GCM","p2c":999}`:                              `header member "p2c": it is not between 1000 and 10000000`,
		`{"alg":"PBES2-HS256+A128KW","enc":"A256GCM","p2c":10000001}`:                         `header member "p2c"`,
		`{"alg":"PBES2-HS256+A128KW","enc":"A256GCM","p2c":-1}`:                               `header member "p2c"`,
		`{"alg":"PBES2-HS256+A128KW","enc":"A256GCM","p2c":1e5}`:                              `header member "p2c"`,
		`{"alg":"PBES2-HS256+A128KW","enc":"A256GCM","p2c":"5000"}`:                           `header member "p2c"`,
		`{"alg":"A256KW","enc":"A256GCM","zip":"DEF"}`:                                        `header member "zip"`,
		`{"alg":"A256KW","enc":"A256GCM","crit":["x"]}`:                                       `header member "crit"`,
		`{"alg":"ECDH-ES","enc":"A256GCM","epk":{}}`:                                          `header member "epk"`,
		`{"alg":"A256KW","alg":"dir","enc":"A256GCM"}`:                                        "strict JSON",
		`{"alg":1,"enc":"A256GCM"}`:                                                           `header member "alg"`,
		`[]`:                                                                                  "not a JSON object",
		``:                                                                                    "it is no encrypted JWK",
	} {
		_, err := parseJWEHeader(token(header))
		if want == "" {
			require.NoError(t, err, header)
			continue
		}
		require.ErrorContains(t, err, want, header)
	}
	for _, bad := range []string{"AAAA.AAAA.AAAA.AAAA.AAAA", "e30.A.AAAA.AAAA.AAAA", "e30.AAAA.AAAB=.AAAA.AAAA", "e30.AAAA.AAAA.AAAA.AAB"} {
		_, err := parseJWEHeader(bad)
		require.ErrorContains(t, err, "it is no encrypted JWK", bad)
	}
}

// Every combination that is said to be read is read, and wrong secrets are told from wrong kinds of secrets.
func TestOpenJWE(t *testing.T) {
	const text = `{"kty":"oct","k":"AAAA"}`
	passphrase := []byte("correct horse battery")
	sizes := map[string]int{"A128KW": 16, "A192KW": 24, "A256KW": 32}
	contents := map[string]int{"A128GCM": 16, "A192GCM": 24, "A256GCM": 32, "A128CBC-HS256": 32, "A192CBC-HS384": 48, "A256CBC-HS512": 64}
	for enc, size := range contents {
		for _, alg := range []string{"A128KW", "A192KW", "A256KW", "dir", "PBES2-HS256+A128KW", "PBES2-HS384+A192KW", "PBES2-HS512+A256KW"} {
			secret, file := passphrase, keyset.File{Passphrase: passphrase}
			if !strings.HasPrefix(alg, "PBES2-") {
				n := sizes[alg]
				if alg == "dir" {
					n = size
				}
				secret = bytes.Repeat([]byte{7}, n)
				file = keyset.File{Key: secret}
			}
			token, err := keytest.Seal([]byte(text), alg, enc, secret, 1000)
			require.NoError(t, err, "%s %s", alg, enc)
			require.True(t, keyset.IsEncrypted(token))
			got, err := openJWE(token, file)
			require.NoError(t, err, "%s %s", alg, enc)
			require.Equal(t, text, string(got))

			wrong := slices.Clone(secret)
			wrong[0]++
			if file.Key != nil {
				_, err = openJWE(token, keyset.File{Key: wrong})
			} else {
				_, err = openJWE(token, keyset.File{Passphrase: wrong})
			}
			require.Equal(t, tool.ExitDamaged, tool.ExitCode(err), "%s %s: %v", alg, enc, err)
			other := keyset.File{Key: bytes.Repeat([]byte{7}, 32)}
			if file.Key != nil {
				other = keyset.File{Passphrase: passphrase}
			}
			_, err = openJWE(token, other)
			require.Equal(t, tool.ExitUsage, tool.ExitCode(err), "%s %s: %v", alg, enc, err)
			token[len(token)-3] ^= 1
			_, err = openJWE(token, file)
			require.Error(t, err, "%s %s", alg, enc)
		}
	}
	_, err := openJWE([]byte("e30.AAAA.AAAA.AAAA.AAAA"), keyset.File{Key: passphrase})
	require.ErrorContains(t, err, `alg "" and enc ""`)
}

func TestIsJWE(t *testing.T) {
	for in, want := range map[string]bool{
		"a.b.c.d.e": true, "....": true, "aA0-_.b..d.e": true,
		"": false, "a.b.c": false, "a.b.c.d.e.f": false, "a.b.c.d.e=": false, "a.b.c.d.\ne": false, "{}....": false, "a.b.c.d.é": false,
	} {
		require.Equal(t, want, keyset.IsEncrypted([]byte(in)), in)
	}
}

func TestDecoded(t *testing.T) {
	raw := []byte("\x00\x01\x02\x03\xfb\xff\xfe\x7f\x80\x81\x82\x83\x84\x85\x86\x0a")
	for name, in := range map[string][]byte{
		"raw":              raw,
		"hex":              []byte(hex.EncodeToString(raw)),
		"hex, line":        []byte(hex.EncodeToString(raw) + "\n"),
		"base64":           []byte(base64.StdEncoding.EncodeToString(raw)),
		"base64, line":     []byte(base64.StdEncoding.EncodeToString(raw) + "\r\n"),
		"base64 unpadded":  []byte(base64.RawStdEncoding.EncodeToString(raw)),
		"base64url":        []byte(base64.RawURLEncoding.EncodeToString(raw)),
		"base64url padded": []byte(base64.URLEncoding.EncodeToString(raw)),
	} {
		key, ok := secret.Key(in, len(raw))
		require.True(t, ok, name)
		require.Equal(t, raw, key, name)
	}
	for _, in := range []string{"", "x", "hunter2", hex.EncodeToString(raw) + "00", string(raw) + "\n"} {
		_, ok := secret.Key([]byte(in), len(raw))
		require.False(t, ok, "%q", in)
	}
}

// The source is bounded, and must be there.
func TestReadSource(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, size int) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, bytes.Repeat([]byte("x"), size), 0o600))
		return path
	}
	for path, want := range map[string]string{
		write("full", maxSource):      "",
		write("over", maxSource+1):    "larger than 1 MiB",
		write("empty", 0):             "is empty",
		dir:                           "is a directory",
		filepath.Join(dir, "missing"): "no such file",
	} {
		data, err := readSource(new(tool.Tool), path)
		if want == "" {
			require.NoError(t, err)
			require.Len(t, data, maxSource)
			continue
		}
		require.ErrorContains(t, err, want)
	}
	for in, want := range map[string]string{"": "standard input is empty", " \n\t": "standard input is empty", strings.Repeat("x", maxSource+1): "standard input is larger"} {
		_, err := readSource((&tool.Tool{Stdin: strings.NewReader(in)}), "-")
		require.ErrorContains(t, err, want)
	}
	_, err := readSource((&tool.Tool{Stdin: failing{}}), "-")
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// FuzzImport: whatever the file holds, it is refused, or comes in as a key that is good for its algorithm.
func FuzzImport(f *testing.F) {
	for _, kind := range []string{"p256", "p384", "ed25519", "x25519", "rsa2048", "oct32", "text"} {
		for _, form := range []string{"pkcs8", "sec1", "pkcs1", "jwk"} {
			if strings.HasPrefix(kind, "oct") || kind == "text" {
				form = "jwk"
			}
			private, public := aKey(f, kind, form, "kid=x", `key_ops=["sign"]`)
			f.Add(private, "")
			f.Add(public, "ES256")
			f.Add(fmt.Appendf(nil, `{"keys":[%s]}`, private), "x")
		}
	}
	kek := bytes.Repeat([]byte{7}, 32)
	private, _ := aKey(f, "p256", "jwk")
	for _, alg := range []string{"A256KW", "dir"} {
		token, err := keytest.Seal(private, alg, "A256GCM", kek, 1)
		require.NoError(f, err)
		f.Add(token, "")
	}
	f.Add([]byte("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"), "")
	f.Fuzz(func(t *testing.T, data []byte, word string) {
		if token := bytes.TrimSpace(data); keyset.IsEncrypted(token) {
			text, err := openJWE(token, keyset.File{Key: kek}) // no passphrase: some of them take seconds
			if err != nil {
				return
			}
			data = text
		}
		for _, kid := range []string{"", word} {
			all, err := parseIncoming(data, kid)
			require.Equal(t, err != nil, len(all) == 0)
			for _, in := range all {
				checkImported(t, in, keyset.Algorithm(word))
			}
		}
	})
}

// checkImported imports a key, if it may be, and checks what comes of it.
func checkImported(t *testing.T, in incoming, flag keyset.Algorithm) {
	for _, o := range []*importFlags{{}, {alg: string(flag)}, {verifyOnly: true}, {external: true}} {
		c, err := in.candidate(o)
		if err != nil {
			require.NotEmpty(t, err.Error())
			continue
		}
		k, err := c.make(keyset.Dates{})
		require.NoError(t, err, "it was checked")
		require.Equal(t, c.algorithm, k.Algorithm())
		require.Contains(t, fitting(in.raw), k.Algorithm())
		require.Equal(t, c.private, k.HasPrivate())
		require.False(t, in.revoked)
		if !k.Algorithm().Symmetric() {
			p, err := thumbprintOf(in)
			require.NoError(t, err)
			require.Equal(t, p.Thumbprint, k.ID())
		}
	}
}
