package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
)

// backupSuffix makes the name of the file that KeepPrevious keeps.
const backupSuffix = ".bak"

// Previous returns the name of the file that KeepPrevious keeps for path.
func Previous(path string) string {
	target, err := resolve(path)
	if err != nil {
		target = path
	}
	return target + backupSuffix
}

// What becomes of the file that a write replaces, and of the one kept before.
type previous int

const (
	leavePrevious previous = iota // a file at path+".bak" is not touched
	keepPrevious
	dropPrevious
)

// KeepPrevious makes WriteFile keep the file that it replaces as path+".bak",
// with its mode. A file that was kept before is replaced in one step, after the
// new content has been synced and verified and before path changes: so there is
// a kept file at every instant. If the write fails afterwards, it may hold the
// same as path. If there is no file to replace, path+".bak" does not change.
//
// The kept file is a hard link. If that is not possible it is a synced copy
// with mode 0600. A symbolic link at path+".bak" is replaced, never followed. A
// directory there is an error.
//
// If both KeepPrevious and [DropPrevious] are given, the last one counts.
func KeepPrevious() Option { return func(o *options) { o.previous = keepPrevious } }

// DropPrevious makes WriteFile remove path+".bak", durably, when the new file
// is in its place. It is for a new file that is better protected than the kept
// one, for example by encryption. The old content is not wiped from the disk.
// If the removal fails, WriteFile returns an error, with the new content at
// path.
func DropPrevious() Option { return func(o *options) { o.previous = dropPrevious } }

// RemovePrevious removes path+".bak", durably, if there is one.
func RemovePrevious(path string) error {
	j := &job{next: proceed}
	var err error
	if j.target, err = resolve(path); err == nil {
		err = removeIfThere(j.target + backupSuffix)
	}
	if err == nil {
		err = j.syncDirectory()
	}
	if err != nil {
		return fmt.Errorf("durable: remove the previous file of %s: %w", path, err)
	}
	return nil
}

// keep gives the file that will be replaced the name path+".bak". It never
// removes an older kept file first: a crash would then leave none.
func (j *job) keep() error {
	if info, err := os.Lstat(j.target + backupSuffix); err == nil && info.IsDir() {
		return fmt.Errorf("keep previous file: %s is a directory: remove it", j.target+backupSuffix)
	}
	temp, err := j.linkPrevious()
	if errors.Is(err, fs.ErrNotExist) {
		return nil // nothing is replaced
	}
	if err != nil {
		return fmt.Errorf("keep previous file: %w", err)
	}
	err = j.do("rename previous", func() error { return os.Rename(temp, j.target+backupSuffix) })
	// A rename between two links of one file does nothing (POSIX, rename). They
	// are links of one file if an earlier write failed after this step.
	if err := errors.Join(err, j.next("remove previous name"), removeIfThere(temp)); err != nil {
		return fmt.Errorf("keep previous file: %w", err)
	}
	return nil
}

// linkPrevious returns a temporary name of the file at the target, or of a
// copy.
func (j *job) linkPrevious() (string, error) {
	temp := tempName(j.target)
	err := j.do("link previous", func() error { return os.Link(j.target, temp) })
	if noHardLinks(err) {
		return j.copyPrevious()
	}
	return temp, err
}

func (j *job) copyPrevious() (string, error) {
	data, err := j.read(j.target, " previous", math.MaxInt64)
	if err != nil {
		return "", err
	}
	return j.writeTemp(data, 0o600)
}

// drop comes after the sync of the directory. If the rename were not on the
// disk yet, after a crash the replaced file could be back and the kept one
// gone.
func (j *job) drop() error {
	err := j.do("remove previous", func() error { return removeIfThere(j.target + backupSuffix) })
	if err != nil {
		return fmt.Errorf("the new file is in place, remove the previous one yourself: %w", err)
	}
	return j.syncDirectory()
}
