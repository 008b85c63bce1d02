package durable

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// ErrLocked means that another process, or another part of this one, holds the
// lock.
var ErrLocked = errors.New("durable: locked by another process")

// lockRetry is how often a held lock is tried again.
const lockRetry = 10 * time.Millisecond

// Lock takes the exclusive lock of path and returns a function that releases
// it. The lock is on a separate file, path+".lock" (mode 0600), because a
// rename replaces the file that the lock protects. The lock file is never
// removed. The system releases the lock of a process that dies.
//
// Lock tries at least once, even if ctx is done, and then until ctx is done.
// The error then wraps [ErrLocked] and the cause of ctx. If the lock file can't
// be made, the error says what to do about it, and wraps [fs.ErrPermission] or,
// for a read-only file system on Unix, syscall.EROFS.
func Lock(ctx context.Context, path string) (unlock func() error, err error) {
	target, err := resolve(path)
	if err != nil {
		return nil, fmt.Errorf("durable: lock %s: %w", path, err)
	}
	name := target + ".lock"
	ownerMayOpen(name)
	l := flock.New(name, flock.SetFlag(os.O_CREATE|os.O_RDWR|noFollow), flock.SetPermissions(0o600))
	for {
		ok, err := l.TryLock()
		if err != nil {
			return nil, fmt.Errorf("durable: lock %s: %w", path, advise(name, err))
		}
		if ok && stillThere(l) {
			return l.Unlock, nil
		}
		if ok { // the file was removed or replaced after we had opened it; others lock the new one
			_ = l.Unlock()
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %s.lock: %w", ErrLocked, path, context.Cause(ctx))
		case <-time.After(lockRetry):
		}
	}
}

// ownerMayOpen makes the lock file, or corrects its mode: under a umask such as
// 277 its owner could open it only once. It returns no error, since opening the
// file for the lock fails in the same way.
func ownerMayOpen(name string) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDONLY|noFollow, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o600 != 0o600 {
		_ = f.Chmod(0o600)
	}
}

// stillThere reports whether the name of the lock file still leads to the file
// that is locked.
func stillThere(l *flock.Flock) bool {
	locked, err := l.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(l.Path())
	return err == nil && os.SameFile(locked, named)
}

// advise adds advice to an error of opening the lock file.
func advise(name string, err error) error {
	info, statErr := os.Lstat(name)
	switch {
	case statErr == nil && info.Mode()&fs.ModeSymlink != 0:
		return fmt.Errorf("the lock file is a symbolic link, which nobody here made: remove it: %w", err)
	case isReadOnly(err):
		return fmt.Errorf("the file system is read-only: mount it writable, or move the file: %w", err)
	case errors.Is(err, fs.ErrPermission) && statErr == nil:
		return fmt.Errorf("this user may not write to the lock file: run as its owner, or chown it: %w", err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("directory %s must be writable, for the lock file and for the replacement: "+
			"run as its owner, or move the file: %w", filepath.Dir(name), err)
	}
	return err
}
