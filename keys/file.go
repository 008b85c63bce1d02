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

	// Passphrase, or Key, is what the file is encrypted under (RFC 7517, Appendix
	// C): a passphrase of at least 8 characters, or a key of 32 random bytes, raw
	// or as base64 or hexadecimal text. At most one of them; none for a file that
	// is not encrypted. A file that is encrypted when it should not be, or the
	// reverse, is refused.
	Passphrase []byte
	Key        []byte // see Passphrase

	// Signers hold the private halves of keys that live in a KMS or an HSM: those
	// of which the file has only the public half. A signer that fits no key of the
	// file is not used.
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
