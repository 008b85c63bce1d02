// Package secret reads the passphrase or the key that a key file is encrypted
// under, from the file or the environment variable that holds it.
//
// Use [ReadFile] and [Env], which have the same rules for the application and
// for keygen. People write the secret itself where its name belongs, and errors
// go into logs: no error repeats what was written there unless it names a file
// that exists, or looks like a name. [Path] and [Variable] are that rule.
package secret

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
)

// KeySize is the size of a key that a key file is encrypted under, in bytes.
const KeySize = 32

// maxSize is the size of the largest secret that is read, in bytes.
const maxSize = 4096

// ReadFile reads the file with a secret. It refuses a file that everybody can
// use. Its group may read it: Kubernetes and systemd hand secrets in this way to
// a process that is not root.
func ReadFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, Unnamed(path, err)
	}
	defer f.Close()
	if err := checkMode(f); err != nil {
		return nil, err
	}
	return Read(f)
}

// checkMode leaves out what is no regular file, such as a pipe of the shell.
func checkMode(f *os.File) error {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || runtime.GOOS == "windows" || info.Mode().Perm()&^0o740 == 0 {
		return err
	}
	return fmt.Errorf("%w: others can use %s (mode %04o); run: chmod 600 %s", ErrUnsafe, f.Name(), info.Mode().Perm(), f.Name())
}

// ErrUnsafe means that others than the owner and the group can use the file.
var ErrUnsafe = errors.New("the file with the secret is not safe")

// Read reads a secret that has no name: from standard input, or a descriptor.
func Read(r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxSize+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > maxSize:
		return nil, fmt.Errorf("it holds over %d bytes, which is no passphrase and no key", maxSize)
	case len(bytes.TrimRight(text, "\r\n")) == 0:
		return nil, errors.New("it is empty; it must hold the passphrase or the key")
	}
	return text, nil
}

// Env returns what an environment variable holds.
func Env(name string) ([]byte, error) {
	if text := os.Getenv(name); text != "" {
		return []byte(text), nil
	}
	if shown := Variable(name); shown != "" {
		return nil, fmt.Errorf("the environment variable %s is not set", shown)
	}
	return nil, errors.New("the environment variable that it names is not set; the name is not repeated here, since it may be the secret itself")
}

// Unnamed returns err, which a use of the file at path returned, without the
// path unless that can be shown.
func Unnamed(path string, err error) error {
	var at *fs.PathError
	if !errors.As(err, &at) || Path(path) != "" {
		return err
	}
	return fmt.Errorf("%s the file that it names, which is not repeated here, since it may be the secret itself: %w", at.Op, at.Err)
}

// Key returns the 32 bytes that text stands for: raw, or as hexadecimal or
// base64 text with white space around it. ok is false if it stands for none.
func Key(text []byte) (key []byte, ok bool) {
	if len(text) == KeySize {
		return text, true
	}
	return decoded(text)
}

// decoded returns the key that text has as hexadecimal or base64 text.
func decoded(text []byte) (key []byte, ok bool) {
	trimmed := string(bytes.TrimSpace(text))
	for _, decode := range [...]func(string) ([]byte, error){
		hex.DecodeString, base64.StdEncoding.Strict().DecodeString, base64.RawStdEncoding.Strict().DecodeString,
		base64.URLEncoding.Strict().DecodeString, base64.RawURLEncoding.Strict().DecodeString,
	} {
		if key, err := decode(trimmed); err == nil && len(key) == KeySize {
			return key, true
		}
	}
	return nil, false
}
