package interop

import (
	"context"
	"errors"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/time/rate"
)

// Keyfunc returns a function that verifies with golang-jwt, whose keys come
// from keyfunc. A token with an unknown key makes it fetch the keys, here at
// most every 30 seconds; without that option it is every 5 minutes.
func Keyfunc(ctx context.Context, jwksURL, issuer, audience string) (
	func(ctx context.Context, token string) (subject string, err error), error,
) {
	keys, err := keyfunc.NewDefaultOverrideCtx(ctx, []string{jwksURL}, keyfunc.Override{
		RefreshUnknownKID: rate.NewLimiter(rate.Every(30*time.Second), 1),
	})
	if err != nil {
		return nil, err
	}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"ES256"}), jwt.WithIssuer(issuer), jwt.WithAudience(audience),
		jwt.WithExpirationRequired(), jwt.WithLeeway(10*time.Second))
	return func(ctx context.Context, token string) (subject string, err error) {
		parsed, err := parser.Parse(token, keys.KeyfuncCtx(ctx))
		if err != nil {
			return "", err
		}
		if parsed.Header["typ"] != "at+jwt" {
			return "", errors.New("not a service token")
		}
		return parsed.Claims.GetSubject()
	}, nil
}
