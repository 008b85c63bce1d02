package durable

import "os"

// IsMountPoint reports whether something is mounted on path itself, for example
// a single file in a container. Such a file can't be replaced: the container
// keeps it when another file takes its place outside, and inside a rename over
// it fails. If the system does not answer, IsMountPoint reports false.
func IsMountPoint(path string) bool {
	mountinfo, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return false
	}
	defer mountinfo.Close()
	return isMountPoint(mountinfo, path)
}
