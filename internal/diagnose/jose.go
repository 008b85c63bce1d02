package diagnose

import (
	"fmt"
	"strings"

	"github.com/cloakroom-go/cloakroom/internal/claims"
	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

func (x *examiner) form(token string) (Result, string) {
	_, formErr := x.token.Result(keyset.CheckForm)
	_, contentErr := x.token.Result(keyset.CheckContent)
	switch outer := x.token.Outer; {
	case formErr != nil:
		return Failed, bare(formErr) + hint(token)
	case outer == nil:
		return Passed, fmt.Sprintf("a signed token of %d characters", len(token))
	case contentErr != nil && outer.Header.Typ != "":
		return Failed, fmt.Sprintf("the encryption has the typ %q, and must have none", outer.Header.Typ)
	case contentErr != nil:
		return Failed, fmt.Sprintf(`the cty of the encryption is %q, and must be "JWT"`, outer.Header.Cty)
	}
	return Passed, fmt.Sprintf("an encrypted token of %d characters", len(token))
}

// bare is the text of an error without the package's name. None of those that
// it is for holds a part of the token.
func bare(err error) string { return fault.Inner(err).Error() }

// hint says what may have happened to a token on its way here: people copy it
// out of headers, cookies, logs and terminals. The first that fits is the one
// to mend first.
func hint(token string) string {
	name, _, _ := strings.Cut(token, ".")
	switch {
	case token == "":
		return ": it is empty"
	case len(token) > 7 && strings.EqualFold(token[:7], "Bearer "):
		return ": leave out the word Bearer, which is not part of it"
	case strings.ContainsAny(token, " \t\r\n"):
		return ": it has white space in it, as from a line that was wrapped"
	case strings.ContainsAny(token, `"'`):
		return ": it has quotes"
	case strings.Contains(token, "%"):
		return ": it is percent-encoded"
	case strings.Contains(name, "="):
		return ": leave out the name of the cookie and the equals sign"
	case strings.Contains(token, "="):
		return ": it has padding, which no token has"
	case strings.Count(token, ".") != 2 && strings.Count(token, ".") != 4:
		return fmt.Sprintf(": it has %d, a signed token 3 and an encrypted one 5; it may have been cut off",
			strings.Count(token, ".")+1)
	}
	return ""
}

// encryptionKey also fills in the fields of the Diagnosis about that key, which
// has them even if the check fails.
func (x *examiner) encryptionKey() (Result, string) {
	x.d.EncryptionKeyID = x.token.Outer.Header.Kid
	x.d.EncryptionKeyStateNow, x.d.EncryptionKeyStateIssued = x.states(x.token.Sealer)
	return x.key(x.d.EncryptionKeyID, x.token.Sealer, keyset.CheckEncryptionKey)
}

const keyUnknown = "the key is not known"

// forKey says whether a header, which short repeats in fewer words, names the
// algorithm of the key. A verifier never goes by the header, because the sender
// of the token has written it (RFC 8725, Section 3.1).
func (x *examiner) forKey(check keyset.Check, k *keyset.Key, header, short string) (Result, string) {
	switch made, err := x.token.Result(check); {
	case !made:
		return Skipped, keyUnknown
	case err != nil:
		return Failed, fmt.Sprintf("the header says %s, and the key is for %s: what counts is the key",
			header, k.Algorithm())
	}
	return Passed, short + ", as the key"
}

func (x *examiner) encryptionAlgorithm() (Result, string) {
	h := x.token.Outer.Header
	return x.forKey(keyset.CheckEncryptionAlgorithm, x.token.Sealer,
		"alg "+h.Alg+" and enc "+h.Enc, h.Alg+" with "+h.Enc)
}

func (x *examiner) decryption() (Result, string) {
	k := x.token.Sealer
	switch made, err := x.token.Result(keyset.CheckDecryption); {
	case k == nil:
		return Skipped, keyUnknown
	case !made:
		return Skipped, "it is not made for this key"
	case err == nil:
		return Passed, "the key opens it"
	case !k.HasPrivate():
		return Failed, "only its owner can open it: the private half of the key is not here"
	}
	return Failed, "the key does not open it: it was altered, or not made with this key"
}

func (x *examiner) innerForm() (Result, string) {
	if _, err := x.token.Result(keyset.CheckInnerForm); err != nil {
		return Failed, bare(err)
	}
	return Passed, "a signed token"
}

// typ refuses a service token that is encrypted: the services that verify it
// have no key to open it with.
func (x *examiner) typ() (Result, string) {
	h := x.token.Frame.Header
	switch _, err := x.token.Result(keyset.CheckType); {
	case x.d.Kind == "unknown":
		return Failed, fmt.Sprintf("typ is %q: neither a session token (%s) nor a service token (%s)",
			h.Typ, claims.Session.Typ(), claims.Service.Typ())
	case err != nil:
		return Failed, fmt.Sprintf("the header has the cty %q, and must have none", h.Cty)
	case x.d.Kind == "service" && x.token.Outer != nil:
		return Failed, "a service token, which is never encrypted"
	case x.d.Kind == "service":
		return Passed, "a service token"
	}
	return Passed, "a session token"
}

func (x *examiner) signatureKey() (Result, string) {
	x.d.KeyID = x.token.Frame.Header.Kid
	x.d.KeyStateNow, x.d.KeyStateIssued = x.states(x.token.Signer)
	return x.key(x.d.KeyID, x.token.Signer, keyset.CheckKey)
}

func (x *examiner) algorithm() (Result, string) {
	alg := x.token.Frame.Header.Alg
	return x.forKey(keyset.CheckAlgorithm, x.token.Signer, alg, alg)
}

func (x *examiner) signature() (Result, string) {
	known, badAlgorithm := x.token.Result(keyset.CheckAlgorithm)
	switch made, err := x.token.Result(keyset.CheckSignature); {
	case !known:
		return Skipped, keyUnknown
	case badAlgorithm != nil:
		return Skipped, "the algorithm is not the key's"
	case !made:
		return Skipped, "only a note is left of the key"
	case err != nil:
		return Failed, "it was not made with this key: the token was altered or forged"
	}
	return Passed, "made with this key"
}
