package interop_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
)

// good returns a service token for the audience, with all that one can have.
func (a *application) good(t *testing.T) string {
	t.Helper()
	claims := func(context.Context, *session.Session, string) (map[string]any, error) {
		return map[string]any{"acr": "2", "roles": []string{"müller", "👩"}, "limits": map[string]any{"a": 1.5, "b": nil}}, nil
	}
	return a.issue(t, a.issuer(t, token.IssuerConfig{Claims: claims}), audience)
}

// ahead returns a good token of an application whose clock is 3 seconds ahead.
func (a *application) ahead(t *testing.T) string {
	t.Helper()
	now := func() time.Time { return time.Now().Add(3 * time.Second) }
	return a.issue(t, a.issuer(t, token.IssuerConfig{Now: now}), audience)
}

// A badToken is one that every program must refuse.
type badToken struct{ name, token string }

// bad returns a token of each kind that must be refused.
func (a *application) bad(t *testing.T) []badToken {
	t.Helper()
	other, err := keys.Generate(keys.ES256, keys.Dates{})
	require.NoError(t, err)
	ring, err := keys.NewRing(other)
	require.NoError(t, err)
	past := func() time.Time { return time.Now().Add(-time.Hour) }
	good := a.good(t)
	signed, signature := cut(t, good)
	return []badToken{
		{"expired", a.issue(t, a.issuer(t, token.IssuerConfig{Now: past}), audience)},
		{"wrong audience", a.issue(t, a.app.Issuer, "https://billing.example")},
		{"wrong issuer", a.issue(t, a.issuer(t, token.IssuerConfig{Issuer: "https://other.example"}), audience)},
		{"changed claims", forge(t, good, nil, func(string) []byte { return signature })},
		{"shorter signature", signed + "." + base64.RawURLEncoding.EncodeToString(signature[:len(signature)-1])},
		{"unknown key", a.issue(t, a.issuer(t, token.IssuerConfig{Ring: ring}), audience)},
		{"known key ID, other key", forge(t, good, nil, signES256(t))},
		{"alg none", forge(t, good, map[string]any{"alg": "none"}, func(string) []byte { return nil })},
		{"HS256 with the public key", forge(t, good, map[string]any{"alg": "HS256"}, a.signHS256(t))},
	}
}

// issuer fills in what c lacks.
func (a *application) issuer(t *testing.T, c token.IssuerConfig) *token.Issuer {
	t.Helper()
	if c.Ring == nil {
		c.Ring = a.app.Keys
	}
	if c.Issuer == "" {
		c.Issuer = a.url
	}
	issuer, err := token.NewIssuer(c)
	require.NoError(t, err)
	return issuer
}

// sessionToken returns the session token of an application, signed only, whose
// session tokens have this audience; "" is the usual one.
func (a *application) sessionToken(t *testing.T, audience string) string {
	t.Helper()
	c := config.Config{Audience: audience}
	c.Revocations.InsecureVolatile = true
	return a.logIn(t, a.build(t, c))
}

// forge returns a token with another subject, and with these members in place
// of those in the header.
func forge(t *testing.T, token string, header map[string]any, sign func(input string) []byte) string {
	t.Helper()
	parts := strings.Split(token, ".")
	input := change(t, parts[0], header) + "." + change(t, parts[1], map[string]any{"sub": "mallory"})
	return input + "." + base64.RawURLEncoding.EncodeToString(sign(input))
}

// change puts members into a part of a token.
func change(t *testing.T, part string, members map[string]any) string {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(part)
	require.NoError(t, err)
	all := map[string]any{}
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	decoder.UseNumber()
	require.NoError(t, decoder.Decode(&all))
	for name, value := range members {
		all[name] = value
	}
	text, err = json.Marshal(all)
	require.NoError(t, err)
	return base64.RawURLEncoding.EncodeToString(text)
}

// cut returns what is signed of a token, and the signature.
func cut(t *testing.T, token string) (signed string, signature []byte) {
	t.Helper()
	i := strings.LastIndexByte(token, '.')
	signature, err := base64.RawURLEncoding.DecodeString(token[i+1:])
	require.NoError(t, err)
	return token[:i], signature
}

// signES256 signs with a key that nobody knows.
func signES256(t *testing.T) func(string) []byte {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return func(input string) []byte {
		sig, err := jwt.SigningMethodES256.Sign(input, key)
		require.NoError(t, err)
		return sig
	}
}

// signHS256 signs with the public key in PEM as the shared secret.
func (a *application) signHS256(t *testing.T) func(string) []byte {
	der, err := x509.MarshalPKIXPublicKey((*keyset.Key)(a.signer(t)).Public())
	require.NoError(t, err)
	mac := hmac.New(sha256.New, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	return func(input string) []byte {
		mac.Write([]byte(input))
		return mac.Sum(nil)
	}
}
