// Package jose is the gate in front of the JOSE libraries: strict framing of
// compact JWS (RFC 7515, Section 3.1) and JWE (RFC 7516, Section 3.1), and
// strict JSON.
//
// Use [ParseJWS], [ParseForeignJWS] or [ParseJWE] on every string that a client
// sent, before any library sees it, and [Object] with [String], [Int], [Bool]
// and [Strings] for the claims. Nothing here verifies or decrypts: the result
// says only that the token is well formed and that it has one spelling.
//
// Refused are: more than [MaxLength] characters; any other number of segments
// (so the JSON serializations too); characters outside base64url, padding, line
// breaks and stray trailing bits; header members other than alg, kid, typ, cty,
// and in a JWE enc and epk, hence crit, zip, jku, jwk, x5u, x5c, x5t, b64, p2c
// and p2s; a header without kid; algorithms that package keys does not have;
// and in JSON: repeated names (also when written with escapes), invalid UTF-8,
// lone surrogates, a byte order mark, and data after the value.
//
// ParseForeignJWS, for tokens of other issuers, takes more in the header.
//
// Errors never hold text from the token.
package jose

import (
	"encoding/base64"
	"errors"
	"strings"
)

// MaxLength is the longest token that is looked at, in characters. A cookie
// takes 4096, and servers 8 to 16 KiB of header lines.
const MaxLength = 16 << 10

const (
	maxHeader    = 1 << 10 // encoded header, in characters
	maxKid       = 128     // characters
	maxMediaType = 127     // characters of typ and cty (RFC 6838, Section 4.2)
)

// The header values that can occur: alg of a JWS, alg of a JWE, and the one
// enc.
const (
	ES256        = "ES256"
	EdDSA        = "EdDSA"
	PS256        = "PS256"
	RS256        = "RS256"
	HS256        = "HS256"
	Direct       = "dir"
	A256KW       = "A256KW"
	ECDHESA256KW = "ECDH-ES+A256KW"
	A256GCM      = "A256GCM"
)

// CanonicalAlg returns the name under which this module knows alg: Ed25519 of
// RFC 9864 is the EdDSA of RFC 8037 with the only curve that we have.
func CanonicalAlg(alg string) string {
	if alg == "Ed25519" {
		return EdDSA
	}
	return alg
}

// Sizes of the JWE segments, in bytes (RFC 7518, Sections 4.4, 4.6 and 5.3).
const (
	ivSize         = 12
	tagSize        = 16
	wrappedKeySize = 32 + 8 // a 256-bit key and the integrity check of RFC 3394
)

// JWS is a well-formed compact JWS. Its signature has not been verified.
type JWS struct {
	Header       Header
	SigningInput string // what the signature covers: the first two segments with their dot
	Payload      []byte
	Signature    []byte
}

// ParseJWS takes a compact JWS apart. An error means that it is malformed or
// asks for something that this module does not do.
func ParseJWS(token string) (*JWS, error) { return ParseLongJWS(token, MaxLength) }

// ParseLongJWS is ParseJWS for a JWS of up to most characters, from a sender
// who may send so many.
func ParseLongJWS(token string, most int) (*JWS, error) {
	return parseJWS(token, most, maxHeader, ownHeader)
}

// parseJWS takes a JWS apart of up to most characters, with up to mostHeader of
// them in its header.
func parseJWS(token string, most, mostHeader int, header func([]byte) (Header, error)) (*JWS, error) {
	var s [3]string
	if err := split(token, most, mostHeader, s[:]); err != nil {
		return nil, err
	}
	var d [3][]byte
	if err := decode(d[:], s[:]); err != nil {
		return nil, err
	}
	if len(d[1]) == 0 || len(d[2]) == 0 {
		return nil, errors.New("jose: JWS with an empty segment")
	}
	h, err := header(d[0])
	if err != nil {
		return nil, err
	}
	h.Alg = CanonicalAlg(h.Alg)
	if err := h.checkJWS(); err != nil {
		return nil, err
	}
	return &JWS{Header: h, SigningInput: token[:len(s[0])+1+len(s[1])], Payload: d[1], Signature: d[2]}, nil
}

// JWE is a well-formed compact JWE. It has not been decrypted.
type JWE struct {
	Header       Header
	Compact      string // the token itself
	Protected    string // the encoded header, which is also the additional authenticated data
	EncryptedKey []byte // empty for dir, else 40 bytes
	IV           []byte // 12 bytes
	Ciphertext   []byte // at least one byte
	Tag          []byte // 16 bytes
}

// ParseJWE takes a compact JWE apart, as ParseJWS does with a JWS.
func ParseJWE(token string) (*JWE, error) {
	var s [5]string
	if err := split(token, MaxLength, maxHeader, s[:]); err != nil {
		return nil, err
	}
	var d [5][]byte
	if err := decode(d[:], s[:]); err != nil {
		return nil, err
	}
	if len(d[2]) != ivSize || len(d[3]) == 0 || len(d[4]) != tagSize {
		return nil, errors.New("jose: JWE with a segment of the wrong size")
	}
	h, err := parseHeader(d[0], true)
	if err != nil {
		return nil, err
	}
	if err := h.checkJWE(len(d[1])); err != nil {
		return nil, err
	}
	return &JWE{Header: h, Compact: token, Protected: s[0], EncryptedKey: d[1], IV: d[2], Ciphertext: d[3], Tag: d[4]}, nil
}

// split cuts token, of up to most characters, at its dots into exactly
// len(segments) pieces, the first of up to mostHeader characters. It checks
// everything that can be checked without memory first.
func split(token string, most, mostHeader int, segments []string) error {
	if len(token) > most {
		return errors.New("jose: token too long")
	}
	if strings.Count(token, ".") != len(segments)-1 {
		return errors.New("jose: wrong number of segments")
	}
	// The decoder skips line breaks, also in strict mode, and refuses every other
	// character outside the alphabet. Accepting them would give one token many
	// spellings.
	if strings.IndexByte(token, '\n') >= 0 || strings.IndexByte(token, '\r') >= 0 {
		return errors.New("jose: line break in a token")
	}
	for i := range segments {
		segments[i], token, _ = strings.Cut(token, ".")
	}
	if len(segments[0]) > mostHeader {
		return errors.New("jose: header too long")
	}
	return nil
}

// decode decodes the segments into one block of memory.
func decode(dst [][]byte, segments []string) error {
	strict := base64.RawURLEncoding.Strict()
	size := 0
	for _, s := range segments {
		size += strict.DecodedLen(len(s))
	}
	block := make([]byte, size)
	for i, s := range segments {
		n, err := strict.Decode(block, []byte(s))
		if err != nil {
			return errors.New("jose: segment is not canonical base64url")
		}
		dst[i], block = block[:n:n], block[n:]
	}
	return nil
}
