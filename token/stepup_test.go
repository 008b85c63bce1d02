package token_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
)

// A service may ask for a login that is recent, or strong enough (RFC 9470).
func TestStepUp(t *testing.T) {
	p := providers()[10]
	ago := func(d time.Duration) object { return object{"auth_time", seconds(start.Add(-d))} }
	const needs = `Bearer error="insufficient_user_authentication"`
	tests := []struct {
		name      string
		claims    object
		age       time.Duration
		acr       []string
		leeway    time.Duration
		challenge string // "" if it is accepted
	}{
		{"nothing asked", nil, 0, nil, 0, ""},
		{"recent", ago(time.Minute), 5 * time.Minute, nil, -1, ""},
		{"exactly as old", ago(5 * time.Minute), 5 * time.Minute, nil, -1, ""},
		{"too old", ago(5*time.Minute + time.Second), 5 * time.Minute, nil, -1, needs + `, max_age="300"`},
		{"too old, within the leeway", ago(5*time.Minute + 10*time.Second), 5 * time.Minute, nil, 0, ""},
		{"too old, and beyond the leeway", ago(5*time.Minute + 11*time.Second), 5 * time.Minute, nil, 0, needs + `, max_age="300"`},
		{"no auth_time", nil, 24 * time.Hour, nil, 0, needs + `, max_age="86400"`},
		{"auth_time 0", object{"auth_time", "0"}, 24 * time.Hour, nil, 0, needs + `, max_age="86400"`},
		{"auth_time in the future", ago(-time.Minute), 5 * time.Minute, nil, 0, needs + `, max_age="300"`},
		{"auth_time far in the future", object{"auth_time", "253402300799"}, 1 << 62 / time.Second * time.Second, nil, 0,
			needs + `, max_age="4611686018"`},
		{"acr", object{"acr", `"gold"`}, 0, []string{"silver", "gold"}, 0, ""},
		{"another acr", object{"acr", `"bronze"`}, 0, []string{"silver", "gold"}, 0, needs + `, acr_values="silver gold"`},
		{"acr in another case", object{"acr", `"Gold"`}, 0, []string{"gold"}, 0, needs + `, acr_values="gold"`},
		{"several in one acr", object{"acr", `"silver gold"`}, 0, []string{"gold"}, 0, needs + `, acr_values="gold"`},
		{"no acr", nil, 0, []string{"gold"}, 0, needs + `, acr_values="gold"`},
		{"empty acr", object{"acr", `""`}, 0, []string{"gold"}, 0, needs + `, acr_values="gold"`},
		{"both, one of them good", append(ago(0), "acr", `"bronze"`), time.Minute, []string{"gold"}, 0,
			needs + `, max_age="60", acr_values="gold"`},
		{"both", append(ago(0), "acr", `"gold"`), time.Minute, []string{"gold"}, 0, ""},

		// Whoever has no good token hears nothing of logins.
		{"expired, and too old", append(ago(time.Hour), "exp", seconds(start.Add(-time.Minute))), time.Minute, nil, 0,
			`Bearer error="invalid_token"`},
		{"of another issuer", object{"iss", `"x"`}, time.Minute, []string{"gold"}, 0, `Bearer error="invalid_token"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var heard error
			v := p.verifier(t, func(c *token.VerifierConfig) {
				c.MaxAuthAge, c.ACR, c.Leeway = tt.age, tt.acr, tt.leeway
				c.OnRefused = func(_ context.Context, err error) { heard = err }
			})
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set("Authorization", "Bearer "+p.token(t, tt.claims))
			w := httptest.NewRecorder()
			v.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(w, r)
			require.Equal(t, tt.challenge, w.Header().Get("WWW-Authenticate"))
			if tt.challenge == "" {
				require.Equal(t, http.StatusOK, w.Code)
				require.NoError(t, heard)
				return
			}
			require.Equal(t, http.StatusUnauthorized, w.Code)
			require.Equal(t, "Unauthorized\n", w.Body.String())
			if tt.challenge != `Bearer error="invalid_token"` {
				requireKind(t, token.ErrInsufficientAuthentication, heard)
			}
		})
	}
}

// Our own tokens have auth_time, and acr if the application says so. A session
// that has ended is told first.
func TestStepUpOfOurOwn(t *testing.T) {
	b := newBench(t, keys.ES256)
	sign := func(more map[string]any) string {
		return genuine(t, b.ring, b.now, "at+jwt", serviceClaims(b.now, more))
	}
	v := b.verifier(t, func(c *token.VerifierConfig) {
		c.Audience, c.MaxAuthAge, c.ACR, c.Revocations = "https://orders.example", time.Minute, []string{"gold"}, b.list
	})
	caller, err := v.Verify(t.Context(), sign(map[string]any{"acr": "gold", "tier": []int{1}}))
	require.NoError(t, err)
	require.Equal(t, "gold", caller.ACR)
	require.Equal(t, "https://app.example", caller.ClientID)
	require.JSONEq(t, `{"tier":[1]}`, encodedClaims(t, caller))
	_, err = v.Verify(t.Context(), sign(nil))
	requireKind(t, token.ErrInsufficientAuthentication, err)
	require.EqualError(t, err, "token: the user didn't log in as ACR wants it (acr)")
	_, err = v.Verify(t.Context(), sign(map[string]any{"acr": "gold", "auth_time": b.now.Add(-time.Hour).Unix()}))
	requireKind(t, token.ErrInsufficientAuthentication, err)
	require.EqualError(t, err, "token: the user logged in longer ago than MaxAuthAge, or in the future (auth_time)")
	_, err = v.Verify(t.Context(), sign(map[string]any{"acr": ""}))
	require.EqualError(t, err, "token: bad claims: empty: acr: not genuine")

	rec := record(nil)
	rec.ID = "x"
	require.NoError(t, b.list.EndSession(t.Context(), rec))
	_, err = v.Verify(t.Context(), sign(nil))
	require.ErrorIs(t, err, session.Ended)
}
