package tokens

import (
	"strings"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
	"github.com/cloakroom-go/cloakroom/internal/diagnose"
	"github.com/cloakroom-go/cloakroom/internal/jose"
)

// foreignJWT takes a signed JWT apart (RFC 7519, Section 7.2), whatever its
// header says: three segments of strict base64url, of which the first two are
// objects in strict JSON. It returns nothing for anything else.
func foreignJWT(text string) contents {
	segments := strings.Split(text, ".")
	if len(segments) != 3 {
		return contents{}
	}
	var parts [3][]byte
	for i, segment := range segments {
		part, err := jose.Bytes(segment)
		if err == nil && i < 2 {
			err = jose.Object(part, func(string, []byte) error { return nil })
		}
		if err != nil {
			return contents{}
		}
		parts[i] = part
	}
	return contents{Header: parts[0], Claims: parts[1]}
}

// noteForeign says why no verifier of this module accepts a token, whatever its
// keys are.
func noteForeign(t *tool.Tool, d *diagnose.Diagnosis) {
	for _, c := range d.Checks {
		switch c.Name {
		case "form", "inner_form", "type", "claims":
			if c.Result == diagnose.Failed {
				t.Note("no verifier of this module accepts it, whatever its keys are: %s: %s", tool.Words(c.Name), c.Text)
				return
			}
		}
	}
}
