// Package durable writes files that survive a crash: after a power cut at any
// instant, a reader finds the complete old content or the complete new one.
//
// Use [WriteFile] to replace a file, [CreateFile] where an existing file must
// never be overwritten, and [Lock] around every read-change-write cycle.
// [Sweep], called under the lock, removes what earlier crashes left behind.
//
// A path that is a symbolic link stands for its target: the link stays, and
// two processes that name the file differently still share one lock.
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// WriteFile replaces the content of path, or creates it, with mode perm
// whatever the umask. It writes a temporary file in the same directory, syncs it, renames it
// over path and syncs the directory, so a nil error means that the new content
// is on the disk. After an error path holds the old content or, when only the
// last step failed, the new one; no temporary file is left.
//
// Writers that may meet must hold [Lock]: the last one wins otherwise.
func WriteFile(path string, data []byte, perm os.FileMode) error {
	return write(path, data, perm, replace, proceed)
}

// CreateFile is WriteFile for a path that must not exist yet: if it does, even
// as a dangling symbolic link, the error wraps [fs.ErrExist] and nothing has
// changed. Two processes that create the same path at once can't both succeed.
func CreateFile(path string, data []byte, perm os.FileMode) error {
	return write(path, data, perm, create, proceed)
}

// SyncDir makes the entries of directory dir (creations, renames, removals)
// durable. It does nothing where directories can't be synced.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("durable: sync directory: %w", err)
	}
	err = syncDir(d)
	if err := errors.Join(err, d.Close()); err != nil {
		return fmt.Errorf("durable: sync directory %s: %w", dir, err)
	}
	return nil
}

// Sweep removes the temporary files that writers of path left when they
// crashed. They may hold old keys. The caller holds [Lock]: a writer that is at work would
// lose its file.
func Sweep(path string) error {
	path, err := resolve(path)
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("durable: sweep: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if isTemp(e.Name(), path) {
			errs = append(errs, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// The two ways in which a finished temporary file gets its name.
const (
	create  = false
	replace = true
)

// A gate is asked before each step of a write. It lets tests fail or crash
// every step in turn.
type gate func(step string) error

func proceed(string) error { return nil }

func write(path string, data []byte, perm os.FileMode, overwrite bool, next gate) error {
	target := path
	if overwrite {
		var err error
		if target, err = resolve(path); err != nil {
			return err
		}
	}
	temp, err := writeTemp(target, data, perm, next)
	if err != nil {
		return fmt.Errorf("durable: write %s: %w", path, err)
	}
	if err := publish(temp, target, overwrite, next); err != nil {
		return fmt.Errorf("durable: write %s: %w", path, err)
	}
	if err := next("sync directory"); err != nil {
		return fmt.Errorf("durable: write %s: %w", path, err)
	}
	return SyncDir(filepath.Dir(target))
}

// writeTemp returns the name of a synced file beside target.
func writeTemp(target string, data []byte, perm os.FileMode, next gate) (name string, err error) {
	if err := next("create"); err != nil {
		return "", err
	}
	f, err := os.CreateTemp(filepath.Dir(target), tempPrefix(target)+"*"+tempSuffix) // O_EXCL, 0600
	if err != nil {
		return "", err
	}
	if err := fill(f, data, perm, next); err != nil {
		return "", errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	if err := errors.Join(next("close"), f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

func fill(f *os.File, data []byte, perm os.FileMode, next gate) error {
	if err := next("chmod"); err != nil {
		return err
	}
	if err := f.Chmod(perm); err != nil {
		return err
	}
	// Two writes, so that a test can stop between them.
	for _, part := range [][]byte{data[:len(data)/2], data[len(data)/2:]} {
		if err := next("write"); err != nil {
			return err
		}
		if _, err := f.Write(part); err != nil {
			return err
		}
	}
	if err := next("sync"); err != nil {
		return err
	}
	return f.Sync()
}

// publish gives temp the name target, and leaves no temp behind.
func publish(temp, target string, overwrite bool, next gate) error {
	if err := next("rename"); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	if overwrite {
		if err := os.Rename(temp, target); err != nil {
			return errors.Join(err, os.Remove(temp))
		}
		return nil
	}
	// A link, unlike a rename, fails if the name is taken.
	err := os.Link(temp, target)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		err = renameToFree(temp, target)
	}
	if err := errors.Join(err, next("remove")); err != nil {
		return errors.Join(err, removeIfThere(temp))
	}
	return removeIfThere(temp)
}

// renameToFree is for file systems without hard links. It leaves a short
// window to writers that don't hold the lock.
func renameToFree(temp, target string) error {
	if _, err := os.Lstat(target); !errors.Is(err, fs.ErrNotExist) {
		return &fs.PathError{Op: "create", Path: target, Err: errors.Join(fs.ErrExist, err)}
	}
	return os.Rename(temp, target)
}

func removeIfThere(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

const tempSuffix = ".tmp"

func tempPrefix(target string) string { return "." + filepath.Base(target) + "." }

// isTemp reports whether name is one that writeTemp makes for target:
// the random part is digits, so that no user's file is taken for one.
func isTemp(name, target string) bool {
	random, ok := strings.CutPrefix(name, tempPrefix(target))
	if !ok {
		return false
	}
	random, ok = strings.CutSuffix(random, tempSuffix)
	return ok && random != "" && strings.Trim(random, "0123456789") == ""
}

// resolve follows path if it is a symbolic link. A rename would replace the link.
func resolve(path string) (string, error) {
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&fs.ModeSymlink == 0 {
		return path, nil // what is wrong with it, the caller's own system call says
	}
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", fmt.Errorf("durable: follow symbolic link: %w", err)
	}
	return target, nil
}
