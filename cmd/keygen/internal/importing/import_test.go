package importing

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/keytest"
	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
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

// Line ends of other systems, text between and parameters of the curve do
// no harm.
func TestParsePEM(t *testing.T) {
	a, b := both(t, "p256", "sec1"), both(t, "ed25519", "pkcs8")
	const curve = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
	two := []string{"PEM block 1 (PUBLIC KEY)", "PEM block 2 (PUBLIC KEY)"}
	three := []string{"PEM block 1 (EC PRIVATE KEY)", "PEM block 2 (PRIVATE KEY)", "PEM block 3 (PUBLIC KEY)"}
	join := func(parts ...any) []byte { return fmt.Append(nil, parts...) }
	for name, row := range map[string]struct {
		in   []byte
		want []string
	}{
		"one":             {a[0], []string{"PEM block 1 (EC PRIVATE KEY)"}},
		"several":         {slices.Concat(a[0], b[0], a[1]), three},
		"parameters":      {join(curve, string(a[0])), []string{"PEM block 2 (EC PRIVATE KEY)"}},
		"text around":     {join("ES256 kid\n", string(a[1]), "\nmore text: x\n", string(b[1])), two},
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
	indented := "  " + strings.ReplaceAll(string(ec), "\n", "\n  ") + string(ec)
	otherEnd := strings.Replace(string(ec), "-----END PRIVATE", "-----END PUBLIC", 1)
	old := strings.Replace(block("EC PRIVATE KEY"), "\n", "\nProc-Type: 4,ENCRYPTED\n\n", 1)
	for in, want := range map[string]string{
		"hunter2":                "neither PEM",
		"[]":                     "neither PEM",
		"\"x\"":                  "neither PEM",
		"{}":                     "it is neither a JWK (which has kty)",
		`{"keys":[],"kty":"EC"}`: "it is neither a JWK (which has kty)",
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
		indented:               "a PEM block is damaged",
		otherEnd:               "a PEM block is damaged",
		old:                    "openssl pkey -in FILE",
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
	const set = `{"keys":[{"kty":"AKP","kid":"pq"},{"kty":"oct","k":"AAAA","kid":"a"},` +
		`{"kty":"oct","k":"AAAB","kid":"b"},{"kty":"oct","k":"AAAC"},{"kty":"oct","k":"AAAD","kid":"b"}]}`
	all, err := parseIncoming([]byte(set), "a")
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.Equal(t, []byte{0, 0, 0}, all[0].raw)
	require.Equal(t, "key 2 of the JWK Set", all[0].where)
	for kid, want := range map[string]struct {
		text string
		code int
	}{
		"b": {"2 keys have", tool.ExitRefused},
		"z": {"no key has", tool.ExitNotFound},
		"A": {"no key has", tool.ExitNotFound},
	} {
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
	for in, want := range map[string]string{
		"":                               "standard input is empty",
		" \n\t":                          "standard input is empty",
		strings.Repeat("x", maxSource+1): "standard input is larger",
	} {
		_, err := readSource((&tool.Tool{Stdin: strings.NewReader(in)}), "-")
		require.ErrorContains(t, err, want)
	}
	_, err := readSource((&tool.Tool{Stdin: failing{}}), "-")
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// FuzzImport: whatever the file holds, it is refused, or comes in as a key that
// is good for its algorithm.
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
		k := c.key
		require.Contains(t, fitting(in.raw), k.Algorithm())
		require.False(t, in.revoked)
		if !k.Algorithm().Symmetric() {
			p, err := thumbprintOf(in)
			require.NoError(t, err)
			require.Equal(t, p.Thumbprint, k.ID())
		}
	}
}
