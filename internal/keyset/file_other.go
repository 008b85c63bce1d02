//go:build !unix

package keyset

import (
	"io/fs"
	"os"
)

// Modes say nothing about who can read a file on this system.
const hasModes = false

const openFlags = os.O_RDONLY

func ownerOf(fs.FileInfo) (uid int, ok bool) { return 0, false }
