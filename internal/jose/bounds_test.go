package jose_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/jose"
)

// A header of 1024 encoded characters is read; of a longer one, not a character
// is decoded. Both are good but for their size.
func TestHeaderLengthIsBounded(t *testing.T) {
	pad := func(header string, size int) string { return header + strings.Repeat(" ", size-len(header)) }
	for size, want := range map[int]bool{767: true, 768: true, 769: false, 4096: false} {
		_, err := jose.ParseJWS(jws(pad(goodJWSHeader, size), goodClaims))
		require.Equal(t, want, err == nil, "JWS with a header of %d bytes: %v", size, err)
		if !want {
			require.ErrorContains(t, err, "header")
		}
		_, err = jose.ParseJWE(jwe(pad(goodJWEHeader, size), 0, 12, 7, 16))
		require.Equal(t, want, err == nil, "JWE with a header of %d bytes: %v", size, err)
	}
}

// RFC 9864 has another name for EdDSA on the curve Ed25519. The signature
// covers the name that was written.
func TestEd25519IsReadAsEdDSA(t *testing.T) {
	token := jws(strings.Replace(goodJWSHeader, "ES256", "Ed25519", 1), goodClaims)
	frame, err := jose.ParseJWS(token)
	require.NoError(t, err)
	require.Equal(t, jose.EdDSA, frame.Header.Alg)
	require.True(t, strings.HasPrefix(token, frame.SigningInput+"."))
	_, err = jose.ParseJWE(jwe(strings.Replace(goodJWEHeader, `"dir"`, `"Ed25519"`, 1), 0, 12, 7, 16))
	require.Error(t, err)
}
