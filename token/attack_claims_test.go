package token_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
)

// genuine signs claims with the ring's key, and encrypts the token if the ring
// has a key for that and it is a session's.
func genuine(t testing.TB, ring *keys.Ring, now time.Time, typ string, claims map[string]any) string {
	t.Helper()
	key, err := ring.Current(keys.Signature, now)
	require.NoError(t, err)
	b64 := base64.RawURLEncoding.EncodeToString
	part := func(v any) string {
		text, err := json.Marshal(v)
		require.NoError(t, err)
		return b64(text)
	}
	input := part(map[string]any{"alg": key.Algorithm(), "kid": key.ID(), "typ": typ}) + "." + part(claims)
	signature, err := (*keyset.Key)(key).Sign(input)
	require.NoError(t, err)
	signed := input + "." + b64(signature)
	sealer, err := ring.Current(keys.Encryption, now)
	require.NoError(t, err)
	if sealer == nil || typ != "cloakroom+jwt" {
		return signed
	}
	sealed, err := (*keyset.Key)(sealer).Seal([]byte(signed), "JWT")
	require.NoError(t, err)
	return sealed
}

func serviceClaims(now time.Time, more map[string]any) map[string]any {
	claims := map[string]any{
		"iss": "https://app.example", "aud": "https://orders.example", "sub": "alice",
		"client_id": "https://app.example", "auth_time": now.Unix(), "since": now.UnixMilli(),
		"sid": "x", "gen": 1, "jti": "x", "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
	}
	for name, value := range more {
		claims[name] = value
	}
	return claims
}

func sessionClaims(now time.Time, more map[string]any) map[string]any {
	claims := serviceClaims(now, map[string]any{"aud": "https://app.example", "ver": 1, "lin": "bGluZWFnZTE",
		"auth_time": json.RawMessage(fmt.Sprintf("%d.000", now.Unix())), "crt": now.Unix(),
		"dl": now.Add(time.Hour).Unix(), "data": struct{}{}})
	for name, value := range more {
		claims[name] = value
	}
	return claims
}

// Each claim that a kind of token has is required by its name: the claims of
// the other kind don't stand in for it.
func TestAttackMissingClaim(t *testing.T) {
	b := newBench(t, keys.ES256)
	v := b.verifier(t, func(c *token.VerifierConfig) { c.Audience = "https://orders.example" })
	for _, kind := range []struct {
		typ      string
		claims   map[string]any
		required []string
		open     func(credential string) error
	}{
		{"at+jwt", serviceClaims(b.now, nil),
			[]string{"iss", "aud", "sub", "auth_time", "sid", "gen", "jti", "iat", "exp", "client_id", "since"},
			func(credential string) error { _, err := v.Verify(t.Context(), credential); return err }},
		{"cloakroom+jwt", sessionClaims(b.now, nil),
			[]string{"iss", "aud", "sid", "gen", "jti", "iat", "exp", "lin", "ver", "crt", "dl", "data"},
			func(credential string) error { _, _, err := b.Open(t.Context(), credential); return err }},
	} {
		require.NoError(t, kind.open(genuine(t, b.ring, b.now, kind.typ, kind.claims)))
		for _, name := range kind.required {
			for _, more := range [][]string{nil, {"lin"}, {"lin", "ver", "crt", "dl", "data"}, {"nbf", "prs"}, {"x", "y", "z"}} {
				claims := maps.Clone(kind.claims)
				for _, other := range more {
					claims[other] = map[string]any{"lin": "bGluZWFnZTE", "ver": 1, "data": struct{}{}, "prs": true}[other]
					if claims[other] == nil {
						claims[other] = b.now.Unix()
					}
				}
				delete(claims, name)
				assert.ErrorIs(t, kind.open(genuine(t, b.ring, b.now, kind.typ, claims)), session.Forged, "%s without %s, with %v",
					kind.typ, name, more)
			}
		}
		for _, name := range []string{"iss", "aud", "sid", "jti"} {
			claims := maps.Clone(kind.claims)
			claims[name] = ""
			assert.ErrorIs(t, kind.open(genuine(t, b.ring, b.now, kind.typ, claims)), session.Forged, "%s with an empty %s",
				kind.typ, name)
		}
	}
}

// Leeway widens exp and iat by as much as the config says, and no more.
func TestAttackLeeway(t *testing.T) {
	for leeway, effective := range map[time.Duration]time.Duration{0: 10 * time.Second, -1: 0, time.Second: time.Second,
		5 * time.Minute: 5 * time.Minute} {
		now := start
		ring := apptest.NewRing(t, func() time.Time { return now }, keys.ES256)
		v, err := token.NewVerifier(token.VerifierConfig{Keys: ring, Issuer: "https://app.example",
			Audience: "https://orders.example", Leeway: leeway, Now: func() time.Time { return now }})
		require.NoError(t, err)
		credential := genuine(t, ring, now, "at+jwt", serviceClaims(now, nil))
		for _, tt := range []struct {
			at time.Duration
			ok bool
		}{
			{-effective, true}, {-effective - time.Second, false}, {0, true}, {time.Minute - time.Second, true},
			{time.Minute + effective - time.Nanosecond, true}, {time.Minute + effective, false}, {time.Hour, false},
		} {
			now = start.Add(tt.at)
			_, err := v.Verify(t.Context(), credential)
			assert.Equal(t, tt.ok, err == nil, "leeway %v, at %v: %v", leeway, tt.at, err)
		}
	}
	_, err := token.NewVerifier(token.VerifierConfig{Keys: new(keys.Ring), Issuer: "x", Audience: "y",
		Leeway: 5*time.Minute + 1})
	assert.ErrorContains(t, err, "Leeway")
}

// A token that says that it isn't good yet is not accepted: RFC 7519, Section
// 4.1.5.
func TestAttackNotBefore(t *testing.T) {
	b := newBench(t)
	v, err := token.NewVerifier(token.VerifierConfig{Keys: b.ring, Issuer: "https://app.example",
		Audience: "https://orders.example", Leeway: -1, Now: b.clock})
	require.NoError(t, err)
	open := func(more map[string]any) (service, cookie error) {
		_, service = v.Verify(t.Context(), genuine(t, b.ring, b.now, "at+jwt", serviceClaims(b.now, more)))
		_, _, cookie = b.Open(t.Context(), genuine(t, b.ring, b.now, "cloakroom+jwt", sessionClaims(b.now, more)))
		return service, cookie
	}
	service, cookie := open(map[string]any{"nbf": b.now.Unix()})
	require.NoError(t, service)
	require.NoError(t, cookie)
	for _, nbf := range []any{b.now.Add(2 * time.Minute).Unix(), b.now.Add(10000 * time.Hour).Unix(), "never", nil} {
		service, cookie := open(map[string]any{"nbf": nbf})
		assert.Error(t, service, "service token, nbf %v", nbf)
		assert.Error(t, cookie, "session token, nbf %v", nbf)
	}
}

// Names that look the same are different names: nothing is normalized.
func TestAttackNormalization(t *testing.T) {
	const composed, decomposed = "caf\u00e9", "cafe\u0301"
	b := newBench(t)
	verifier := func(issuer, audience string) *token.Verifier {
		v, err := token.NewVerifier(token.VerifierConfig{Keys: b.ring, Issuer: issuer, Audience: audience, Now: b.clock})
		require.NoError(t, err)
		return v
	}
	for _, name := range []string{composed, decomposed} {
		credential := genuine(t, b.ring, b.now, "at+jwt",
			serviceClaims(b.now, map[string]any{"iss": name, "aud": name}))
		for _, issuer := range []string{composed, decomposed} {
			for _, audience := range []string{composed, decomposed} {
				_, err := verifier(issuer, audience).Verify(t.Context(), credential)
				assert.Equal(t, issuer == name && audience == name, err == nil)
			}
		}
	}
	list := revocation.NewVolatile(revocation.Config{Now: b.clock})
	require.NoError(t, list.EndSubject(context.Background(), composed))
	rec := &session.Record{ID: "x", Subject: composed, AuthenticatedAt: b.now}
	assert.ErrorIs(t, list.Check(rec), session.Ended)
	rec.Subject = decomposed
	assert.NoError(t, list.Check(rec))
}
