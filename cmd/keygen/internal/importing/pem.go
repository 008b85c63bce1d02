package importing

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
)

// parsePEM reads the keys of a PEM file (RFC 7468), in their order. It skips
// text between the blocks, which "openssl pkey -text" writes, and EC
// PARAMETERS, which the key repeats.
func parsePEM(text []byte) (all []incoming, err error) {
	blocks := 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		blocks++
		if block.Type == "EC PARAMETERS" {
			continue
		}
		// The author of the file chose the type. Ours have up to 21 characters.
		in := incoming{where: tool.Cell(fmt.Sprintf("PEM block %d (%.40s)", blocks, block.Type))}
		if in.raw, err = parseBlock(block); err != nil {
			return nil, fmt.Errorf("%s: %w", in.where, err)
		}
		all = append(all, in)
	}
	switch {
	case blocks != bytes.Count(text, []byte("-----BEGIN ")): // Decode skips what it can't read
		return nil, errors.New("a PEM block is damaged: each line must be as it was written, and begin at the margin")
	case len(all) == 0:
		return nil, errors.New("there is no key in it, only EC PARAMETERS")
	}
	return all, nil
}

func parseBlock(block *pem.Block) (key any, err error) {
	if strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") { // RFC 1421, Section 4.6.1.1
		return nil, errEncryptedPEM
	}
	switch der := block.Bytes; block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(der)
	case "EC PRIVATE KEY": // SEC 1
		key, err = x509.ParseECPrivateKey(der)
	case "RSA PRIVATE KEY": // PKCS #1
		key, err = x509.ParsePKCS1PrivateKey(der)
	case "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(der)
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(der)
	default:
		return nil, explainBlock(block)
	}
	switch {
	case err != nil && bytes.Contains(block.Bytes, oidPrimeField):
		return nil, errExplicit
	case err != nil:
		return nil, errDER
	}
	return key, nil
}

// oidPrimeField is the DER of 1.2.840.10045.1.1, which stands only where a
// curve is written out (RFC 3279, Section 2.3.5).
var oidPrimeField = []byte("\x06\x07\x2a\x86\x48\xce\x3d\x01\x01")

// errDER takes the place of the errors of package x509, which only readers of
// ASN.1 understand.
var (
	errDER = errors.New("it is damaged, or of a kind that can't be used; what can be is: " +
		"P-256, Ed25519, and RSA of at least 2048 bits that is not for RSASSA-PSS alone")
	errExplicit = errors.New("its curve is written out in numbers, and only a named one can be read; " +
		"name it on the way: openssl ec -in FILE -param_enc named_curve | keygen import - " +
		"(for a public key: openssl ec -pubin -in FILE -param_enc named_curve)")
	errEncryptedPEM = errors.New("it is encrypted; decrypt it on the way, so that no file has it in the clear: " +
		"openssl pkey -in FILE | keygen import -")
)

// explainBlock says what to do about a block that is not a key, or is one in a
// form that Go can't read.
func explainBlock(block *pem.Block) error {
	switch kind := block.Type; {
	case kind == "ENCRYPTED PRIVATE KEY":
		return errEncryptedPEM
	case kind == "OPENSSH PRIVATE KEY" && bytes.Contains(block.Bytes, []byte("ssh-ed25519")):
		return errors.New("it is an Ed25519 key in OpenSSH's own format, and ssh-keygen has no other for it; " +
			"make a new one: keygen add --alg EdDSA")
	case kind == "OPENSSH PRIVATE KEY":
		return errors.New("it is in OpenSSH's own format; turn a copy into PKCS #8: " +
			"cp FILE copy.pem && ssh-keygen -p -N '' -m PKCS8 -f copy.pem")
	case strings.HasSuffix(kind, "CERTIFICATE"):
		return errors.New("it is a certificate, and no key; import the key alone, or take the public one out: " +
			"openssl x509 -in FILE -noout -pubkey | keygen import -")
	}
	return errors.New("it is no key that can be imported: use PRIVATE KEY (PKCS #8), EC PRIVATE KEY, " +
		"RSA PRIVATE KEY, PUBLIC KEY or RSA PUBLIC KEY")
}
