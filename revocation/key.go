package revocation

import (
	"crypto/sha256"
	"encoding/base64"
)

// idLength is the length of an ID that session makes: 128 random bits.
const idLength = 22

// keyOf returns the 128 bits of an ID that session has made. Any other ID,
// which may have any length, is hashed.
func keyOf(id string) (k key) {
	if len(id) == idLength {
		var raw [idLength]byte
		copy(raw[:], id)
		// Strict: one key has one ID. Decode skips line breaks, and then returns
		// less.
		if n, err := base64.RawURLEncoding.Strict().Decode(k[:], raw[:]); err == nil && n == len(k) {
			return k
		}
	}
	return hashOf(id)
}

// hashOf returns the first half of the SHA-256 of s. It copies short texts to
// the stack, because []byte(s) would allocate.
func hashOf(s string) (k key) {
	var buf [128]byte
	sum := [sha256.Size]byte{}
	if len(s) > len(buf) {
		sum = sha256.Sum256([]byte(s))
	} else {
		sum = sha256.Sum256(buf[:copy(buf[:], s)])
	}
	copy(k[:], sum[:])
	return k
}
