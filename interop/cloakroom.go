package interop

import (
	"context"
	"errors"

	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/token"
)

// A Cloakroom is our own verifier. Its Handler protects a service that speaks
// HTTP.
type Cloakroom struct {
	*token.Verifier
	Keys *keys.Remote
}

// NewCloakroom returns our own verifier. Close its Keys at the end.
func NewCloakroom(jwksURL, issuer, audience string) (*Cloakroom, error) {
	remote, err := keys.NewRemote(keys.RemoteConfig{URL: jwksURL})
	if err != nil {
		return nil, err
	}
	verifier, err := token.NewVerifier(token.VerifierConfig{Keys: remote, Issuer: issuer, Audience: audience})
	if err != nil {
		return nil, errors.Join(err, remote.Close())
	}
	return &Cloakroom{verifier, remote}, nil
}

// Subject returns the subject of a token.
func (c *Cloakroom) Subject(ctx context.Context, token string) (string, error) {
	caller, err := c.Verify(ctx, token)
	if err != nil {
		return "", err
	}
	return caller.Subject, nil
}
