package opaque

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strings"

	"github.com/cloakroom-go/cloakroom/internal/strict"
)

// A credential is this prefix, which names the form and its version, and 32
// random bytes in base64url (OWASP ASVS 5.0, 7.2.3 asks for 16).
const credentialPrefix = "cr1_"

const (
	secretBytes     = 32
	secretLength    = 43 // of secretBytes in base64url
	credentialBytes = len(credentialPrefix) + secretLength
)

var base64url = base64.RawURLEncoding.Strict()

func newCredential() string {
	var secret [secretBytes]byte
	rand.Read(secret[:])
	return credentialPrefix + base64url.EncodeToString(secret[:])
}

// wellFormed checks a credential's syntax before any store is asked for it.
// Each credential has one spelling.
func wellFormed(credential string) bool {
	secret, ok := strings.CutPrefix(credential, credentialPrefix)
	if !ok || len(secret) != secretLength || !strict.IsBase64URL(secret) {
		return false
	}
	// 43 characters are 258 bits: the last two must be zero.
	return strings.IndexByte("AEIMQUYcgkosw048", secret[secretLength-1]) >= 0
}

// storeKey returns the key under which the store keeps the item of a
// credential.
func storeKey(credential string) string {
	var in [credentialBytes]byte // on the stack; a well-formed credential fits
	var out [secretLength]byte
	sum := sha256.Sum256(append(in[:0], credential...))
	return string(base64url.AppendEncode(out[:0], sum[:]))
}
