package claims

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/session"
)

// A Finder finds the keys of a set of them, such as a token.KeySet.
type Finder struct {
	Set interface {
		Key(ctx context.Context, kid string, now time.Time) (*keys.Key, error)
	}
}

// FindKey implements keyset.Finder.
func (f Finder) FindKey(ctx context.Context, kid string, now time.Time) (*keyset.Key, error) {
	k, err := f.Set.Key(ctx, kid, now)
	return (*keyset.Key)(k), err
}

// Read returns the claims of the token of r, if it is accepted. An error wraps
// a session.Reason: session.Unavailable if the keys are out of reach, otherwise
// the token is refused. It holds nothing of the token.
func Read(ctx context.Context, r *keyset.Reading, kind Kind, w Want) (*Claims, error) {
	if at, err := r.Verify(ctx); err != nil {
		return nil, Refused(at, err)
	}
	return Accept(r.Frame.Payload, kind, w)
}

// Accept is the part of [Read] after the signature.
func Accept(payload []byte, kind Kind, w Want) (*Claims, error) {
	c, err := Decode(payload, kind)
	if err != nil {
		return nil, fmt.Errorf("token: bad claims: %w: %w", fault.Inner(err), session.Forged)
	}
	if err := Check(c, kind, w); err != nil {
		return nil, err
	}
	return c, nil
}

// Refused says why a token failed a check of a keyset.Reading.
func Refused(at keyset.Check, err error) error {
	switch at {
	case keyset.CheckForm, keyset.CheckInnerForm:
		return fmt.Errorf("%w: %w", err, session.Malformed)
	case keyset.CheckEncryptionKey, keyset.CheckKey:
		return KeyError(err)
	case keyset.CheckSignature:
		return ofKind{fmt.Errorf("%w: %w", err, session.Forged), ErrBadSignature}
	}
	return fmt.Errorf("%w: %w", err, session.Forged)
}

// KeyError tells a key that is not trusted from one that could not be fetched.
func KeyError(err error) error {
	if errors.Is(err, keys.ErrUnknownKey) || errors.Is(err, keys.ErrKeyExpired) || errors.Is(err, keys.ErrKeyRevoked) {
		return ofKind{fmt.Errorf("token: %w: %w", fault.Inner(err), session.UnknownKey), ErrUnknownKey}
	}
	return Unavailable("look up a key", err)
}

// Unavailable says what can't be done now.
func Unavailable(what string, err error) error {
	if errors.Is(err, session.Unavailable) {
		return fmt.Errorf("token: can't %s: %w", what, fault.Inner(err))
	}
	return fmt.Errorf("token: can't %s: %w: %w", what, fault.Inner(err), session.Unavailable)
}

// An ofKind is an error that is also one of those with a name, whose text it
// doesn't have.
type ofKind struct {
	error
	kind error
}

func (e ofKind) Unwrap() []error { return []error{e.error, e.kind} }
