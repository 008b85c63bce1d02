package keyset

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/lestrrat-go/jwx/v3/jwk"

	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/internal/jose"
)

// material is the part of a JWK that is the key itself: its members by name, as
// base64url text except for kty and crv (RFC 7518, Section 6; RFC 8037, Section
// 2).
type material map[string]string

// PrivateMembers returns the names of the members that a public key must not
// have: RFC 7518, Sections 6.2.2, 6.3.2 and 6.4.1, RFC 8037, Section 2, and
// priv of RFC 9964.
func PrivateMembers() []string {
	return []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"}
}

// set reads one member. Values other than names must be canonical base64url.
func (m material) set(name string, value []byte) (known bool, err error) {
	// Keys with more than two primes (oth) and of RFC 9964 (priv) are not ours.
	ours := []string{"kty", "crv", "x", "y", "n", "e", "d", "p", "q", "dp", "dq", "qi", "k"}
	if !slices.Contains(ours, name) {
		return false, nil
	}
	text, err := jose.String(value)
	if err == nil && name != "kty" && name != "crv" {
		_, err = jose.Bytes(text)
	}
	if err == nil && text == "" {
		err = errors.New("keys: empty member")
	}
	m[name] = text
	return true, err
}

// raw returns the key that m describes: the private half if m has it, else the
// public one.
func (m material) raw() (any, error) {
	text, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	var raw any
	parsed, err := jwk.ParseKey(text)
	if err == nil {
		err = jwk.Export(parsed, &raw)
	}
	if err != nil { // the library's text may hold the numbers
		return nil, errors.New("keys: the numbers of the key are missing, malformed, weak or don't belong together")
	}
	return raw, nil
}

// describe is the reverse of raw, for a private or a public key.
func describe(raw any) (m material, err error) {
	imported, err := jwk.Import(raw)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(imported)
	if err != nil {
		return nil, err
	}
	return m, json.Unmarshal(text, &m)
}

// key builds the key that m describes.
func (m material) key(alg Algorithm, id string) (*Key, error) {
	if m["kty"] != alg.kind().kty {
		return nil, fmt.Errorf("keys: kty is not that of %s", alg)
	}
	raw, err := m.raw()
	if err != nil {
		return nil, err
	}
	switch r := raw.(type) {
	case *ecdsa.PublicKey, ed25519.PublicKey, *rsa.PublicKey:
		return build(alg, id, nil, r)
	}
	if !consistent(raw) {
		return nil, errors.New("keys: private and public half don't belong together")
	}
	return build(alg, id, raw, nil)
}

// checkRSA checks the modulus and the exponent, if m has both.
func (m material) checkRSA() error {
	n, err1 := jose.Bytes(m["n"])
	e, err2 := jose.Bytes(m["e"])
	if m["kty"] != "RSA" || err1 != nil || err2 != nil || len(n) == 0 || len(e) == 0 {
		return nil
	}
	exponent := new(big.Int).SetBytes(e)
	if exponent.BitLen() > 31 { // may not fit
		exponent.SetInt64(0) // is refused too
	}
	return checkRSA(&rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exponent.Int64())})
}

// consistent reports whether the public half that a private key has is its own.
// Otherwise it would sign with one key and publish another.
func consistent(private any) bool {
	switch p := private.(type) {
	case *rsa.PrivateKey:
		return p.Validate() == nil
	case ed25519.PrivateKey:
		return bytes.Equal(ed25519.NewKeyFromSeed(p.Seed()), p)
	case *ecdsa.PrivateKey:
		own, err1 := p.ECDH()
		public, err2 := p.PublicKey.ECDH()
		return err1 == nil && err2 == nil && own.PublicKey().Equal(public)
	}
	return true // a secret has no public half
}

// jwks returns a JWK for each key of the set of which half returns a half.
func (s *Set) jwks(half func(*Key) any) ([]map[string]any, error) {
	list := []map[string]any{} // for which JSON has [], not null
	for _, k := range s.keys {
		raw := half(k)
		if raw == nil {
			continue
		}
		m, err := describe(raw)
		if err != nil {
			return nil, fmt.Errorf("keys: key %s can't be written: %w", k.id, fault.Inner(err))
		}
		all := k.purpose()
		for name, text := range m {
			all[name] = text
		}
		list = append(list, all)
	}
	return list, nil
}

// purpose returns the members of a JWK that say which key it is, and what for.
func (k *Key) purpose() map[string]any {
	return map[string]any{"kid": k.id, "alg": k.alg, "use": k.Use()}
}

// jwkSet writes a JWK Set (RFC 7517, Section 5).
func (s *Set) jwkSet(half func(*Key) any) ([]byte, error) {
	list, err := s.jwks(half)
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]any{"keys": list})
}
