package importing

import (
	"crypto/elliptic"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/keytest"
	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
)

// The kind of the key, what the file says of it and the flag must agree.
func TestChooseAlgorithm(t *testing.T) {
	raw := make(map[string]any)
	for _, kind := range []string{"p256", "p384", "ed25519", "x25519", "rsa2048", "rsa1024", "oct32", "text"} {
		var err error
		raw[kind], _, err = keytest.Generate(kind)
		require.NoError(t, err)
	}
	for _, row := range []struct {
		kind, alg, use string
		ops            []string
		flag           keyset.Algorithm
		want           keyset.Algorithm // "" for an error
		code           int              // the exit code
	}{
		// By the kind alone.
		{kind: "p256", want: keyset.ES256},
		{kind: "ed25519", want: keyset.EdDSA},
		{kind: "rsa2048", code: tool.ExitUsage},
		{kind: "oct32", code: tool.ExitUsage},
		{kind: "p384", code: tool.ExitRefused},
		{kind: "x25519", code: tool.ExitRefused},

		// With the flag.
		{kind: "p256", flag: keyset.ES256, want: keyset.ES256},
		{kind: "p256", flag: keyset.ECDHESA256KW, want: keyset.ECDHESA256KW},
		{kind: "p256", flag: keyset.EdDSA, code: tool.ExitUsage},
		{kind: "p256", flag: keyset.Direct, code: tool.ExitUsage},
		{kind: "ed25519", flag: keyset.EdDSA, want: keyset.EdDSA},
		{kind: "ed25519", flag: keyset.ES256, code: tool.ExitUsage},
		{kind: "rsa2048", flag: keyset.PS256, want: keyset.PS256},
		{kind: "rsa2048", flag: keyset.RS256, want: keyset.RS256},
		{kind: "rsa2048", flag: keyset.HS256, code: tool.ExitUsage}, // the classic confusion
		{kind: "oct32", flag: keyset.HS256, want: keyset.HS256},
		{kind: "oct32", flag: keyset.Direct, want: keyset.Direct},
		{kind: "oct32", flag: keyset.A256KW, want: keyset.A256KW},
		{kind: "oct32", flag: keyset.RS256, code: tool.ExitUsage},
		{kind: "p384", flag: keyset.ES256, code: tool.ExitRefused},

		// With the JWK's alg.
		{kind: "p256", alg: "ES256", want: keyset.ES256},
		{kind: "p256", alg: "ECDH-ES+A256KW", want: keyset.ECDHESA256KW},
		{kind: "p256", alg: "ECDH-ES", code: tool.ExitRefused},
		{kind: "p256", alg: "ES384", code: tool.ExitRefused},
		{kind: "p256", alg: "es256", code: tool.ExitRefused},
		{kind: "p256", alg: "none", code: tool.ExitRefused},
		{kind: "p256", alg: "HS256", code: tool.ExitRefused},
		{kind: "p256", alg: "ES256", flag: keyset.ES256, want: keyset.ES256},
		{kind: "p256", alg: "ES256", flag: keyset.ECDHESA256KW, code: tool.ExitUsage},
		{kind: "ed25519", alg: "EdDSA", want: keyset.EdDSA},
		{kind: "ed25519", alg: "Ed25519", want: keyset.EdDSA},
		{kind: "ed25519", alg: "Ed448", code: tool.ExitRefused},
		{kind: "rsa2048", alg: "RS256", want: keyset.RS256},
		{kind: "rsa2048", alg: "PS256", want: keyset.PS256},
		{kind: "rsa2048", alg: "RS256", flag: keyset.PS256, code: tool.ExitUsage},
		{kind: "rsa2048", alg: "RS512", code: tool.ExitRefused},
		{kind: "rsa2048", alg: "RSA-OAEP", code: tool.ExitRefused},
		{kind: "rsa2048", alg: "HS256", code: tool.ExitRefused},
		{kind: "oct32", alg: "HS256", want: keyset.HS256},
		{kind: "oct32", alg: "HS512", code: tool.ExitRefused},
		{kind: "oct32", alg: "dir", want: keyset.Direct},
		{kind: "oct32", alg: "A256GCM", want: keyset.Direct},
		{kind: "oct32", alg: "A256GCM", flag: keyset.Direct, want: keyset.Direct},
		{kind: "oct32", alg: "A128GCM", code: tool.ExitRefused},
		{kind: "oct32", alg: "A256KW", want: keyset.A256KW},

		// With use and key_ops, which narrow it down.
		{kind: "p256", use: "sig", want: keyset.ES256},
		{kind: "p256", use: "enc", want: keyset.ECDHESA256KW},
		{kind: "p256", use: "enc", alg: "ES256", code: tool.ExitRefused},
		{kind: "p256", use: "tls", code: tool.ExitRefused},
		{kind: "p256", ops: []string{"sign"}, want: keyset.ES256},
		{kind: "p256", ops: []string{"verify", "sign"}, want: keyset.ES256},
		{kind: "p256", ops: []string{"deriveKey"}, want: keyset.ECDHESA256KW},
		{kind: "p256", ops: []string{"wrapKey", "unwrapKey"}, want: keyset.ECDHESA256KW},
		{kind: "p256", ops: []string{"sign", "deriveBits"}, code: tool.ExitRefused},
		{kind: "p256", ops: []string{"deriveBits"}, flag: keyset.ES256, code: tool.ExitUsage},
		{kind: "p256", ops: []string{"frobnicate"}, code: tool.ExitRefused},
		{kind: "p256", use: "sig", ops: []string{"sign"}, want: keyset.ES256},
		{kind: "p256", use: "enc", ops: []string{"sign"}, code: tool.ExitRefused},
		{kind: "rsa2048", use: "sig", code: tool.ExitUsage},
		{kind: "rsa2048", use: "enc", code: tool.ExitRefused},
		{kind: "rsa2048", ops: []string{"encrypt"}, code: tool.ExitRefused},
		{kind: "oct32", use: "sig", want: keyset.HS256},
		{kind: "oct32", use: "enc", code: tool.ExitUsage},
		{kind: "oct32", ops: []string{"sign", "verify"}, want: keyset.HS256},
		{kind: "oct32", ops: []string{"encrypt", "decrypt"}, want: keyset.Direct},
		{kind: "oct32", ops: []string{"wrapKey", "unwrapKey"}, want: keyset.A256KW},
		{kind: "oct32", use: "enc", ops: []string{"decrypt"}, want: keyset.Direct},
		{kind: "oct32", alg: "dir", ops: []string{"wrapKey"}, code: tool.ExitRefused},

		// What is weak is refused before anybody is asked for an algorithm.
		{kind: "rsa1024", code: tool.ExitRefused},
		{kind: "text", code: tool.ExitRefused},
	} {
		in := incoming{raw: raw[row.kind], alg: row.alg, use: row.use, ops: row.ops}
		got, err := in.chooseAlgorithm(row.flag)
		require.Equal(t, row.want, got, "%+v", row)
		if row.want != "" {
			require.NoError(t, err, "%+v", row)
			continue
		}
		require.Error(t, err, "%+v", row)
		require.Equal(t, row.code, tool.ExitCode(err), "%+v: %v", row, err)
	}
}

// Every algorithm has keys that fit it, and no key fits an algorithm that it is
// not for.
func TestFitting(t *testing.T) {
	all := []keyset.Algorithm{
		keyset.ES256, keyset.EdDSA, keyset.PS256, keyset.RS256,
		keyset.HS256, keyset.Direct, keyset.A256KW, keyset.ECDHESA256KW,
	}
	fit := make(map[keyset.Algorithm]bool)
	for _, kind := range []string{"p256", "p384", "ed25519", "x25519", "rsa2048", "oct32"} {
		private, public, err := keytest.Generate(kind)
		require.NoError(t, err)
		if public != nil {
			require.Equal(t, fitting(private), fitting(public))
		}
		for _, alg := range all {
			_, err := keyset.Import(alg, private, keyset.Dates{})
			require.Equal(t, slices.Contains(fitting(private), alg), err == nil, "%s %s", kind, alg)
			fit[alg] = fit[alg] || err == nil
		}
	}
	require.Len(t, slices.Collect(maps.Keys(fit)), len(all))
	for alg, ok := range fit {
		require.True(t, ok, alg)
	}
	for _, other := range []any{nil, "text", elliptic.P256(), json.Number("1")} {
		require.Empty(t, fitting(other))
		name, _ := kindOf(other)
		require.Equal(t, "a key of another kind", name)
	}
}

func fitting(raw any) []keyset.Algorithm {
	_, fit := kindOf(raw)
	return fit
}

// What may be imported depends on which half there is, and on what it is for.
func TestCandidate(t *testing.T) {
	for _, row := range []struct {
		kind, alg            string
		public               bool
		verifyOnly, external bool
		wantPrivate, left    bool
		wantErr              string
	}{
		{kind: "p256", wantPrivate: true},
		{kind: "p256", verifyOnly: true, left: true},
		{kind: "p256", external: true, wantErr: "this is the private one"},
		{kind: "p256", public: true, wantErr: "it is a public key, and can't sign"},
		{kind: "p256", public: true, verifyOnly: true},
		{kind: "p256", public: true, external: true},
		{kind: "p256", alg: "ECDH-ES+A256KW", wantPrivate: true},
		{kind: "p256", alg: "ECDH-ES+A256KW", verifyOnly: true, wantPrivate: true},
		{kind: "p256", alg: "ECDH-ES+A256KW", public: true, verifyOnly: true, wantErr: "without its private half"},
		{kind: "p256", alg: "ECDH-ES+A256KW", public: true, external: true, wantErr: "without its private half"},
		{kind: "ed25519", verifyOnly: true, left: true},
		{kind: "oct32", alg: "HS256", wantPrivate: true},
		{kind: "oct32", alg: "HS256", verifyOnly: true, wantPrivate: true},
		{kind: "oct32", alg: "HS256", external: true, wantErr: "this is the private one"},
		{kind: "oct32", alg: "dir", verifyOnly: true, wantPrivate: true},
		{kind: "text", alg: "HS256", wantErr: "the key is text"},
	} {
		private, public, err := keytest.Generate(row.kind)
		require.NoError(t, err)
		in := incoming{raw: private}
		if row.public {
			in.raw = public
		}
		c, err := in.candidate(&importFlags{alg: row.alg, verifyOnly: row.verifyOnly, external: row.external})
		if row.wantErr != "" {
			require.ErrorContains(t, err, row.wantErr, "%+v", row)
			require.Equal(t, tool.ExitRefused, tool.ExitCode(err), "%+v", row)
			continue
		}
		require.NoError(t, err, "%+v", row)
		require.Equal(t, row.left, c.stripped, "%+v", row)
		require.Equal(t, row.wantPrivate, c.key.HasPrivate(), "%+v", row)
	}
}

func TestRefuseTwice(t *testing.T) {
	var all []*candidate
	for kind, alg := range map[string]keyset.Algorithm{
		"p256": keyset.ES256, "ed25519": keyset.EdDSA, "oct32": keyset.HS256,
	} {
		private, public, err := keytest.Generate(kind)
		require.NoError(t, err)
		k, err := keyset.Import(alg, private, keyset.Dates{})
		require.NoError(t, err)
		all = append(all, &candidate{key: k})

		// The same as another kind of key: the public half, another algorithm.
		again := keyset.Direct
		if public != nil {
			private, again = public, alg
		}
		other, err := keyset.Import(again, private, keyset.Dates{})
		require.NoError(t, err)
		for _, twice := range [][]*candidate{{{key: k}, {key: other}}, {{key: other}, {key: k}}} {
			require.Equal(t, tool.ExitRefused, tool.ExitCode(refuseTwice(twice)), kind)
		}
	}
	require.NoError(t, refuseTwice(nil))
	require.NoError(t, refuseTwice(all))
}

// A new file's first keys have the dates that keygen init gives.
func TestFirstKeys(t *testing.T) {
	now := time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)
	var all []*candidate
	for kind, alg := range map[string]keyset.Algorithm{"p256": keyset.ES256, "oct32": keyset.Direct} {
		private, _, err := keytest.Generate(kind)
		require.NoError(t, err)
		k, err := keyset.Import(alg, private, keyset.Dates{})
		require.NoError(t, err)
		all = append(all, &candidate{key: k})
	}
	got, err := firstKeys(all, now)
	require.NoError(t, err)
	want, err := rotation.New(keyset.Policy{}, now, keyset.ES256, keyset.Direct)
	require.NoError(t, err)
	require.ElementsMatch(t, shapes(want), shapes(got))
	require.Empty(t, rotation.Inspect(got, now))
	require.Equal(t, rotation.NextDue(want, now), rotation.NextDue(got, now))
}

// shapes are what is told of keys but their IDs.
func shapes(s *keyset.Set) (all []string) {
	for _, k := range s.Keys() {
		all = append(all, fmt.Sprint(k.Algorithm(), k.Dates(), k.HasPrivate()))
	}
	return all
}
