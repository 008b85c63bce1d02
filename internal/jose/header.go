package jose

import (
	"crypto/ecdh"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cloakroom-go/cloakroom/internal/strict"
)

// Header holds the members of a protected header. Members that it does not have
// make a token malformed (RFC 8725, Section 3.1), so that jku, x5u, jwk, zip,
// crit and the like never get near a library.
type Header struct {
	Alg string // one of the constants of this package, see CanonicalAlg
	Enc string // A256GCM in a JWE, empty in a JWS
	Kid string // 1 to 128 characters of A-Z, a-z, 0-9, - and _
	Typ string // media type as written, or empty if absent; the caller compares it
	Cty string // as Typ
	EPK []byte // ephemeral P-256 key, an uncompressed point on the curve; for ECDH-ES+A256KW alone
}

// parseHeader reads the header of a JWE, or else of a JWS.
func parseHeader(data []byte, jwe bool) (Header, error) {
	var h Header
	if !h.readPlain(string(data), jwe) {
		h = Header{}
		if err := h.read(data, jwe); err != nil {
			return Header{}, err
		}
	}
	if err := h.check(); err != nil {
		return Header{}, err
	}
	return h, nil
}

func ownHeader(data []byte) (Header, error) { return parseHeader(data, false) }

// field returns where the text of a member goes, or nil if the header may not
// have it.
func (h *Header) field(name string, jwe bool) *string {
	switch name {
	case "alg":
		return &h.Alg
	case "kid":
		return &h.Kid
	case "typ":
		return &h.Typ
	case "cty":
		return &h.Cty
	case "enc":
		if jwe {
			return &h.Enc
		}
	}
	return nil
}

// readPlain reads what nearly every header is, at a fraction of the cost: an
// object of strings without escapes and white space. It reports false for
// everything else, good or bad, and leaves h half filled then.
func (h *Header) readPlain(s string, jwe bool) bool {
	if len(s) < 2 || s[0] != '{' || s[len(s)-1] != '}' {
		return false
	}
	for s = s[1 : len(s)-1]; ; s = s[1:] {
		name, rest, ok := cutPlain(s)
		if !ok || rest == "" || rest[0] != ':' {
			return false
		}
		field := h.field(name, jwe)
		if field == nil || *field != "" { // unknown or repeated
			return false
		}
		if *field, s, ok = cutPlain(rest[1:]); !ok || *field == "" {
			return false
		}
		if s == "" {
			return true
		}
		if s[0] != ',' {
			return false
		}
	}
}

// cutPlain cuts a JSON string of visible ASCII without escapes off the
// beginning of s.
func cutPlain(s string) (text, rest string, ok bool) {
	if s == "" || s[0] != '"' {
		return "", "", false
	}
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return s[1:i], s[i+1:], true
		case c <= ' ' || c >= 0x7f || c == '\\':
			return "", "", false
		}
	}
	return "", "", false
}

func (h *Header) read(data []byte, jwe bool) error {
	return Object(data, func(name string, value []byte) (err error) {
		field := h.field(name, jwe)
		switch {
		case field != nil:
			*field, err = filled(value)
		case name == "epk" && jwe:
			h.EPK, err = parseEPK(value)
		default:
			return unknownMember(name)
		}
		if err != nil {
			return fmt.Errorf("jose: header member %s: %w", name, err)
		}
		return nil
	})
}

var errNoKid = errors.New("jose: header without kid")

// check looks at the members that are not compared with a list.
func (h *Header) check() error {
	if h.Kid == "" {
		return errNoKid
	}
	if err := CheckKid(h.Kid); err != nil {
		return err
	}
	for _, s := range [...]string{h.Typ, h.Cty} {
		if s == "" {
			continue
		}
		if err := checkMediaType(s); err != nil {
			return err
		}
	}
	return nil
}

func (h *Header) checkJWS() error {
	switch h.Alg {
	case ES256, EdDSA, PS256, RS256, HS256:
		return nil
	}
	return errors.New("jose: alg is not a signature algorithm that is allowed")
}

func (h *Header) checkJWE(encryptedKey int) error {
	if h.Enc != A256GCM {
		return errors.New("jose: enc is not A256GCM")
	}
	switch h.Alg {
	case Direct:
		// RFC 7516, Section 5.2, step 10: the JWE Encrypted Key must be empty.
		return fits(h, encryptedKey, 0, false)
	case A256KW:
		return fits(h, encryptedKey, wrappedKeySize, false)
	case ECDHESA256KW:
		return fits(h, encryptedKey, wrappedKeySize, true)
	}
	return errors.New("jose: alg is not an encryption algorithm that is allowed")
}

func fits(h *Header, got, want int, epk bool) error {
	if got != want {
		return errors.New("jose: encrypted key of the wrong size")
	}
	if (h.EPK != nil) != epk {
		return errors.New("jose: epk does not go with alg")
	}
	return nil
}

// unknownMember names the members that attackers try, and no others: the name
// is the token's text.
func unknownMember(name string) error {
	known := []string{"crit", "zip", "jku", "jwk", "x5u", "x5c", "x5t", "x5t#S256", "b64", "p2c", "p2s", "apu", "apv",
		"iv", "tag", "enc", "epk"}
	if slices.Contains(known, name) {
		return fmt.Errorf("jose: header member %s is not allowed", name)
	}
	return errors.New("jose: unknown header member")
}

// CheckKid reports whether s may be a key ID: 1 to 128 characters of A-Z, a-z,
// 0-9, - and _. That of a token is a string that an attacker chose (RFC 8725,
// Section 3.10).
func CheckKid(s string) error {
	if s == "" || len(s) > maxKid {
		return errors.New("jose: key ID must have 1 to 128 characters")
	}
	if !strict.IsBase64URL(s) {
		return errors.New("jose: key ID has a character other than A-Z, a-z, 0-9, - and _")
	}
	return nil
}

// CheckPrintableKid reports whether s may be a key ID of an issuer that is not
// Cloakroom: 1 to 256 bytes of characters that can be printed. Quote it where
// people read it.
func CheckPrintableKid(s string) error {
	if s == "" || len(s) > maxPrintableKid {
		return errors.New("jose: key ID must have 1 to 256 bytes")
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return errors.New("jose: key ID has a character that can't be printed")
	}
	return nil
}

// ShownKid returns the kid for an error or a log: as it is if it may be one of
// ours, else in quotes.
func ShownKid(kid string) string {
	if CheckKid(kid) == nil {
		return kid
	}
	return strconv.Quote(kid)
}

// IsMediaType reports whether s may be a typ.
func IsMediaType(s string) bool { return checkMediaType(s) == nil }

// checkMediaType reports whether s may be a typ or cty: 1 to 127 characters of
// visible ASCII.
func checkMediaType(s string) error {
	if s == "" || len(s) > maxMediaType {
		return errors.New("jose: media type must have 1 to 127 characters")
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return errors.New("jose: media type has a character outside visible ASCII")
		}
	}
	return nil
}

// parseEPK reads an ephemeral public key and refuses points that are not on
// the curve (RFC 8725, Section 3.4).
func parseEPK(value []byte) ([]byte, error) {
	var kty, crv string
	point := make([]byte, 1, 65)
	point[0] = 4 // uncompressed (SEC 1, Section 2.3.3)
	var x, y []byte
	err := Object(value, func(name string, value []byte) (err error) {
		switch name {
		case "kty":
			kty, err = String(value)
		case "crv":
			crv, err = String(value)
		case "x":
			x, err = coordinate(value)
		case "y":
			y, err = coordinate(value)
		default:
			err = errors.New("unknown member")
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if kty != "EC" || crv != "P-256" || x == nil || y == nil {
		return nil, errors.New("not a P-256 key")
	}
	point = append(append(point, x...), y...)
	if _, err := ecdh.P256().NewPublicKey(point); err != nil {
		return nil, errors.New("not a point on the curve")
	}
	return point, nil
}

// coordinate reads 32 bytes (RFC 7518, Section 6.2.1.2: leading zeros stay).
func coordinate(value []byte) ([]byte, error) {
	b, err := Base64(value)
	if err == nil && len(b) != 32 {
		return nil, errors.New("coordinate of the wrong size")
	}
	return b, err
}

// Base64 reads a JSON string of canonical base64url without padding.
func Base64(value []byte) ([]byte, error) {
	s, err := String(value)
	if err != nil {
		return nil, err
	}
	return Bytes(s)
}

// Bytes decodes canonical base64url without padding.
func Bytes(s string) ([]byte, error) {
	if !strict.IsBase64URL(s) { // the decoder would skip line breaks
		return nil, errors.New("jose: character outside base64url")
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, errors.New("jose: not canonical base64url")
	}
	return b, nil
}
