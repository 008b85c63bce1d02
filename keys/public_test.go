package keys_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/keys"
)

func get(h http.Handler, edit func(*http.Request)) *httptest.ResponseRecorder {
	req := httptest.NewRequest(http.MethodGet, "/jwks.json", nil)
	if edit != nil {
		edit(req)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w
}

func TestHandler(t *testing.T) {
	r := newRing(t, generate(t, keys.ES256), generate(t, keys.EdDSA), one(t, keys.RS256), generate(t, keys.HS256), generate(t, keys.Direct), generate(t, keys.ECDHESA256KW))
	w := get(r.Handler(), nil)
	require.Equal(t, 200, w.Code)
	require.Equal(t, "application/jwk-set+json", w.Header().Get("Content-Type"))
	require.Equal(t, "public, max-age=600", w.Header().Get("Cache-Control"))
	require.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
	etag := w.Header().Get("ETag")
	require.Regexp(t, `^"[A-Za-z0-9_-]{22}"$`, etag, "strong")

	var set struct{ Keys []map[string]any }
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &set))
	require.Len(t, set.Keys, 3, "no symmetric key, none that encrypts")
	for i, want := range [][]string{{"kty", "crv", "x", "y"}, {"kty", "crv", "x"}, {"kty", "n", "e"}} {
		var names []string
		for name := range set.Keys[i] {
			names = append(names, name)
		}
		require.ElementsMatch(t, append(want, "kid", "alg", "use"), names)
		require.Equal(t, "sig", set.Keys[i]["use"])
	}
	_, err := jwk.Parse(w.Body.Bytes())
	require.NoError(t, err)

	body := w.Body.String()
	w = get(r.Handler(), func(r *http.Request) { r.Header.Set("If-None-Match", etag) })
	require.Equal(t, 304, w.Code)
	require.Empty(t, w.Body.String())
	require.Equal(t, etag, w.Header().Get("ETag"))
	w = get(r.Handler(), func(r *http.Request) { r.Header.Set("If-None-Match", `"other"`) })
	require.Equal(t, 200, w.Code)
	w = get(r.Handler(), func(r *http.Request) { r.Method = http.MethodHead })
	require.Equal(t, 200, w.Code)
	require.Empty(t, w.Body.String())
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "PATCH"} {
		w = get(r.Handler(), func(r *http.Request) { r.Method = method })
		require.Equal(t, 405, w.Code)
		require.Equal(t, "GET, HEAD", w.Header().Get("Allow"))
	}
	require.Equal(t, body, get(r.Handler(), nil).Body.String())
}

// The published set follows the clock, without a reload.
func TestHandlerFollowsTheDates(t *testing.T) {
	a, b := generate(t, keys.ES256, life(0)), generate(t, keys.ES256, life(3))
	r := newRing(t, a, b)
	now := at(-1)
	keys.SetClock(r, func() time.Time { return now })
	tests := []struct {
		now  time.Time
		want []string
	}{
		{at(-1), nil}, {at(0), []string{a.ID()}}, {at(2), []string{a.ID()}}, {at(3), []string{a.ID(), b.ID()}}, {at(5).Add(-1), []string{a.ID(), b.ID()}}, {at(5), []string{b.ID()}}, {at(8).Add(-1), []string{b.ID()}}, {at(8), nil},
		{at(1), []string{a.ID()}}, // the clock was set back
	}
	etags := map[string]string{}
	for _, tt := range tests {
		now = tt.now
		w := get(r.Handler(), nil)
		var set struct{ Keys []struct{ Kid string } }
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &set))
		var got []string
		for _, k := range set.Keys {
			got = append(got, k.Kid)
		}
		require.Equal(t, tt.want, got, "%v", tt.now)
		etags[w.Header().Get("ETag")] = w.Body.String()
	}
	require.Len(t, etags, 4, "one tag for each content")
}

// What the ring publishes, a verifier reads, and jwx too.
func TestPublicSetRoundTrip(t *testing.T) {
	for _, alg := range []keys.Algorithm{keys.ES256, keys.EdDSA, keys.PS256, keys.RS256} {
		k := one(t, alg)
		signature, err := k.Sign("a.b")
		require.NoError(t, err)
		list, err := keys.ParsePublicSet(get(newRing(t, k).Handler(), nil).Body.Bytes())
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.Equal(t, k.ID(), list[0].ID())
		require.Equal(t, alg, list[0].Algorithm())
		require.False(t, list[0].HasPrivate())
		require.NoError(t, list[0].Verify("a.b", signature))
		_, err = list[0].Sign("a.b")
		require.ErrorIs(t, err, keys.ErrWrongKey)
	}
	set, err := newSet(t, generate(t, keys.ES256, life(0))).PublicSet(at(-1))
	require.NoError(t, err)
	require.JSONEq(t, `{"keys":[]}`, string(set))
}

func TestParsePublicSet(t *testing.T) {
	ec, ed := generate(t, keys.ES256), generate(t, keys.EdDSA)
	entry := func(k *keys.Key, change func(m map[string]any)) string {
		body := get(newRing(t, k).Handler(), nil).Body.Bytes()
		var m map[string]any
		require.NoError(t, json.Unmarshal([]byte(keyText(t, string(body))), &m))
		if change != nil {
			change(m)
		}
		text, err := json.Marshal(m)
		require.NoError(t, err)
		return string(text)
	}
	put := func(k *keys.Key, name string, value any) string {
		return entry(k, func(m map[string]any) { m[name] = value })
	}
	drop := func(k *keys.Key, name string) string { return entry(k, func(m map[string]any) { delete(m, name) }) }
	good := entry(ec, nil)
	rsaKey := one(t, keys.RS256)
	tests := []struct {
		name, in string
		usable   bool   // beside the good key
		refused  string // the whole set
	}{
		{"EdDSA", entry(ed, nil), true, ""},
		{"RSA", entry(rsaKey, nil), true, ""},
		{"no alg", drop(ed, "alg"), true, ""},
		{"no use", drop(ed, "use"), true, ""},
		{"kid of their own", put(ed, "kid", "2026-11"), true, ""},
		{"more members", put(ed, "x5c", []string{"AAAA"}), true, ""},
		{"key_ops verify", put(ed, "key_ops", []string{"verify"}), true, ""},
		{"RSA without alg", drop(rsaKey, "alg"), false, ""},
		{"no kid", drop(ed, "kid"), false, ""},
		{"kid with a slash", put(ed, "kid", "a/b"), false, ""},
		{"kid number", put(ed, "kid", 1), false, ""},
		{"use enc", put(ed, "use", "enc"), false, ""},
		{"key_ops encrypt", put(ed, "key_ops", []string{"encrypt"}), false, ""},
		{"key_ops text", put(ed, "key_ops", "verify"), false, ""},
		{"unknown alg", put(ed, "alg", "ES256K"), false, ""},
		{"alg of another kty", put(ed, "alg", "ES256"), false, ""},
		{"alg that encrypts", put(ed, "alg", "ECDH-ES+A256KW"), false, ""},
		{"alg none", put(ed, "alg", "none"), false, ""},
		{"HS256 with a public key", put(ed, "alg", "HS256"), false, ""},
		{"unknown kty", `{"kty":"AKP","kid":"a","alg":"ML-DSA-44","pub":"AAAA"}`, false, ""},
		{"unknown curve", put(generate(t, keys.ES256), "crv", "P-521"), false, ""},
		{"off the curve", entry(generate(t, keys.ES256), func(m map[string]any) { m["y"] = m["x"] }), false, ""},
		{"padded", put(ed, "x", member(t, private(t, ed), "x")+"="), false, ""},
		{"RSA 1024", put(rsaKey, "n", b64(modulus(1024).Bytes())), false, ""},
		{"RSA exponent 1", put(rsaKey, "e", "AQ"), false, ""},
		{"empty object", `{}`, false, ""},
		{"private", put(ed, "d", "AAAA"), false, "private or symmetric"},
		{"private RSA prime", put(rsaKey, "p", "AAAA"), false, "private or symmetric"},
		{"private AKP", `{"kty":"AKP","kid":"a","priv":"AAAA"}`, false, "private or symmetric"},
		{"symmetric", `{"kty":"oct","kid":"a","k":"AAAA"}`, false, "private or symmetric"},
		{"symmetric without k", `{"kty":"oct","kid":"a"}`, false, "private or symmetric"},
		{"same kid", entry(ed, func(m map[string]any) { m["kid"] = ec.ID() }), false, "kid of another"},
		{"same kid in a key to skip", `{"kty":"AKP","kid":"` + ec.ID() + `"}`, false, "kid of another"},
		{"duplicate member", `{"kty":"EC","kty":"EC"}`, false, "strict JSON"},
		{"not an object", `"x"`, false, "key number 2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			list, err := keys.ParsePublicSet([]byte(`{"x":1,"keys":[` + good + `,` + tt.in + `]}`))
			if tt.refused != "" {
				require.ErrorContains(t, err, tt.refused)
				require.Nil(t, list)
				return
			}
			require.NoError(t, err)
			want := 1
			if tt.usable {
				want = 2
			}
			require.Len(t, list, want)
			require.Equal(t, ec.ID(), list[0].ID())
		})
	}
	for in, want := range refusedSets {
		_, err := keys.ParsePublicSet([]byte(in))
		require.ErrorContains(t, err, want, in)
	}
}

// refusedSets are answers of which no key can be used, and why.
var refusedSets = map[string]string{
	``: "strict JSON", `[]`: "JSON object", `{}`: "no keys member", `{"keys":{}}`: "JSON array", `{"keys":[{}]}`: "it has no kid", `{"keys":null}`: "JSON array",
	`{"keys":[]}{"keys":[]}`: "strict JSON", `{"keys":[],"keys":[]}`: "strict JSON", `{"keys":[` + strings.Repeat(`{},`, 100) + `{}]}`: "more than 100",
	`{"keys":[5]}`: "JSON object", `{"keys":[{"kty":"oct","kid":"a"}]}`: "private or symmetric", `{"keys":[{"kty":"EC","kid":"a","x":""}]}`: "member x: empty",
	`{"keys":[{"kty":"EC","kid":"a","alg":"ES256","crv":"P-256","x":"AA","y":"AA"}]}`: "the numbers of the key",
}

// An error says once which package it comes from, and it is this one.
func TestErrorsOfSetsHaveOnePrefix(t *testing.T) {
	_, err := keys.ParsePublicSet([]byte(`{"keys":[]}`))
	require.EqualError(t, err, "keys: no key of the set can be used to verify")
	for in := range refusedSets {
		_, err := keys.ParsePublicSet([]byte(in))
		require.Regexp(t, `^keys: `, err)
		require.NotRegexp(t, `.(keys|jose): `, err)

		r := overTheNet(t, "https://a.example", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, in) }, nil)
		_, err = r.Key(t.Context(), "a", t0)
		require.ErrorContains(t, err, "fetch key set: ", in)
		require.NotRegexp(t, `.(keys|jose): `, err)
	}
}
