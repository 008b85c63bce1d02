//go:build unix

package durable

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// Nobody may place a symbolic link where a file of ours belongs, or make us
// wait with a named pipe.
const noFollow = syscall.O_NOFOLLOW | syscall.O_NONBLOCK

func syncDir(d *os.File) error {
	err := d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		return nil // this file system can't sync directories
	}
	return err
}

// noHardLinks reports whether a link failed because this file can't have one:
// the file system has no links (EPERM, ENOTSUP, ENOSYS), the kernel refuses
// links to files of other users (EPERM, Linux protected_hardlinks), the file
// has too many, or a mount is between the two names. A full disk is a different
// error.
func noHardLinks(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, errors.ErrUnsupported) ||
		errors.Is(err, syscall.EMLINK) || errors.Is(err, syscall.EXDEV)
}

func isReadOnly(err error) bool { return errors.Is(err, syscall.EROFS) }
