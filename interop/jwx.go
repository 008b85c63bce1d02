package interop

import (
	"context"
	"errors"
	"time"

	"github.com/lestrrat-go/httprc/v3"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"
	"github.com/lestrrat-go/jwx/v3/jwt"
)

// JWX returns a function that verifies with jwx v3. Its cache fetches the keys
// at intervals, and not when a token has an unknown key, so that a new key
// after an emergency becomes known when the interval ends, here after a minute.
func JWX(ctx context.Context, jwksURL, issuer, audience string) (
	func(ctx context.Context, token string) (subject string, err error), error,
) {
	cache, err := jwk.NewCache(ctx, httprc.NewClient())
	if err != nil {
		return nil, err
	}
	if err := cache.Register(ctx, jwksURL, jwk.WithConstantInterval(time.Minute)); err != nil {
		return nil, err
	}
	keys, err := cache.CachedSet(jwksURL)
	if err != nil {
		return nil, err
	}
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
		if typ, _ := message.Signatures()[0].ProtectedHeaders().Type(); typ != "at+jwt" {
			return "", errors.New("not a service token")
		}
		subject, _ = parsed.Subject()
		return subject, nil
	}, nil
}
