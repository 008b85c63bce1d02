package config_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
)

// A service token says what the config and the application say.
func TestServiceTokens(t *testing.T) {
	for _, mode := range []config.Mode{config.Stateless, config.Opaque} {
		c := config.Config{Mode: mode, Keys: config.KeysConfig{File: keyFile(t)}, Issuer: "https://shop.example",
			ClientID: "shop-web", Audience: "shop"}
		app := build(t, c, config.Options{
			ServiceClaims: func(_ context.Context, s *session.Session, audience string) (map[string]any, error) {
				return map[string]any{"roles": []string{s.Subject() + " of " + audience}}, nil
			},
		})
		visit(t, app, nil, func(s *session.Session) {
			require.NoError(t, s.Login("alice", session.AMR("pwd")))
			text, err := app.Issuer.Issue(t.Context(), s, "orders")
			require.NoError(t, err)
			payload, err := base64.RawURLEncoding.DecodeString(strings.Split(text, ".")[1])
			require.NoError(t, err)
			var claims map[string]any
			require.NoError(t, json.Unmarshal(payload, &claims))
			for name, want := range map[string]any{
				"iss": "https://shop.example", "client_id": "shop-web", "aud": "orders", "sub": "alice",
				"amr": []any{"pwd"}, "roles": []any{"alice of orders"},
			} {
				require.Equal(t, want, claims[name])
			}
			_, err = app.Issuer.Issue(t.Context(), s, "shop")
			require.ErrorIs(t, err, session.BadValue, "the audience of session tokens")
			verifier, err := token.NewVerifier(token.VerifierConfig{Keys: app.Keys, Issuer: "https://shop.example",
				Audience: "orders", Revocations: app.Revocations})
			require.NoError(t, err)
			_, err = verifier.Verify(t.Context(), text)
			require.NoError(t, err)
		})
	}
	c := config.Config{Keys: config.KeysConfig{File: keyFile(t)}, ClientID: "\xff"}
	_, err := c.Build(config.Options{})
	require.ErrorContains(t, err, `config: field "client_id": must be UTF-8`)
}

// Services that configure themselves need an https URL as issuer.
func TestWarnsOfIssuer(t *testing.T) {
	for issuer, warned := range map[string]bool{
		"": true, "shop": true, "http://shop.example": true, "https://shop.example?a": true,
		"https://shop.example": false, "https://shop.example/a": false, "http://localhost:8080": false,
	} {
		for _, keys := range []config.KeysConfig{{}, {File: keyFile(t)}} {
			log := new(lines)
			c := config.Config{Mode: config.Opaque, Keys: keys, Issuer: issuer}
			build(t, c, logTo(log))
			require.Equal(t, warned && keys.File != "", strings.Contains(log.String(), "the issuer is no https URL"), issuer)
		}
	}
}

// A request that goes on after the logout, such as a WebSocket, gets no more
// tokens: services forget a logout when those from before it have expired.
func TestLongRequestsAndServiceTokens(t *testing.T) {
	for _, mode := range []config.Mode{config.Stateless, config.Auto, config.Opaque} {
		t.Run(string(mode), func(t *testing.T) {
			var late atomic.Int64 // nanoseconds
			now := func() time.Time { return time.Now().Add(time.Duration(late.Load())) }
			app := build(t, config.Config{Mode: mode, Keys: config.KeysConfig{File: keyFile(t)},
				Issuer: "https://shop.example"}, config.Options{Now: now})
			cookie := login(t, app, "alice")
			visit(t, app, cookie, func(s *session.Session) {
				for range 10 {
					_, err := app.Issuer.Issue(t.Context(), s, "orders")
					require.NoError(t, err)
					late.Add(int64(20 * time.Second))
				}
				visit(t, app, cookie, func(s *session.Session) { require.NoError(t, s.Destroy()) })
				_, err := app.Issuer.Issue(t.Context(), s, "orders")
				require.ErrorIs(t, err, session.Ended)
			})

			// Or it looks for the first time when all is over.
			cookie = login(t, app, "alice")
			visit(t, app, cookie, func(s *session.Session) {
				visit(t, app, cookie, func(s *session.Session) { require.NoError(t, s.Destroy()) })
				late.Add(int64(2 * time.Minute))
				require.Eventually(t, func() bool {
					_, err := app.Issuer.Issue(t.Context(), s, "orders")
					return errors.Is(err, session.Ended)
				}, 5*time.Second, time.Millisecond)
			})
		})
	}
}
