//go:build !unix

package durable

import (
	"errors"
	"io/fs"
	"os"
)

// noFollow is empty: this system has no such flag.
const noFollow = 0

// syncDir does nothing: directories can't be synced on this system.
func syncDir(*os.File) error { return nil }

// noHardLinks accepts nearly every error, because these systems have many for
// it.
func noHardLinks(err error) bool {
	return err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrNotExist)
}

// isReadOnly is never needed: a read-only file system is a permission error
// here.
func isReadOnly(error) bool { return false }
