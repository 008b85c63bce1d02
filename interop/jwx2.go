package interop

import (
	"context"
	"errors"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"
	"github.com/lestrrat-go/jwx/v2/jwt"
)

// JWX2 is [JWX] with jwx v2, which gets no fixes any more. It is here for those
// who still have it.
func JWX2(ctx context.Context, jwksURL, issuer, audience string) (
	func(ctx context.Context, token string) (subject string, err error), error,
) {
	cache := jwk.NewCache(ctx, jwk.WithRefreshWindow(10*time.Second))
	if err := cache.Register(jwksURL, jwk.WithRefreshInterval(time.Minute)); err != nil {
		return nil, err
	}
	if _, err := cache.Refresh(ctx, jwksURL); err != nil {
		return nil, err
	}
	keys := jwk.NewCachedSet(cache, jwksURL)
	return func(_ context.Context, token string) (subject string, err error) {
		parsed, err := jwt.ParseString(token, jwt.WithKeySet(keys), jwt.WithIssuer(issuer), jwt.WithAudience(audience),
			jwt.WithRequiredClaim(jwt.ExpirationKey), jwt.WithAcceptableSkew(10*time.Second))
		if err != nil {
			return "", err
		}
		message, err := jws.ParseString(token)
		if err != nil {
			return "", err
		}
		if message.Signatures()[0].ProtectedHeaders().Type() != "at+jwt" {
			return "", errors.New("not a service token")
		}
		return parsed.Subject(), nil
	}, nil
}
