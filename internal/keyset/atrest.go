package keyset

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwe"

	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/internal/jose"
	"github.com/cloakroom-go/cloakroom/internal/strict"
)

// How a key file is encrypted, and what is accepted when one is read.
const (
	algPassphrase = "PBES2-HS512+A256KW" // RFC 7518, Section 4.8
	contentKeys   = "jwk-set+json"       // RFC 7517, Appendix C

	minIterations = 600_000    // of PBKDF2 with HMAC-SHA-512: each guess costs a third of a second
	maxIterations = 10_000_000 // some seconds; whoever can write the file chooses how many
	minSalt       = 16         // bytes
	maxSalt       = 64         // bytes
	minPassphrase = 8          // characters
	maxFileHeader = 1 << 10    // bytes
)

// A protection encrypts a key file: a passphrase or a key of 32 bytes. The zero
// value is neither.
type protection struct{ passphrase, key []byte }

// errNotOpened is all that an error says about a file that can't be decrypted:
// nobody can tell a wrong key from damage.
var errNotOpened = errors.New("wrong passphrase or key, or the file is damaged")

// given reports whether there is a passphrase or a key, good or bad.
func (p protection) given() bool { return p.passphrase != nil || p.key != nil }

// encrypt returns text, a JWK Set, as a compact JWE (RFC 7517, Appendix C) and
// a line break. Its salt and its content key are new each time.
func (p protection) encrypt(text []byte) ([]byte, error) {
	err := p.check()
	if err == nil && p.key == nil && utf8.RuneCount(p.passphrase) < minPassphrase {
		err = fmt.Errorf("the passphrase is shorter than %d characters; use five or more random words", minPassphrase)
	}
	var token []byte
	if err == nil {
		token, err = recoverPanics(func() ([]byte, error) { return p.seal(text) })
	}
	if err != nil {
		return nil, fmt.Errorf("keys: encrypt the key file: %w", err)
	}
	return append(token, '\n'), nil
}

func (p protection) seal(text []byte) ([]byte, error) {
	headers := jwe.NewHeaders()
	if err := headers.Set(jwe.ContentTypeKey, contentKeys); err != nil {
		return nil, err
	}
	return jwe.Encrypt(text, p.jwx(), jwe.WithContentEncryption(jwa.A256GCM()),
		jwe.WithProtectedHeaders(headers), jwe.WithPBES2Count(minIterations))
}

// decrypt is the reverse of encrypt, for a file of bounded size. The caller
// says which file it is, and wraps ErrInvalidFile.
func (p protection) decrypt(data []byte) ([]byte, error) {
	if !IsEncrypted(data) {
		return nil, errNotOpened
	}
	if !p.given() {
		return nil, errors.New("the file is encrypted; give its passphrase or its key")
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	token := trimEnd(data)
	header, err := parseFileHeader(string(token))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errNotOpened, fault.Inner(err))
	case header.alg == algPassphrase && p.key != nil:
		return nil, errors.New("the file is encrypted under a passphrase, and a key was given")
	case header.alg != algPassphrase && p.key == nil:
		return nil, errors.New("the file is encrypted under a key, and a passphrase was given")
	}
	text, err := recoverPanics(func() ([]byte, error) {
		return jwe.Decrypt(token, p.jwx(), jwe.WithMinPBES2Count(minIterations), jwe.WithMaxPBES2Count(maxIterations))
	})
	if err != nil {
		return nil, errNotOpened
	}
	return text, nil
}

// check refuses what can't protect a key file.
func (p protection) check() error {
	switch {
	case p.passphrase != nil && p.key != nil:
		return errors.New("a passphrase and a key were given; give one of them")
	case p.key != nil && len(p.key) != symmetricLen:
		return fmt.Errorf("the key of the key file has %d bytes; exactly %d are needed, not encoded",
			len(p.key), symmetricLen)
	case p.key != nil && checkMadeUp(p.key) != nil:
		return errors.New("the key of the key file is text or repeats a few bytes; use random ones")
	case p.key == nil && len(p.passphrase) == 0:
		return errors.New("the passphrase is empty")
	}
	return nil
}

func (p protection) jwx() jwe.EncryptDecryptOption {
	if p.key != nil {
		return jwe.WithKey(jwa.A256KW(), p.key)
	}
	return jwe.WithKey(jwa.PBES2_HS512_A256KW(), p.passphrase)
}

// recoverPanics turns a library panic into an error, without what the library
// was given.
func recoverPanics(f func() ([]byte, error)) (out []byte, err error) {
	defer func() {
		if recover() != nil {
			out, err = nil, errors.New("the library failed")
		}
	}()
	return f()
}

// IsEncrypted reports whether a key file has the form of a compact JWE: five
// segments of base64url. JSON never has it.
func IsEncrypted(data []byte) bool {
	segments := strings.Split(string(trimEnd(data)), ".")
	return len(segments) == 5 && strict.IsBase64URL(strings.Join(segments, ""))
}

// A fileHeader is the header of an encrypted key file.
type fileHeader struct {
	alg, enc, cty string
	iterations    int64  // p2c, at least minIterations; 0 if absent
	salt          []byte // p2s; nil if absent
}

// parseFileHeader checks the framing of an encrypted key file, so that the
// library sees only what encrypt may have written. It does nothing that takes
// time.
func parseFileHeader(token string) (h fileHeader, err error) {
	var d [5][]byte
	for i, segment := range strings.SplitN(token, ".", len(d)) {
		if d[i], err = jose.Bytes(segment); err != nil {
			return h, err
		}
	}
	if len(d[0]) > maxFileHeader || len(d[1]) != wrappedKeySize || len(d[2]) != ivSize || len(d[4]) != tagSize {
		return h, errors.New("a segment has the wrong size")
	}
	if err := jose.Object(d[0], h.member); err != nil {
		return h, fmt.Errorf("header: %w", err)
	}
	return h, h.check()
}

func (h *fileHeader) member(name string, value []byte) (err error) {
	switch name {
	case "alg":
		h.alg, err = jose.String(value)
	case "enc":
		h.enc, err = jose.String(value)
	case "cty":
		h.cty, err = jose.String(value)
	case "p2c":
		h.iterations, err = jose.Int(value)
		if err == nil && (h.iterations < minIterations || h.iterations > maxIterations) {
			err = fmt.Errorf("p2c is not between %d and %d", minIterations, maxIterations)
		}
	case "p2s":
		h.salt, err = jose.Base64(value)
		if err == nil && (len(h.salt) < minSalt || len(h.salt) > maxSalt) {
			err = fmt.Errorf("p2s is not between %d and %d bytes long", minSalt, maxSalt)
		}
	default: // crit, zip and epk too
		err = errors.New("a member other than alg, enc, cty, p2c and p2s")
	}
	return err
}

func (h *fileHeader) check() error {
	passphrase := h.alg == algPassphrase
	switch {
	case !passphrase && h.alg != string(A256KW):
		return errors.New("alg is neither PBES2-HS512+A256KW nor A256KW")
	case h.enc != jose.A256GCM || h.cty != contentKeys:
		return errors.New("enc or cty is not that of a key file")
	case (h.iterations != 0) != passphrase || (h.salt != nil) != passphrase:
		return errors.New("p2c and p2s go with a passphrase, and with nothing else")
	}
	return nil
}
