package keyset_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

// FuzzDecrypt: a file that was made under the key opens, and no other that the
// fuzzer finds, not even another spelling of it. The work that a file can ask
// for has bounds.
func FuzzDecrypt(f *testing.F) {
	key, err := hex.DecodeString(goldenKey)
	require.NoError(f, err)
	golden := strings.TrimSuffix(goldenFile, "\n")
	f.Add([]byte(golden))
	f.Add([]byte(goldenFile))
	f.Add([]byte(goldenPassphraseFile))
	for _, header := range []string{`{}`, headerOfKey,
		`{"alg":"PBES2-HS512+A256KW","cty":"jwk-set+json","enc":"A256GCM","p2c":10000000,"p2s":"AAAAAAAAAAAAAAAAAAAAAA"}`,
		`{"alg":"A256KW","zip":"DEF"}`} {
		f.Add(forgeFile(f, random(32), header))
	}
	for _, seed := range []string{"", ".", "....", "e30....", "e30.AA.AA.AA.AA\n", "a.b.c.d.e", "{}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		token := strings.TrimSuffix(string(data), "\n")
		text, err := keyset.Decrypt(nil, key, data)
		require.Equal(t, token == golden, err == nil)
		require.Equal(t, err == nil, text != nil)
		n, err := keyset.Iterations(token)
		require.True(t, err != nil || n == 0 || keyset.MinIterations <= n && n <= 10_000_000)
	})
}
