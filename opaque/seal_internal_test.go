package opaque

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// The form of sealed data must not change: sessions would be lost. It is
// AES-256-GCM with the nonce before the text, under a key that HKDF-SHA-256
// derives from the credential, with the secret as the salt.
func TestSealedForm(t *testing.T) {
	secret, err := hkdf.Key(sha256.New, []byte("credential"), []byte("secret"), "cloakroom opaque record 1", 32)
	require.NoError(t, err)
	block, err := aes.NewCipher(secret)
	require.NoError(t, err)
	aead, err := cipher.NewGCM(block)
	require.NoError(t, err)
	bound := []byte("\x07\x00\x00\x00\x00\x00\x00\x01\x02key of the store")
	nonce := slices.Repeat([]byte{9}, aead.NonceSize())

	data := aead.Seal(append([]byte{7}, nonce...), nonce, []byte("text"), bound)
	text, err := newSealer([]byte("secret"), "credential", "key of the store").open(0x102, data)
	require.NoError(t, err)
	require.Equal(t, "text", string(text))
}
