package durable

import (
	"bufio"
	"io"
	"path/filepath"
	"strconv"
	"strings"
)

// isMountPoint reports whether mountinfo, in the format of Linux (proc(5)), has
// a mount on path itself, after symbolic links.
func isMountPoint(mountinfo io.Reader, path string) bool {
	path, err := filepath.Abs(path)
	if err != nil {
		return false
	}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	lines := bufio.NewScanner(mountinfo)
	lines.Buffer(nil, 1<<20) // lines about an overlay are long
	for lines.Scan() {
		fields := strings.Fields(lines.Text()) // the fifth is the mount point
		if len(fields) > 4 && unescape(fields[4]) == path {
			return true
		}
	}
	return false
}

// unescape undoes the octal escapes of the kernel: \040 is a space.
func unescape(field string) string {
	var out strings.Builder
	for {
		before, after, found := strings.Cut(field, `\`)
		out.WriteString(before)
		if !found {
			return out.String()
		}
		if code, err := strconv.ParseUint(after[:min(3, len(after))], 8, 8); err == nil && len(after) >= 3 {
			out.WriteByte(byte(code))
			after = after[3:]
		} else {
			out.WriteByte('\\')
		}
		field = after
	}
}
