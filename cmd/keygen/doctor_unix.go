//go:build unix

package main

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

const hasModes = true

func ownerOf(info fs.FileInfo) (uid int, ok bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(stat.Uid), true
}

// mayWrite asks the system, without writing anything.
func mayWrite(dir string) error { return syscall.Access(dir, 2) } // W_OK

func isReadOnly(err error) bool { return errors.Is(err, syscall.EROFS) }

func syncDirectory(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
