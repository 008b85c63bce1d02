package main

import (
	"context"
	"strings"

	"github.com/cloakroom-go/cloakroom/internal/jose"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/token"
)

// takeApart takes a token apart, also a JWT that this module neither makes nor accepts. The error means that it is no JWT.
func (t *tool) takeApart(ctx context.Context, ring *keys.Ring, text string) (*token.Explanation, error) {
	e, err := token.Explain(ctx, ring, text, t.now)
	if err == nil {
		return e, nil
	}
	if e = foreignJWT(text); e != nil {
		return e, nil
	}
	return nil, &exit{exitToken, err}
}

// foreignJWT takes a signed JWT apart (RFC 7519, Section 7.2), whatever its header says: three segments of strict
// base64url, of which the first two are objects in strict JSON. It returns nil for anything else.
func foreignJWT(text string) *token.Explanation {
	segments := strings.Split(text, ".")
	if len(segments) != 3 {
		return nil
	}
	var parts [3][]byte
	for i, segment := range segments {
		part, err := jose.Bytes(segment)
		if err == nil && i < 2 {
			err = jose.Object(part, func(string, []byte) error { return nil })
		}
		if err != nil {
			return nil
		}
		parts[i] = part
	}
	return &token.Explanation{Header: parts[0], Claims: parts[1]}
}

// noteForeign says why no verifier of this module accepts a token, whatever its keys are.
func (t *tool) noteForeign(ctx context.Context, ring *keys.Ring, text string) {
	for _, c := range token.Diagnose(ctx, ring, text, token.Expected{}, t.now).Checks {
		switch c.Name {
		case "form", "inner_form", "type", "claims":
			if c.Result == token.Failed {
				t.note("no verifier of this module accepts it, whatever its keys are: %s: %s", words(c.Name), c.Text)
				return
			}
		}
	}
}
