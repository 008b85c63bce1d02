package keyset

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cloakroom-go/cloakroom/internal/durable"
	"github.com/cloakroom-go/cloakroom/internal/fault"
)

// Create writes a new key file with mode 0600, durably and under the lock. It
// never overwrites: if the path exists, the error wraps fs.ErrExist.
func (f File) Create(ctx context.Context, s *Set) error {
	if err := f.checkPath(); err != nil {
		return err
	}
	if len(s.keys) == 0 {
		return errors.New("keys: a key file without keys would be of no use")
	}
	first := s.Clone()
	first.generation = 1
	data, err := f.encode(first)
	if err != nil {
		return err
	}
	if err := f.createLocked(ctx, data); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("keys: there is a key file already, and it was not touched; "+
				"choose another path, or remove it yourself: %w", err)
		}
		return fmt.Errorf("keys: create key file: %w", fault.Inner(explainLock(err)))
	}
	s.generation = 1
	return nil
}

func (f File) createLocked(ctx context.Context, data []byte) error {
	if _, err := os.Lstat(f.Path); err == nil { // a link that leads nowhere is there too
		return &fs.PathError{Op: "create", Path: f.Path, Err: fs.ErrExist}
	}
	unlock, err := durable.Lock(ctx, f.Path)
	if err != nil {
		return err
	}
	defer unlock()
	return durable.CreateFile(f.Path, data, 0o600, durable.Verify(f.verify))
}

// Update calls change with the keys of the file, under the lock, and writes the
// result durably, with mode 0600 and the next generation. The file that it
// replaces stays beside it, with .bak at the end of its name. If a key was
// revoked, no such file stays. If change fails or changes nothing, nothing is
// written. The error wraps ErrLocked when ctx ends before the lock is free.
//
// Update does not ask whether a change would log somebody out: package rotation
// does.
func (f File) Update(ctx context.Context, change func(*Set) error) error {
	return f.update(ctx, f, change, durable.KeepPrevious())
}

// Protect writes the file anew, encrypted with the passphrase or the key of
// next, or with neither. The file that it replaces does not stay: it may be
// less protected.
func (f File) Protect(ctx context.Context, next File) error {
	next.Path = f.Path
	return f.update(ctx, next, func(s *Set) error { s.changed = true; return nil }, durable.DropPrevious())
}

func (f File) update(ctx context.Context, next File, change func(*Set) error, opts ...durable.Option) error {
	if _, _, err := f.readSafely(); err != nil {
		return err // before a lock file is made for nothing
	}
	if err := f.checkReplaceable(); err != nil {
		return err
	}
	unlock, err := durable.Lock(ctx, f.Path)
	if err != nil {
		return fmt.Errorf("keys: update key file: %w", fault.Inner(explainLock(err)))
	}
	defer unlock()
	before, raw, _, err := f.load()
	if err != nil {
		return err
	}
	s := before.Clone()
	err = change(s)
	// Keys are immutable, so comparing pointers is enough.
	same := slices.Equal(s.keys, before.keys) && slices.Equal(s.pruned, before.pruned) &&
		maps.Equal(s.rules.file(), before.rules.file())
	if err != nil || same && !s.changed {
		if dropErr := f.dropUnsafePrevious(before, raw); dropErr != nil {
			err = errors.Join(err, dropErr)
		}
		return err
	}
	if revokes(before, s) {
		opts = []durable.Option{durable.DropPrevious()} // it would bring the keys back
	}
	s.generation = before.generation + 1
	return f.replace(next, raw, s, opts)
}

// replace writes what has become of the file, whose content was raw.
func (f File) replace(next File, raw []byte, s *Set, opts []durable.Option) error {
	data, err := next.encode(s)
	if err != nil {
		return err
	}
	unchanged := func([]byte) error {
		now, _, err := f.readSafely()
		if err == nil && !bytes.Equal(now, raw) {
			err = fmt.Errorf("%w, without its lock; try again", ErrLocked)
		}
		return err
	}
	err = durable.Sweep(f.Path) // a crash may have left temporary files, with old keys
	if err == nil {
		opts = append(opts, durable.Verify(next.verify), durable.Verify(unchanged))
		err = durable.WriteFile(f.Path, data, 0o600, opts...)
	}
	if err != nil {
		return fmt.Errorf("keys: update key file: %w", fault.Inner(err))
	}
	return nil
}

// checkReplaceable refuses to replace a file that others read by their group,
// or that is mounted: they would not see the new one.
func (f File) checkReplaceable() error {
	info, err := os.Stat(f.Path)
	if err != nil {
		return fmt.Errorf("keys: update key file: %w", fault.Inner(err))
	}
	// Kubernetes mounts volumes by links into a directory like ..2026_01_01.
	mounted := func(name string) bool { return strings.HasPrefix(name, "..") && len(name) > 2 }
	target, _ := filepath.EvalSymlinks(f.Path)
	switch {
	case hasModes && info.Mode().Perm()&0o040 != 0:
		return fmt.Errorf("%w: the group can read %s, and could not read what is written in its place, with mode 0600; "+
			"change it where it comes from, or run: chmod 600 %s", ErrUnsafeFile, f.Path, f.Path)
	case slices.ContainsFunc(strings.Split(filepath.ToSlash(target), "/"), mounted):
		return fmt.Errorf("%w: %s is in a mounted Secret or ConfigMap, where a change would be lost; "+
			"change it where it comes from", ErrUnsafeFile, f.Path)
	case durable.IsMountPoint(f.Path):
		return fmt.Errorf("%w: %s is mounted as a single file, which can't be replaced; "+
			"mount the directory that it is in, or change the file where it comes from", ErrUnsafeFile, f.Path)
	}
	return nil
}

// dropUnsafePrevious removes the file before the last change if that is less
// safe than the present one: keys have been revoked since, or only the present
// one is encrypted. A crash can leave such a file.
func (f File) dropUnsafePrevious(s *Set, raw []byte) error {
	kept := f
	kept.Path = durable.Previous(f.Path)
	data, _, err := kept.readSafely()
	if err != nil {
		return nil // there is none, or it is not ours
	}
	previous, err := kept.parse(data)
	if IsEncrypted(raw) && !IsEncrypted(data) || err == nil && revokes(previous, s) {
		return durable.RemovePrevious(f.Path)
	}
	return nil
}

// revokes reports whether after has a key that was revoked since before.
func revokes(before, after *Set) bool {
	return slices.ContainsFunc(before.keys, func(k *Key) bool {
		is := after.Any(k.id)
		return k.revoked == nil && is != nil && is.revoked != nil
	})
}

// encode returns what is written of s.
func (f File) encode(s *Set) ([]byte, error) {
	text, err := s.Encode()
	if err != nil {
		return nil, err
	}
	if len(text) > MaxWritten {
		return nil, fmt.Errorf("keys: %d keys are too many for a key file; prune those that have expired", len(s.keys))
	}
	if under := f.protection(); under.given() {
		return under.encrypt(text)
	}
	return text, nil
}

// verify reads what was written as the next reader will.
func (f File) verify(data []byte) error {
	text, err := f.open(data)
	if err == nil {
		_, err = parseSet(text)
	}
	return err
}

func explainLock(err error) error {
	if errors.Is(err, durable.ErrLocked) {
		return fmt.Errorf("%w; try again: %w", ErrLocked, fault.Inner(err))
	}
	return err
}
