package importing

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/lestrrat-go/jwx/v3/jwk"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
	"github.com/cloakroom-go/cloakroom/internal/jose"
)

// maxImported bounds the keys of one file. A key file takes no more.
const maxImported = 100

// parseJWKs reads a JWK, or the keys of a JWK Set (RFC 7517) in their order.
// With a kid, it ignores the other keys, so that one of an unknown kind among
// them does no harm.
func parseJWKs(text []byte, kid string) ([]incoming, error) {
	list, err := splitJWKs(text)
	if err != nil {
		return nil, err
	}
	var all []incoming
	for i, value := range list {
		in := incoming{where: "the JWK"}
		if len(list) > 1 {
			in.where = fmt.Sprintf("key %d of the JWK Set", i+1)
		}
		numbers, err := in.readMembers(value)
		switch {
		case err == nil && kid != "" && in.kid != kid:
			continue
		case err == nil:
			in.raw, err = parseNumbers(numbers)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", in.where, err)
		}
		all = append(all, in)
	}
	switch {
	case len(all) == 0 && kid != "":
		return nil, tool.Refuse(tool.ExitNotFound, "no key has the kid %q", kid)
	case len(all) > 1 && kid != "":
		return nil, refuse("%d keys have the kid %q", len(all), kid)
	}
	return all, nil
}

// splitJWKs returns the JWKs of a JWK Set, or the JWK itself.
func splitJWKs(text []byte) (list [][]byte, err error) {
	has := make(map[string][]byte)
	if err := jose.Object(text, func(name string, value []byte) error { has[name] = value; return nil }); err != nil {
		return nil, fmt.Errorf("it is neither a JWK nor a JWK Set: %w", err)
	}
	switch {
	case has["ciphertext"] != nil: // RFC 7516, Section 7.2
		return nil, errors.New("it is an encrypted JWK in JSON, and only the compact form can be read; " +
			"decrypt it on the way: jose jwe dec -i FILE -k KEY.jwk | keygen import -")
	case has["kty"] != nil && has["keys"] == nil:
		return [][]byte{text}, nil
	case has["keys"] == nil || has["kty"] != nil:
		return nil, errors.New("it is neither a JWK (which has kty) nor a JWK Set (which has keys)")
	}
	err = jose.Array(has["keys"], func(value []byte) error {
		if len(list) == maxImported {
			return fmt.Errorf("it has more than %d keys", maxImported)
		}
		list = append(list, value)
		return nil
	})
	if err == nil && len(list) == 0 {
		err = errors.New("it is a JWK Set without keys")
	}
	return list, err
}

// readMembers reads what a JWK says of its key, and returns the members that
// are the key itself. Others mean nothing here (RFC 7517, Section 4).
func (in *incoming) readMembers(value []byte) (numbers map[string]json.RawMessage, err error) {
	numbers = make(map[string]json.RawMessage)
	err = jose.Object(value, func(name string, value []byte) (err error) {
		switch name {
		case "kid":
			in.kid, err = jose.String(value)
		case "alg":
			in.alg, err = jose.String(value)
		case "use":
			in.use, err = jose.String(value)
		case "key_ops":
			in.ops, err = jose.Strings(value)
		case "revoked": // whatever its value is: a revoked key must not come back
			in.revoked = true
		case "kty", "crv", "x", "y", "n", "e", "d", "p", "q", "dp", "dq", "qi", "oth", "k":
			numbers[name] = value
		}
		if err != nil {
			err = fmt.Errorf("member %q: %w", name, err)
		}
		return err
	})
	return numbers, err
}

// errNumbers takes the place of the library's errors, which might quote numbers
// of a private key.
var errNumbers = errors.New("kty or crv is not known, or a number of the key is missing, malformed, " +
	"out of range or too small: RSA needs 2048 bits")

// parseNumbers returns the key that numbers describe.
func parseNumbers(numbers map[string]json.RawMessage) (raw any, err error) {
	defer recoverAs(errNumbers, &err)
	if numbers["oth"] != nil { // RFC 7518, Section 6.3.2.7
		return nil, errors.New("it is an RSA key with more than two primes; make a new one")
	}
	text, err := json.Marshal(numbers)
	if err != nil {
		return nil, errNumbers
	}
	key, err := jwk.ParseKey(text)
	if err != nil || jwk.Export(key, &raw) != nil {
		return nil, errNumbers
	}
	return raw, nil
}
