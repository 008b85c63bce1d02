package importing

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"fmt"
	"slices"
	"strings"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
	"github.com/cloakroom-go/cloakroom/internal/jose"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

// An incoming key is one that a file holds, with what the file says of it.
// Nothing has been checked.
type incoming struct {
	// raw is an *ecdsa.PrivateKey, ed25519.PrivateKey, *rsa.PrivateKey, the public
	// half of one, a []byte, or of a kind that is refused.
	raw   any
	where string // in the file, for people

	kid, alg, use string   // of a JWK; "" if missing
	ops           []string // key_ops of a JWK
	revoked       bool
}

// A candidate is an incoming key that may be imported.
type candidate struct {
	incoming
	key *keyset.Key // without its dates
	// stripped means that the file had the private half, and the key file gets
	// only the public one.
	stripped bool
}

// candidates reads the keys to import, and checks each.
func candidates(t *tool.Tool, o *importFlags) (all []*candidate, err error) {
	list, err := readKeys(t, o.path, o.kid, func(token []byte) ([]byte, error) { return o.decrypt(t, token) })
	if err != nil {
		return nil, err
	}
	if given := o.secret.Given(); len(given) > 0 && !o.encrypted {
		return nil, wrongUse("%s is not an encrypted JWK; leave out %s", sourceName(o.path), given[0])
	}
	for _, in := range list {
		c, err := in.candidate(o)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", sourceName(o.path), in.where, err)
		}
		all = append(all, c)
	}
	return all, refuseTwice(all)
}

// candidate checks a key: whether it may be imported, and for what.
func (in incoming) candidate(o *importFlags) (*candidate, error) {
	if in.revoked {
		return nil, refuse("it was revoked")
	}
	alg, err := in.chooseAlgorithm(keyset.Algorithm(o.alg))
	if err != nil {
		return nil, err
	}
	k, err := keyset.Import(alg, in.raw, keyset.Dates{})
	if err != nil {
		return nil, refuse("%w", err)
	}
	c := &candidate{incoming: in, key: k}
	switch {
	case k.HasPrivate() && o.external:
		return nil, refuse("--external is for the public half of a key in a KMS, and this is the private one")
	case !k.HasPrivate() && !o.external && !o.verifyOnly:
		return nil, refuse("it is a public key, and can't sign; add --verify-only if it is that of another system, " +
			"or --external if the private half is in a KMS that the application signs with")
	case k.HasPrivate() && o.verifyOnly && alg.Use() == keyset.Signature && k.Public() != nil:
		c.stripped = true // what the key file doesn't have can't leak from it
		c.key, err = keyset.Import(alg, k.Public(), keyset.Dates{})
	}
	return c, err
}

// chooseAlgorithm returns the only algorithm that the key is used with from now
// on (RFC 8725, Section 3.1). What the file says, the flag, and the kind of the
// key, its use and its key_ops must agree (RFC 7517, Section 4.3).
func (in *incoming) chooseAlgorithm(flag keyset.Algorithm) (keyset.Algorithm, error) {
	kind, fit := kindOf(in.raw)
	if len(fit) == 0 {
		return "", refuse("it is %s, and what can be used is: P-256, Ed25519, RSA, and secrets of 32 bytes", kind)
	}
	fit = slices.DeleteFunc(fit, func(a keyset.Algorithm) bool {
		return in.alg != "" && a != meantBy(in.alg) || in.use != "" && in.use != string(a.Use()) || !in.allows(a)
	})
	if len(fit) == 0 {
		return "", refuse("it is %s, and alg %q, use %q and key_ops %q of the JWK leave no algorithm that is known here",
			kind, in.alg, in.use, in.ops)
	}
	switch {
	case flag != "" && !slices.Contains(fit, flag):
		return "", wrongUse("--alg %s contradicts the key, which is %s for %s", flag, kind, names(fit))
	case flag != "":
		return flag, nil
	case len(fit) == 1 || fit[0] == keyset.ES256: // few P-256 keys are for encryption
		return fit[0], nil
	}
	// A key that is too weak for one algorithm is so for all: refuse it before the
	// user has to choose.
	if _, err := keyset.Import(fit[0], in.raw, keyset.Dates{}); err != nil {
		return "", refuse("%w", err)
	}
	return "", wrongUse("it is %s, and may be for several algorithms; say for which with --alg: %s", kind, names(fit))
}

// meantBy returns the algorithm that alg stands for: some programs write enc in
// place of dir.
func meantBy(alg string) keyset.Algorithm {
	if alg == jose.A256GCM {
		return keyset.Direct
	}
	return keyset.Algorithm(jose.CanonicalAlg(alg))
}

// kindOf names a kind of key for people, and returns the algorithms that it can
// be for, the default first.
func kindOf(raw any) (name string, fit []keyset.Algorithm) {
	if private, ok := raw.(interface{ Public() crypto.PublicKey }); ok {
		raw = private.Public()
	}
	switch k := raw.(type) {
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			fit = []keyset.Algorithm{keyset.ES256, keyset.ECDHESA256KW}
		}
		return "a " + k.Curve.Params().Name + " key", fit
	case ed25519.PublicKey:
		return "an Ed25519 key", []keyset.Algorithm{keyset.EdDSA}
	case *rsa.PublicKey:
		return "an RSA key", []keyset.Algorithm{keyset.PS256, keyset.RS256}
	case *ecdh.PublicKey:
		return "an X25519 key", nil
	case []byte:
		return "a symmetric key", []keyset.Algorithm{keyset.HS256, keyset.Direct, keyset.A256KW}
	}
	return "a key of another kind", nil
}

// allows reports whether a key for alg does all that key_ops lists (RFC 7517,
// Section 4.3).
func (in *incoming) allows(alg keyset.Algorithm) bool {
	ops := []string{"sign", "verify"}
	switch alg {
	case keyset.Direct:
		ops = []string{"encrypt", "decrypt"}
	case keyset.A256KW:
		ops = []string{"wrapKey", "unwrapKey"}
	case keyset.ECDHESA256KW:
		ops = []string{"deriveKey", "deriveBits", "wrapKey", "unwrapKey"}
	}
	return !slices.ContainsFunc(in.ops, func(op string) bool { return !slices.Contains(ops, op) })
}

func names(all []keyset.Algorithm) string {
	var text []string
	for _, a := range all {
		text = append(text, string(a))
	}
	return strings.Join(text, ", ")
}

// refuseTwice refuses a key that the source holds twice, even for two
// algorithms: one key has one algorithm (RFC 8725, Section 3.1).
func refuseTwice(all []*candidate) error {
	for i, c := range all {
		j := slices.IndexFunc(all[:i], func(other *candidate) bool { return c.key.SameMaterial(other.key) })
		if j >= 0 {
			return refuse("%s and %s are the same key", all[j].where, c.where)
		}
	}
	return nil
}

// refuseKnown refuses keys that the key file has, or had. The ID of a secret is
// random, so the same secret could come in under two IDs, and would survive the
// revocation of one.
func refuseKnown(all []*candidate, set *keyset.Set) error {
	for _, c := range all {
		for _, k := range set.Keys() {
			if k.SameMaterial(c.key) {
				return refuse("%s is in the key file already: key %s", c.where, k.ID())
			}
		}
		if slices.ContainsFunc(set.Pruned(), func(k *keyset.Key) bool { return k.ID() == c.key.ID() }) {
			return refuse("%s was in the key file, and was pruned: key %s; it can't come back", c.where, c.key.ID())
		}
	}
	return nil
}

// An importedKey describes a key in JSON.
type importedKey struct {
	ID        string           `json:"kid"`
	Algorithm keyset.Algorithm `json:"alg"`
	Use       keyset.Use       `json:"use"`
	State     string           `json:"state"`
	Was       string           `json:"was_kid,omitempty"`
	PublishAt string           `json:"publish_at,omitempty"`
	SignFrom  string           `json:"sign_from,omitempty"`
}

// describe says what a key does from now on, and returns it for JSON.
func describe(t *tool.Tool, c *candidate, k *keyset.Key) importedKey {
	d := k.Dates()
	r := importedKey{
		ID: k.ID(), Algorithm: k.Algorithm(), Use: k.Use(), State: k.State(t.Now).String(),
		PublishAt: tool.Date(d.PublishAt), SignFrom: tool.Date(d.SignFrom),
	}
	does := map[keyset.Use]string{keyset.Signature: "sign", keyset.Encryption: "encrypt"}[k.Use()]
	life := fmt.Sprintf("%ss from %s until %s", does, tool.Date(d.SignFrom), tool.Date(d.SignUntil))
	if !d.Signs() {
		life = fmt.Sprintf("never %ss; its tokens are accepted until %s", does, tool.Date(d.VerifyUntil))
	}
	t.Note("key %s (%s %s, %s): %s; %s", r.ID, r.Use, r.Algorithm, c.where, r.State, life)
	switch {
	case c.stripped:
		t.Note("its private half stays out of the file: it never signs")
	case !c.key.HasPrivate() && d.Signs():
		t.Note("its private half is in a KMS: the application must give it as a crypto.Signer; " +
			"bring the next key in before this one has ended")
	}
	if c.kid != "" && c.kid != r.ID {
		r.Was = c.kid
		why := "the thumbprint of the key"
		if k.Algorithm().Symmetric() {
			why = "which is random"
		}
		t.Note("its kid %q is replaced by %s, %s; tokens that name the old one are not accepted", c.kid, r.ID, why)
	}
	return r
}
