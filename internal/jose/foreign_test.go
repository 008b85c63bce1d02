package jose_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/jose"
)

// Other issuers write more into a header. What says which key to use is passed
// over, and what must not be passed over is refused.
func TestParseForeignJWS(t *testing.T) {
	h := func(more string) string { return jws(`{"alg":"RS256","kid":"k"`+more+`}`, goodClaims) }
	tests := []struct {
		name, in string
		want     string // in the error; "" if it is read
	}{
		{"no typ", h(""), ""},
		{"x5t", h(`,"typ":"JWT","x5t":"AA","x5t#S256":"AA"`), ""},
		{"certificates", h(`,"x5c":["` + strings.Repeat("A", 4000) + `"]`), ""},
		{"keys", h(`,"jwk":{"kty":"oct","k":"AA"},"jku":"https://evil.example","x5u":"https://evil.example"`), ""},
		{"members of their own", h(`,"nonce":"x","ver":1,"other":null`), ""},
		{"cty", h(`,"cty":"json"`), ""},
		{"a header of 8 KiB and more", h(`,"x":"` + strings.Repeat("A", 6200) + `"`), "header too long"},
		{"crit", h(`,"crit":["exp"]`), "crit is not allowed"},
		{"crit, empty", h(`,"crit":[]`), "crit is not allowed"},
		{"crit, escaped", h(`,"\u0063rit":["exp"]`), "crit is not allowed"},
		{"b64", h(`,"b64":false`), "b64 is not allowed"},
		{"b64 with crit", h(`,"crit":["b64"],"b64":false`), "is not allowed"},
		{"repeated member", h(`,"x5t":"a","x5t":"b"`), "a repeated name"},
		{"repeated kid", h(`,"kid":"k"`), "a repeated name"},
		{"repeated in a member", h(`,"jwk":{"a":1,"a":2}`), "a repeated name"},
		{"typ empty", h(`,"typ":""`), "typ: empty"},
		{"typ number", h(`,"typ":1`), "typ: jose: not a JSON string"},
		{"typ with a space", h(`,"typ":"at+jwt; x"`), "media type"},
		{"no kid", jws(`{"alg":"RS256"}`, goodClaims), "without kid"},
		{"kid null", jws(`{"alg":"RS256","kid":null}`, goodClaims), "kid: jose: not a JSON string"},
		{"kid of 256 bytes", jws(`{"alg":"RS256","kid":"`+strings.Repeat("/", 256)+`"}`, goodClaims), ""},
		{"kid of 257 bytes", jws(`{"alg":"RS256","kid":"`+strings.Repeat("/", 257)+`"}`, goodClaims), "256 bytes"},
		{"kid with a control character", jws(`{"alg":"RS256","kid":"a\u001b[31m"}`, goodClaims), "can't be printed"},
		{"kid with a line separator", jws(`{"alg":"RS256","kid":"a\u2028"}`, goodClaims), "can't be printed"},
		{"kid of base64", jws(`{"alg":"RS256","kid":"ab+/=="}`, goodClaims), ""},
		{"no alg", jws(`{"kid":"k"}`, goodClaims), "alg is not"},
		{"alg none", jws(`{"alg":"none","kid":"k"}`, goodClaims), "alg is not"},
		{"alg none, unsigned", b64(`{"alg":"none","kid":"k"}`) + "." + b64(goodClaims) + ".", "empty segment"},
		{"alg in another case", jws(`{"alg":"rs256","kid":"k"}`, goodClaims), "alg is not"},
		{"not an object", jws(`[]`, goodClaims), "not a JSON object"},
		{"encrypted", jwe(`{"alg":"dir","enc":"A256GCM","kid":"k","cty":"JWT"}`, 0, 12, 7, 16), "segments"},
		{"padded", h("") + "=", "canonical base64url"},
		{"line break", h("") + "\n", "line break"},
		{"too long", jws(`{"alg":"RS256","kid":"k"}`, strings.Repeat(" ", jose.MaxLength)), "too long"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := jose.ParseForeignJWS(tt.in)
			if tt.want != "" {
				require.ErrorContains(t, err, tt.want)
				require.Nil(t, got)
				return
			}
			require.NoError(t, err)
			require.Equal(t, jose.RS256, got.Header.Alg)
			require.Equal(t, goodClaims, string(got.Payload))
			require.Empty(t, got.Header.Cty)
		})
	}
}

func TestMediaType(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "at+jwt": "at+jwt", "AT+JWT": "at+jwt", "application/at+jwt": "at+jwt", "Application/AT+JWT": "at+jwt",
		"application/a/b": "application/a/b", "text/at+jwt": "text/at+jwt", "application/": "application/", "JWT": "jwt",
	} {
		require.Equal(t, want, jose.MediaType(in), in)
	}
}

func TestShownKid(t *testing.T) {
	for in, want := range map[string]string{
		"A-_9": "A-_9", "": `""`, "a b": `"a b"`, "a\nb": `"a\nb"`, `a"`: `"a\""`, strings.Repeat("k", 129): `"` +
			strings.Repeat("k", 129) + `"`,
	} {
		require.Equal(t, want, jose.ShownKid(in))
	}
}
