package opaque

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
)

// sealInfo separates this use of a credential from any other (RFC 5869, Section
// 3.2).
const sealInfo = "cloakroom opaque record 1"

// A sealer encrypts the data under one credential. Its key is derived from that
// credential, which the store never sees, and from a secret of the application,
// which clients never see. Without the credential nobody reads the data;
// without the secret nobody makes data that opens, whatever credential they
// invent.
//
// Its AES-GCM uses random nonces: two requests may seal different content for
// the same version, though the store keeps only one of them.
type sealer struct {
	aead cipher.AEAD
	key  string // of the store
}

func newSealer(secret []byte, credential, key string) sealer {
	derived := must(hkdf.Key(sha256.New, []byte(credential), secret, sealInfo, 32))
	return sealer{aead: must(cipher.NewGCMWithRandomNonce(must(aes.NewCipher(derived)))), key: key}
}

// must is for calls that fail only for another length of the key than 32 bytes.
func must[T any](v T, err error) T {
	if err != nil {
		panic("opaque: internal error: " + err.Error())
	}
	return v
}

// seal returns kind followed by plaintext, encrypted for this key and version.
func (s sealer) seal(kind byte, version uint64, plaintext []byte) []byte {
	dst := make([]byte, 1, 1+len(plaintext)+s.aead.Overhead())
	dst[0] = kind
	return s.aead.Seal(dst, nil, plaintext, s.bound(kind, version))
}

// open returns the plaintext that seal was given. It fails if the data were
// sealed for another key, another version or as another kind.
func (s sealer) open(version uint64, data []byte) ([]byte, error) {
	if len(data) == 0 {
		return nil, errDamaged
	}
	plaintext, err := s.aead.Open(nil, nil, data[1:], s.bound(data[0], version))
	if err != nil {
		return nil, errDamaged
	}
	return plaintext, nil
}

// bound returns the additional data that binds an item to its key and version.
func (s sealer) bound(kind byte, version uint64) []byte {
	b := make([]byte, 0, 1+8+len(s.key))
	b = append(b, kind)
	b = binary.BigEndian.AppendUint64(b, version)
	return append(b, s.key...)
}
