package token

import (
	"context"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"

	"github.com/cloakroom-go/cloakroom/internal/claims"
	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/session"
)

const (
	// maxFurther bounds the further claims of a service token, in bytes of JSON:
	// servers commonly take headers of 8 KiB in all.
	maxFurther = 2 << 10

	maxFurtherName = 64 // bytes
)

// further returns what IssuerConfig.Claims says, encoded. Its errors name a
// claim and a type, and never repeat a value.
func (i *Issuer) further(
	ctx context.Context, s *session.Session, audience string,
) (map[string]json.RawMessage, error) {
	if i.c.Claims == nil {
		return nil, nil
	}
	values, err := i.c.Claims(ctx, s, audience)
	if err != nil {
		return nil, fmt.Errorf("token: IssuerConfig.Claims failed: %w", fault.Inner(err))
	}
	size := 0
	all := make(map[string]json.RawMessage, len(values))
	for name, value := range values {
		if claims.Reserved(name) {
			return nil, fmt.Errorf("token: IssuerConfig.Claims returned a claim %q, which is a reserved name: "+
				"give it another: %w", name, session.BadValue)
		}
		if name == "" || len(name) > maxFurtherName || !utf8.ValidString(name) {
			return nil, fmt.Errorf("token: IssuerConfig.Claims returned a claim whose name is not UTF-8 of 1 to %d bytes: %w",
				maxFurtherName, session.BadValue)
		}
		text, err := encodeClaim(value)
		if err != nil {
			return nil, fmt.Errorf("token: IssuerConfig.Claims returned a claim %q of type %T, which has no form in JSON: %w",
				name, value, session.BadValue)
		}
		all[name] = text
		size += len(name) + len(text)
	}
	if size > maxFurther {
		return nil, fmt.Errorf("token: IssuerConfig.Claims returned %d claims of %d bytes, over the limit of %d: %w",
			len(values), size, maxFurther, session.BadValue)
	}
	return all, nil
}

// encodeClaim encodes as encoding/json does, but refuses invalid UTF-8 and
// names that occur twice, and sorts the names of maps: equal claims have equal
// text.
func encodeClaim(value any) (json.RawMessage, error) {
	return jsonv2.Marshal(value, jsonv1.DefaultOptionsV1(), jsonv2.Deterministic(true),
		jsontext.AllowInvalidUTF8(false), jsontext.AllowDuplicateNames(false),
		jsontext.EscapeForHTML(false), jsontext.EscapeForJS(false))
}
