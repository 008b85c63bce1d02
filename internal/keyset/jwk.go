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
	"time"

	"github.com/lestrrat-go/jwx/v3/jwk"

	"github.com/cloakroom-go/cloakroom/internal/instant"
	"github.com/cloakroom-go/cloakroom/internal/jose"
)

// material is the part of a JWK that is the key itself, as base64url text
// (RFC 7518, Section 6; RFC 8037, Section 2).
type material struct {
	Kty string `json:"kty,omitempty"`
	Crv string `json:"crv,omitempty"`
	X   string `json:"x,omitempty"`
	Y   string `json:"y,omitempty"`
	N   string `json:"n,omitempty"`
	E   string `json:"e,omitempty"`
	D   string `json:"d,omitempty"`
	P   string `json:"p,omitempty"`
	Q   string `json:"q,omitempty"`
	DP  string `json:"dp,omitempty"`
	DQ  string `json:"dq,omitempty"`
	QI  string `json:"qi,omitempty"`
	K   string `json:"k,omitempty"`
}

// PrivateMembers returns the names of the members that a public key must not
// have: RFC 7518, Sections 6.2.2, 6.3.2 and 6.4.1, RFC 8037, Section 2, and priv
// of RFC 9964.
func PrivateMembers() []string {
	return []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"}
}

// field returns where the member called name goes, or nil.
func (m *material) field(name string) *string {
	switch name {
	case "kty":
		return &m.Kty
	case "crv":
		return &m.Crv
	case "x":
		return &m.X
	case "y":
		return &m.Y
	case "n":
		return &m.N
	case "e":
		return &m.E
	case "d":
		return &m.D
	case "p":
		return &m.P
	case "q":
		return &m.Q
	case "dp":
		return &m.DP
	case "dq":
		return &m.DQ
	case "qi":
		return &m.QI
	case "k":
		return &m.K
	}
	return nil
}

// set reads one member. Values other than names must be canonical base64url.
func (m *material) set(name string, value []byte) (known bool, err error) {
	field := m.field(name)
	if field == nil {
		return false, nil
	}
	if *field, err = jose.String(value); err != nil {
		return true, err
	}
	if name != "kty" && name != "crv" {
		_, err = jose.Bytes(*field)
	}
	if err == nil && *field == "" {
		err = errors.New("keys: empty member")
	}
	return true, err
}

// public returns m without the private members.
func (m material) public() material {
	return material{Kty: m.Kty, Crv: m.Crv, X: m.X, Y: m.Y, N: m.N, E: m.E}
}

// raw returns the key that m describes: the private half, if m has it, else the public one.
func (m material) raw() (any, error) {
	text, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	parsed, err := jwk.ParseKey(text)
	if err != nil {
		return nil, errors.New("keys: the numbers of the key are missing, malformed, weak or don't belong together")
	}
	var raw any
	if err := jwk.Export(parsed, &raw); err != nil {
		return nil, errors.New("keys: the numbers of the key are out of range or don't belong together")
	}
	return raw, nil
}

// describe is the reverse of raw, for a private or a public key.
func describe(raw any) (m material, err error) {
	imported, err := jwk.Import(raw)
	if err != nil {
		return m, err
	}
	text, err := json.Marshal(imported)
	if err != nil {
		return m, err
	}
	return m, json.Unmarshal(text, &m)
}

// key builds the key that m describes.
func (m material) key(alg Algorithm, id string) (*Key, error) {
	if m.Kty != alg.kty() {
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
	if err := m.consistent(raw); err != nil {
		return nil, err
	}
	return build(alg, id, raw, nil)
}

// checkRSA is for RSA keys that have a modulus and an exponent.
func (m material) checkRSA() error {
	n, err1 := jose.Bytes(m.N)
	e, err2 := jose.Bytes(m.E)
	if m.Kty != "RSA" || err1 != nil || err2 != nil || len(n) == 0 || len(e) == 0 {
		return nil
	}
	exponent := new(big.Int).SetBytes(e)
	if exponent.BitLen() > 31 { // may not fit
		exponent.SetInt64(0) // is refused too
	}
	return checkRSA(&rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exponent.Int64())})
}

// consistent refuses a private key whose public half is another key's: it
// would sign with one and publish the other.
func (m material) consistent(raw any) error {
	mismatch := errors.New("keys: private and public half don't belong together")
	switch r := raw.(type) {
	case *rsa.PrivateKey:
		if r.Validate() != nil {
			return mismatch
		}
		return nil
	case ed25519.PrivateKey:
		if !bytes.Equal(ed25519.NewKeyFromSeed(r.Seed()), r) {
			return mismatch
		}
	case *ecdsa.PrivateKey:
		private, err1 := r.ECDH()
		public, err2 := r.PublicKey.ECDH()
		if err1 != nil || err2 != nil || !private.PublicKey().Equal(public) {
			return mismatch
		}
	}
	return nil
}

// A fileKey is one key in a key file.
type fileKey struct {
	Kid string `json:"kid"`
	Alg string `json:"alg"`
	Use string `json:"use"`

	Created     int64 `json:"created,omitempty"` // seconds since 1970, as all dates
	PublishAt   int64 `json:"publish_at,omitempty"`
	SignFrom    int64 `json:"sign_from,omitempty"`
	SignUntil   int64 `json:"sign_until,omitempty"`
	VerifyUntil int64 `json:"verify_until,omitempty"`

	Revoked *fileRevocation `json:"revoked,omitempty"`
	Erased  bool            `json:"erased,omitempty"` // there was a private half; without, it may be in a KMS

	material
}

type fileRevocation struct {
	At     int64  `json:"at"`
	Reason string `json:"reason,omitempty"`
}

func (f *fileKey) member(name string, value []byte) (err error) {
	switch name {
	case "kid":
		if f.Kid, err = jose.String(value); err == nil {
			err = jose.CheckKid(f.Kid)
		}
	case "alg":
		f.Alg, err = jose.String(value)
	case "use":
		f.Use, err = jose.String(value)
	case "created":
		f.Created, err = seconds(value)
	case "publish_at":
		f.PublishAt, err = seconds(value)
	case "sign_from":
		f.SignFrom, err = seconds(value)
	case "sign_until":
		f.SignUntil, err = seconds(value)
	case "verify_until":
		f.VerifyUntil, err = seconds(value)
	case "revoked":
		f.Revoked, err = parseRevocation(value)
	case "erased":
		f.Erased, err = jose.Bool(value)
	default:
		var known bool
		if known, err = f.set(name, value); !known {
			err = errors.New("not known to this version")
		}
	}
	if err != nil {
		return fmt.Errorf("member %q: %w", name, err)
	}
	return nil
}

func seconds(value []byte) (int64, error) {
	n, err := jose.Int(value)
	if err == nil && (n <= 0 || n > instant.MaxSecond) {
		err = errors.New("keys: date outside the years 1970 to 9999")
	}
	return n, err
}

func parseRevocation(value []byte) (*fileRevocation, error) {
	r := new(fileRevocation)
	err := jose.Object(value, func(name string, value []byte) (err error) {
		switch name {
		case "at":
			r.At, err = seconds(value)
		case "reason":
			r.Reason, err = jose.String(value)
		default:
			err = errors.New("keys: unknown member")
		}
		return err
	})
	if err == nil && r.At == 0 {
		err = errors.New("keys: no date")
	}
	return r, err
}

// key builds the key that f describes.
func (f *fileKey) key() (*Key, error) {
	if err := f.named(); err != nil {
		return nil, err
	}
	alg := Algorithm(f.Alg)
	k, err := f.material.key(alg, f.Kid)
	if err != nil {
		return nil, err
	}
	if k.gone = f.Erased; k.gone && k.private != nil {
		return nil, errors.New("keys: erased, and has a private half")
	}
	if !alg.Symmetric() {
		if want, err := thumbprint(k.public); err != nil || want != k.id {
			return nil, errors.New("keys: kid is not the RFC 7638 thumbprint of the key")
		}
	}
	return k.with(f.dates(), f.revocation())
}

// named checks what a key, and a note of one, must have.
func (f *fileKey) named() error {
	alg := Algorithm(f.Alg)
	switch {
	case f.Kid == "":
		return errors.New("keys: no kid")
	case alg.Use() == "":
		return errors.New("keys: alg is not known")
	case f.Use != string(alg.Use()):
		return fmt.Errorf("keys: use is not %q", alg.Use())
	}
	return nil
}

func (f *fileKey) dates() Dates {
	return Dates{fromUnix(f.Created), fromUnix(f.PublishAt), fromUnix(f.SignFrom), fromUnix(f.SignUntil), fromUnix(f.VerifyUntil)}
}

func (f *fileKey) revocation() *revocation {
	if f.Revoked == nil {
		return nil
	}
	return &revocation{at: fromUnix(f.Revoked.At), reason: f.Revoked.Reason}
}

// husk builds what is left of a key that was pruned.
func (f *fileKey) husk() (*Key, error) {
	if f.material != (material{}) {
		return nil, errors.New("keys: a pruned key has no key in it")
	}
	if err := f.named(); err != nil {
		return nil, err
	}
	return (&Key{id: f.Kid, alg: Algorithm(f.Alg), gone: f.Erased}).with(f.dates(), f.revocation())
}

// record is all but the key itself.
func (k *Key) record() fileKey {
	f := fileKey{
		Kid: k.id, Alg: string(k.alg), Use: string(k.Use()),
		Created: unix(k.dates.Created), PublishAt: unix(k.dates.PublishAt), SignFrom: unix(k.dates.SignFrom),
		SignUntil: unix(k.dates.SignUntil), VerifyUntil: unix(k.dates.VerifyUntil),
	}
	f.Erased = k.gone && !k.alg.Symmetric()
	if k.revoked != nil {
		f.Revoked = &fileRevocation{At: unix(k.revoked.at), Reason: k.revoked.reason}
	}
	return f
}

func (k *Key) file() (fileKey, error) {
	f, raw := k.record(), k.private
	if raw == nil || k.External() {
		raw = k.public
	}
	var err error
	if f.material, err = describe(raw); err != nil {
		return f, fmt.Errorf("keys: key %s can't be written: %w", k.id, err)
	}
	return f, nil
}

func fromUnix(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}

func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}
