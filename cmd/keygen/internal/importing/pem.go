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

// parsePEM reads the keys of a PEM file (RFC 7468), in their order. It skips what is no block, as "openssl pkey -text"
// writes, and EC PARAMETERS, which the key has too.
func parsePEM(text []byte) ([]incoming, error) {
	var all []incoming
	blocks := 0
	for rest := text; ; {
		block, after := pem.Decode(rest)
		if block == nil {
			break
		}
		rest, blocks = after, blocks+1
		if block.Type == "EC PARAMETERS" {
			continue
		}
		where := fmt.Sprintf("PEM block %d (%s)", blocks, blockName(block.Type))
		raw, err := parseBlock(block)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", where, err)
		}
		all = append(all, incoming{raw: raw, where: where})
	}
	switch {
	case blocks != bytes.Count(text, []byte("-----BEGIN ")): // Decode skips what it can't read
		return nil, errors.New("a PEM block is damaged: each line must be as it was written, and begin at the margin")
	case len(all) == 0:
		return nil, errors.New("there is no key in it, only EC PARAMETERS")
	}
	return all, nil
}

// blockName is the type of a block for people. Whoever made the file wrote it.
func blockName(kind string) string {
	const most = 40 // ours have up to 21
	if len(kind) > most {
		kind = strings.ToValidUTF8(kind[:most], "") + "..."
	}
	return tool.Cell(kind)
}

func parseBlock(block *pem.Block) (any, error) {
	if strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
		return nil, errEncryptedPEM
	}
	parse := parserOf(block.Type)
	if parse == nil {
		return nil, explainBlock(block)
	}
	key, err := parse(block.Bytes)
	switch {
	case err != nil && bytes.Contains(block.Bytes, oidPrimeField):
		return nil, errExplicit
	case err != nil:
		return nil, errDER
	}
	return key, nil
}

// parserOf returns what reads the content of a kind of block; nil if nothing does.
func parserOf(kind string) func(der []byte) (any, error) {
	switch kind {
	case "PRIVATE KEY":
		return x509.ParsePKCS8PrivateKey
	case "EC PRIVATE KEY": // SEC 1
		return func(der []byte) (any, error) { return x509.ParseECPrivateKey(der) }
	case "RSA PRIVATE KEY": // PKCS #1
		return func(der []byte) (any, error) { return x509.ParsePKCS1PrivateKey(der) }
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey
	case "RSA PUBLIC KEY":
		return func(der []byte) (any, error) { return x509.ParsePKCS1PublicKey(der) }
	}
	return nil
}

// errDER stands for what package x509 says, which is for those who know ASN.1.
var errDER = errors.New("it is damaged, or of a kind that can't be used; what can be is: P-256, Ed25519, and RSA of at least 2048 bits that is not for RSASSA-PSS alone")

// oidPrimeField is the DER of 1.2.840.10045.1.1: it stands only where a curve is
// written out (RFC 3279, Section 2.3.5).
var oidPrimeField = []byte("\x06\x07\x2a\x86\x48\xce\x3d\x01\x01")

var errExplicit = errors.New("its curve is written out in numbers, and only a named one can be read; name it on the way: openssl ec -in FILE -param_enc named_curve | keygen import - (for a public key: openssl ec -pubin -in FILE -param_enc named_curve)")

var errEncryptedPEM = errors.New("it is encrypted; decrypt it on the way, so that no file has it in the clear: openssl pkey -in FILE | keygen import -")

// explainBlock says what to do about a block that is no key that can be read.
func explainBlock(block *pem.Block) error {
	switch kind := block.Type; {
	case kind == "ENCRYPTED PRIVATE KEY":
		return errEncryptedPEM
	case kind == "OPENSSH PRIVATE KEY" && bytes.Contains(block.Bytes, []byte("ssh-ed25519")):
		return errors.New("it is an Ed25519 key in OpenSSH's own format, and ssh-keygen has no other for it; make a new one: keygen add --alg EdDSA")
	case kind == "OPENSSH PRIVATE KEY":
		return errors.New("it is in OpenSSH's own format; turn a copy into PKCS #8: cp FILE copy.pem && ssh-keygen -p -N '' -m PKCS8 -f copy.pem")
	case strings.HasSuffix(kind, "CERTIFICATE"):
		return errors.New("it is a certificate, and no key; import the key alone, or take the public one out: openssl x509 -in FILE -noout -pubkey | keygen import -")
	}
	return errors.New("it is no key that can be imported: use PRIVATE KEY (PKCS #8), EC PRIVATE KEY, RSA PRIVATE KEY, PUBLIC KEY or RSA PUBLIC KEY")
}
