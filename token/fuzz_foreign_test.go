package token_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/jose"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/session"
)

// FuzzForeign signs whatever header and claims with the right key. What is
// accepted says to another reader of JSON what it says to the Verifier.
func FuzzForeign(f *testing.F) {
	forge, v := newForeign(f, keys.ES256, "")
	header, claims := forge.header, forge.claims
	for _, h := range []string{header.String(), header.without("typ").String(), header.with("typ", `"JWT"`).String(),
		header.last("x5t", `"AA"`).String(), header.last("crit", `["x"]`).String(), header.last("kid", `"x"`).String(),
		header.with("alg", `"none"`).String(), header.last("jwk", `{"kty":"oct","k":"AA"}`).String()} {
		f.Add(h, claims.String())
	}
	for _, p := range providers() {
		f.Add(header.String(), p.claims.with("iss", claims.get("iss")).with("aud", claims.get("aud")).
			with("iat", claims.get("iat")).with("exp", claims.get("exp")).String())
	}
	for _, c := range []object{claims.with("aud", `["a",`+claims.get("aud")+`]`), claims.with("exp", "1.767323105e9"),
		claims.with("exp", "1e400"), claims.with("nbf", "0"), claims.last("EXP", "1"), claims.last("sub", `"x"`)} {
		f.Add(header.String(), c.String())
	}
	f.Fuzz(func(t *testing.T, header, claims string) {
		caller, err := v.Verify(t.Context(), signAs(t, forge.private, keys.ES256, header, claims))
		if err != nil {
			require.Nil(t, caller)
			require.False(t, strings.ContainsFunc(err.Error(), unicode.IsControl), "%q", err)
			require.NotEqual(t, session.Unavailable, session.ReasonOf(err), "%v", err)
			return
		}
		h, c := members(t, header), members(t, claims)
		require.Equal(t, []any{"ES256", forge.sigKID, nil, nil}, []any{h["alg"], h["kid"], h["crit"], h["b64"]})
		typ, _ := h["typ"].(string)
		require.Contains(t, []string{"", "jwt", "at+jwt"}, jose.MediaType(typ))
		require.Equal(t, []any{attackIssuer, caller.Subject}, []any{c["iss"], c["sub"]})
		if list, ok := c["aud"].([]any); ok {
			require.True(t, slices.Contains(list, any(attackService)))
		} else {
			require.Equal(t, attackService, c["aud"])
		}
		exp, iat, now := asFloat(t, c["exp"]), asFloat(t, c["iat"]), float64(start.Unix())
		require.True(t, exp > now-10 && exp-iat <= 86400.001 && iat < now+10.001, "exp %v, iat %v", exp, iat)
		require.NotEmpty(t, caller.Subject)
		require.NotContains(t, c, "events")
	})
}

// members reads an object as a lenient reader does, except for numbers that are
// too large for it.
func members(t *testing.T, text string) (m map[string]any) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	require.NoError(t, d.Decode(&m))
	return m
}

func asFloat(t *testing.T, v any) float64 {
	require.IsType(t, json.Number(""), v)
	f, err := v.(json.Number).Float64()
	require.NoError(t, err)
	return f
}
