package durable

import "os"

// WriteFileGated and CreateFileGated ask next before each step. An error that
// it returns counts as the error of that step.
func WriteFileGated(path string, data []byte, perm os.FileMode, next func(step string) error, opts ...Option) error {
	return write(path, data, perm, replace, next, opts)
}

func CreateFileGated(path string, data []byte, perm os.FileMode, next func(step string) error, opts ...Option) error {
	return write(path, data, perm, create, next, opts)
}

// StillThere is what Lock asks.
var StillThere = stillThere

// IsMountPointIn is IsMountPoint with another file in place of
// /proc/self/mountinfo.
var IsMountPointIn = isMountPoint
