package interop_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
)

// TestSessionTokens has other programs open session tokens, which are signed
// and then encrypted, with the exported keys. In cmd/keygen, latchset's jose
// does so.
func TestSessionTokens(t *testing.T) {
	for _, alg := range []keys.Algorithm{keys.Direct, keys.A256KW, keys.ECDHESA256KW} {
		t.Run(string(alg), func(t *testing.T) {
			a := newApplication(t)
			service := a.good(t)
			a.encrypt(t, alg)
			token := a.logIn(t, a.app)
			for _, p := range []program{
				onNode("jose", "sessions/jose.mjs", 20, "jose"),
				onPython("jwcrypto", "sessions/jwcrypto_jwt.py"),
				{name: "go-jose", version: modules("go-jose/go-jose/v4"), start: goJOSESessions},
			} {
				t.Run(p.name, func(t *testing.T) {
					p.version(t)
					t.Setenv("KEYS_FILE", a.export(t))
					verify := p.start(t, a)
					require.True(t, accepts(t, verify, token))
					require.True(t, refuses(t, verify, "changed", token[:len(token)-4]))
					require.True(t, refuses(t, verify, "service token", service))
				})
			}
		})
	}
}

// encrypt adds a key with which session tokens are encrypted from now on.
func (a *application) encrypt(t *testing.T, alg keys.Algorithm) {
	t.Helper()
	since := time.Now().Add(-48 * time.Hour)
	key, err := keys.Generate(alg, keys.Dates{PublishAt: since, SignFrom: since})
	require.NoError(t, err)
	require.NoError(t, a.file.Update(t.Context(), func(set *keyset.Set) error { return set.Add((*keyset.Key)(key)) }))
	require.NoError(t, a.app.Keys.Reload())
}

// export writes the private keys into a file, and returns its path.
func (a *application) export(t *testing.T) string {
	t.Helper()
	text, err := a.file.InsecurePrivateSet() // as keygen export --private
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "private.json")
	require.NoError(t, os.WriteFile(path, text, 0o600))
	return path
}

// goJOSESessions opens session tokens with go-jose.
func goJOSESessions(t *testing.T, a *application) verifier {
	t.Helper()
	text, err := os.ReadFile(os.Getenv("KEYS_FILE"))
	require.NoError(t, err)
	var set jose.JSONWebKeySet
	require.NoError(t, json.Unmarshal(text, &set))
	public := func(id string) any {
		for _, key := range set.Key(id) {
			return key.Public()
		}
		return nil
	}
	return func(_ context.Context, token string) (subject string, err error) {
		sealed, err := jose.ParseEncryptedCompact(token,
			[]jose.KeyAlgorithm{jose.DIRECT, jose.A256KW, jose.ECDH_ES_A256KW}, []jose.ContentEncryption{jose.A256GCM})
		if err != nil {
			return "", err
		}
		inner, err := sealed.Decrypt(set)
		if err != nil {
			return "", err
		}
		signed, err := jwt.ParseSigned(string(inner), []jose.SignatureAlgorithm{jose.ES256})
		if err != nil {
			return "", err
		}
		if signed.Headers[0].ExtraHeaders[jose.HeaderType] != "cloakroom+jwt" {
			return "", errors.New("not a session token")
		}
		var claims jwt.Claims
		if err := signed.Claims(public(signed.Headers[0].KeyID), &claims); err != nil {
			return "", err
		}
		expected := jwt.Expected{Issuer: a.url, AnyAudience: jwt.Audience{a.url}, Time: time.Now()}
		return claims.Subject, claims.Validate(expected)
	}
}
