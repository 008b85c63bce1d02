package jose

import (
	"errors"
	"fmt"
	"strings"
)

const (
	maxForeignHeader = 8 << 10 // encoded, in characters: some have a chain of certificates in it
	maxPrintableKid  = 256     // bytes
)

// ParseForeignJWS takes apart a compact JWS of an issuer that is not Cloakroom.
// It is as strict as [ParseJWS], except for the header: that may have 8 KiB,
// a kid as [CheckPrintableKid] allows it, and members that are not known here.
// They are passed over (RFC 7515, Section 4), so that jwk, jku, x5c and x5u
// never get near a library. Only crit is refused, since it says that there is a
// member that must not be passed over, and b64 with it (RFC 7797, Section 6).
//
// A cty is passed over too: the payload must be claims in any case.
func ParseForeignJWS(token string) (*JWS, error) {
	return parseJWS(token, MaxLength, maxForeignHeader, foreignHeader)
}

func foreignHeader(data []byte) (h Header, err error) {
	err = Object(data, func(name string, value []byte) (err error) {
		switch name {
		case "alg":
			h.Alg, err = filled(value)
		case "kid":
			h.Kid, err = filled(value)
		case "typ":
			if h.Typ, err = filled(value); err == nil {
				return checkMediaType(h.Typ)
			}
		case "crit", "b64":
			return unknownMember(name)
		}
		if err != nil {
			return fmt.Errorf("jose: header member %s: %w", name, err)
		}
		return nil
	})
	if err == nil && h.Kid == "" {
		err = errNoKid
	}
	if err == nil {
		err = CheckPrintableKid(h.Kid)
	}
	return h, err
}

// filled reads a string that is not empty.
func filled(value []byte) (string, error) {
	s, err := String(value)
	if err == nil && s == "" {
		err = errors.New("empty")
	}
	return s, err
}

// MediaType returns the spelling of a typ by which it is compared: in lower
// case, and without "application/" (RFC 7515, Section 4.1.9).
func MediaType(typ string) string {
	typ = strings.ToLower(typ)
	if rest, ok := strings.CutPrefix(typ, "application/"); ok && rest != "" && !strings.Contains(rest, "/") {
		return rest
	}
	return typ
}
