package token

import (
	"cmp"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/claims"
	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/internal/jose"
)

// Foreign describes the tokens of an issuer other than Cloakroom. The zero
// Foreign accepts access tokens of RFC 9068; other access tokens, and ID tokens
// of OpenID Connect, need more Types. VerifierConfig.Keys is then a keys.Remote
// for the issuer's JWKS URL, with RemoteConfig.RSAAlgorithm if its RSA keys
// have no alg.
//
// The claims iss, aud, sub, iat and exp are required; aud may be a list with
// VerifierConfig.Audience in it. Unknown members of the header are ignored, so
// that no key and no URL in it is ever used. A token with crit in its header is
// refused, and so is one with the claim events, such as a logout token.
//
// A Verifier doesn't check whether scope allows the call, nor whether the
// client holds the key that a token is bound to (cnf): see Caller.Claims.
type Foreign struct {
	_ [0]func() // no unkeyed literals, no comparison

	// Types are the values of typ that are accepted, in any case and with or
	// without "application/"; "" accepts tokens without typ. With "JWT" or "",
	// tokens for other purposes may pass, such as ID tokens for this audience (RFC
	// 8725bis, Section 3.11). nil means only "at+jwt".
	Types []string

	// MaxLifetime is how long a token may live, from iat to exp. 0 means 15
	// minutes; at most 24 hours.
	MaxLifetime time.Duration
}

const maxForeignLife = 24 * time.Hour

func (c *VerifierConfig) checkForeign() error {
	f := c.Foreign
	if f == nil {
		return nil
	}
	bad := fault.In("token: VerifierConfig")
	bad.If(c.Revocations != nil, "Revocations", "knows nothing of the sessions of another issuer: remove it, or %s",
		fault.Name("VerifierConfig.Foreign"))
	bad.If(f.MaxLifetime < 0 || f.MaxLifetime > maxForeignLife, "Foreign.MaxLifetime",
		"is %v: must be between 0 and %v", f.MaxLifetime, maxForeignLife)
	for _, typ := range f.Types {
		bad.If(typ != "" && !jose.IsMediaType(typ), "Foreign.Types",
			"has %q: a typ has at most 127 visible ASCII characters", typ)
		bad.If(jose.MediaType(typ) == claims.Session.Typ(), "Foreign.Types",
			"has %q: that is the typ of session tokens, which are never for services", typ)
	}
	return bad.Err()
}

// types returns what keyset.Reading.Types wants.
func (f *Foreign) types() []string {
	if len(f.Types) == 0 {
		return []string{claims.Service.Typ()}
	}
	var all []string
	for _, typ := range f.Types {
		all = append(all, jose.MediaType(typ))
	}
	return all
}

func (f *Foreign) maxLifetime() time.Duration { return cmp.Or(f.MaxLifetime, claims.MaxServiceLife) }
