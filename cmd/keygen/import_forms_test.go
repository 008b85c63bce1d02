package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
)

// explicitEC is the beginning of a P-256 key as "openssl ecparam -param_enc
// explicit" writes it: its curve is in numbers.
const explicitEC = `MIIBaAIBAQQgkGJiKlSNAXYjgNPjEHJPl0fTTrVNfE5Jj4qOKvbCDSCggfowgfcC
AQEwLAYHKoZIzj0BAQIhAP////8AAAABAAAAAAAAAAAAAAAA////////////////`

// For files that hold no keys in a form that keygen reads, the advice is a
// command that works.
func TestImportAdvice(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "keys.json")
	require.Equal(t, tool.ExitOK, run([]string{"init", "--keyset", path}, nil, new(bytes.Buffer), new(bytes.Buffer)))
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(k)
	require.NoError(t, err)
	text := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	explicit, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(explicitEC, "\n", ""))
	require.NoError(t, err)
	var utf16le, utf16be []byte
	for _, u := range utf16.Encode([]rune("\ufeff" + text)) {
		utf16le = append(utf16le, byte(u), byte(u>>8))
		utf16be = append(utf16be, byte(u>>8), byte(u))
	}
	pkcs12 := "\x30\x82\x03\xfc\x02\x01\x03\x30\x82\x03\xb2\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01" +
		"\xa0\x82\x03\xa3\x04\x82\x03\x9f"
	for name, row := range map[string]struct{ content, want string }{
		"PKCS 12": {pkcs12, "it is PKCS #12; take the private key out on the way, " +
			"so that no file has it in the clear: openssl pkcs12 -in FILE -nocerts -nodes | keygen import -"},
		"DER":                {string(der), "openssl pkey -inform DER"},
		"UTF-16":             {string(utf16le), "iconv -f UTF-16 -t UTF-8 FILE | keygen import -"},
		"UTF-16, big endian": {string(utf16be), "iconv -f UTF-16 -t UTF-8 FILE | keygen import -"},
		"binary":             {"\x89PNG\r\n\x1a\n\x00", "it is binary, and neither PEM nor JSON"},
		"explicit curve": {string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: explicit})),
			"its curve is written out in numbers, and only a named one can be read; " +
				"name it on the way: openssl ec -in FILE -param_enc named_curve | keygen import -"},
		"explicit, PKCS 8": {string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: explicit})),
			"-param_enc named_curve"},
		"explicit and public": {string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: explicit})),
			"openssl ec -pubin -in FILE -param_enc named_curve"},
		"damaged": {string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: []byte("x")})),
			"it is damaged, or of a kind that can't be used"},
	} {
		var stderr bytes.Buffer
		source := filepath.Join(dir, "source")
		require.NoError(t, os.WriteFile(source, []byte(row.content), 0o600))
		require.Equal(t, tool.ExitError, run([]string{"import", "--keyset", path, source}, nil, new(bytes.Buffer), &stderr),
			"%s: %s", name, &stderr)
		require.Contains(t, stderr.String(), row.want, name)
	}
}

// Windows begins text files with a byte order mark, which means nothing.
func TestImportOfTextWithABOM(t *testing.T) {
	for _, form := range []string{"pem", "jwk"} {
		dir := t.TempDir()
		path := filepath.Join(dir, "keys.json")
		require.Equal(t, tool.ExitOK, run([]string{"init", "--keyset", path}, nil, new(bytes.Buffer), new(bytes.Buffer)))
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		der, err := x509.MarshalPKCS8PrivateKey(k)
		require.NoError(t, err)
		text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
		if form == "jwk" {
			object, err := jwk.Import(k)
			require.NoError(t, err)
			text, err = json.Marshal(object)
			require.NoError(t, err)
		}
		var stderr bytes.Buffer
		in := strings.NewReader("\ufeff" + strings.ReplaceAll(string(text), "\n", "\r\n"))
		code := run([]string{"import", "--keyset", path, "-"}, in, new(bytes.Buffer), &stderr)
		require.Equal(t, tool.ExitOK, code, "%s: %s", form, &stderr)
	}
}
