package token

import (
	"unicode/utf8"

	"github.com/cloakroom-go/cloakroom/internal/fault"
)

// checkName checks an issuer or audience.
func checkName(field, name string, required bool) error {
	switch {
	case name == "" && required:
		return fault.Errorf("token: "+field, "is required")
	case len(name) > 256 || !utf8.ValidString(name):
		return fault.Errorf("token: "+field, "must be UTF-8 of at most 256 bytes")
	}
	return nil
}
