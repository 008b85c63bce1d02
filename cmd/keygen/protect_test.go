package main

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
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwe"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/rogpeppe/go-internal/testscript"
)

func protectCommands() map[string]scriptCommand {
	return map[string]scriptCommand{
		"newkey": newKeyCommand, "seal": sealCommand, "join": joinJWKs, "octJWK": octJWK,
		"capture": capture, "save": save,
		"program": program, "opensslVerifies": opensslVerifies, "opensslOpens": opensslOpens,
	}
}

// programT is the key of the test among the values of a script.
type programT struct{}

// program skips the script unless the named programs are installed. Where
// CI=true a missing program is a failure: a skipped script tests nothing.
func program(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		if _, err := exec.LookPath(name); err == nil {
			continue
		}
		if os.Getenv("CI") == "true" {
			ts.Fatalf("%s is not installed, and CI=true; make test installs it", name)
		}
		ts.Value(programT{}).(testscript.T).Skip(name + " is not installed; make test installs it")
	}
}

// capture sets a variable to what the last command printed.
func capture(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile("stdout")))
}

// save writes what the last command printed to a file, without the line break at the end.
func save(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.TrimSpace(ts.ReadFile("stdout"))), 0o600))
}

// newKeyCommand makes a key, and its public half in FILE.pub: newkey FILE KIND FORM [NAME=VALUE...]
// Names are members of a JWK.
func newKeyCommand(ts *testscript.TestScript, _ bool, args []string) {
	private, public, err := generateKind(args[1])
	ts.Check(err)
	text, err := encodeKey(args[2], private, args[3:])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), text, 0o600))
	if public == nil {
		return
	}
	text, err = encodeKey(args[2], public, args[3:])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".pub"), text, 0o600))
}

// joinJWKs makes a JWK Set of JWKs: join SET JWK...
func joinJWKs(ts *testscript.TestScript, _ bool, args []string) {
	var all []json.RawMessage
	for _, name := range args[1:] {
		all = append(all, json.RawMessage(ts.ReadFile(name)))
	}
	text, err := json.Marshal(map[string]any{"keys": all})
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), text, 0o600))
}

// octJWK makes a symmetric JWK of the bytes of a file: octJWK IN OUT
func octJWK(ts *testscript.TestScript, _ bool, args []string) {
	text, err := encodeJWK([]byte(ts.ReadFile(args[0])), nil)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), text, 0o600))
}

// sealCommand encrypts a file: seal IN OUT ALG ENC SECRET P2C
func sealCommand(ts *testscript.TestScript, _ bool, args []string) {
	var p2c int
	_, err := fmt.Sscan(args[5], &p2c)
	ts.Check(err)
	secret := []byte(ts.ReadFile(args[4]))
	if strings.HasPrefix(args[2], "PBES2") { // a line; in a raw key a line break is part of it
		secret = bytes.TrimRight(secret, "\n")
	}
	out, err := sealText([]byte(ts.ReadFile(args[0])), args[2], args[3], secret, p2c)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), out, 0o600))
}

func sealText(text []byte, alg, enc string, secret []byte, p2c int) ([]byte, error) {
	keyAlg, _ := jwa.LookupKeyEncryptionAlgorithm(alg)
	contentAlg, _ := jwa.LookupContentEncryptionAlgorithm(enc)
	return jwe.Encrypt(text, jwe.WithKey(keyAlg, secret), jwe.WithContentEncryption(contentAlg), jwe.WithPBES2Count(p2c))
}

// generateKind makes a key of a kind; public is nil if it is symmetric.
func generateKind(kind string) (private, public any, err error) {
	switch kind {
	case "p256", "p384":
		k, err := ecdsa.GenerateKey(map[string]elliptic.Curve{"p256": elliptic.P256(), "p384": elliptic.P384()}[kind], rand.Reader)
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

// encodeKey writes a key, private or public, in a form.
func encodeKey(form string, key any, members []string) ([]byte, error) {
	if form == "raw" {
		return key.([]byte), nil
	}
	if form == "jwk" {
		return encodeJWK(key, members)
	}
	kind, der, err := encodeDER(form, key)
	if form == "der" {
		return der, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), err
}

func encodeDER(form string, key any) (kind string, der []byte, err error) {
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		if form == "sec1" {
			der, err = x509.MarshalECPrivateKey(k)
			return "EC PRIVATE KEY", der, err
		}
	case *rsa.PrivateKey:
		if form == "pkcs1" {
			return "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(k), nil
		}
	case *rsa.PublicKey:
		if form == "pkcs1" {
			return "RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(k), nil
		}
	}
	if form == "cert" {
		der, err = selfSigned(key)
		return "CERTIFICATE", der, err
	}
	if der, err = x509.MarshalPKIXPublicKey(key); err == nil {
		return "PUBLIC KEY", der, nil
	}
	der, err = x509.MarshalPKCS8PrivateKey(key)
	return "PRIVATE KEY", der, err
}

func selfSigned(key any) ([]byte, error) {
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, nil // the public half is in the certificate
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	return x509.CreateCertificate(rand.Reader, c, c, signer.Public(), signer)
}

func encodeJWK(key any, members []string) ([]byte, error) {
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
