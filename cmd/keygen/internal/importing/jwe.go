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

// The bounds of the iterations of PBKDF2. The lower one is that of RFC 7518,
// Section 4.8.1.2, because other programs choose fewer than keygen. The upper
// one takes some seconds: the author of the file chooses the number.
const (
	minImportIterations = 1_000
	maxImportIterations = 10_000_000
)

// errNotOpened covers both: authenticated encryption can't tell a wrong key
// from a damaged text.
var errNotOpened = tool.Refuse(tool.ExitDamaged, "wrong passphrase or key, or the file is damaged")

// recoverAs turns a panic of a library into the error instead, which, unlike
// the panic, quotes nothing of the key.
func recoverAs(instead error, err *error) {
	if recover() != nil {
		*err = instead
	}
}

// openJWE decrypts an encrypted JWK or JWK Set (RFC 7517, Section 7) with the
// passphrase or the key of under.
func openJWE(token []byte, under keyset.File) (text []byte, err error) {
	h, err := parseJWEHeader(string(token))
	if err != nil {
		return nil, err
	}
	alg, key, err := h.keyFor(under)
	if err != nil {
		return nil, err
	}
	defer recoverAs(errNotOpened, &err)
	text, err = jwe.Decrypt(token, jwe.WithKey(alg, key),
		jwe.WithMinPBES2Count(minImportIterations), jwe.WithMaxPBES2Count(maxImportIterations))
	if err != nil {
		return nil, errNotOpened
	}
	return text, nil
}

// A jweHeader has the members of a header that decide how to decrypt.
type jweHeader struct{ alg, enc string }

// parseJWEHeader checks the framing before the library does anything. It
// refuses compressed text, which may be small in the file and huge in memory,
// and iterations that would take hours.
func parseJWEHeader(token string) (h jweHeader, err error) {
	for i, segment := range strings.Split(token, ".") {
		raw, err := jose.Bytes(segment)
		if err == nil && i == 0 {
			err = jose.Object(raw, h.member)
		}
		if err != nil {
			return h, fmt.Errorf("it is not an encrypted JWK: %w", err)
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
		var n int64
		if n, err = jose.Int(value); err == nil && (n < minImportIterations || n > maxImportIterations) {
			err = fmt.Errorf("it is not between %d and %d", minImportIterations, maxImportIterations)
		}
	case "p2s", "cty", "typ", "kid":
	default: // zip and crit too
		err = errors.New("not known here")
	}
	if err != nil {
		return fmt.Errorf("header member %q: %w", name, err)
	}
	return nil
}

// keyFor returns what the library needs to decrypt. It tells a user who gave a
// key in place of a passphrase, or the reverse, which flag to use.
func (h *jweHeader) keyFor(under keyset.File) (alg jwa.KeyEncryptionAlgorithm, key []byte, err error) {
	alg, known := jwa.LookupKeyEncryptionAlgorithm(h.alg)
	direct := map[string]int{ // sizes of keys in bytes (RFC 7518, Section 5.1)
		"A128GCM": 16, "A192GCM": 24, "A256GCM": 32, "A128CBC-HS256": 32, "A192CBC-HS384": 48, "A256CBC-HS512": 64,
	}[h.enc]
	size := map[string]int{"A128KW": 16, "A192KW": 24, "A256KW": 32, "dir": direct}[h.alg]
	passphrase := strings.HasPrefix(h.alg, "PBES2-")
	switch {
	case !known || direct == 0 || size == 0 && !passphrase:
		return alg, nil, fmt.Errorf("it is encrypted with alg %q and enc %q; what can be read: "+
			"PBES2-*, A128KW, A192KW, A256KW and dir, with A*GCM or A*CBC-HS*", h.alg, h.enc)
	case passphrase && under.Passphrase == nil:
		return alg, nil, wrongUse("it is encrypted under a passphrase, and a key was given; " +
			"use --import-passphrase-file or the like")
	case passphrase:
		return alg, under.Passphrase, nil
	case under.Key == nil:
		return alg, nil, wrongUse("it is encrypted under a key, and a passphrase was given; " +
			"use --import-kek-file or the like")
	}
	key, ok := secret.Key(under.Key, size)
	if !ok {
		return alg, nil, wrongUse("the key to decrypt it with must have %d bytes, raw, as hex or as base64", size)
	}
	return alg, key, nil
}
