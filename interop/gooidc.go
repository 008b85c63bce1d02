package interop

import (
	"context"

	"github.com/coreos/go-oidc/v3/oidc"
)

// GoOIDC returns a function that verifies with go-oidc, which configures itself
// from the issuer's metadata. It can't check typ, and has no leeway.
func GoOIDC(ctx context.Context, issuer, audience string) (
	func(ctx context.Context, token string) (subject string, err error), error,
) {
	provider, err := oidc.NewProvider(ctx, issuer)
	if err != nil {
		return nil, err
	}
	verifier := provider.Verifier(&oidc.Config{ClientID: audience})
	return func(ctx context.Context, token string) (subject string, err error) {
		verified, err := verifier.Verify(ctx, token)
		if err != nil {
			return "", err
		}
		return verified.Subject, nil
	}, nil
}
