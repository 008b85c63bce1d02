package keyset_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

// FuzzParsePublicSet: whatever a server answers, the keys are public signature
// keys, and publishing them gives a set with the same keys.
func FuzzParsePublicSet(f *testing.F) {
	f.Add(published(f, generate(f, keyset.ES256), generate(f, keyset.EdDSA)))
	f.Add(published(f, one(f, keyset.RS256)))
	for _, seed := range []string{
		``,
		`{"keys":[]}`,
		`{"keys":[{}]}`,
		`{"keys":[{"kty":"oct","kid":"x","k":"AAAA"}]}`,
		`{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA","kid":"k","alg":"ES256"}]}`,
		`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB","kid":"k","alg":"RS256"}]}`,
		`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"","kid":"k"}]}`,
		`{"keys":[{"kty":"EC","kid":"k\u0000"}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := keyset.ParsePublicSet(data)
		if err != nil {
			require.Nil(t, list)
			return
		}
		for _, k := range list {
			require.False(t, k.HasPrivate())
			require.Equal(t, keyset.Signature, k.Use())
			require.False(t, k.Algorithm().Symmetric())
		}
		text, err := newSet(t, list...).PublicSet(t0)
		require.NoError(t, err)
		again, err := keyset.ParsePublicSet(text)
		require.NoError(t, err)
		require.Len(t, again, len(list))
		for i := range list {
			require.Equal(t, list[i].ID(), again[i].ID())
			require.Equal(t, list[i].Public(), again[i].Public())
		}
	})
}

// FuzzReadFile: a damaged key file is an error or a set that survives a round
// trip.
func FuzzReadFile(f *testing.F) {
	for _, alg := range []keyset.Algorithm{keyset.ES256, keyset.EdDSA, keyset.HS256, keyset.Direct, keyset.ECDHESA256KW} {
		text, err := os.ReadFile(create(f, generate(f, alg, life(0))))
		require.NoError(f, err)
		f.Add(text)
		f.Add([]byte(unsummed(f, text))) // with a checksum, hardly any change is read
	}
	text, err := os.ReadFile(rich(f, keyset.File{}).Path)
	require.NoError(f, err)
	f.Add([]byte(unsummed(f, text)))
	f.Add([]byte(`{"generation":1,"keys":[]}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(dir, "keys.json")
		require.NoError(t, os.WriteFile(path, data, 0o600))
		s, err := keyset.File{Path: path}.Read()
		if err != nil {
			require.Nil(t, s)
			return
		}
		text, err := s.Encode()
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, text, 0o600))
		again, err := keyset.File{Path: path}.Read()
		require.NoError(t, err)
		require.Equal(t, s.Generation(), again.Generation())
		require.Equal(t, s.Policy(), again.Policy())
		require.Equal(t, ids(s.Pruned()), ids(again.Pruned()))
		require.Len(t, again.Keys(), len(s.Keys()))
		for i, k := range s.Keys() {
			require.Equal(t, k.Dates(), again.Keys()[i].Dates())
			require.Equal(t, k.HasPrivate(), again.Keys()[i].HasPrivate())
			require.Equal(t, k.State(t0), again.Keys()[i].State(t0))
		}
	})
}
