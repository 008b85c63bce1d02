package token_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/internal/claims"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
)

// kinds has the errors that can be told apart, with the reason of each.
var kinds = map[error]session.Reason{
	token.ErrUnknownKey: session.UnknownKey, token.ErrBadSignature: session.Forged, token.ErrWrongIssuer: session.Forged,
	token.ErrWrongAudience: session.Forged, token.ErrNotYetValid: session.Forged, token.ErrExpired: session.LifetimeOver,
	token.ErrInsufficientAuthentication: session.LifetimeOver,
}

// requireKind checks that err is of one kind, or of none if want is nil.
func requireKind(t *testing.T, want, err error, about ...any) {
	t.Helper()
	require.Error(t, err, about...)
	for kind, reason := range kinds {
		require.Equal(t, kind == want, errors.Is(err, kind), "%v is %v: %v", err, kind, about)
		require.Equal(t, reason, session.ReasonOf(kind))
	}
	if want != nil {
		require.Equal(t, kinds[want], session.ReasonOf(err), about...)
	}
}

// Each error is of one kind at most, and says in words which.
func TestVerifyErrorsByKind(t *testing.T) {
	b := newBench(t, keys.ES256)
	sign := func(more map[string]any) string {
		return genuine(t, b.ring, b.now, claims.Service.Typ(), serviceClaims(b.now, more))
	}
	good := sign(nil)
	other := apptest.NewRing(t, b.clock, keys.ES256)
	tests := []struct {
		name, token string
		ring        *keys.Ring
		want        error
		text        string
	}{
		{"unknown key", good, other, token.ErrUnknownKey, "token: no key with this ID: key not trusted"},
		{"bad signature", good[:len(good)-4] + "AAAA", b.ring, token.ErrBadSignature,
			"token: not made with this key: bad signature: not genuine"},
		{"iss", sign(map[string]any{"iss": "x"}), b.ring, token.ErrWrongIssuer, "token: from another issuer"},
		{"aud", sign(map[string]any{"aud": "x"}), b.ring, token.ErrWrongAudience, "token: for another audience"},
		{"iat", sign(map[string]any{"iat": b.now.Add(time.Minute).Unix()}), b.ring, token.ErrNotYetValid,
			"token: issued in the future (iat): the clock here, or the issuer's, is wrong"},
		{"nbf", sign(map[string]any{"nbf": b.now.Add(time.Minute).Unix()}), b.ring, token.ErrNotYetValid,
			"token: not good yet (nbf)"},
		{"exp", sign(map[string]any{"exp": b.now.Unix()}), b.ring, token.ErrExpired, "token: expired"},
		{"form", "x", b.ring, nil, "jose: wrong number of segments: malformed"},
		{"claim", sign(map[string]any{"jti": 1}), b.ring, nil, "token: bad claims: of the wrong type: jti: not genuine"},
	}
	for _, tt := range tests {
		v := b.verifier(t, func(c *token.VerifierConfig) { c.Keys, c.Audience = tt.ring, "https://orders.example" })
		_, err := v.Verify(t.Context(), tt.token)
		requireKind(t, tt.want, err, tt.name)
		assert.EqualError(t, err, tt.text)
	}
}

// A key that was revoked is not trusted either, and the error says why.
func TestVerifyErrorOfRevokedKey(t *testing.T) {
	b := newBench(t, keys.ES256)
	good := genuine(t, b.ring, b.now, claims.Service.Typ(), serviceClaims(b.now, nil))
	set := (*keyset.Set)(b.ring.Set()).Clone()
	require.NoError(t, set.Revoke(set.Keys()[0].ID(), b.now, "stolen"))
	require.NoError(t, b.ring.Replace((*keys.Set)(set).Keys()...))
	_, err := b.verifier(t).Verify(t.Context(), good)
	requireKind(t, token.ErrUnknownKey, err)
	require.ErrorIs(t, err, keys.ErrKeyRevoked)
}

func TestNewContext(t *testing.T) {
	caller := &token.Caller{Subject: "alice"}
	got, ok := token.CallerFrom(token.NewContext(t.Context(), caller))
	require.True(t, ok)
	require.Same(t, caller, got)
	for _, ctx := range []context.Context{t.Context(), token.NewContext(t.Context(), nil)} {
		got, ok = token.CallerFrom(ctx)
		require.False(t, ok)
		require.Nil(t, got)
	}
}
