package importing

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/keytest"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
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
