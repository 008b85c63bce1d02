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

	"github.com/cloakroom-go/cloakroom/internal/durable"
	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/internal/secret"
)

// Sizes of the largest key file, in bytes. A file grows when it is encrypted,
// so less is written than read.
const (
	maxFile    = 1 << 20
	MaxWritten = maxFile / 2
)

// A File names a key file and says how it is protected. The file must be
// regular, or a link to a regular one, of at most 1 MiB; it must belong to this
// process's user or to root, and nobody else may be able to read or write it.
// Errors of all methods say what to do, and wrap an error of package io/fs,
// ErrUnsafeFile, ErrInvalidFile or ErrLocked.
type File struct {
	// Path is where the file is. Required.
	Path string

	// Passphrase, or Key, encrypts the file (RFC 7517, Appendix C): a passphrase
	// of at least 8 characters, or a key of 32 random bytes, raw or as base64 or
	// hexadecimal text. Give at most one of them, and none for a file that is not
	// encrypted. A file that is encrypted when it should not be, or the reverse,
	// is refused.
	Passphrase []byte
	Key        []byte // see Passphrase

	// Signers hold the private halves of keys that live in a KMS or an HSM. The
	// file has only their public halves. A signer that fits no key of the file is
	// not used.
	Signers []crypto.Signer

	// InsecureGroupReadable accepts a file that its group can read, as Kubernetes
	// mounts secrets for a process that is not root (mode 0440 with fsGroup).
	// Everybody in the group can sign.
	InsecureGroupReadable bool
}

// checkPath refuses a path that can't be one. Somebody may have written the
// keys themselves where the path belongs, so the error does not repeat it.
func (f File) checkPath() error {
	switch {
	case f.Path == "":
		return errors.New("keys: File.Path is required: the path of a key file")
	case secret.IsContent(f.Path):
		return fmt.Errorf("%w: File.Path is not a path, but what a file with keys holds; "+
			"write that to a file of mode 0600, and name the file", ErrInvalidFile)
	}
	return nil
}

// Format implements fmt.Formatter, so that no verb prints the passphrase or the
// key.
func (f File) Format(s fmt.State, _ rune) {
	if secret.IsContent(f.Path) {
		f.Path = "not a path"
	}
	fmt.Fprintf(s, "keys.File(%s)", f.Path)
}

// Read reads the file.
func (f File) Read() (*Set, error) {
	s, _, _, err := f.load()
	return s, err
}

// Open reads the file. The FileInfo tells this file from the next one.
func (f File) Open() (*Set, fs.FileInfo, error) {
	s, _, info, err := f.load()
	return s, info, err
}

// load reads the file, and returns its raw content too.
func (f File) load() (*Set, []byte, fs.FileInfo, error) {
	data, info, err := f.readSafely()
	if err != nil {
		return nil, nil, nil, err
	}
	s, err := f.parse(data)
	return s, data, info, err
}

// parse makes a set of the content of the file.
func (f File) parse(data []byte) (*Set, error) {
	text, err := f.open(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrInvalidFile, f.Path, fault.Inner(err))
	}
	s, err := parseSet(text)
	if err != nil {
		return nil, f.explainInvalid(text, err)
	}
	return s.Map(func(k *Key) (*Key, error) { return attach(k, f.Signers) })
}

func (f File) explainInvalid(text []byte, err error) error {
	if what := foreign(text); what != "" {
		return fmt.Errorf("%w: %s is %s, not a key file that keygen init made; make one with keygen init, "+
			"and bring the keys in with keygen import: %w", ErrInvalidFile, f.Path, what, fault.Inner(err))
	}
	return fmt.Errorf("%w: %s is damaged or was edited; restore it from a backup%s; "+
		"instances need a restart only if that is not the latest version: %w",
		ErrInvalidFile, f.Path, f.SuchAs(), fault.Inner(err))
}

// SuchAs names the file before the last change, if it is there, as the end of a
// sentence about backups.
func (f File) SuchAs() string {
	previous := durable.Previous(f.Path)
	if _, err := os.Lstat(previous); err != nil {
		return ""
	}
	return ", such as " + previous
}

// InsecurePrivateSet returns a JWK Set (RFC 7517, Section 5) of the private
// keys in the file, without the members that only this package understands. It
// is for tools that bring the keys elsewhere.
func (f File) InsecurePrivateSet() ([]byte, error) {
	s, err := f.Read()
	if err != nil {
		return nil, err
	}
	return s.jwkSet(func(k *Key) any {
		if k.External() {
			return nil
		}
		return k.private
	})
}

// Encrypted reports whether the file is encrypted. It needs no passphrase and
// no key.
func (f File) Encrypted() (bool, error) {
	data, _, err := f.readSafely()
	return err == nil && IsEncrypted(data), err
}

func (f File) protection() protection {
	if raw, ok := secret.Key(f.Key, secret.KeySize); ok {
		f.Key = raw
	}
	return protection{f.Passphrase, f.Key}
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
		// An attacker who can write the file, but doesn't know the secret, could
		// have put his own keys there.
		return nil, errors.New("the file is not encrypted, and a passphrase or a key for it was given; " +
			"encrypt it with keygen encrypt, or give none")
	}
	return data, nil
}

// readSafely reads a file. It checks the file that is open, so that nobody can
// exchange it between the check and the reading.
func (f File) readSafely() ([]byte, fs.FileInfo, error) {
	if err := f.checkPath(); err != nil {
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
		return nil, nil, fmt.Errorf("%w: %s is larger than 1 MiB; this is no key file", ErrInvalidFile, f.Path)
	}
	return data, info, nil
}

func explainOpen(path string, err error) error {
	info, statErr := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && strings.HasSuffix(path, ".bak"):
		return fmt.Errorf("keys: no file at %s: the previous key file is kept there with each change: %w", path, err)
	case errors.Is(err, fs.ErrNotExist) && statErr == nil && info.Mode()&fs.ModeSymlink != 0:
		return fmt.Errorf("keys: no key file where the symbolic link %s leads: %w; "+
			"make one there, with keygen init --keyset and the path that it names, or remove the link", path, err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("keys: no key file at %s: %w; make one with: keygen init --keyset %s", path, err, path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("keys: this process (user %d) may not read the key file; run it as the file's owner: %w",
			os.Geteuid(), err)
	}
	return fmt.Errorf("keys: key file: %w", err)
}

func (f File) check(info fs.FileInfo) error {
	allowed := fs.FileMode(0o700)
	if f.InsecureGroupReadable {
		allowed |= 0o040
	}
	path, user := f.Path, os.Geteuid()
	switch mode := info.Mode(); {
	case mode.IsDir():
		return fmt.Errorf("%w: %s is a directory; name the file in it", ErrInvalidFile, path)
	case !mode.IsRegular():
		return fmt.Errorf("%w: %s is not a regular file", ErrInvalidFile, path)
	case hasModes && mode.Perm()&^allowed != 0:
		return fmt.Errorf("%w: others can use %s (mode %04o); run: chmod 600 %s", ErrUnsafeFile, path, mode.Perm(), path)
	}
	if owner, ok := ownerOf(info); ok && owner != 0 && owner != user {
		return fmt.Errorf("%w: %s belongs to user %d, and this process runs as user %d; "+
			"run it as the owner, or chown the file", ErrUnsafeFile, path, owner, user)
	}
	return nil
}
