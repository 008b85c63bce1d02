package keys

import (
	"crypto"
	"fmt"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

// A File names a key file and says how it is protected. The file must be
// regular, or a link to a regular one, of at most 1 MiB; it must belong to this
// process's user or to root, and nobody else may be able to read or write it.
type File struct {
	// Path is where the file is. Required.
	Path string

	// Passphrase or Key decrypts the file (RFC 7517, Appendix C). A passphrase has
	// at least 8 characters; a key is 32 random bytes, raw or as base64 or
	// hexadecimal text. Set neither for a file that is not encrypted. A file that
	// is encrypted when it should not be, or the reverse, is refused.
	Passphrase []byte
	Key        []byte // see Passphrase

	// Signers have the private halves of keys that live in a KMS or an HSM; the
	// file has only the public halves. A signer that matches no key is not used.
	Signers []crypto.Signer

	// InsecureGroupReadable accepts a file that its group can read, as Kubernetes
	// mounts secrets for a process that is not root (mode 0440 with fsGroup).
	// Everybody in the group can sign.
	InsecureGroupReadable bool
}

// Format implements fmt.Formatter, so that no verb prints the passphrase or the
// key.
func (f File) Format(s fmt.State, verb rune) { keyset.File(f).Format(s, verb) }

// Read reads the file. If the file is refused, the error says what to do.
func (f File) Read() (*Set, error) {
	s, err := keyset.File(f).Read()
	return (*Set)(s), err
}
