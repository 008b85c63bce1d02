// Package keytest makes keys in the forms that other programs write, for tests
// of what keygen imports.
package keytest

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwe"
	"github.com/lestrrat-go/jwx/v3/jwk"
)

// Seal encrypts text as a compact JWE; p2c is the iteration count of PBES2.
func Seal(text []byte, alg, enc string, secret []byte, p2c int) ([]byte, error) {
	keyAlg, _ := jwa.LookupKeyEncryptionAlgorithm(alg)
	contentAlg, _ := jwa.LookupContentEncryptionAlgorithm(enc)
	return jwe.Encrypt(text, jwe.WithKey(keyAlg, secret), jwe.WithContentEncryption(contentAlg), jwe.WithPBES2Count(p2c))
}

// Generate makes a key of a kind; public is nil if it is symmetric.
func Generate(kind string) (private, public any, err error) {
	switch kind {
	case "p256", "p384":
		curve := map[string]elliptic.Curve{"p256": elliptic.P256(), "p384": elliptic.P384()}[kind]
		k, err := ecdsa.GenerateKey(curve, rand.Reader)
		return k, &k.PublicKey, err
	case "ed25519":
		public, private, err := ed25519.GenerateKey(rand.Reader)
		return private, public, err
	case "x25519":
		k, err := ecdh.X25519().GenerateKey(rand.Reader)
		return k, k.PublicKey(), err
	case "rsa1024", "rsa2048":
		k, err := rsa.GenerateKey(rand.Reader, map[string]int{"rsa1024": 1024, "rsa2048": 2048}[kind])
		return k, &k.PublicKey, err
	case "text":
		return []byte("correct horse battery staple 123"), nil, nil
	case "oct16", "oct32":
		secret := make([]byte, map[string]int{"oct16": 16, "oct32": 32}[kind])
		_, err := rand.Read(secret)
		return secret, nil, err
	}
	return nil, nil, fmt.Errorf("unknown kind %q", kind)
}

// Encode writes a key, private or public, in a form: raw, jwk, or as a block of
// PEM, of which der is the content. sec1, pkcs1 and cert are for the keys that
// have such a form; all others get PKCS #8 or SPKI.
func Encode(form string, key any, members []string) ([]byte, error) {
	switch form {
	case "raw":
		return key.([]byte), nil
	case "jwk":
		return EncodeJWK(key, members)
	}
	kind, der, err := encodeDER(form, key)
	if form == "der" {
		return der, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), err
}

func encodeDER(form string, key any) (kind string, der []byte, err error) {
	ec, isEC := key.(*ecdsa.PrivateKey)
	private, isRSA := key.(*rsa.PrivateKey)
	public, isPublicRSA := key.(*rsa.PublicKey)
	signer, isPrivate := key.(crypto.Signer)
	switch {
	case form == "sec1" && isEC:
		der, err = x509.MarshalECPrivateKey(ec)
		return "EC PRIVATE KEY", der, err
	case form == "pkcs1" && isRSA:
		return "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(private), nil
	case form == "pkcs1" && isPublicRSA:
		return "RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(public), nil
	case form == "cert" && isPrivate:
		c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
		der, err = x509.CreateCertificate(rand.Reader, c, c, signer.Public(), signer)
		return "CERTIFICATE", der, err
	}
	if der, err = x509.MarshalPKIXPublicKey(key); err == nil {
		return "PUBLIC KEY", der, nil
	}
	der, err = x509.MarshalPKCS8PrivateKey(key)
	return "PRIVATE KEY", der, err
}

// EncodeJWK writes a key as a JWK, with more members: name=value.
func EncodeJWK(key any, members []string) ([]byte, error) {
	k, err := jwk.Import(key)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(k)
	for _, m := range members {
		name, value, _ := strings.Cut(m, "=")
		if !json.Valid([]byte(value)) {
			value = `"` + value + `"`
		}
		text = fmt.Appendf(bytes.TrimSuffix(text, []byte("}")), ",%q:%s}", name, value)
	}
	return text, err
}
