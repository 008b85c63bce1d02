package keyset

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/internal/secret"
)

// MaxWritten is the size of the largest key file that is written, in bytes. It is
// half of what is read, since a file grows when it is encrypted.
const MaxWritten = maxFile / 2

// maxFile is the size of the largest key file that is read, in bytes.
const maxFile = 1 << 20

// A File names a key file and says how it is protected. The file must be regular,
// or a link to a regular one, of at most 1 MiB; it must belong to this process's user or to
// root, and nobody else may be able to read or write it. Errors of all methods say what to do, and wrap an error of
// package io/fs, ErrUnsafeFile, ErrInvalidFile or ErrLocked.
type File struct {
	// Path is where the file is. Required.
	Path string

	// Passphrase, or Key, is what the file is encrypted under (RFC 7517, Appendix C): a passphrase of at
	// least 8 characters, or a key of 32 random bytes, raw or as base64 or hexadecimal text. At most one of them; none
	// for a file that is not encrypted. A file that is encrypted when it should not be, or the reverse, is refused.
	Passphrase []byte
	Key        []byte // see Passphrase

	// Signers hold the private halves of keys that live in a KMS or an HSM: those of which the file has
	// the public half alone. A signer that fits no key of the file is not used.
	Signers []crypto.Signer

	// InsecureGroupReadable accepts a file that its group can read, as Kubernetes
	// mounts secrets for a process that is not root (mode 0440 with fsGroup).
	// Everybody in the group can sign.
	InsecureGroupReadable bool
}

var errNoPath = errors.New("keys: File.Path is required: the path of a key file")

// named refuses a path that is none. The keys themselves may be written where
// the path belongs: nothing repeats them.
func (f File) named() error {
	switch {
	case f.Path == "":
		return errNoPath
	case secret.IsContent(f.Path):
		return fmt.Errorf("%w: File.Path is not a path, but what a file with keys holds; write that to a file of mode 0600, and name the file", ErrInvalidFile)
	}
	return nil
}

// Format implements fmt.Formatter, so that no verb prints the passphrase or the key.
func (f File) Format(s fmt.State, _ rune) {
	if secret.IsContent(f.Path) {
		f.Path = "not a path"
	}
	fmt.Fprintf(s, "keys.File(%s)", f.Path)
}

// Read reads the file.
func (f File) Read() (*Set, error) {
	s, _, err := f.Open()
	return s, err
}

// Open reads the file, and returns what tells it from the next one, too.
func (f File) Open() (*Set, fs.FileInfo, error) {
	data, info, err := f.readSafely()
	if err != nil {
		return nil, nil, err
	}
	s, err := f.parse(data)
	return s, info, err
}

// load reads the file, and returns what is in it as it is, too.
func (f File) load() (*Set, []byte, error) {
	data, _, err := f.readSafely()
	if err != nil {
		return nil, nil, err
	}
	s, err := f.parse(data)
	return s, data, err
}

// parse makes a set of the content of the file.
func (f File) parse(data []byte) (*Set, error) {
	text, err := f.decrypt(data)
	if err != nil {
		return nil, err
	}
	s, err := parseSet(text)
	if err != nil {
		return nil, f.explainInvalid(text, err)
	}
	return s.Map(func(k *Key) (*Key, error) { return attach(k, f.Signers) })
}

func (f File) explainInvalid(text []byte, err error) error {
	if what := foreign(text); what != "" {
		return fmt.Errorf("%w: %s is %s, not a key file that keygen init made; make one with keygen init, and bring the keys in with keygen import: %w", ErrInvalidFile, f.Path, what, fault.Inner(err))
	}
	return fmt.Errorf("%w: %s is damaged or was edited; restore it from a backup%s; instances need a restart only if that is not the latest version: %w", ErrInvalidFile, f.Path, f.SuchAs(), fault.Inner(err))
}

// SuchAs names the file before the last change, if it is there, in the words that
// go on a sentence.
func (f File) SuchAs() string {
	previous := f.previous()
	if _, err := os.Lstat(previous); err != nil {
		return ""
	}
	return ", such as " + previous
}

// InsecurePrivateSet returns a JWK Set (RFC 7517, Section 5) of the private keys
// that the file holds, without what only this package understands. It is for
// tools that bring the keys elsewhere.
func (f File) InsecurePrivateSet() ([]byte, error) {
	s, err := f.Read()
	if err != nil {
		return nil, err
	}
	return s.privateSet()
}

// decrypt is open, and says which file it is.
func (f File) decrypt(data []byte) ([]byte, error) {
	text, err := f.open(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrInvalidFile, f.Path, fault.Inner(err))
	}
	return text, nil
}

// Encrypted reports whether the file is encrypted. It needs no passphrase and no key.
func (f File) Encrypted() (bool, error) {
	data, _, err := f.readSafely()
	return err == nil && IsEncrypted(data), err
}

func (f File) protection() protection { return protection{f.Passphrase, rawKey(f.Key)} }

// rawKey returns the 32 bytes that key stands for, or key itself if it stands for none.
func rawKey(key []byte) []byte {
	if raw, ok := secret.Key(key, secret.KeySize); ok {
		return raw
	}
	return key
}

// open returns the text of a file, which may be encrypted.
func (f File) open(data []byte) ([]byte, error) {
	under := f.protection()
	switch {
	case len(bytes.TrimSpace(data)) == 0:
		return nil, errors.New("the file is empty; restore it from a backup")
	case IsEncrypted(data):
		return under.decrypt(data)
	case under.given():
		// Whoever can write the file, but doesn't know the secret, could put keys of his own there.
		return nil, errors.New("the file is not encrypted, and a passphrase or a key for it was given; encrypt it with keygen encrypt, or give none")
	}
	return data, nil
}

// seal is the reverse of open.
func (f File) seal(text []byte) ([]byte, error) {
	if under := f.protection(); under.given() {
		return under.encrypt(text)
	}
	return text, nil
}

// readSafely reads a file whose checks are on the open file, so that nobody can
// exchange it in between.
func (f File) readSafely() ([]byte, fs.FileInfo, error) {
	if err := f.named(); err != nil {
		return nil, nil, err
	}
	file, err := os.OpenFile(f.Path, openFlags, 0)
	if err != nil {
		return nil, nil, explainOpen(f.Path, err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, nil, fmt.Errorf("keys: key file: %w", err)
	}
	if err := f.check(info); err != nil {
		return nil, nil, err
	}
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, nil, fmt.Errorf("keys: key file: %w", err)
	}
	if len(data) > maxFile {
		return nil, nil, tooLarge(f.Path)
	}
	return data, info, nil
}

func explainOpen(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist) && strings.HasSuffix(path, ".bak"):
		return fmt.Errorf("keys: no file at %s: the previous key file is kept there with each change: %w", path, err)
	case errors.Is(err, fs.ErrNotExist) && isLink(path):
		return fmt.Errorf("keys: no key file where the symbolic link %s leads: %w; "+
			"make one there, with keygen init --keyset and the path that it names, or remove the link", path, err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("keys: no key file at %s: %w; make one with: keygen init --keyset %s", path, err, path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("keys: this process (user %d) may not read the key file; run it as the file's owner: %w", os.Geteuid(), err)
	}
	return fmt.Errorf("keys: key file: %w", err)
}

func isLink(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode()&fs.ModeSymlink != 0
}

func (f File) check(info fs.FileInfo) error {
	allowed := fs.FileMode(0o700)
	if f.InsecureGroupReadable {
		allowed |= 0o040
	}
	path := f.Path
	switch mode := info.Mode(); {
	case mode.IsDir():
		return fmt.Errorf("%w: %s is a directory; name the file in it", ErrInvalidFile, path)
	case !mode.IsRegular():
		return fmt.Errorf("%w: %s is not a regular file", ErrInvalidFile, path)
	case hasModes && mode.Perm()&^allowed != 0:
		return fmt.Errorf("%w: others can use %s (mode %04o); run: chmod 600 %s", ErrUnsafeFile, path, mode.Perm(), path)
	}
	if owner, ok := ownerOf(info); ok && owner != 0 && owner != os.Geteuid() {
		return fmt.Errorf("%w: %s belongs to user %d, and this process runs as user %d; run it as the owner, or chown the file", ErrUnsafeFile, path, owner, os.Geteuid())
	}
	if info.Size() > maxFile {
		return tooLarge(path)
	}
	return nil
}

func tooLarge(path string) error {
	return fmt.Errorf("%w: %s is larger than 1 MiB; this is no key file", ErrInvalidFile, path)
}
