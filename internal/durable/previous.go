package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// backupSuffix makes the name of the file that KeepPrevious keeps.
const backupSuffix = ".bak"

// What becomes of the file that a write replaces, and of the one kept before.
type previous int

const (
	leavePrevious previous = iota // a file at path+".bak" is not touched
	keepPrevious
	dropPrevious
)

// KeepPrevious makes WriteFile keep the file that it replaces as path+".bak",
// with its mode. A file that is there already is replaced in one step, after
// the new content has been synced and verified and before path changes:
// whenever there was a kept file, there is one. It may hold the same as path if
// the write fails afterwards. If there is no file to replace, path+".bak" stays
// as it is.
//
// The kept file is a hard link. Where that is not possible it is a synced
// copy with mode 0600. A symbolic link at path+".bak" is replaced, never
// followed; a directory is an error.
//
// Of KeepPrevious and [DropPrevious] the last one counts.
func KeepPrevious() Option { return func(o *options) { o.previous = keepPrevious } }

// DropPrevious makes WriteFile remove path+".bak", durably, once the new file
// is in its place: for a new file that is better protected than the kept one,
// say by encryption. Its content is not wiped from the disk. If that step
// fails, so does the write, with the new content at path.
func DropPrevious() Option { return func(o *options) { o.previous = dropPrevious } }

// RemovePrevious removes path+".bak", durably. There may be none.
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

// keep makes path+".bak" the file that is about to be replaced. It never
// removes an older one first: a crash would leave none.
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
	// A rename between two links of one file does nothing (POSIX, rename). That is
	// so when an earlier write failed after this step.
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
	data, err := j.readPrevious()
	if err != nil {
		return "", err
	}
	return j.writeTemp(data, 0o600)
}

func (j *job) readPrevious() (data []byte, err error) {
	if err := j.next("open previous"); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(j.target, os.O_RDONLY|noFollow, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	err = j.do("read previous", func() error { data, err = io.ReadAll(f); return err })
	return data, err
}

// drop comes after the directory's sync: if the rename were not on the disk
// yet, a crash could bring back the replaced file and take the kept one.
func (j *job) drop() error {
	err := j.do("remove previous", func() error { return removeIfThere(j.target + backupSuffix) })
	if err != nil {
		return fmt.Errorf("the new file is in place, remove the previous one yourself: %w", err)
	}
	return j.syncDirectory()
}
