package keys_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
)

// foreignKey is an entry of a key set, with members changed; nil removes one.
func foreignKey(t testing.TB, k *keyset.Key, change map[string]any) string {
	var m map[string]any
	require.NoError(t, json.Unmarshal([]byte(keyText(t, get(newRing(t, k).Handler(), nil).Body.String())), &m))
	for name, value := range change {
		m[name] = value
		if value == nil {
			delete(m, name)
		}
	}
	text, err := json.Marshal(m)
	require.NoError(t, err)
	return string(text)
}

// The sets of other issuers have kids and members of their own, RSA keys
// without alg, and keys of which nothing here knows.
func TestRemoteOfAnotherIssuer(t *testing.T) {
	rsa, ec := one(t, keyset.RS256), one(t, keyset.ES256)
	x5c := map[string]any{"x5c": []string{"MIIC/zCCAeegAwIBAgIJ"}, "x5t": "kWbkha6qs8wsTnBwiNYOhHbnAw",
		"x5t#S256": "x", "issuer": "https://login.example/{tenantid}/v2.0", "nbf": 1}
	with := func(more map[string]any) map[string]any {
		all := map[string]any{}
		for _, m := range []map[string]any{x5c, more} {
			for name, value := range m {
				all[name] = value
			}
		}
		return all
	}
	long := strings.Repeat("ü", 128)
	tests := []struct {
		name, entry, kid string
		rsa              keys.Algorithm
		want             keys.Algorithm // "" if it is left out
	}{
		{"x5c", foreignKey(t, rsa, with(nil)), rsa.ID(), "", keys.RS256},
		{"no alg", foreignKey(t, rsa, with(map[string]any{"alg": nil})), rsa.ID(), "", ""},
		{"no alg, RS256", foreignKey(t, rsa, with(map[string]any{"alg": nil})), rsa.ID(), keys.RS256, keys.RS256},
		{"no alg, PS256", foreignKey(t, rsa, map[string]any{"alg": nil}), rsa.ID(), keys.PS256, keys.PS256},
		{"empty alg", foreignKey(t, rsa, map[string]any{"alg": ""}), rsa.ID(), keys.RS256, keys.RS256},
		{"alg is not overruled", foreignKey(t, rsa, nil), rsa.ID(), keys.PS256, keys.RS256},
		{"no alg, no use", foreignKey(t, rsa, map[string]any{"alg": nil, "use": nil}), rsa.ID(), keys.RS256, keys.RS256},
		{"to encrypt", foreignKey(t, rsa, map[string]any{"alg": "RSA-OAEP", "use": "enc"}), rsa.ID(), keys.RS256, ""},
		{"to encrypt, no alg", foreignKey(t, rsa, map[string]any{"alg": nil, "use": "enc"}), rsa.ID(), keys.RS256, ""},
		{"elliptic curve without alg", foreignKey(t, ec, map[string]any{"alg": nil}), ec.ID(), keys.RS256, keys.ES256},
		{"another hash", foreignKey(t, rsa, map[string]any{"alg": "RS512"}), rsa.ID(), keys.RS256, ""},
		{"base64 kid", foreignKey(t, ec, map[string]any{"kid": "abc+/d="}), "abc+/d=", "", keys.ES256},
		{"URL as kid", foreignKey(t, ec, map[string]any{"kid": "https://a.example/k#1"}), "https://a.example/k#1", "", keys.ES256},
		{"kid with a space", foreignKey(t, ec, map[string]any{"kid": "key 1"}), "key 1", "", keys.ES256},
		{"kid of 256 bytes", foreignKey(t, ec, map[string]any{"kid": long}), long, "", keys.ES256},
		{"kid of 257 bytes", foreignKey(t, ec, map[string]any{"kid": long + "x"}), long + "x", "", ""},
		{"kid with a line break", foreignKey(t, ec, map[string]any{"kid": "a\nb"}), "a\nb", "", ""},
		{"post-quantum", `{"kty":"AKP","kid":"pq","alg":"ML-DSA-65","pub":"AAAA"}`, "pq", keys.RS256, ""},
		{"unknown kind", `{"kty":"X","kid":"x","alg":"X","use":"sig"}`, "x", keys.RS256, ""},
		{"X25519", `{"kty":"OKP","crv":"X25519","kid":"x","x":"AAAA"}`, "x", keys.RS256, ""},
	}
	other := one(t, keyset.EdDSA)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var reports []error
			r := overTheNet(t, "https://a.example", func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprintf(w, `{"keys":[%s,%s]}`, tt.entry, foreignKey(t, other, nil))
			}, func(c *keys.RemoteConfig) {
				c.RSAAlgorithm, c.OnProblem = tt.rsa, func(err error) { reports = append(reports, err) }
			})
			_, err := r.Key(t.Context(), other.ID(), t0)
			require.NoError(t, err, "the other key of the set is not affected")
			got, err := r.Key(t.Context(), tt.kid, t0)
			keys.Settle(r)
			if tt.want == "" {
				require.ErrorIs(t, err, keys.ErrUnknownKey)
				require.Len(t, reports, 1)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.want, got.Algorithm())
			require.Empty(t, reports)
		})
	}
}

// A kid is a stranger's text. It is in quotes wherever people may read it, so
// that it passes for nothing else.
func TestRemoteQuotesKids(t *testing.T) {
	kid := `a" is left out: level=ERROR msg="root logged in`
	k := one(t, keyset.ES256)
	var reports []string
	use := "enc"
	r := overTheNet(t, "https://a.example", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"keys":[%s,%s]}`, foreignKey(t, k, map[string]any{"kid": kid, "use": use}),
			foreignKey(t, one(t, keyset.EdDSA), nil))
	}, func(c *keys.RemoteConfig) {
		c.OnProblem = func(err error) { reports = append(reports, err.Error()) }
	})
	_, err := r.Key(t.Context(), kid, t0)
	require.EqualError(t, err, "keys: no key with this ID")
	keys.Settle(r)
	quoted := `"a\" is left out: level=ERROR msg=\"root logged in"`
	require.Equal(t, []string{"keys: fetch key set: key " + quoted + " of the set is left out: member use: it is not sig"},
		reports)
	use = "sig"
	got, err := r.Key(t.Context(), kid, t0)
	require.NoError(t, err)
	require.Equal(t, kid, got.ID())
	require.Equal(t, "keys.Key(ES256 "+quoted+")", fmt.Sprint(got))
}
