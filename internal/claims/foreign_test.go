package claims_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/claims"
)

func TestDecodeForeign(t *testing.T) {
	const least = `"iss":"i","aud":"a","sub":"s","iat":1,"exp":2`
	for _, tt := range []struct {
		payload string
		kind    claims.Kind
		want    string // the error
	}{
		{`{` + least + `}`, claims.Foreign, ""},
		{`{` + least + `,"gen":"x","since":{},"auth_time":0,"sid":"","jti":""}`, claims.Foreign, ""},
		{`{}`, claims.Foreign, "missing: iss, aud, sub, exp, iat"},
		{`{"iss":"","aud":null,"sub":"","iat":"1","exp":-1,"nbf":"x","jti":1,"sid":1,"auth_time":true,` +
			`"client_id":1,"acr":1,"amr":[1]}`,
			claims.Foreign, "empty: iss, sub; of the wrong type: aud, iat, exp, nbf, jti, sid, auth_time, client_id, acr, amr"},
		{`{` + least + `,"jti":"j"}`, claims.Logout, ""},
		{`{"iss":"i","aud":["a"],"iat":1.5,"jti":"j","sid":"x"}`, claims.Logout, ""},
		{`{"sub":"","sid":"","jti":""}`, claims.Logout, "missing: iss, aud, iat; empty: sub, sid, jti"},
		{`{"iss":"","sub":"","aud":[],"exp":0,"sid":"","active":1}`, claims.Answer, ""},
		{`{"iss":null,"sub":1,"aud":{},"exp":"x","iat":-1}`, claims.Answer, "of the wrong type: iss, sub, aud, exp, iat"},
		{`[]`, claims.Foreign, "jose: not a JSON object"},
	} {
		_, err := claims.Decode([]byte(tt.payload), tt.kind)
		if tt.want == "" {
			require.NoError(t, err, tt.payload)
			continue
		}
		require.EqualError(t, err, tt.want)
	}
}

func TestDecodeForeignFields(t *testing.T) {
	c, err := claims.Decode([]byte(`{"iss":"i","aud":["a","b"],"sub":"s","exp":2e0,"iat":1.5,"nbf":0,"jti":"j","sid":"x",`+
		`"auth_time":1.2345,"azp":"client","acr":"gold","amr":["pwd","otp"],"events":{"a":1},"nonce":null}`), claims.Foreign)
	require.NoError(t, err)
	require.Equal(t, []string{"i", "", "s", "j", "x", "client", "gold"},
		[]string{c.Issuer, c.Audience, c.Subject, c.JTI, c.ID, c.ClientID, c.ACR})
	require.Equal(t, []string{"a", "b"}, c.Audiences)
	require.Equal(t, []string{"pwd", "otp"}, c.AMR)
	require.Equal(t, []time.Time{time.Unix(2, 0), time.UnixMilli(1500), {}, time.UnixMilli(1234)},
		[]time.Time{c.ExpiresAt(), c.IssuedAt(), c.NotBefore, c.AuthenticatedAt})
	require.Equal(t, map[string]json.RawMessage{"azp": json.RawMessage(`"client"`), "events": json.RawMessage(`{"a":1}`),
		"nonce": json.RawMessage("null")}, c.Further)
}

// acr is a claim of our own service tokens too, and applications may set it.
func TestACR(t *testing.T) {
	c := good()
	c.Further = map[string]json.RawMessage{"acr": json.RawMessage(`"gold"`), "tier": json.RawMessage("[1]")}
	got, err := claims.Decode(c.Encode(claims.Service), claims.Service)
	require.NoError(t, err)
	require.Equal(t, "gold", got.ACR)
	require.Equal(t, map[string]json.RawMessage{"tier": json.RawMessage("[1]")}, got.Further)
	require.False(t, claims.Reserved("acr"))
	c.Further["acr"] = json.RawMessage("1")
	_, err = claims.Decode(c.Encode(claims.Service), claims.Service)
	require.EqualError(t, err, "of the wrong type: acr")
}
