package token_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
)

// newForeign returns a forge for the tokens of another issuer, and a Verifier
// that takes as much of other issuers as can be configured. Its keys come from
// the issuer's key set.
func newForeign(t testing.TB, alg keys.Algorithm, trap string) (*forge, *token.Verifier) {
	m := newMaterial(t, start, alg, keys.Direct)
	f := newForge(t, m, start, true, false, trap)
	remote, err := keys.NewRemote(keys.RemoteConfig{URL: "https://idp.example/keys", RSAAlgorithm: keys.PS256,
		Transport: published(publicSet(t, openRing(t, m.signing)))})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, remote.Close()) })
	v, err := token.NewVerifier(token.VerifierConfig{Keys: remote, Issuer: attackIssuer, Audience: attackService,
		Now:     func() time.Time { return start },
		Foreign: &token.Foreign{Types: []string{"at+jwt", "JWT", ""}, MaxLifetime: 24 * time.Hour}})
	require.NoError(t, err)
	return f, v
}

// mustRefuse holds a refusal to the rules: no Caller, a reason, and not a word
// of the token's.
func mustRefuse(t *testing.T, v *token.Verifier, credential string) error {
	t.Helper()
	caller, err := v.Verify(t.Context(), credential)
	require.Error(t, err, "accepted: %.300q", credential)
	require.Nil(t, caller)
	require.NotEqual(t, session.Unavailable, session.ReasonOf(err), "%v", err)
	for segment := range strings.SplitSeq(credential, ".") {
		require.False(t, len(segment) > 5 && strings.Contains(err.Error(), segment), "the error has text of the token")
	}
	for _, secret := range []string{"mallory", "evil", "\n", "\x1b", attackID} {
		require.NotContains(t, err.Error(), secret)
	}
	return err
}

// What forges our own tokens forges no other issuer's either.
func TestAttackForeignTokens(t *testing.T) {
	for alg, attacks := range map[keys.Algorithm]map[string]func(*forge) []string{
		keys.ES256: {
			"alg none": algNone, "public key as HMAC secret": publicKeyAsSecret, "recovered key": recoveredKey,
			"kid as path, SQL, command": kidInjection, "kid of another type": kidTypes, "blank key": blankKey,
			"psychic signature": psychic, "ECDSA signature in DER": derSignature, "base64 malleability": respelled,
			"segment games": segments, "JSON serialization": jsonSerialization, "billion hashes": billionHashes,
			"segments of every size": sizes, "crit and b64": critical, "misspelled alg": misspelled,
		},
		keys.RS256: {"public key as HMAC secret": publicKeyAsSecret, "PKCS#1 padding": pkcs1Padding},
		keys.PS256: {"PSS salt": pssSalt},
		keys.EdDSA: {"public key as HMAC secret": publicKeyAsSecret, "Ed25519 signature with s+L": edPlusOrder},
	} {
		f, v := newForeign(t, alg, "https://trap.example")
		for what, attack := range attacks {
			t.Run(fmt.Sprint(alg, " ", what), func(t *testing.T) {
				credentials := attack(f)
				require.NotEmpty(t, credentials)
				for _, credential := range credentials {
					mustRefuse(t, v, credential)
				}
				_, err := v.Verify(t.Context(), f.good())
				require.NoError(t, err, "the control")
			})
		}
	}
}

// A key, or where to get one, in the header of a token is never used: not if it
// is the attacker's, and it does no harm if the token is good.
func TestAttackForeignKeysInTheHeader(t *testing.T) {
	var hits atomic.Int64
	trap := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer trap.Close()
	f, v := newForeign(t, keys.ES256, trap.URL)
	private, kid, public := evil(t)
	for _, with := range []object{
		{"jwk", public}, {"jku", quoted(trap.URL)}, {"x5u", quoted(trap.URL)}, {"x5c", `["MIIC"]`}, {"x5t", `"AA"`},
		{"x5t#S256", `"AA"`}, {"jwks", `{"keys":[` + public + `]}`}, {"iss", quoted(trap.URL)}, {"cty", `"JWT"`},
		{"zip", `"DEF"`}, {"enc", `"A256GCM"`}, {"epk", public}, {"nonce", `"x"`},
	} {
		for _, header := range []object{f.header, f.header.with("kid", quoted(kid)), f.header.with("kid", quoted(trap.URL)),
			f.header.without("kid")} {
			mustRefuse(t, v, f.forged(private, header.last(with[0], with[1]).String()))
		}
		_, err := v.Verify(t.Context(), f.withHeader(f.header.last(with[0], with[1]).String()))
		require.NoError(t, err, with)
	}
	require.Zero(t, hits.Load(), "a header's URL was asked")
}

// The bad tokens that every library was tried with, and claims that are not
// what they should be. Everything else of each token is good.
func TestAttackForeignClaims(t *testing.T) {
	f, v := newForeign(t, keys.ES256, "")
	at := func(d time.Duration) string { return seconds(start.Add(d)) }
	good := f.good()
	other := newMaterial(t, start, keys.ES256, keys.Direct)
	unknown := newForge(t, other, start, true, false, "").good()
	other.sigKID = f.sigKID
	claims, own := f.claims, f.claims.get("aud")
	tests := []struct {
		name, token string
		want        error // nil: none that can be told apart
	}{
		{"expired", f.withClaims(claims.with("iat", at(-time.Hour)).with("exp", at(-time.Minute)).String()), token.ErrExpired},
		{"wrong aud", f.withClaims(claims.with("aud", `"billing"`).String()), token.ErrWrongAudience},
		{"wrong iss", f.withClaims(claims.with("iss", `"https://evil.example"`).String()), token.ErrWrongIssuer},
		{"tampered", f.input(f.header.String(), claims.with("sub", `"root"`).String()) + good[strings.LastIndex(good, "."):],
			token.ErrBadSignature},
		{"truncated signature", good[:len(good)-2], token.ErrBadSignature},
		{"unknown key", unknown, token.ErrUnknownKey},
		{"known kid, another key", newForge(t, other, start, true, false, "").good(), token.ErrBadSignature},
		{"alg none", f.input(`{"alg":"none","typ":"at+jwt"}`, claims.String()) + ".", nil},
		{"HS256 with the PEM", f.mac(publicEncodings(t, f.public())[1], f.header.with("alg", `"HS256"`).String(),
			claims.String()),
			nil},

		{"several audiences without ours", f.withClaims(claims.with("aud", `["a","b"]`).String()), token.ErrWrongAudience},
		{"ours, in another case", f.withClaims(claims.with("aud", `["HTTPS://orders.example"]`).String()), token.ErrWrongAudience},
		{"ours in one string", f.withClaims(claims.with("aud", quoted("a "+attackService)).String()), token.ErrWrongAudience},
		{"no audience", f.withClaims(claims.with("aud", `[]`).String()), token.ErrWrongAudience},
		{"nested list", f.withClaims(claims.with("aud", `[[`+own+`]]`).String()), nil},
		{"ours, and a number", f.withClaims(claims.with("aud", `[`+own+`,1]`).String()), nil},
		{"ours, and null", f.withClaims(claims.with("aud", `[`+own+`,null]`).String()), nil},
		{"aud object", f.withClaims(claims.with("aud", `{`+own+`:1}`).String()), nil},
		{"aud null", f.withClaims(claims.with("aud", `null`).String()), nil},
		{"iss as a list", f.withClaims(claims.with("iss", `[`+claims.get("iss")+`]`).String()), nil},
		{"iss with a slash", f.withClaims(claims.with("iss", quoted(attackIssuer+"/")).String()), token.ErrWrongIssuer},
		{"no exp", f.withClaims(claims.without("exp").String()), nil},
		{"exp 0", f.withClaims(claims.with("exp", "0").String()), token.ErrExpired},
		{"no iat", f.withClaims(claims.without("iat").String()), nil},
		{"no sub", f.withClaims(claims.without("sub").String()), nil},
		{"sub empty", f.withClaims(claims.with("sub", `""`).String()), nil},
		{"sub number", f.withClaims(claims.with("sub", `1`).String()), nil},
		{"iat in the future", f.withClaims(claims.with("iat", at(time.Minute)).String()), token.ErrNotYetValid},
		{"nbf in the future", f.withClaims(claims.with("nbf", at(time.Minute)).String()), token.ErrNotYetValid},
		{"nbf 11 s in the future", f.withClaims(claims.with("nbf", at(11*time.Second)).String()), token.ErrNotYetValid},
		{"nbf as a string", f.withClaims(claims.with("nbf", `"0"`).String()), nil},
		{"lives for a day and more", f.withClaims(claims.with("exp", at(25*time.Hour)).String()), nil},
		{"jti number", f.withClaims(claims.with("jti", `1`).String()), nil},
		{"acr number", f.withClaims(claims.with("acr", `1`).String()), nil},
		{"logout token", f.withClaims(claims.with("events",
			`{"http://schemas.openid.net/event/backchannel-logout":{}}`).String()), nil},
		{"events null", f.withClaims(claims.with("events", `null`).String()), nil},

		{"repeated exp", f.withClaims(claims.last("exp", at(time.Minute)).String()), nil},
		{"repeated sub, escaped", f.withClaims(claims.last(`\u0073ub`, `"root"`).String()), nil},
		{"repeated in a further claim", f.withClaims(claims.last("x", `{"a":1,"a":2}`).String()), nil},
		{"repeated kid", f.withHeader(f.header.last("kid", quoted(f.sigKID)).String()), nil},
		{"repeated alg", f.withHeader(f.header.first("alg", `"none"`).String()), nil},
		{"repeated unknown member", f.withHeader(f.header.last("x", "1").last("x", "2").String()), nil},
		{"repeated in a key", f.withHeader(f.header.last("jwk", `{"a":1,"a":2}`).String()), nil},
		{"invalid UTF-8", f.withClaims(claims.last("x", "\"\xff\"").String()), nil},

		{"encrypted", f.jwe(good), nil},
		{"encrypted, of claims", f.jwe(claims.String()), nil},
		{"a token in a token", f.withClaims(quoted(good)), nil},
		{"a token in a token, bare", f.withClaims(good), nil},
		{"kid of 257 bytes", f.withHeader(f.header.with("kid", quoted(strings.Repeat("k", 257))).String()), nil},
		{"kid of 256 bytes", f.withHeader(f.header.with("kid", quoted(strings.Repeat("k", 256))).String()), token.ErrUnknownKey},
		{"kid for a log", f.withHeader(f.header.with("kid", quoted("x\nlevel=INFO msg=\"evil in\"")).String()), nil},
		{"kid for a terminal", f.withHeader(f.header.with("kid", `"\u001b[2Jevil"`).String()), nil},
		{"kid in another direction", f.withHeader(f.header.with("kid", `"\u202eevil"`).String()), nil},
		{"kid for a log, printable", f.withHeader(f.header.with("kid", quoted(`x" level=INFO msg="evil in`)).String()),
			token.ErrUnknownKey},
		{"typ of a session", f.withHeader(f.header.with("typ", `"cloakroom+jwt"`).String()), nil},
		{"typ of a logout token", f.withHeader(f.header.with("typ", `"logout+jwt"`).String()), nil},
		{"typ of an unknown kind", f.withHeader(f.header.with("typ", `"evil"`).String()), nil},
		{"PS256 with a key for ES256", f.withHeader(f.header.with("alg", `"PS256"`).String()), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { requireKind(t, tt.want, mustRefuse(t, v, tt.token)) })
	}
	for _, aud := range []string{own, `[` + own + `]`, `["a",` + own + `,"b"]`, `[` + own + `,` + own + `]`} {
		_, err := v.Verify(t.Context(), f.withClaims(claims.with("aud", aud).String()))
		require.NoError(t, err, aud)
	}
}

// A time that is no number between 0 and the year 9999 is refused, however it
// is written.
func TestAttackForeignNumbers(t *testing.T) {
	f, v := newForeign(t, keys.ES256, "")
	for _, name := range []string{"exp", "iat", "nbf", "auth_time"} {
		own := fmt.Sprint(start.Unix())
		wrong := `"` + own + `" null true [] {} [` + own + `] -1 -0 -` + own + ` 1e400 1e30 1e16 9007199254740993 ` +
			`18446744073709551616 253402300800 253402300799.5e1 1e999999999999999999999 Infinity NaN 0x6 01 +1 .5 1. 1_7 ` +
			own + `.` + strings.Repeat("0", 40)
		for _, value := range strings.Fields(wrong) {
			mustRefuse(t, v, f.withClaims(f.claims.with(name, value).String()))
		}
		for _, value := range []string{own + ".0", own + ".999", own + "e0", "1.767323045e9", "17673230450E-1"} {
			if name == "exp" {
				value = strings.Replace(value, "1767323045", "1767323105", 1)
				value = strings.Replace(strings.Replace(value, "1.767323045", "1.767323105", 1), "17673230450", "17673231050", 1)
			}
			_, err := v.Verify(t.Context(), f.withClaims(f.claims.with(name, value).String()))
			require.NoError(t, err, "%s %s", name, value)
		}
	}
}

// What a stranger sends costs no more than a good token does.
func TestAttackForeignCost(t *testing.T) {
	f, v := newForeign(t, keys.ES256, "")
	for _, credential := range []string{
		strings.Repeat(".", 1<<20), strings.Repeat("A", 1<<20) + ".A.A", f.withHeader(f.header.last("x",
			quoted(strings.Repeat("x", 1<<20))).String()),
		f.withClaims(f.claims.last("x", strings.Repeat("[", 100_000)).String()),
	} {
		used := allocated(func() { mustRefuse(t, v, credential) })
		require.Less(t, used, uint64(3<<20), "%.20q", credential)
	}
}
