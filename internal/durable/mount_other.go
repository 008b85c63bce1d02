//go:build !linux

package durable

// IsMountPoint reports whether something is mounted on path itself. It is
// always false: only Linux has a list of mounts that we read.
func IsMountPoint(string) bool { return false }
