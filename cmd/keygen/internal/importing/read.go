package importing

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/secret"
)

// maxSource is the size of the largest file that keys are read from, in bytes.
// maxImported RSA keys of 8192 bits take less.
const maxSource = 1 << 20

// readSource reads a file with keys, or with - standard input.
func readSource(t *tool.Tool, path string) ([]byte, error) {
	in := t.Stdin
	if secret.IsContent(path) {
		return nil, tool.RefuseContent()
	}
	if path != "-" {
		// Without O_NONBLOCK, a named pipe without a writer would block for ever.
		f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil && info.IsDir() {
			return nil, fmt.Errorf("%s is a directory; name the file in it", path)
		}
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxSource+1))
	switch name := sourceName(path); {
	case err != nil:
		return nil, err
	case len(data) > maxSource:
		return nil, fmt.Errorf("%s is larger than 1 MiB: this is not a file with keys", name)
	case len(bytes.TrimSpace(data)) == 0:
		return nil, fmt.Errorf("%s is empty", name)
	}
	return data, nil
}

func sourceName(path string) string {
	if path == "-" {
		return "standard input"
	}
	return path
}

// readKeys reads the keys of a file, in their order; with a kid, the one key of
// a JWK Set that has it. If the file is encrypted, decrypt opens it.
func readKeys(t *tool.Tool, path, kid string, decrypt func([]byte) ([]byte, error)) (all []incoming, err error) {
	data, err := readSource(t, path)
	if err != nil {
		return nil, err
	}
	if token := bytes.TrimSpace(data); keyset.IsEncrypted(token) {
		data, err = decrypt(token)
	}
	if err == nil {
		all, err = parseIncoming(data, kid)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", sourceName(path), err)
	}
	return all, nil
}

// decrypt decrypts the file to import. Nobody is asked for a passphrase where
// standard input has the keys, or a script runs keygen.
func (o *importFlags) decrypt(t *tool.Tool, token []byte) (text []byte, err error) {
	var under keyset.File
	o.encrypted = true
	switch {
	case len(o.secret.Given()) > 0:
		err = o.secret.Read(t, &under)
	case o.path == "-" || !tool.IsTerminal(t.Stdin):
		err = wrongUse("it is encrypted; use --import-passphrase-file, --import-kek-file or the like")
	default:
		under.Passphrase, err = t.Ask("passphrase of " + o.path)
	}
	if err != nil {
		return nil, err
	}
	return openJWE(token, under)
}

// parseIncoming reads the keys of a file that is not encrypted.
func parseIncoming(data []byte, kid string) ([]incoming, error) {
	text := bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\ufeff"))) // a BOM, as Windows writes it
	switch {
	case bytes.Contains(text, []byte("-----BEGIN ")) && kid == "":
		return parsePEM(text)
	case bytes.Contains(text, []byte("-----BEGIN ")):
		return nil, wrongUse("--kid is for a JWK Set; keys in PEM have none")
	case bytes.HasPrefix(text, []byte("{")):
		return parseJWKs(text, kid)
	}
	return nil, explainSource(text)
}

// oidPKCS7Data is the DER of 1.2.840.113549.1.7.1, with which the content of a
// PKCS #12 file begins (RFC 7292, Section 4).
var oidPKCS7Data = []byte("\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01")

// explainSource recognizes files that people take for key files, and says how
// to turn them into one.
func explainSource(text []byte) error {
	begins := func(prefixes ...string) bool {
		return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(string(text), p) })
	}
	switch {
	case begins("ssh-", "ecdsa-sha2-", "sk-", "---- BEGIN SSH2"):
		return errors.New("it is a public key of OpenSSH; turn it into PEM: " +
			"ssh-keygen -e -m PKCS8 -f FILE | keygen import - --verify-only")
	case begins("\xff\xfe", "\xfe\xff"):
		return errors.New("it is UTF-16, as PowerShell writes it; turn it into UTF-8: " +
			"iconv -f UTF-16 -t UTF-8 FILE | keygen import -")
	case begins("\x30") && bytes.Contains(text[:min(len(text), 64)], oidPKCS7Data):
		return errors.New("it is PKCS #12; take the private key out on the way, so that no file has it in the clear: " +
			"openssl pkcs12 -in FILE -nocerts -nodes | keygen import -")
	case begins("\x30"):
		return errors.New("it is binary; if it is DER, turn it into PEM: openssl pkey -inform DER -in FILE | keygen import -")
	case !utf8.Valid(text) || bytes.ContainsRune(text, 0):
		return errors.New("it is binary, and neither PEM nor JSON")
	}
	return errors.New("it is neither PEM (which has -----BEGIN), nor a JWK or a JWK Set (JSON), nor an encrypted one")
}

// warnSource warns of the file that private keys came from: it is still a copy
// of them in the clear.
func warnSource(t *tool.Tool, path string, all []*candidate) {
	private := slices.ContainsFunc(all, func(c *candidate) bool { return c.key.HasPrivate() || c.stripped })
	info, err := os.Stat(path)
	if t.DryRun || !private || path == "-" || err != nil || !info.Mode().IsRegular() {
		return
	}
	t.Note("%s holds the private keys still; remove it, and its copies", path)
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		t.Note("WARNING: others can read %s (mode %04o): whoever did can sign with its keys", path, mode)
	}
}
