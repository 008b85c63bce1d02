package importing

import (
	"errors"
	"fmt"
	"strings"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwe"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
	"github.com/cloakroom-go/cloakroom/internal/jose"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/secret"
)

// How often PBKDF2 may be iterated in a file to import: at least as RFC 7518, Section 4.8.1.2,
// says, since others choose less than we do, and at most for some seconds.
const (
	minImportIterations = 1_000
	maxImportIterations = 10_000_000
)

// A jweHeader is what counts of the header of an encrypted JWK or JWK Set.
type jweHeader struct {
	alg, enc   string
	iterations int64
}

// openJWE decrypts an encrypted JWK or JWK Set (RFC 7517, Section 7) with the passphrase or the key of secret.
func openJWE(token []byte, secret keyset.File) ([]byte, error) {
	h, err := parseJWEHeader(string(token))
	if err != nil {
		return nil, err
	}
	alg, key, err := h.keyFor(secret)
	if err != nil {
		return nil, err
	}
	text, err := decryptJWE(token, alg, key)
	if err != nil {
		return nil, tool.Refuse(tool.ExitDamaged, "wrong passphrase or key, or the file is damaged")
	}
	return text, nil
}

// decryptJWE makes an error of a panic in the library.
func decryptJWE(token []byte, alg jwa.KeyEncryptionAlgorithm, key []byte) (text []byte, err error) {
	defer func() {
		if recover() != nil {
			text, err = nil, errors.New("the library failed")
		}
	}()
	return jwe.Decrypt(token, jwe.WithKey(alg, key), jwe.WithMinPBES2Count(minImportIterations), jwe.WithMaxPBES2Count(maxImportIterations))
}

// parseJWEHeader checks the framing, so that the library sees nothing unexpected, such as compressed text.
func parseJWEHeader(token string) (h jweHeader, err error) {
	for i, segment := range strings.Split(token, ".") {
		raw, err := jose.Bytes(segment)
		if err == nil && i == 0 {
			err = jose.Object(raw, h.member)
		}
		if err != nil {
			return h, fmt.Errorf("it is no encrypted JWK: %w", err)
		}
	}
	return h, nil
}

func (h *jweHeader) member(name string, value []byte) (err error) {
	switch name {
	case "alg":
		h.alg, err = jose.String(value)
	case "enc":
		h.enc, err = jose.String(value)
	case "p2c":
		h.iterations, err = jose.Int(value)
		if err == nil && (h.iterations < minImportIterations || h.iterations > maxImportIterations) {
			err = fmt.Errorf("it is not between %d and %d", minImportIterations, maxImportIterations)
		}
	case "p2s", "cty", "typ", "kid":
	default: // zip and crit too
		err = errors.New("not known here")
	}
	if err != nil {
		err = fmt.Errorf("header member %q: %w", name, err)
	}
	return err
}

// keyFor returns what the library needs, or says why the passphrase or the key
// of under is of no use.
func (h *jweHeader) keyFor(under keyset.File) (alg jwa.KeyEncryptionAlgorithm, key []byte, err error) {
	alg, known := jwa.LookupKeyEncryptionAlgorithm(h.alg)
	contentSize := map[string]int{"A128GCM": 16, "A192GCM": 24, "A256GCM": 32, "A128CBC-HS256": 32, "A192CBC-HS384": 48, "A256CBC-HS512": 64}[h.enc]
	size := map[string]int{"A128KW": 16, "A192KW": 24, "A256KW": 32, "dir": contentSize}[h.alg]
	passphrase := strings.HasPrefix(h.alg, "PBES2-")
	switch {
	case !known || contentSize == 0 || size == 0 && !passphrase:
		return alg, nil, fmt.Errorf("it is encrypted with alg %q and enc %q; what can be read: PBES2-*, A128KW, A192KW, A256KW and dir, with A*GCM or A*CBC-HS*", h.alg, h.enc)
	case passphrase && under.Passphrase == nil:
		return alg, nil, tool.Refuse(tool.ExitUsage, "it is encrypted under a passphrase, and a key was given; use --import-passphrase-file or the like")
	case passphrase:
		return alg, under.Passphrase, nil
	case under.Key == nil:
		return alg, nil, tool.Refuse(tool.ExitUsage, "it is encrypted under a key, and a passphrase was given; use --import-kek-file or the like")
	}
	key, ok := secret.Key(under.Key, size)
	if !ok {
		return alg, nil, tool.Refuse(tool.ExitUsage, "the key to decrypt it with must have %d bytes, raw, as hex or as base64", size)
	}
	return alg, key, nil
}
