package keyset_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

// published is the public set of these keys.
func published(t testing.TB, list ...*keyset.Key) []byte {
	t.Helper()
	text, err := newSet(t, list...).PublicSet(t0)
	require.NoError(t, err)
	return text
}

// What the ring publishes, a verifier reads, and jwx too.
func TestPublicSetRoundTrip(t *testing.T) {
	for _, alg := range []keyset.Algorithm{keyset.ES256, keyset.EdDSA, keyset.PS256, keyset.RS256} {
		k := one(t, alg)
		signature, err := k.Sign("a.b")
		require.NoError(t, err)
		list, err := keyset.ParsePublicSet(published(t, k))
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.Equal(t, k.ID(), list[0].ID())
		require.Equal(t, alg, list[0].Algorithm())
		require.False(t, list[0].HasPrivate())
		require.NoError(t, list[0].Verify("a.b", signature))
		_, err = list[0].Sign("a.b")
		require.ErrorIs(t, err, keyset.ErrWrongKey)
	}
	set, err := newSet(t, generate(t, keyset.ES256, life(0))).PublicSet(at(-1))
	require.NoError(t, err)
	require.JSONEq(t, `{"keys":[]}`, string(set))
}

func TestParsePublicSet(t *testing.T) {
	ec, ed := generate(t, keyset.ES256), generate(t, keyset.EdDSA)
	entry := func(k *keyset.Key, change func(m map[string]any)) string {
		body := published(t, k)
		var m map[string]any
		require.NoError(t, json.Unmarshal([]byte(keyText(t, string(body))), &m))
		if change != nil {
			change(m)
		}
		text, err := json.Marshal(m)
		require.NoError(t, err)
		return string(text)
	}
	put := func(k *keyset.Key, name string, value any) string {
		return entry(k, func(m map[string]any) { m[name] = value })
	}
	drop := func(k *keyset.Key, name string) string { return entry(k, func(m map[string]any) { delete(m, name) }) }
	good := entry(ec, nil)
	rsaKey := one(t, keyset.RS256)
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
		{"unknown curve", put(generate(t, keyset.ES256), "crv", "P-521"), false, ""},
		{"off the curve", entry(generate(t, keyset.ES256), func(m map[string]any) { m["y"] = m["x"] }), false, ""},
		{"padded", put(ed, "x", member(t, fileJWK(t, ed), "x")+"="), false, ""},
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
			list, err := keyset.ParsePublicSet([]byte(`{"x":1,"keys":[` + good + `,` + tt.in + `]}`))
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
}

// One private member is enough to refuse a set, also one that keys of ours
// don't have.
func TestParsePublicSetRefusesPrivateMembers(t *testing.T) {
	key := strings.TrimSuffix(keyText(t, string(published(t, generate(t, keyset.EdDSA)))), "}")
	for _, name := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"} {
		_, err := keyset.ParsePublicSet([]byte(`{"keys":[` + key + `,"` + name + `":[]}]}`))
		require.ErrorContains(t, err, "private or symmetric key", name)
	}
}
