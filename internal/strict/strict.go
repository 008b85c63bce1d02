// Package strict reads binary and text forms in which each value has exactly
// one spelling. If a value had several, a deny list of its text would miss the
// others.
//
// Use [Uvarint] and [String] for records in the store, and [IsBase64URL] before
// a base64 decoder, which would skip line breaks.
package strict

import "encoding/binary"

// Uvarint cuts an unsigned varint off the front of s. It refuses one that has a
// shorter spelling, and one of more than 64 bits.
func Uvarint(s string) (n uint64, rest string, ok bool) {
	for i := 0; i < len(s) && i < binary.MaxVarintLen64; i++ {
		b := s[i]
		n |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			overlong := b == 0 && i > 0
			overflows := b > 1 && i == binary.MaxVarintLen64-1
			if overlong || overflows {
				break
			}
			return n, s[i+1:], true
		}
	}
	return 0, "", false
}

// String cuts a length, as an unsigned varint, and that many bytes off the
// front of s.
func String(s string) (field, rest string, ok bool) {
	n, rest, ok := Uvarint(s)
	if !ok || n > uint64(len(rest)) {
		return "", "", false
	}
	return rest[:n], rest[n:], true
}

// IsBase64URL reports whether s has only the characters of base64url (RFC 4648,
// Section 5), without padding.
func IsBase64URL(s string) bool {
	ok := uint8(1)
	for i := range len(s) {
		ok &= base64URL[s[i]] // no branch, which the processor would guess wrong for random characters
	}
	return ok == 1
}

// base64URL is 1 for each character of base64url.
var base64URL = func() (is [256]uint8) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") {
		is[c] = 1
	}
	return is
}()
