//go:build unix

package tool

import (
	"io/fs"
	"syscall"
)

// HasModes says that a mode tells who can use a file on this system.
const HasModes = true

// OwnerOf returns the user who owns a file.
func OwnerOf(info fs.FileInfo) (uid int, ok bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(stat.Uid), true
}
