package keyset

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/jose"
)

// MaxToken is the longest token that is looked at, in characters.
const MaxToken = jose.MaxLength

// contentJWT is the cty of an encrypted token (RFC 7519, Section 5.2).
const contentJWT = "JWT"

// A Finder finds the key that a token names. The error says why tokens of the
// key are not accepted at the time now. The key may be returned with it.
type Finder interface {
	FindKey(ctx context.Context, kid string, now time.Time) (*Key, error)
}

// A Check is one that a token must pass.
type Check uint8

// The checks, in the order in which they are made. A token that is not
// encrypted passes those of the encryption.
const (
	CheckForm                Check = iota // it is a compact JWS or JWE
	CheckContent                          // its header says that a JWT is encrypted
	CheckEncryptionKey                    // tokens that are encrypted with the key are accepted
	CheckEncryptionAlgorithm              // alg and enc are those of the key
	CheckDecryption                       // the key decrypts it
	CheckInnerForm                        // what was encrypted is a compact JWS
	CheckType                             // it is of the kind that is wanted
	CheckKey                              // tokens that are signed with the key are accepted
	CheckAlgorithm                        // alg is that of the key
	CheckSignature                        // the signature was made with the key
	checks
)

// errNotMade is the result of a check that can't be made, because an earlier
// one failed.
var errNotMade = errors.New("not checked")

// A Reading is a token with what is known of it so far. The token is signed,
// and may be encrypted besides.
type Reading struct {
	Token  string
	Most   int    // characters that it may have; 0 means MaxToken
	Typ    string // of the signed token; "" for any
	Keys   Finder
	Signed bool // refuse tokens that are encrypted
	Now    time.Time

	// Types, if not nil, says that the token is signed by an issuer that is not
	// Cloakroom, see jose.ParseForeignJWS, and which typ it may have instead of
	// Typ, as jose.MediaType returns it. With "" it may have none.
	Types []string

	// Checking, if set, is called before the signature is checked.
	Checking func()

	Outer  *jose.JWE // nil if it is not encrypted
	Sealer *Key      // that Outer names
	Inner  string    // what was encrypted, or the token itself; "" before it is known
	Frame  *jose.JWS // that Inner is
	Signer *Key      // that Frame names

	errs [checks]error // of Examine
}

// Verify makes the checks up to the first that fails, and returns that one with
// the reason. Without an error the payload of Frame is the signer's.
func (r *Reading) Verify(ctx context.Context) (Check, error) {
	for c := range checks {
		if err := r.check(ctx, c); err != nil {
			return c, err
		}
	}
	return checks, nil
}

// Examine makes the checks of Verify, and goes on after one that fails, as far
// as that is possible. Then Result has the results.
func (r *Reading) Examine(ctx context.Context) {
	for c := range checks {
		r.errs[c] = errNotMade
		if r.possible(c) {
			r.errs[c] = r.check(ctx, c)
		}
	}
}

// Result returns what Examine found: whether the check was made, and why it
// failed.
func (r *Reading) Result(c Check) (made bool, err error) {
	if r.errs[c] == errNotMade {
		return false, nil
	}
	return true, r.errs[c]
}

// possible reports whether a check can be made, by the results of those before
// it.
func (r *Reading) possible(c Check) bool {
	switch c {
	case CheckContent, CheckEncryptionKey:
		return r.errs[CheckForm] == nil
	case CheckEncryptionAlgorithm:
		return r.Outer == nil && r.Frame != nil || r.Sealer != nil
	case CheckDecryption:
		return r.errs[CheckEncryptionAlgorithm] == nil
	case CheckInnerForm:
		return r.errs[CheckDecryption] == nil
	case CheckType, CheckKey:
		return r.Frame != nil
	case CheckAlgorithm:
		return r.Signer != nil
	case CheckSignature:
		return r.errs[CheckAlgorithm] == nil && !r.Signer.IsPruned()
	}
	return true
}

func (r *Reading) check(ctx context.Context, c Check) (err error) {
	if r.Outer == nil && CheckContent <= c && c <= CheckInnerForm {
		return nil
	}
	switch c {
	case CheckForm:
		return r.form()
	case CheckContent:
		if r.Outer.Header.Cty != contentJWT || r.Outer.Header.Typ != "" {
			return errors.New("token: not an encrypted JWT")
		}
	case CheckEncryptionKey:
		r.Sealer, err = r.Keys.FindKey(ctx, r.Outer.Header.Kid, r.Now)
	case CheckEncryptionAlgorithm:
		return r.Sealer.matches(&r.Outer.Header)
	case CheckDecryption:
		var plain []byte
		plain, err = r.Sealer.Open(r.Outer)
		r.Inner = string(plain)
	case CheckInnerForm:
		r.Frame, err = jose.ParseJWS(r.Inner)
	case CheckType:
		switch h := r.Frame.Header; {
		case r.Types != nil && !slices.Contains(r.Types, jose.MediaType(h.Typ)), r.Typ != "" && h.Typ != r.Typ:
			return errors.New("token: of another kind (typ)")
		case h.Cty != "":
			return errors.New("token: a signed token has no cty")
		}
	case CheckKey:
		r.Signer, err = r.Keys.FindKey(ctx, r.Frame.Header.Kid, r.Now)
	case CheckAlgorithm:
		if string(r.Signer.alg) != r.Frame.Header.Alg {
			return errors.New("token: alg is not that of the key")
		}
	case CheckSignature:
		if r.Checking != nil {
			r.Checking()
		}
		return r.Signer.Verify(r.Frame.SigningInput, r.Frame.Signature)
	}
	return err
}

func (r *Reading) form() (err error) {
	if r.Types != nil {
		r.Inner = r.Token
		r.Frame, err = jose.ParseForeignJWS(r.Token)
		return err
	}
	if !r.Signed && strings.Count(r.Token, ".") == 4 {
		r.Outer, err = jose.ParseJWE(r.Token)
		return err
	}
	r.Inner = r.Token
	r.Frame, err = jose.ParseLongJWS(r.Token, cmp.Or(r.Most, MaxToken))
	return err
}

// SpendVerify takes the time of one check of a signature of the key.
func (k *Key) SpendVerify() {
	// Each byte is 1, so that no algorithm refuses the signature for its form
	// (a number that is 0 or too large) before it calculates.
	_ = k.Verify(k.id, bytes.Repeat([]byte{1}, k.SignatureLength()))
}

// An Unsigned is a token that lacks its signature.
type Unsigned struct {
	signer *Key
	input  string // of the signature: the encoded header and payload
}

// Unsigned returns the token of a payload that the key is to sign. typ is of
// characters that need no escaping in JSON.
func (k *Key) Unsigned(typ string, payload []byte) Unsigned {
	header := `{"alg":"` + string(k.alg) + `","kid":"` + k.id + `","typ":"` + typ + `"}`
	b64 := base64.RawURLEncoding
	dst := make([]byte, 0, b64.EncodedLen(len(header))+1+b64.EncodedLen(len(payload)))
	dst = b64.AppendEncode(dst, []byte(header))
	dst = append(dst, '.')
	return Unsigned{k, string(b64.AppendEncode(dst, payload))}
}

// Length is the length of the token after it is signed, and encrypted if sealer
// is not nil, in characters.
func (u Unsigned) Length(sealer *Key) int {
	length := len(u.input) + 1 + base64.RawURLEncoding.EncodedLen(u.signer.SignatureLength())
	if sealer != nil {
		length = sealer.SealedLength(length, contentJWT)
	}
	return length
}

// Sign returns the token.
func (u Unsigned) Sign() (string, error) {
	signature, err := u.signer.Sign(u.input)
	if err != nil {
		return "", err
	}
	return u.input + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// SealToken encrypts a signed token.
func (k *Key) SealToken(token string) (string, error) { return k.Seal([]byte(token), contentJWT) }
