//go:build unix

package durable

import (
	"errors"
	"os"
	"syscall"
)

// Nobody may place a symbolic link where the lock file belongs.
const lockFlags = os.O_RDWR | syscall.O_NOFOLLOW

func syncDir(d *os.File) error {
	err := d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		return nil // this file system has no such thing
	}
	return err
}
