//go:build !linux

package durable

// IsMountPoint reports whether something is mounted on path itself. Only Linux
// says so.
func IsMountPoint(string) bool { return false }
