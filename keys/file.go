package keys

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/cloakroom-go/cloakroom/internal/durable"
)

// maxFile is the size of the largest key file that is read, in bytes.
const maxFile = 1 << 20

// FileOption relaxes a check on key files.
type FileOption func(*fileOptions)

type fileOptions struct{ groupReadable bool }

// InsecureGroupReadable accepts a key file that its group can read, as
// Kubernetes mounts secrets for a process that is not root (mode 0440 with
// fsGroup). Everybody in the group can sign.
func InsecureGroupReadable() FileOption {
	return func(o *fileOptions) { o.groupReadable = true }
}

// ReadFile reads a key file. It must be a regular file, or a link to one, of at most 1 MiB that
// belongs to this process's user or to root, with mode 0600 or less. Errors say what to do, and wrap an error
// of package io/fs, ErrUnsafeFile or ErrInvalidFile.
func ReadFile(path string, opts ...FileOption) (*Set, error) {
	s, _, err := readFile(path, opts)
	return s, err
}

func readFile(path string, opts []FileOption) (*Set, fs.FileInfo, error) {
	data, info, err := readSafely(path, opts)
	if err != nil {
		return nil, nil, err
	}
	s, err := parseSet(data)
	if what := foreign(data); err != nil && what != "" {
		return nil, nil, fmt.Errorf("%w: %s is %s, not a key file that keygen init made; make one with: keygen init: %w", ErrInvalidFile, path, what, err)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %s is damaged or was edited; restore it from a backup: %w", ErrInvalidFile, path, err)
	}
	return s, info, nil
}

// readSafely reads a file whose checks are on the open file, so that nobody can
// exchange it in between.
func readSafely(path string, opts []FileOption) ([]byte, fs.FileInfo, error) {
	f, err := os.OpenFile(path, openFlags, 0)
	if err != nil {
		return nil, nil, explainOpen(path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, fmt.Errorf("keys: key file: %w", err)
	}
	if err := checkFile(path, info, opts); err != nil {
		return nil, nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, nil, fmt.Errorf("keys: key file: %w", err)
	}
	if len(data) > maxFile {
		return nil, nil, tooLarge(path)
	}
	return data, info, nil
}

func explainOpen(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("keys: no key file at %s; make one with: keygen init --keyset %s: %w", path, path, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("keys: this process (user %d) may not read the key file; run it as the file's owner: %w", os.Geteuid(), err)
	}
	return fmt.Errorf("keys: key file: %w", err)
}

func checkFile(path string, info fs.FileInfo, opts []FileOption) error {
	var o fileOptions
	for _, opt := range opts {
		opt(&o)
	}
	allowed := fs.FileMode(0o700)
	if o.groupReadable {
		allowed |= 0o040
	}
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

// Create writes a new key file with mode 0600, durably and under the lock. It
// never overwrites: if path exists, the error wraps fs.ErrExist.
func Create(ctx context.Context, path string, s *Set) error {
	if len(s.keys) == 0 {
		return errors.New("keys: a key file without keys would be of no use")
	}
	first := &Set{keys: s.keys, generation: 1}
	data, err := first.encode()
	if err != nil {
		return err
	}
	if err := createLocked(ctx, path, data); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("keys: there is a key file already, and it was not touched; choose another path, or remove it yourself: %w", err)
		}
		return fmt.Errorf("keys: create key file: %w", err)
	}
	s.generation = 1
	return nil
}

func createLocked(ctx context.Context, path string, data []byte) error {
	if _, err := os.Lstat(path); err == nil { // a link that leads nowhere is there too
		return &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
	}
	unlock, err := durable.Lock(ctx, path)
	if err != nil {
		return err
	}
	defer unlock()
	return durable.CreateFile(path, data, 0o600)
}

// Update lets change work on the keys of the file, under the lock, and
// writes the file durably with mode 0600 and the next generation. If change fails or leaves everything as it
// was, the file stays. Errors wrap durable's ErrLocked when ctx ends before the lock is free.
func Update(ctx context.Context, path string, change func(*Set) error) error {
	unlock, err := durable.Lock(ctx, path)
	if err != nil {
		return fmt.Errorf("keys: update key file: %w", err)
	}
	defer unlock()
	s, err := ReadFile(path)
	if err != nil {
		return err
	}
	before := s.Keys()
	if err := change(s); err != nil {
		return err
	}
	if sameKeys(before, s.keys) {
		return nil
	}
	s.generation++
	data, err := s.encode()
	if err != nil {
		return err
	}
	if err := durable.WriteFile(path, data, 0o600); err != nil {
		return fmt.Errorf("keys: update key file: %w", err)
	}
	return durable.Sweep(path) // what a crash left there holds old keys
}

// sameKeys compares pointers: keys are immutable.
func sameKeys(a, b []*Key) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
