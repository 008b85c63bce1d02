//go:build unix

package keyset

import (
	"io/fs"
	"os"
	"syscall"
)

const hasModes = true

// A named pipe must not make us wait for a writer.
const openFlags = os.O_RDONLY | syscall.O_NONBLOCK

func ownerOf(info fs.FileInfo) (uid int, ok bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(stat.Uid), true
}
