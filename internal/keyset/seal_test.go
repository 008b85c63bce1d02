package keyset_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/jose"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

func TestSealAndOpen(t *testing.T) {
	for _, alg := range encryption {
		t.Run(string(alg), func(t *testing.T) {
			k, other := two(t, alg)
			for _, cty := range []string{"", "JWT", "application/vnd.a-b_c+json"} {
				for _, size := range []int{1, 2, 3, 15, 16, 17, 500, 5000} {
					plaintext := bytes.Repeat([]byte{7}, size)
					token, err := k.Seal(plaintext, cty)
					require.NoError(t, err)
					require.Len(t, token, k.SealedLength(size, cty), "SealedLength")
					parsed, err := jose.ParseJWE(token)
					require.NoError(t, err, "our own gate")
					require.Equal(t, cty, parsed.Header.Cty)
					require.NoError(t, k.Matches(&parsed.Header))
					got, err := k.Open(parsed)
					require.NoError(t, err)
					require.Equal(t, plaintext, got)
					_, err = other.Open(parsed)
					require.ErrorIs(t, err, keyset.ErrWrongKey)
				}
			}
			a, err := k.Seal([]byte("x"), "JWT")
			require.NoError(t, err)
			b, err := k.Seal([]byte("x"), "JWT")
			require.NoError(t, err)
			require.NotEqual(t, a, b)
		})
	}
}

func TestSealRefusesContentTypes(t *testing.T) {
	for _, alg := range encryption {
		k := one(t, alg)
		for _, cty := range []string{"a b", "a\n", "ü", `"`, `\\`, "<", "a;b=c", strings.Repeat("x", 128)} {
			_, err := k.Seal([]byte("x"), cty)
			require.ErrorContains(t, err, "content type")
		}
	}
}

// Every bit of a token counts, and every failure looks the same.
func TestOpenRefusesChanges(t *testing.T) {
	for _, alg := range encryption {
		t.Run(string(alg), func(t *testing.T) {
			k := one(t, alg)
			token, err := k.Seal([]byte("attack at dawn"), "JWT")
			require.NoError(t, err)
			fields := func(p *jose.JWE) map[string]*[]byte {
				return map[string]*[]byte{"key": &p.EncryptedKey, "iv": &p.IV, "ciphertext": &p.Ciphertext, "tag": &p.Tag}
			}
			good, err := jose.ParseJWE(token)
			require.NoError(t, err)
			for name, field := range fields(good) {
				for i := range *field {
					p, err := jose.ParseJWE(token)
					require.NoError(t, err)
					(*fields(p)[name])[i] ^= 0x10
					p.Compact = strings.Join([]string{p.Protected, b64(p.EncryptedKey), b64(p.IV), b64(p.Ciphertext), b64(p.Tag)}, ".")
					_, err = k.Open(p)
					require.ErrorIs(t, err, keyset.ErrForged, "%s byte %d", name, i)
					require.EqualError(t, err, keyset.ErrForged.Error()+": can't be decrypted")
				}
			}
		})
	}
}

// The header is authenticated: a token does not open under another header of
// the same meaning.
func TestOpenAuthenticatesTheHeader(t *testing.T) {
	for _, alg := range []keyset.Algorithm{keyset.Direct, keyset.A256KW} {
		k := one(t, alg)
		token, err := k.Seal([]byte("x"), "JWT")
		require.NoError(t, err)
		_, rest, _ := strings.Cut(token, ".")
		changed := b64([]byte(fmt.Sprintf(`{"alg":%q,"enc":"A256GCM","kid":%q,"cty":"JWT","typ":"x"}`, alg,
			k.ID()))) + "." + rest
		p, err := jose.ParseJWE(changed)
		require.NoError(t, err)
		_, err = k.Open(p)
		require.ErrorIs(t, err, keyset.ErrForged)
	}
}

func TestExhausted(t *testing.T) {
	k := generate(t, keyset.Direct)
	keyset.SetUses(k, keyset.MaxSeals-1)
	_, err := k.Seal([]byte("x"), "")
	require.NoError(t, err, "the last one")
	for range 3 {
		_, err = k.Seal([]byte("x"), "")
		require.ErrorIs(t, err, keyset.ErrExhausted)
	}
	require.EqualValues(t, uint64(keyset.MaxSeals), k.Uses())

	wrap := generate(t, keyset.A256KW)
	keyset.SetUses(wrap, keyset.MaxSeals)
	_, err = wrap.Seal([]byte("x"), "")
	require.NoError(t, err, "a fresh key for each token has no such limit")
	require.EqualValues(t, uint64(keyset.MaxSeals+1), wrap.Uses())
}
