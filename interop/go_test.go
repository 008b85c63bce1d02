package interop_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/interop"
)

// goPrograms returns the libraries of Go, which run in this process.
func goPrograms() []program {
	return []program{
		{"golang-jwt, keyfunc", modules("golang-jwt/jwt/v5", "MicahParks/keyfunc/v3"), "", fromKeys(interop.Keyfunc)},
		{"jwx v3", modules("lestrrat-go/jwx/v3"), "", fromKeys(interop.JWX)},
		{"jwx v2, retired", modules("lestrrat-go/jwx/v2"), "", fromKeys(interop.JWX2)},
		{"go-jose", modules("go-jose/go-jose/v4"), "", fromKeys(goJOSE)},
		{"go-oidc", modules("coreos/go-oidc/v3"), "", fromMetadata(interop.GoOIDC)},
		{"hashicorp/cap", modules("hashicorp/cap"), "", fromMetadata(interop.Cap)},
		{"auth0/go-jwt-middleware", modules("auth0/go-jwt-middleware/v2"), "", fromKeys(interop.Auth0)},
		{"Cloakroom's own token.Verifier", ours, "", cloakroom},
	}
}

// fromKeys starts a verifier that is given the URL of the keys.
func fromKeys(
	make func(_ context.Context, jwksURL, issuer, audience string) (func(context.Context, string) (string, error), error),
) func(*testing.T, *application) verifier {
	return func(t *testing.T, a *application) verifier {
		t.Helper()
		verify, err := make(t.Context(), a.jwks(), a.url, audience)
		require.NoError(t, err)
		return verify
	}
}

// fromMetadata starts a verifier that is given the issuer alone.
func fromMetadata(
	make func(_ context.Context, issuer, audience string) (func(context.Context, string) (string, error), error),
) func(*testing.T, *application) verifier {
	return func(t *testing.T, a *application) verifier {
		t.Helper()
		verify, err := make(t.Context(), a.url, audience)
		require.NoError(t, err)
		return verify
	}
}

func goJOSE(_ context.Context, jwksURL, issuer, audience string) (
	func(ctx context.Context, token string) (subject string, err error), error,
) {
	return (&interop.GoJOSE{JWKS: jwksURL, Issuer: issuer, Audience: audience}).Verify, nil
}

func cloakroom(t *testing.T, a *application) verifier {
	t.Helper()
	c, err := interop.NewCloakroom(a.jwks(), a.url, audience)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Keys.Close()) })
	return c.Subject
}
