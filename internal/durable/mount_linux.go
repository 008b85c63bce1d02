package durable

import "os"

// IsMountPoint reports whether something is mounted on path itself, as when a
// container gets a single file: it keeps that file, whatever takes its place
// outside, and the name can't be given to another file inside. It reports false
// where the system does not say.
func IsMountPoint(path string) bool {
	mountinfo, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return false
	}
	defer mountinfo.Close()
	return isMountPoint(mountinfo, path)
}
