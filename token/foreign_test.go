package token_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
)

// A provider is an issuer that is not Cloakroom, with tokens and a key set as
// its documentation shows them. The keys are the test's own.
type provider struct {
	name   string
	header object // without alg, which goes by the key
	claims object // without iat and exp
	life   time.Duration
	jwk    object // members of its key besides the numbers and kid
	rsa    keys.Algorithm
	types  []string
	want   token.Caller // without times, and Claims
	asked  string       // VerifierConfig.Audience
}

// providers are of 2026-11, by https://www.keycloak.org/docs,
// https://auth0.com/docs/secure/tokens,
// https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference,
// https://developer.okta.com/docs/api/openapi/okta-oauth/guides/overview,
// https://developers.google.com/identity/openid-connect/openid-connect,
// https://docs.aws.amazon.com/cognito/latest/developerguide,
// https://zitadel.com/docs/apis/openidoauth/claims and RFC 9068, Section 2.2.
func providers() []provider {
	return []provider{
		{
			name:   "Keycloak",
			header: object{"typ", `"JWT"`, "kid", `"YmhfSnHQyOe8XHDTvs0ZIr_-mNGsdKZOQQhJTiaYOjc"`},
			claims: object{"auth_time", "1767323000", "jti", `"onrtac:5e1eb7d1-4a8d-6b8a-1a44-8ba7e4ad8a2f"`,
				"iss", `"https://sso.example/realms/shop"`, "aud", `["orders","account"]`,
				"sub", `"f7d3c1c5-8b1f-4c58-a54a-7b8bbb0fa1c6"`, "typ", `"Bearer"`, "azp", `"shop-web"`,
				"sid", `"0b1f1ef4-6ad3-4d2c-9c1e-2f2f5f2c4a55"`, "acr", `"1"`, "allowed-origins", `["https://shop.example"]`,
				"realm_access", `{"roles":["offline_access","user"]}`, "resource_access", `{"account":{"roles":["view-profile"]}}`,
				"scope", `"openid profile email"`, "email_verified", "true", "name", `"Alice Ä"`, "preferred_username", `"alice"`},
			life: 5 * time.Minute, jwk: object{"alg", `"RS256"`, "use", `"sig"`, "x5c", `["MIICmzCCAYMCBgF"]`,
				"x5t", `"X6MbYH"`, "x5t#S256", `"Yk0Z"`},
			types: []string{"JWT"}, asked: "orders",
			want: token.Caller{Issuer: "https://sso.example/realms/shop", Subject: "f7d3c1c5-8b1f-4c58-a54a-7b8bbb0fa1c6",
				SessionID: "0b1f1ef4-6ad3-4d2c-9c1e-2f2f5f2c4a55", ClientID: "shop-web", ACR: "1"},
		},
		{
			name:   "Auth0",
			header: object{"typ", `"JWT"`, "kid", `"NEVBNUNBOTgxRkE5NkQzQzc4OTBEMzFE"`},
			claims: object{"iss", `"https://shop.eu.auth0.com/"`, "sub", `"auth0|507f1f77bcf86cd799439011"`,
				"aud", `["https://orders.example","https://shop.eu.auth0.com/userinfo"]`, "scope", `"openid read:orders"`,
				"azp", `"my_client_id"`, "permissions", `["read:orders"]`},
			life: 24 * time.Hour, jwk: object{"alg", `"RS256"`, "use", `"sig"`, "x5c", `["MIIC"]`, "x5t", `"NEVB"`},
			types: []string{"JWT"}, asked: "https://orders.example",
			want: token.Caller{Issuer: "https://shop.eu.auth0.com/", Subject: "auth0|507f1f77bcf86cd799439011",
				ClientID: "my_client_id"},
		},
		{
			name:   "Auth0, profile RFC 9068",
			header: object{"typ", `"at+jwt"`, "kid", `"2AVUqa8-rEeOFjKl"`},
			claims: object{"iss", `"https://shop.eu.auth0.com/"`, "sub", `"auth0|507f1f77bcf86cd799439011"`,
				"aud", `"https://orders.example"`, "scope", `"read:orders"`, "jti", `"TJbVxYDLFrNKPCzHoK"`,
				"client_id", `"my_client_id"`},
			life: 10 * time.Minute, jwk: object{"alg", `"RS256"`, "use", `"sig"`}, asked: "https://orders.example",
			want: token.Caller{Issuer: "https://shop.eu.auth0.com/", Subject: "auth0|507f1f77bcf86cd799439011",
				ClientID: "my_client_id"},
		},
		{
			name:   "Entra ID, version 2.0",
			header: object{"typ", `"JWT"`, "kid", `"i6lGk3FZzxRcUb2C3nEQ7syHJlY"`},
			claims: object{"aud", `"6e74172b-be56-4843-9ff4-e66a39bb12e3"`,
				"iss", `"https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47/v2.0"`, "nbf", "1767323045",
				"aio", `"AXQAi/8IAAAAtAaZLo"`, "azp", `"6e74172b-be56-4843-9ff4-e66a39bb12e4"`, "azpacr", `"0"`,
				"name", `"Alice"`, "oid", `"690222be-ff1a-4d56-abd1-7e4f7d38e474"`, "preferred_username", `"alice@shop.example"`,
				"rh", `"I"`, "scp", `"access_as_user"`, "sub", `"HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ"`,
				"tid", `"72f988bf-86f1-41af-91ab-2d7cd011db47"`, "uti", `"fqiBqXLPj0eQa82S-IYFAA"`, "ver", `"2.0"`,
				"xms_ftd", `"x"`},
			life: 75*time.Minute + 300*time.Millisecond,
			jwk: object{"use", `"sig"`, "x5t", `"i6lGk3FZzxRcUb2C3nEQ7syHJlY"`, "x5c", `["MIIC"]`,
				"cloud_instance_name", `"microsoftonline.com"`, "issuer", `"https://login.microsoftonline.com/{tenantid}/v2.0"`},
			rsa: keys.RS256, types: []string{"JWT"}, asked: "6e74172b-be56-4843-9ff4-e66a39bb12e3",
			want: token.Caller{Issuer: "https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47/v2.0",
				Subject: "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ", ClientID: "6e74172b-be56-4843-9ff4-e66a39bb12e4"},
		},
		{
			name:   "Entra ID, version 1.0",
			header: object{"typ", `"JWT"`, "x5t", `"i6lGk3FZzxRcUb2C3nEQ7syHJlY"`, "kid", `"i6lGk3FZzxRcUb2C3nEQ7syHJlY"`},
			claims: object{"aud", `"api://orders"`, "iss", `"https://sts.windows.net/72f988bf-86f1-41af-91ab-2d7cd011db47/"`,
				"nbf", "1767323045", "acr", `"1"`, "aio", `"AXQAi"`, "amr", `["pwd","mfa"]`, "appid", `"75dbe77f"`,
				"appidacr", `"0"`,
				"family_name", `"A"`, "ipaddr", `"192.0.2.1"`, "oid", `"690222be"`, "scp", `"access_as_user"`, "sub",
				`"l3_roISQU222b"`,
				"tid", `"72f988bf"`, "unique_name", `"alice@shop.example"`, "upn", `"alice@shop.example"`, "ver", `"1.0"`},
			life: time.Hour, jwk: object{"use", `"sig"`, "x5t", `"i6lG"`, "x5c", `["MIIC"]`},
			rsa: keys.RS256, types: []string{"JWT"}, asked: "api://orders",
			want: token.Caller{Issuer: "https://sts.windows.net/72f988bf-86f1-41af-91ab-2d7cd011db47/",
				Subject: "l3_roISQU222b", AMR: []string{"pwd", "mfa"}, ACR: "1"},
		},
		{
			name:   "Okta",
			header: object{"kid", `"LmHD06l_GtJE-2YVGG_PNBVBt42E_YlaaL1WB1KjWzM"`},
			claims: object{"ver", "1", "jti", `"AT.T9kcF0BJfh2CnFbzKmlpJQ"`, "iss", `"https://dev-1.okta.com/oauth2/default"`,
				"aud", `"api://default"`, "cid", `"0oa2hl2inow5Uqc6c357"`, "uid", `"00u1gn9tB4XQgwxuk0h8"`,
				"scp", `["openid","profile"]`, "auth_time", "1767323000", "sub", `"alice@shop.example"`},
			life: time.Hour, jwk: object{"alg", `"RS256"`, "use", `"sig"`}, types: []string{""}, asked: "api://default",
			want: token.Caller{Issuer: "https://dev-1.okta.com/oauth2/default", Subject: "alice@shop.example"},
		},
		{
			name:   "Google, ID token",
			header: object{"kid", `"e8732db06287515556213b80acbcfd08cfb302a9"`, "typ", `"JWT"`},
			claims: object{"iss", `"https://accounts.google.com"`, "azp", `"1234987819200.apps.googleusercontent.com"`,
				"aud", `"1234987819200.apps.googleusercontent.com"`, "sub", `"10769150350006150715113082367"`,
				"at_hash", `"HK6E_P6Dh8Y93mRNtsDB1Q"`, "hd", `"shop.example"`, "email", `"alice@shop.example"`,
				"email_verified", "true", "nonce", `"0394852-3190485-2490358"`},
			life: time.Hour, jwk: object{"alg", `"RS256"`, "use", `"sig"`}, types: []string{"JWT"},
			asked: "1234987819200.apps.googleusercontent.com",
			want: token.Caller{Issuer: "https://accounts.google.com", Subject: "10769150350006150715113082367",
				ClientID: "1234987819200.apps.googleusercontent.com"},
		},
		{
			name:   "Cognito, ID token",
			header: object{"kid", `"abcdefghijklmnopqrsexample="`},
			claims: object{"sub", `"aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"`, "cognito:groups", `["test-group-a"]`,
				"email_verified", "true", "iss", `"https://cognito-idp.us-west-2.amazonaws.com/us-west-2_example"`,
				"cognito:username", `"alice"`, "origin_jti", `"5b9f50a3-05da-454a-8b99-b79c2349de77"`, "aud",
				`"xxxxxxxxxxxxexample"`,
				"event_id", `"0ed5ad5c-7182-4ecf-8d9d-d44d5d6e8f4d"`, "token_use", `"id"`, "auth_time", "1767323000",
				"jti", `"5b9f50a3"`, "email", `"alice@shop.example"`},
			life: time.Hour, jwk: object{"alg", `"RS256"`, "use", `"sig"`}, types: []string{""}, asked: "xxxxxxxxxxxxexample",
			want: token.Caller{Issuer: "https://cognito-idp.us-west-2.amazonaws.com/us-west-2_example",
				Subject: "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"},
		},
		{
			name:   "Cognito, access token with resource binding",
			header: object{"kid", `"abcdefghijklmnopqrsexample="`},
			claims: object{"sub", `"aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"`,
				"iss", `"https://cognito-idp.us-west-2.amazonaws.com/us-west-2_example"`, "version", "2",
				"client_id", `"xxxxxxxxxxxxexample"`, "aud", `"https://orders.example"`, "origin_jti", `"5b9f50a3"`,
				"event_id", `"0"`,
				"token_use", `"access"`, "scope", `"orders/read"`, "auth_time", "1767323000", "jti", `"aaaa"`, "username",
				`"alice"`},
			life: time.Hour, jwk: object{"alg", `"RS256"`, "use", `"sig"`}, types: []string{""}, asked: "https://orders.example",
			want: token.Caller{Issuer: "https://cognito-idp.us-west-2.amazonaws.com/us-west-2_example",
				Subject: "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", ClientID: "xxxxxxxxxxxxexample"},
		},
		{
			name:   "Zitadel",
			header: object{"kid", `"327467854321451234"`, "typ", `"JWT"`},
			claims: object{"iss", `"https://shop.zitadel.cloud"`, "sub", `"312909075212239618"`,
				"aud", `["312909075212239617@shop","312909075212239616"]`, "nbf", "1767323045", "jti",
				`"V2_327467854321-at_327467"`,
				"client_id", `"312909075212239617@shop"`, "urn:zitadel:iam:org:project:roles",
				`{"user":{"312909":"shop.example"}}`},
			life: 12 * time.Hour, jwk: object{"alg", `"RS256"`, "use", `"sig"`}, types: []string{"JWT"},
			asked: "312909075212239616",
			want: token.Caller{Issuer: "https://shop.zitadel.cloud", Subject: "312909075212239618",
				ClientID: "312909075212239617@shop"},
		},
		{
			name:   "RFC 9068",
			header: object{"typ", `"at+JWT"`, "kid", `"RjEwOwOA"`},
			claims: object{"iss", `"https://authorization-server.example.com/"`, "sub", `"5ba552d67"`,
				"aud", `"https://rs.example.com/"`, "jti", `"dbe39bf3a3ba4238a513f51d6e1691c4"`, "client_id", `"s6BhdRkqt3"`,
				"scope", `"openid profile reademail"`},
			life: 15 * time.Minute, jwk: object{"alg", `"RS256"`}, asked: "https://rs.example.com/",
			want: token.Caller{Issuer: "https://authorization-server.example.com/", Subject: "5ba552d67",
				ClientID: "s6BhdRkqt3"},
		},
	}
}

// foreignRSA is the key of all providers: it takes long to make one.
var foreignRSA = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// token is a token of the provider, with some claims changed.
func (p provider) token(t testing.TB, more object) string {
	key, err := foreignRSA()
	require.NoError(t, err)
	claims := p.claims.with("iat", seconds(start)).with("exp", seconds(start.Add(p.life)))
	for i := 0; i < len(more); i += 2 {
		claims = claims.with(more[i], more[i+1])
	}
	return signAs(t, key, keys.RS256, p.header.with("alg", `"RS256"`).String(), claims.String())
}

func signAs(t testing.TB, private any, alg keys.Algorithm, header, claims string) string {
	input := b64([]byte(header)) + "." + b64([]byte(claims))
	return input + "." + b64(signWith(t, private, alg, input))
}

// seconds writes an instant as a NumericDate, with a fraction if it has one.
func seconds(at time.Time) string {
	text, _ := json.Marshal(float64(at.UnixMilli()) / 1000)
	return string(text)
}

// verifier verifies the tokens of the provider by its key set.
func (p provider) verifier(t testing.TB, change func(*token.VerifierConfig)) *token.Verifier {
	key, err := foreignRSA()
	require.NoError(t, err)
	jwk := append(object{"kty", `"RSA"`, "n", quoted(b64(key.N.Bytes())), "e",
		quoted(b64(big.NewInt(int64(key.E)).Bytes())),
		"kid", p.header.get("kid")}, p.jwk...)
	const more = `{"kty":"AKP","kid":"pq","alg":"ML-DSA-65","pub":"AAAA"},` +
		`{"kty":"RSA","kid":"e","use":"enc","alg":"RSA-OAEP"}`
	remote, err := keys.NewRemote(keys.RemoteConfig{URL: "https://idp.example/keys", RSAAlgorithm: p.rsa,
		Transport: published(`{"keys":[` + jwk.String() + `,` + more + `]}`)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, remote.Close()) })
	c := token.VerifierConfig{Keys: remote, Issuer: p.want.Issuer, Audience: p.asked, Leeway: -1,
		Now: func() time.Time { return start }, Foreign: &token.Foreign{Types: p.types, MaxLifetime: p.life}}
	if change != nil {
		change(&c)
	}
	v, err := token.NewVerifier(c)
	require.NoError(t, err)
	return v
}

// The tokens of these issuers are accepted, and say the same of the caller.
func TestForeignIssuers(t *testing.T) {
	for _, p := range providers() {
		t.Run(p.name, func(t *testing.T) {
			v := p.verifier(t, nil)
			got, err := v.Verify(t.Context(), p.token(t, nil))
			require.NoError(t, err)
			require.WithinDuration(t, start, got.IssuedAt, 0)
			further := got.Claims
			got.Claims, got.IssuedAt = nil, time.Time{}
			want := p.want
			want.ExpiresAt = time.UnixMilli(start.Add(p.life).UnixMilli())
			if p.claims.get("auth_time") != "" {
				want.AuthenticatedAt = time.Unix(1767323000, 0)
			}
			require.Equal(t, &want, got)
			for i := 0; i < len(p.claims); i += 2 {
				switch name := p.claims[i]; name {
				case "iss", "aud", "sub", "nbf", "jti", "sid", "auth_time", "client_id", "acr", "amr":
					require.NotContains(t, further, name)
				default:
					require.Equal(t, p.claims[i+1], string(further[name]), name)
				}
			}

			// The same token is not for anybody else, nor does it live longer than is
			// allowed, nor is it taken where another typ is due.
			_, err = p.verifier(t, func(c *token.VerifierConfig) { c.Audience = "elsewhere" }).Verify(t.Context(),
				p.token(t, nil))
			require.ErrorIs(t, err, token.ErrWrongAudience)
			_, err = p.verifier(t, func(c *token.VerifierConfig) { c.Issuer += "x" }).Verify(t.Context(), p.token(t, nil))
			require.ErrorIs(t, err, token.ErrWrongIssuer)
			_, err = v.Verify(t.Context(), p.token(t, object{"exp", seconds(start.Add(p.life + time.Second))}))
			require.ErrorContains(t, err, "lives longer than is allowed here")
			_, err = v.Verify(t.Context(), p.token(t, object{"exp", seconds(start)}))
			require.ErrorIs(t, err, token.ErrExpired)
			other := func(c *token.VerifierConfig) {
				c.Foreign = &token.Foreign{Types: []string{"x+jwt"}, MaxLifetime: p.life}
			}
			_, err = p.verifier(t, other).Verify(t.Context(), p.token(t, nil))
			require.EqualError(t, err, "token: of another kind (typ): not genuine")
			_, err = p.verifier(t, func(c *token.VerifierConfig) { c.Foreign = nil }).Verify(t.Context(), p.token(t, nil))
			require.Error(t, err, "the strict Verifier")
		})
	}
}

// Only the claims by which the token is judged are required.
func TestForeignOptionalClaims(t *testing.T) {
	p := providers()[10]
	v := p.verifier(t, nil)
	for _, name := range []string{"jti", "client_id", "scope"} {
		_, err := v.Verify(t.Context(), provider{header: p.header, claims: p.claims.without(name),
			life: p.life}.token(t, nil))
		require.NoError(t, err, name)
	}
	for _, name := range []string{"iss", "aud", "sub"} {
		_, err := v.Verify(t.Context(), provider{header: p.header, claims: p.claims.without(name),
			life: p.life}.token(t, nil))
		require.EqualError(t, err, "token: bad claims: missing: "+name+": not genuine")
	}
	// Numbers in the forms that RFC 7519, Section 2, allows; 0 stands for an
	// instant that the issuer doesn't know. The private claims of our own tokens
	// may be anything.
	got, err := v.Verify(t.Context(), p.token(t, object{"iat", "17673230.45E2", "exp", "1.767323105e9", "nbf", "0",
		"auth_time", "0", "sid", `""`, "acr", `""`, "gen", `"x"`, "since", "null", "tg", "1", "azp", "1"}))
	require.NoError(t, err)
	require.Equal(t, time.Unix(1767323105, 0), got.ExpiresAt)
	require.Zero(t, got.AuthenticatedAt)
	require.Equal(t, "s6BhdRkqt3", got.ClientID)
	require.JSONEq(t, `{"scope":"openid profile reademail","gen":"x","since":null,"tg":1,"azp":1}`, encodedClaims(t, got))
	got, err = v.Verify(t.Context(), p.token(t, object{"auth_time", "1767323000.25"}))
	require.NoError(t, err)
	require.Equal(t, time.UnixMilli(1767323000250), got.AuthenticatedAt)
}

func encodedClaims(t testing.TB, c *token.Caller) string {
	text, err := json.Marshal(c.Claims)
	require.NoError(t, err)
	return string(text)
}

// Types are compared as media types are.
func TestForeignTypes(t *testing.T) {
	p := providers()[10]
	for _, tt := range []struct {
		types []string
		typ   string // JSON; "" for none
		ok    bool
	}{
		{nil, `"at+jwt"`, true},
		{[]string{}, `"AT+JWT"`, true},
		{nil, `"application/at+jwt"`, true},
		{nil, `"Application/At+Jwt"`, true},
		{nil, `"JWT"`, false},
		{nil, "", false},
		{nil, `"x/at+jwt"`, false},
		{nil, `"application/x/at+jwt"`, false},
		{nil, `"application/"`, false},
		{[]string{""}, "", true},
		{[]string{""}, `"application/"`, false},
		{[]string{""}, `"JWT"`, false},
		{[]string{"application/AT+jwt", "JWT"}, `"at+jwt"`, true},
		{[]string{"application/AT+jwt", "JWT"}, `"jwt"`, true},
		{[]string{"application/AT+jwt", "JWT"}, "", false},
		{[]string{"application/okta-internal-at+jwt"}, `"application/okta-internal-at+jwt"`, true},
		{[]string{"JWT"}, `"cloakroom+jwt"`, false},
		{[]string{"JWT", ""}, `"logout+jwt"`, false},
	} {
		header := p.header.without("typ")
		if tt.typ != "" {
			header = header.with("typ", tt.typ)
		}
		v := p.verifier(t, func(c *token.VerifierConfig) { c.Foreign = &token.Foreign{Types: tt.types} })
		_, err := v.Verify(t.Context(), provider{header: header, claims: p.claims, life: p.life}.token(t, nil))
		require.Equal(t, tt.ok, err == nil, "%q with %s: %v", tt.types, tt.typ, err)
	}
}

// MaxLifetime is 15 minutes by default; exactly that long is not too long.
func TestForeignLifetime(t *testing.T) {
	p := providers()[10]
	for _, tt := range []struct {
		most, life time.Duration
		ok         bool
	}{
		{0, 15 * time.Minute, true}, {0, 15*time.Minute + time.Millisecond, false}, {time.Minute, time.Minute, true},
		{time.Minute, 61 * time.Second, false}, {24 * time.Hour, 24 * time.Hour, true},
		{24 * time.Hour, 24*time.Hour + time.Second, false},
	} {
		v := p.verifier(t, func(c *token.VerifierConfig) { c.Foreign = &token.Foreign{MaxLifetime: tt.most} })
		_, err := v.Verify(t.Context(), p.token(t, object{"exp", seconds(start.Add(tt.life))}))
		require.Equal(t, tt.ok, err == nil, "%v: %v", tt, err)
	}
	// No iat, and none that makes a long life look short.
	v := p.verifier(t, nil)
	for _, iat := range []string{"0", "-1", `"1767323045"`, "null", seconds(start.Add(time.Hour))} {
		_, err := v.Verify(t.Context(), p.token(t, object{"iat", iat}))
		require.ErrorIs(t, err, session.Forged, iat)
	}
}

// Every mistake is reported at once.
func TestForeignConfig(t *testing.T) {
	b := newBench(t, keys.ES256)
	v, err := token.NewVerifier(token.VerifierConfig{
		Revocations: b.list, MaxAuthAge: -1, ACR: []string{"ok", "a b", `a"`, ""},
		Foreign: &token.Foreign{MaxLifetime: 25 * time.Hour, Types: []string{"", "a b", "Cloakroom+JWT",
			strings.Repeat("x", 128)}},
	})
	require.Nil(t, v)
	for _, want := range []string{
		"token: VerifierConfig.Issuer is required", "token: VerifierConfig.Audience is required",
		"token: VerifierConfig.Keys is required",
		"token: VerifierConfig.MaxAuthAge is -1ns: must be whole seconds, and not negative",
		`token: VerifierConfig.ACR has "a b": a value has visible ASCII characters, without quotes and backslashes`,
		`token: VerifierConfig.ACR has "a\""`, `token: VerifierConfig.ACR has "": `,
		"token: VerifierConfig.Revocations knows nothing of the sessions of another issuer: remove it, or " +
			"VerifierConfig.Foreign",
		"token: VerifierConfig.Foreign.MaxLifetime is 25h0m0s: must be between 0 and 24h0m0s",
		`token: VerifierConfig.Foreign.Types has "a b": a typ has at most 127 visible ASCII characters`,
		`token: VerifierConfig.Foreign.Types has "Cloakroom+JWT": that is the typ of session tokens`,
		`token: VerifierConfig.Foreign.Types has "xxx`,
	} {
		require.ErrorContains(t, err, want)
	}
	require.Equal(t, 12, strings.Count(err.Error(), "\n")+1, "%v", err)
}
