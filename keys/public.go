package keys

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/jose"
)

// publicKey is one key of a JWKS document: these members and no others.
type publicKey struct {
	material
	Kid string `json:"kid"`
	Alg string `json:"alg"`
	Use string `json:"use"`
}

// PublicSet returns the JWK Set (RFC 7517, Section 5) that verifiers need at
// the time now: the public halves of the signature keys that are pending, active or retiring.
// It never holds a symmetric key, nor one that encrypts.
func (s *Set) PublicSet(now time.Time) ([]byte, error) { return encodePublic(s.keys, now) }

func encodePublic(keys []*Key, now time.Time) ([]byte, error) {
	set := struct {
		Keys []publicKey `json:"keys"`
	}{[]publicKey{}}
	for _, k := range keys {
		if k.public == nil || k.Use() != Signature || !k.State(now).trusted() {
			continue
		}
		m, err := describe(k.public)
		if err != nil {
			return nil, fmt.Errorf("keys: publish key %s: %w", k.id, err)
		}
		set.Keys = append(set.Keys, publicKey{m.public(), k.id, string(k.alg), string(Signature)})
	}
	return json.Marshal(set)
}

// A publication is the public set as it is served, and the time for which it is right.
type publication struct {
	body        []byte
	etag        string
	kids        map[string]bool
	from, until time.Time // until is zero if nothing will change
}

func (p *publication) covers(now time.Time) bool {
	return p != nil && !now.Before(p.from) && (p.until.IsZero() || now.Before(p.until))
}

// publish returns the public set at the time now, computed anew when a key changes its state.
func (s *snapshot) publish(now time.Time) (*publication, error) {
	if p := s.published.Load(); p.covers(now) {
		return p, nil
	}
	body, err := encodePublic(s.keys, now)
	if err != nil {
		return nil, err
	}
	listed, err := parsePublicSet(body) // as its readers will see it
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(body)
	p := &publication{body: body, etag: `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`, kids: make(map[string]bool), from: now}
	for _, k := range listed {
		p.kids[k.id] = true
	}
	for _, k := range s.keys {
		if next := k.dates.changes(now); !next.IsZero() && (p.until.IsZero() || next.Before(p.until)) {
			p.until = next
		}
	}
	s.published.Store(p)
	return p, nil
}

// ParsePublicSet reads the JWK Set of somebody else's public signature keys. Give the keys to NewRing to verify with them.
//
// Keys that are of no use here are left out (RFC 7517, Section 5): unknown kty, alg or crv, use or
// key_ops other than verifying, no kid, weak or malformed numbers. A missing alg is taken from the curve, and
// never for RSA, where it is ambiguous. The whole set is refused if it is not strict JSON, has a private or symmetric key,
// the same kid twice, more than 100 keys, or no usable key at all.
func ParsePublicSet(data []byte) ([]*Key, error) {
	keys, err := parsePublicSet(data)
	if err == nil && len(keys) == 0 {
		err = errors.New("keys: no key of the set can be used to verify")
	}
	return keys, err
}

func parsePublicSet(data []byte) ([]*Key, error) {
	var keys []*Key
	var kids []string
	count, found := 0, false
	parse := func(value []byte) error {
		if count++; count > maxKeys {
			return fmt.Errorf("keys: more than %d keys in the set", maxKeys)
		}
		kid, k, err := parsePublicKey(value)
		switch {
		case err != nil:
			return fmt.Errorf("keys: key number %d: %w", count, err)
		case kid != "" && slices.Contains(kids, kid):
			return fmt.Errorf("keys: key number %d has the kid of another one", count)
		}
		kids = append(kids, kid)
		if k != nil {
			keys = append(keys, k)
		}
		return nil
	}
	err := jose.Object(data, func(name string, value []byte) error {
		if name != "keys" {
			return nil
		}
		found = true
		return jose.Array(value, parse)
	})
	if err == nil && !found {
		err = errors.New("keys: not a JWK Set: it has no keys member")
	}
	if err != nil {
		return nil, err
	}
	return keys, nil
}

// parsePublicKey returns a nil key for one to skip, and an error for one that spoils the set.
func parsePublicKey(value []byte) (kid string, k *Key, err error) {
	var p publicKey
	usable := true
	err = jose.Object(value, func(name string, value []byte) error {
		if isPrivateMember(name) {
			return errors.New("private or symmetric key in a public set")
		}
		ok, err := p.member(name, value)
		usable = usable && ok && err == nil
		return nil
	})
	if err != nil {
		return "", nil, err
	}
	if p.Kty == "oct" {
		return "", nil, errors.New("private or symmetric key in a public set")
	}
	alg := p.algorithm()
	if !usable || jose.CheckKid(p.Kid) != nil || alg.Use() != Signature || p.Kty != alg.kty() {
		return p.Kid, nil, nil
	}
	if k, err = p.material.key(alg, p.Kid); err != nil {
		return p.Kid, nil, nil
	}
	return p.Kid, k, nil
}

// member reports false for a value that makes the key one for other purposes.
func (p *publicKey) member(name string, value []byte) (usable bool, err error) {
	switch name {
	case "kid":
		p.Kid, err = jose.String(value)
	case "alg":
		p.Alg, err = jose.String(value)
	case "use":
		p.Use, err = jose.String(value)
		return p.Use == string(Signature), err
	case "key_ops": // RFC 7517, Section 4.3
		ops, err := jose.Strings(value)
		return slices.Contains(ops, "verify"), err
	default:
		_, err = p.set(name, value)
	}
	return true, err
}

// algorithm is the key's alg, or the only one that goes with its curve.
func (p *publicKey) algorithm() Algorithm {
	switch {
	case p.Alg != "":
		return Algorithm(p.Alg)
	case p.Kty == "EC" && p.Crv == "P-256":
		return ES256
	case p.Kty == "OKP" && p.Crv == "Ed25519":
		return EdDSA
	}
	return ""
}
