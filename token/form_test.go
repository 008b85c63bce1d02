package token_test

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
)

// The form of RFC 9068, Section 2, which libraries in other languages verify
// without more than a line of configuration.
func TestServiceTokenForm(t *testing.T) {
	b := newBench(t, keys.ES256)
	rec := record(nil)
	rec.Tags = []session.LoginTag{session.Tag("tenant", "acme")}
	for _, clientID := range []string{"", "shop"} {
		issuer, err := token.NewIssuer(token.IssuerConfig{Ring: b.ring, Issuer: "https://app.example", ClientID: clientID,
			Now: b.clock, Lifetime: 15 * time.Minute})
		require.NoError(t, err)
		bearer, err := issuer.Issue(t.Context(), b.of(rec), "orders")
		require.NoError(t, err)
		_, err = b.verifier(t).Verify(t.Context(), bearer)
		require.NoError(t, err, "the longest lifetime there is")
		header, claims := decoded(t, bearer)
		assert.Equal(t, "at+jwt", header["typ"])
		assert.Equal(t, "ES256", header["alg"])
		assert.NotEmpty(t, claims["jti"])
		delete(claims, "jti")
		assert.Equal(t, map[string]any{
			"iss": "https://app.example", "aud": "orders", "sub": "alice", "client_id": cmp.Or(clientID, "https://app.example"),
			"sid": rec.ID, "gen": json.Number("2"), "iat": number(start.Unix() - 5), "exp": number(start.Unix() + 900),
			"auth_time": number(rec.AuthenticatedAt.Unix()), "since": number(rec.AuthenticatedAt.UnixMilli()),
			"amr": []any{"pwd", "otp"}, "tg": base64.RawURLEncoding.EncodeToString(rec.Tags[0][:]),
		}, claims)
	}
}

// decoded returns the header and the claims of a token that is signed only.
func decoded(t *testing.T, text string) (header, claims map[string]any) {
	t.Helper()
	segments := strings.Split(text, ".")
	require.Len(t, segments, 3)
	for i, to := range []*map[string]any{&header, &claims} {
		part, err := base64.RawURLEncoding.DecodeString(segments[i])
		require.NoError(t, err)
		d := json.NewDecoder(bytes.NewReader(part))
		d.UseNumber()
		require.NoError(t, d.Decode(to))
	}
	return header, claims
}

func number(n int64) json.Number { return json.Number(strconv.FormatInt(n, 10)) }

// The end of a subject's sessions, or of those with a tag, reaches a service
// that hears of it to the millisecond, though auth_time is in whole seconds.
func TestServiceTokenCountsFrom(t *testing.T) {
	b := newBench(t, keys.ES256)
	renewed := record(nil)
	renewed.Since = record(nil).AuthenticatedAt.Add(2 * time.Minute)
	for _, tt := range []struct {
		rec   *session.Record
		ended time.Duration // after the login
		want  error
	}{
		{record(nil), -time.Millisecond, nil}, {record(nil), 0, session.Ended}, {record(nil), time.Hour, session.Ended},
		{renewed, time.Minute, nil}, {renewed, 2 * time.Minute, session.Ended},
	} {
		bearer, err := b.issuer(t).Issue(t.Context(), b.of(tt.rec), "orders")
		require.NoError(t, err)
		at := tt.rec.AuthenticatedAt.Add(tt.ended)
		v := b.verifier(t, func(c *token.VerifierConfig) { c.Revocations = endedAt(at) })
		_, err = v.Verify(t.Context(), bearer)
		assert.ErrorIs(t, err, tt.want, "%v", tt)
	}
}

// endedAt ends all sessions that count from then or earlier.
type endedAt time.Time

func (e endedAt) Check(rec *session.Record) error {
	if rec.CountsFrom().After(time.Time(e)) {
		return nil
	}
	return session.Ended
}

// No service may have the name that session tokens are for: a library that
// ignores typ, as 22 of 43 do, would take a session token for a call.
func TestServiceIsNotTheSessionAudience(t *testing.T) {
	b := newBench(t)
	for _, tt := range []struct {
		sessions, service string
		ok                bool
	}{
		{"", "https://app.example", false}, {"", "orders", true},
		{"shop", "shop", false}, {"shop", "https://app.example", true}, {"shop", "Shop", true},
	} {
		issuer, err := token.NewIssuer(token.IssuerConfig{Ring: b.ring, Issuer: "https://app.example", Now: b.clock,
			SessionAudience: tt.sessions})
		require.NoError(t, err)
		_, err = issuer.Issue(t.Context(), b.of(record(nil)), tt.service)
		_, transportErr := token.NewTransport(token.TransportConfig{Issuer: issuer, Audience: tt.service,
			Origin: "https://orders.example"})
		if tt.ok {
			assert.NoError(t, errors.Join(err, transportErr), "%v", tt)
			continue
		}
		assert.ErrorContains(t, err, "token: audience is that of the session tokens", "%v", tt)
		assert.ErrorIs(t, err, session.BadValue)
		assert.ErrorContains(t, transportErr, "token: TransportConfig.Audience is that of the session tokens", "%v", tt)
	}
}
