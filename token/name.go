package token

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/session"
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

// refused says why a token failed a check.
func refused(at keyset.Check, err error) error {
	switch at {
	case keyset.CheckForm, keyset.CheckInnerForm:
		return fmt.Errorf("%w: %w", err, session.Malformed)
	case keyset.CheckEncryptionKey, keyset.CheckKey:
		return keyError(err)
	case keyset.CheckSignature:
		return ofKind{fmt.Errorf("%w: %w", err, session.Forged), ErrBadSignature}
	}
	return fmt.Errorf("%w: %w", err, session.Forged)
}

// An ofKind is an error that is also one of the errors of [Verifier.Verify],
// whose text it doesn't have.
type ofKind struct {
	error
	kind error
}

func (e ofKind) Unwrap() []error { return []error{e.error, e.kind} }

func badClaims(err error) error {
	return fmt.Errorf("token: bad claims: %w: %w", fault.Inner(err), session.Forged)
}

// keyError tells a key that is not trusted from one that could not be fetched.
func keyError(err error) error {
	if errors.Is(err, keys.ErrUnknownKey) || errors.Is(err, keys.ErrKeyExpired) || errors.Is(err, keys.ErrKeyRevoked) {
		return ofKind{fmt.Errorf("token: %w: %w", fault.Inner(err), session.UnknownKey), ErrUnknownKey}
	}
	return unavailable("look up a key", err)
}

func unavailable(what string, err error) error {
	if errors.Is(err, session.Unavailable) {
		return fmt.Errorf("token: can't %s: %w", what, fault.Inner(err))
	}
	return fmt.Errorf("token: can't %s: %w: %w", what, fault.Inner(err), session.Unavailable)
}
