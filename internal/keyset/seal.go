package keyset

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwe"

	"github.com/cloakroom-go/cloakroom/internal/jose"
)

// Sizes of AES-256-GCM and of a wrapped key, in bytes.
const (
	ivSize         = 12
	tagSize        = 16
	wrappedKeySize = 40

	maxContentType = 127 // characters
)

// Seal encrypts plaintext into a compact JWE (RFC 7516, Section 7.1). Its
// header has alg, enc, kid and, if it is not empty, the media type cty. The
// error wraps ErrExhausted after a Direct key has sealed 2^31 tokens.
func (k *Key) Seal(plaintext []byte, cty string) (string, error) {
	if k.Use() != Encryption || k.private == nil {
		return "", fmt.Errorf("%w: key %s can't encrypt", errWrongKey, k.id)
	}
	if err := checkContentType(cty); err != nil {
		return "", err
	}
	if k.alg != Direct {
		k.seals.Add(1)
		return k.wrap(plaintext, cty)
	}
	if k.seals.Add(1) > MaxSeals {
		k.seals.Add(^uint64(0)) // stays at the limit
		return "", fmt.Errorf("%w (key %s)", ErrExhausted, k.id)
	}
	return k.sealDirect(plaintext, cty), nil
}

// Uses is how many tokens this process has encrypted with the key. Warn long
// before a Direct key comes near 2^31, and add up all instances.
func (k *Key) Uses() uint64 {
	if k.seals == nil {
		return 0
	}
	return k.seals.Load()
}

// SealedLength is the length of what Seal makes of that many bytes of
// plaintext, in characters; 0 if the key does not encrypt.
func (k *Key) SealedLength(plaintext int, cty string) int {
	if k.Use() != Encryption {
		return 0
	}
	n := base64.RawURLEncoding.EncodedLen
	encryptedKey := 0
	if k.alg != Direct {
		encryptedKey = n(wrappedKeySize)
	}
	return len(k.header(cty)) + 1 + encryptedKey + 1 + n(ivSize) + 1 + n(plaintext) + 1 + n(tagSize)
}

// Open decrypts a token that package jose has parsed. Every failure looks the
// same and wraps ErrForged (RFC 7516, Section 11.5), except that of a key which
// is not for this token.
//
// A token that opens was made by somebody who has the key. With ECDH-ES that is
// the public key, which everybody has: verify the signature inside.
func (k *Key) Open(token *jose.JWE) ([]byte, error) {
	if k.Use() != Encryption || k.private == nil {
		return nil, fmt.Errorf("%w: key %s can't decrypt", errWrongKey, k.id)
	}
	if err := k.matches(&token.Header); err != nil {
		return nil, err
	}
	plaintext, err := recoverPanics(func() ([]byte, error) {
		if k.alg == Direct {
			return k.openDirect(token)
		}
		return jwe.Decrypt([]byte(token.Compact), jwe.WithKey(k.jwa(), k.private))
	})
	if err != nil {
		return nil, fmt.Errorf("%w: can't be decrypted", ErrForged)
	}
	return plaintext, nil
}

// header returns the encoded protected header of the tokens that k seals. That
// of ECDH-ES is only as long as the real one, whose ephemeral key differs each
// time.
func (k *Key) header(cty string) []byte {
	if h, ok := k.headers[cty]; ok {
		return h
	}
	return k.encodeHeader(cty)
}

func (k *Key) encodeHeader(cty string) []byte {
	b := []byte(`{"alg":"` + string(k.alg) + `"`)
	if cty != "" {
		b = append(b, `,"cty":"`+cty+`"`...)
	}
	b = append(b, `,"enc":"A256GCM"`...)
	if k.alg == ECDHESA256KW {
		coordinate := strings.Repeat("A", 43) // 32 bytes in base64url
		b = append(b, `,"epk":{"crv":"P-256","kty":"EC","x":"`+coordinate+`","y":"`+coordinate+`"}`...)
	}
	b = append(b, `,"kid":"`+k.id+`"}`...)
	return base64.RawURLEncoding.AppendEncode(nil, b)
}

// sealDirect is jwe.Encrypt for dir and A256GCM, at a fifteenth of the cost.
func (k *Key) sealDirect(plaintext []byte, cty string) string {
	header := k.header(cty)
	length := k.SealedLength(len(plaintext), cty)
	scratch := k.scratch.Get().(*[]byte) // what is in it ends up in the token
	defer k.scratch.Put(scratch)
	*scratch = slices.Grow((*scratch)[:0], length+ivSize+len(plaintext)+tagSize)

	iv := (*scratch)[length : length+ivSize]
	rand.Read(iv) // never fails
	sealed := k.aead.Seal((*scratch)[length+ivSize:length+ivSize], iv, plaintext, header)

	b64 := base64.RawURLEncoding
	out := append(append((*scratch)[:0:length], header...), '.', '.')
	out = append(b64.AppendEncode(out, iv), '.')
	out = append(b64.AppendEncode(out, sealed[:len(plaintext)]), '.')
	return string(b64.AppendEncode(out, sealed[len(plaintext):]))
}

func (k *Key) openDirect(token *jose.JWE) ([]byte, error) {
	header := k.headers[token.Header.Cty]
	if string(header) != token.Protected {
		header = []byte(token.Protected) // others may write the same header differently
	}
	sealed := make([]byte, 0, len(token.Ciphertext)+tagSize)
	sealed = append(append(sealed, token.Ciphertext...), token.Tag...)
	return k.aead.Open(sealed[:0], token.IV, sealed, header)
}

func (k *Key) wrap(plaintext []byte, cty string) (string, error) {
	headers := jwe.NewHeaders()
	err := headers.Set(jwe.KeyIDKey, k.id)
	if err == nil && cty != "" {
		err = headers.Set(jwe.ContentTypeKey, cty)
	}
	var to any = k.public
	if k.alg.Symmetric() {
		to = k.private
	}
	var token []byte
	if err == nil {
		token, err = jwe.Encrypt(plaintext, jwe.WithKey(k.jwa(), to),
			jwe.WithContentEncryption(jwa.A256GCM()), jwe.WithProtectedHeaders(headers))
	}
	if err != nil {
		return "", fmt.Errorf("keys: encrypt with key %s: %w", k.id, err)
	}
	return string(token), nil
}

func (k *Key) jwa() jwa.KeyEncryptionAlgorithm {
	if k.alg == ECDHESA256KW {
		return jwa.ECDH_ES_A256KW()
	}
	return jwa.A256KW()
}

// checkContentType accepts the media types that every JSON writer writes in the
// same way, so that SealedLength is right: those of RFC 6838, Section 4.2,
// without !#$&^ and parameters.
func checkContentType(cty string) error {
	if len(cty) > maxContentType || strings.Trim(cty, alphanumeric+"+-./_") != "" {
		return errors.New("keys: content type must have at most 127 characters of A-Z, a-z, 0-9, +, -, ., / and _")
	}
	return nil
}
