package importing

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/keytest"
	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/secret"
)

// AES-GCM takes ciphertext and tag as one string of bytes, so that a library
// that does not check the size of the tag opens a file in many spellings.
func TestOpenJWERefusesTagsOfAnotherSize(t *testing.T) {
	secret := bytes.Repeat([]byte{7}, 32)
	file := keyset.File{Key: secret}
	for _, enc := range []string{"A128GCM", "A192GCM", "A256GCM", "A128CBC-HS256"} {
		token, err := keytest.Seal([]byte(`{"kty":"oct","k":"AAAA"}`), "A256KW", enc, secret, 1000)
		require.NoError(t, err)
		segments := strings.Split(string(token), ".")
		ciphertext, err := base64.RawURLEncoding.DecodeString(segments[3])
		require.NoError(t, err)
		tag, err := base64.RawURLEncoding.DecodeString(segments[4])
		require.NoError(t, err)
		require.Len(t, tag, 16)
		both := append(ciphertext, tag...)
		for _, size := range []int{0, 1, 12, 13, 15, 16, 17, 19, 24, 32} {
			segments[3] = base64.RawURLEncoding.EncodeToString(both[:len(both)-size])
			segments[4] = base64.RawURLEncoding.EncodeToString(both[len(both)-size:])
			_, err := openJWE([]byte(strings.Join(segments, ".")), file)
			if size == len(tag) {
				require.NoError(t, err, enc)
				continue
			}
			require.Error(t, err, "%s, a tag of %d bytes", enc, size)
		}
	}
}

func TestParseJWEHeader(t *testing.T) {
	token := func(header string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(header)) + ".AAAA.AAAA.AAAA.AAAA"
	}
	const count = `header member "p2c": it is not between 1000 and 10000000`
	for header, want := range map[string]string{
		`{"alg":"A256KW","enc":"A256GCM"}`:                                                    "",
		`{"alg":"A256KW","enc":"A256GCM","cty":"jwk+json","typ":"JOSE","kid":"x","p2s":"AA"}`: "",
		`{"alg":"PBES2-HS256+A128KW","enc":"A256GCM","p2c":1000}`:                             "",
		`{"alg":"PBES2-HS256+A128KW","enc":"A256GCM","p2c":10000000}`:                         "",
		`{"alg":"PBES2-HS256+A128KW","enc":"A256GCM","p2c":999}`:                              count,
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
		``:                                                                                    "it is not an encrypted JWK",
	} {
		_, err := parseJWEHeader(token(header))
		if want == "" {
			require.NoError(t, err, header)
			continue
		}
		require.ErrorContains(t, err, want, header)
	}
	for _, bad := range []string{
		"AAAA.AAAA.AAAA.AAAA.AAAA", "e30.A.AAAA.AAAA.AAAA", "e30.AAAA.AAAB=.AAAA.AAAA", "e30.AAAA.AAAA.AAAA.AAB",
	} {
		_, err := parseJWEHeader(bad)
		require.ErrorContains(t, err, "it is not an encrypted JWK", bad)
	}
}

// Every combination that is said to be read is read, and wrong secrets are told
// from wrong kinds of secrets.
func TestOpenJWE(t *testing.T) {
	const text = `{"kty":"oct","k":"AAAA"}`
	passphrase := []byte("correct horse battery")
	sizes := map[string]int{"A128KW": 16, "A192KW": 24, "A256KW": 32}
	contents := map[string]int{
		"A128GCM": 16, "A192GCM": 24, "A256GCM": 32, "A128CBC-HS256": 32, "A192CBC-HS384": 48, "A256CBC-HS512": 64,
	}
	algs := []string{"A128KW", "A192KW", "A256KW", "dir", "PBES2-HS256+A128KW", "PBES2-HS384+A192KW", "PBES2-HS512+A256KW"}
	for enc, size := range contents {
		for _, alg := range algs {
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
		"": false, "a.b.c": false, "a.b.c.d.e.f": false, "a.b.c.d.e=": false, "a.b.c.d.\ne": false,
		"{}....": false, "a.b.c.d.é": false,
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
