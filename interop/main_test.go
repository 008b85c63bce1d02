package interop_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"log"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// trust is the certificate of every application, for localhost. The same for
// all, because Go reads SSL_CERT_FILE once.
var trust struct {
	server tls.Certificate
	caFile string // of the authority that made it
}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "cloakroom-interop-")
	if err == nil {
		err = errors.Join(makeCertificate(dir), makeSecret())
	}
	if err != nil {
		log.Fatal(err)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// makeSecret makes the secret by which the application knows who asks about
// tokens.
func makeSecret() error {
	secret := make([]byte, 32)
	_, _ = rand.Read(secret)               // never fails
	copy(secret, []byte{0xfb, 0xef, 0xff}) // its base64 has the characters + / and =
	text := base64.StdEncoding.EncodeToString(secret)
	return errors.Join(os.Setenv("CLIENT_ID", "orders"), os.Setenv("CLIENT_SECRET", text),
		os.Setenv("CLIENT_SECRET_ESCAPED", url.QueryEscape(text)))
}

// makeCertificate makes an authority and a certificate, and lets this process
// and those that it starts trust them, also those of other users.
func makeCertificate(dir string) error {
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Interop"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	site := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "localhost"}, NotBefore: ca.NotBefore,
		NotAfter: ca.NotAfter, DNSNames: []string{"localhost"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	authority, err := sign(ca, ca, nil)
	if err != nil {
		return err
	}
	trust.server, err = sign(site, ca, authority.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		return err
	}
	trust.caFile = filepath.Join(dir, "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Certificate[0]})
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(trust.caFile, text, 0o644)); err != nil {
		return err
	}
	for _, name := range []string{"CA_FILE", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"} {
		if err := os.Setenv(name, trust.caFile); err != nil {
			return err
		}
	}
	return nil
}

// sign makes a key, and a certificate for it; without a parentKey it is signed
// with that key itself.
func sign(c, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	if parentKey == nil {
		parentKey = key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, parentKey)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}
