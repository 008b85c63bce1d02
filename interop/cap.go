package interop

import (
	"context"

	"github.com/hashicorp/cap/jwt"
)

// Cap returns a function that verifies with hashicorp/cap, as Vault, Consul and
// Nomad do. It configures itself from the issuer's metadata, and can't check
// typ.
func Cap(ctx context.Context, issuer, audience string) (
	func(ctx context.Context, token string) (subject string, err error), error,
) {
	keys, err := jwt.NewOIDCDiscoveryKeySet(ctx, issuer, "")
	if err != nil {
		return nil, err
	}
	validator, err := jwt.NewValidator(keys)
	if err != nil {
		return nil, err
	}
	expected := jwt.Expected{Issuer: issuer, Audiences: []string{audience}, SigningAlgorithms: []jwt.Alg{jwt.ES256}}
	return func(ctx context.Context, token string) (subject string, err error) {
		claims, err := validator.Validate(ctx, token, expected)
		if err != nil {
			return "", err
		}
		subject, _ = claims["sub"].(string)
		return subject, nil
	}, nil
}
