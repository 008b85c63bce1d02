package interop

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/auth0/go-jwt-middleware/v2/jwks"
	"github.com/auth0/go-jwt-middleware/v2/validator"
)

// Auth0 returns a function that verifies with auth0/go-jwt-middleware. Its
// cache keeps the keys for the time given, here a minute, and does not fetch
// them when a token has an unknown key. It can't check typ.
func Auth0(_ context.Context, jwksURL, issuer, audience string) (
	func(ctx context.Context, token string) (subject string, err error), error,
) {
	issuerURL, err := url.Parse(issuer)
	if err != nil {
		return nil, err
	}
	keysURL, err := url.Parse(jwksURL)
	if err != nil {
		return nil, err
	}
	keys := jwks.NewCachingProvider(issuerURL, time.Minute, jwks.WithCustomJWKSURI(keysURL))
	v, err := validator.New(keys.KeyFunc, validator.ES256, issuer, []string{audience},
		validator.WithAllowedClockSkew(10*time.Second))
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, token string) (subject string, err error) {
		verified, err := v.ValidateToken(ctx, token)
		if err != nil {
			return "", err
		}
		claims, ok := verified.(*validator.ValidatedClaims)
		if !ok || claims.RegisteredClaims.Expiry == 0 {
			return "", errors.New("no exp")
		}
		return claims.RegisteredClaims.Subject, nil
	}, nil
}
