package token_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/internal/diagnose"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
	"github.com/stretchr/testify/require"
)

func encodePart(t testing.TB, v any) string {
	text, err := json.Marshal(v)
	require.NoError(t, err)
	return base64.RawURLEncoding.EncodeToString(text)
}

// published answers each fetch with a JWK Set.
type published string

func (p published) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(string(p)))}, nil
}

// A service that trusts a JWK Set in which an Ed25519 key is the identity point
// would take any token with one constant signature, which needs no private key.
func TestVerifierTakesNoTokenThatWasMadeWithoutAPrivateKey(t *testing.T) {
	point, signature := make([]byte, 32), make([]byte, 64)
	point[0], signature[0] = 1, 1
	b64 := base64.RawURLEncoding.EncodeToString
	hollow := fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","use":"sig","alg":"EdDSA","kid":"hollow","x":%q}`, b64(point))
	ring := apptest.NewRing(t, func() time.Time { return start }, keys.ES256)
	good, err := json.Marshal(publicKeyOf(t, ring))
	require.NoError(t, err)
	remote, err := keys.NewRemote(keys.RemoteConfig{URL: "https://a.example",
		Transport: published(`{"keys":[` + string(good) + `,` + hollow + `]}`)})
	require.NoError(t, err)
	defer remote.Close()
	verifier, err := token.NewVerifier(token.VerifierConfig{Keys: remote, Issuer: "https://app.example",
		Audience: "https://orders.example", Now: func() time.Time { return start }})
	require.NoError(t, err)
	for _, subject := range []string{"alice", "bob", "mallory"} {
		claims := serviceClaims(start, map[string]any{"sub": subject})
		_, err = verifier.Verify(t.Context(), genuine(t, ring, start, "at+jwt", claims))
		require.NoError(t, err)
		header := map[string]any{"alg": "EdDSA", "kid": "hollow", "typ": "at+jwt"}
		_, err = verifier.Verify(t.Context(), encodePart(t, header)+"."+encodePart(t, claims)+"."+b64(signature))
		require.ErrorIs(t, err, session.UnknownKey)
	}
}

// publicKeyOf returns the only public key of ring as a JWK.
func publicKeyOf(t testing.TB, ring *keys.Ring) map[string]any {
	var set struct{ Keys []map[string]any }
	require.NoError(t, json.Unmarshal(publicSet(t, ring), &set))
	require.Len(t, set.Keys, 1)
	return set.Keys[0]
}

func publicSet(t testing.TB, ring *keys.Ring) []byte {
	text, err := (*keyset.Set)(ring.Set()).PublicSet(start)
	require.NoError(t, err)
	return text
}

// RFC 9864 gives EdDSA on this curve another name, which stands for the same
// algorithm here in all places where others write; we write EdDSA.
func TestEd25519IsEdDSA(t *testing.T) {
	ring := apptest.NewRing(t, func() time.Time { return start }, keys.EdDSA)
	key, err := ring.Current(keys.Signature, start)
	require.NoError(t, err)
	signed := func(key *keys.Key, alg, typ string, claims map[string]any) string {
		input := encodePart(t, map[string]any{"alg": alg, "kid": key.ID(), "typ": typ}) + "." + encodePart(t, claims)
		signature, err := (*keyset.Key)(key).Sign(input)
		require.NoError(t, err)
		return input + "." + base64.RawURLEncoding.EncodeToString(signature)
	}
	jwk := publicKeyOf(t, ring)
	require.Equal(t, "EdDSA", jwk["alg"])
	for _, published := range []string{"EdDSA", "Ed25519"} {
		jwk["alg"] = published
		text, err := json.Marshal(map[string]any{"keys": []any{jwk}})
		require.NoError(t, err)
		list, err := keys.ParsePublicSet(text)
		require.NoError(t, err)
		require.Equal(t, keys.EdDSA, list[0].Algorithm())
		theirs, err := keys.NewRing(list...)
		require.NoError(t, err)
		verifier, err := token.NewVerifier(token.VerifierConfig{Keys: theirs, Issuer: "https://app.example",
			Audience: "https://orders.example", Now: func() time.Time { return start }})
		require.NoError(t, err)
		for _, alg := range []string{"EdDSA", "Ed25519"} {
			credential := signed(key, alg, "at+jwt", serviceClaims(start, nil))
			_, err = verifier.Verify(t.Context(), credential)
			require.NoError(t, err, "key %s, token %s", published, alg)
			require.Empty(t, diagnose.Token(t.Context(), theirs, credential, diagnose.Want{}, start).Problem())
		}
		for _, alg := range []string{"ed25519", "Ed448", "ES256", "none"} {
			_, err = verifier.Verify(t.Context(), signed(key, alg, "at+jwt", serviceClaims(start, nil)))
			require.Error(t, err, alg)
		}
	}
	other := apptest.NewRing(t, func() time.Time { return start }, keys.ES256)
	signer, err := other.Current(keys.Signature, start)
	require.NoError(t, err)
	verifier, err := token.NewVerifier(token.VerifierConfig{Keys: other, Issuer: "https://app.example",
		Audience: "https://orders.example", Now: func() time.Time { return start }})
	require.NoError(t, err)
	_, err = verifier.Verify(t.Context(), signed(signer, "Ed25519", "at+jwt", serviceClaims(start, nil)))
	require.ErrorIs(t, err, session.Forged, "a key of another algorithm")
}

// The gate takes a session token with the other name, too.
func TestSessionTokenWithEd25519(t *testing.T) {
	b := newBench(t, keys.EdDSA)
	credential, err := b.Issue(t.Context(), record(nil), "")
	require.NoError(t, err)
	header, rest, _ := strings.Cut(credential, ".")
	text, err := base64.RawURLEncoding.DecodeString(header)
	require.NoError(t, err)
	require.Contains(t, string(text), `"alg":"EdDSA"`, "what we write")
	payload, _, _ := strings.Cut(rest, ".")
	input := base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(text), "EdDSA", "Ed25519", 1))) + "." +
		payload
	key, err := b.ring.Current(keys.Signature, b.now)
	require.NoError(t, err)
	signature, err := (*keyset.Key)(key).Sign(input)
	require.NoError(t, err)
	rec, _, err := b.Open(t.Context(), input+"."+base64.RawURLEncoding.EncodeToString(signature))
	require.NoError(t, err)
	require.Equal(t, "alice", rec.Subject)
}

// RFC 9110, Section 11.4: one or more spaces follow the scheme.
func TestVerifierTakesSeveralSpacesAfterBearer(t *testing.T) {
	b := newBench(t, keys.ES256)
	bearer, err := b.issuer(t).Issue(t.Context(), b.of(record(nil)), "orders")
	require.NoError(t, err)
	for header, want := range map[string]bool{
		"Bearer " + bearer: true, "Bearer  " + bearer: true, "bearer    " + bearer: true,
		"Bearer\t" + bearer: false, "Bearer \t" + bearer: false, "Bearer" + bearer: false, " Bearer " + bearer: false,
		"Bearer " + bearer + " " + bearer: false, "Bearer  ": false, "Basic  " + bearer: false,
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://orders.example", nil)
		require.NoError(t, err)
		r.Header["Authorization"] = []string{header}
		_, err = b.verifier(t).Check(r)
		require.Equal(t, want, err == nil, "%q", header)
	}
}
