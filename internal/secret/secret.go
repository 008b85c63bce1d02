// Package secret reads the passphrase or the key that a key file is encrypted
// under, or the password of a store, from the file or the environment variable
// that holds it.
//
// Use [ReadFile] and [Env]: the application and keygen then have the same
// rules. People write the secret itself where the name of its file or variable
// belongs, and errors go into logs. So no error repeats the name, unless it
// names a file that exists or can only be a name. [Path] and [Variable] are
// that rule.
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

// maxSize is the size of the largest secret that is read, in bytes: far more
// than any passphrase, and little enough to read whatever file somebody names.
const maxSize = 4096

// ReadFile reads the file with a secret. It refuses a file that everybody can
// read or write. The group may read it: Kubernetes and systemd pass secrets in
// this way to a process that is not root.
func ReadFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, unnamed(path, err)
	}
	defer f.Close()
	if err := CheckMode(f); err != nil {
		return nil, err
	}
	return Read(f)
}

// CheckMode returns an error that wraps [ErrUnsafe] if others than the owner
// and the group can use a file with a secret in it. It checks only regular
// files: a pipe of the shell has no useful mode.
func CheckMode(f *os.File) error {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || runtime.GOOS == "windows" || info.Mode().Perm()&^0o740 == 0 {
		return err
	}
	return fmt.Errorf("%w: others can use %s (mode %04o); run: chmod 600 %s",
		ErrUnsafe, f.Name(), info.Mode().Perm(), f.Name())
}

// ErrUnsafe means that others than the owner and the group can use the file.
var ErrUnsafe = errors.New("the file with the secret is not safe")

var errEmpty = errors.New("it is empty; it must hold the secret")

// Read reads a secret without a name: from standard input or a descriptor.
func Read(r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxSize+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > maxSize:
		return nil, fmt.Errorf("it holds over %d bytes, too many for a secret", maxSize)
	case len(bytes.TrimRight(text, "\r\n")) == 0:
		return nil, errEmpty
	}
	return text, nil
}

// Env returns the secret in an environment variable.
func Env(name string) ([]byte, error) {
	if text := os.Getenv(name); text != "" {
		return []byte(text), nil
	}
	if shown := Variable(name); shown != "" {
		return nil, fmt.Errorf("the environment variable %s is not set", shown)
	}
	return nil, errors.New("the environment variable that it names is not set; " +
		"the name is not repeated here, since it may be the secret itself")
}

// unnamed returns err, the error of a call with the file at path. It removes
// the path from the text if the path may be the secret itself.
func unnamed(path string, err error) error {
	var at *fs.PathError
	if !errors.As(err, &at) || Path(path) != "" {
		return err
	}
	return fmt.Errorf("%s the file that it names, which is not repeated here, "+
		"since it may be the secret itself: %w", at.Op, at.Err)
}

// Key returns the key of size bytes in text: raw, or as hexadecimal or base64
// text with white space around it. ok is false if text is not such a key.
func Key(text []byte, size int) (key []byte, ok bool) {
	if len(text) == size {
		return text, true
	}
	return decoded(text, size)
}

// Keys returns the keys in text, in its order: one or more, separated by white
// space, each in base64 or hexadecimal. An error repeats none.
func Keys(text []byte, size int) (keys [][]byte, err error) {
	for i, word := range bytes.Fields(text) {
		key, ok := decoded(word, size)
		if !ok {
			return nil, fmt.Errorf("secret %d in it is not %d bytes in base64 or hexadecimal; make one with: "+
				"openssl rand -base64 %[2]d", i+1, size)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errEmpty
	}
	return keys, nil
}

// decoded returns the key in hexadecimal or base64 text.
func decoded(text []byte, size int) (key []byte, ok bool) {
	trimmed := string(bytes.TrimSpace(text))
	for _, decode := range [...]func(string) ([]byte, error){
		hex.DecodeString, base64.StdEncoding.Strict().DecodeString, base64.RawStdEncoding.Strict().DecodeString,
		base64.URLEncoding.Strict().DecodeString, base64.RawURLEncoding.Strict().DecodeString,
	} {
		if key, err := decode(trimmed); err == nil && len(key) == size {
			return key, true
		}
	}
	return nil, false
}
