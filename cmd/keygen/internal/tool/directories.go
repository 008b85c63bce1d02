package tool

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// JudgeDirectories judges the directory of a file that belongs to fileOwner,
// and then each one above it.
func JudgeDirectories(target string, fileOwner int) (all []Finding, err error) {
	path, err := filepath.Abs(target)
	for err == nil && path != filepath.Dir(path) {
		path = filepath.Dir(path)
		var info fs.FileInfo
		if info, err = os.Stat(path); err == nil {
			all = append(all, judgeDirectory(path, info, fileOwner))
		}
	}
	return all, err
}

// WarnDirectories warns of directories in which others can replace the key
// file, once of each. It does not refuse: that would stop a revocation.
func (t *Tool) WarnDirectories(path string) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	owner := os.Geteuid()
	if info, err := os.Stat(path); err == nil {
		owner, _ = OwnerOf(info)
	}
	all, _ := JudgeDirectories(path, owner) // doctor reports the error
	for _, f := range all {
		if f.Severity == Problem && !slices.Contains(t.warned, f.Text) {
			t.warned = append(t.warned, f.Text)
			t.Note("WARNING: %s", f.Text)
		}
	}
}

// judgeDirectory judges a directory of a file that belongs to fileOwner.
func judgeDirectory(path string, info fs.FileInfo, fileOwner int) Finding {
	owner, ok := OwnerOf(info)
	mode, sticky := info.Mode().Perm(), info.Mode()&fs.ModeSticky != 0
	switch {
	case !HasModes || !ok:
		return Found(OK, "directory", "%s: this system does not say who can write to it", path)
	case owner != 0 && owner != fileOwner:
		return Found(Problem, "directory", "%s belongs to user %d, who can replace the key file; "+
			"it should belong to user %d or to root", path, owner, fileOwner)
	case mode&0o002 != 0 && !sticky:
		return Found(Problem, "directory", "%s has mode %04o: everybody can replace the key file; run: chmod o-w %s",
			path, mode, path)
	case mode&0o020 != 0 && !sticky:
		return Found(Warning, "directory", "%s has mode %04o: its group can replace the key file; "+
			"if that is not meant: chmod g-w %s", path, mode, path)
	case mode&0o022 != 0: // sticky, as /tmp: others can't replace the files of this user
		return Found(Warning, "directory", "%s is open to others, who can put a lock there that they never give back; "+
			"a directory of its own is better", path)
	}
	return Found(OK, "directory", "%s, of user %d, mode %04o", path, owner, mode)
}
