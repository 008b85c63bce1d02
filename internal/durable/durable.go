// Package durable writes files that survive a crash: after a power cut at any
// instant, a reader finds the complete old content or the complete new one.
//
// Use [WriteFile] to replace a file, [CreateFile] if an existing file must
// never be overwritten, and [Lock] around every read-change-write cycle.
// [Sweep], called under the lock, removes temporary files of processes that
// crashed.
//
// For files that must never be lost there is more: [Verify] reads the new
// content back before it replaces the old, [KeepPrevious] keeps the old file as
// path+".bak", and [DropPrevious] removes that file when it must not be kept
// any longer.
//
// The package refuses to replace anything except a regular file. It never
// follows a symbolic link at the name of a lock, a temporary or a kept file.
//
// If path is a symbolic link, its target is replaced and the link stays. The
// ".lock" and ".bak" files are beside the target, so two processes that name
// the file differently still share one lock.
package durable

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// WriteFile replaces the content of path, or creates it, with mode perm. The
// umask has no effect. It writes a temporary file in the same directory, syncs
// it, renames it over path and syncs the directory. So a nil error means that
// the new content is on the disk. After an error path holds the old content or,
// if only a step after the rename failed, the new one. No temporary file is
// left.
//
// If path exists and is not a regular file, nothing is written.
//
// Writers in several processes must hold [Lock]. Otherwise the last one wins.
func WriteFile(path string, data []byte, perm os.FileMode, opts ...Option) error {
	return write(path, data, perm, replace, proceed, opts)
}

// CreateFile is WriteFile for a path that must not exist yet. If it exists,
// even as a dangling symbolic link, the error wraps [fs.ErrExist] and nothing
// has changed. If two processes create the same path, only one of them
// succeeds.
//
// The only option is [Verify]. The others are an error, because nothing is
// replaced.
func CreateFile(path string, data []byte, perm os.FileMode, opts ...Option) error {
	return write(path, data, perm, create, proceed, opts)
}

// An Option changes what a write does.
type Option func(*options)

type options struct {
	checks   []func(data []byte) error
	previous previous
}

// Verify makes the write read the temporary file back after the sync, and call
// check with what it read. If the file does not hold what was written, or check
// returns an error, the write fails and the old file stays. check must not
// change data. There may be more than one Verify.
//
// The system may answer from its cache. So this finds content that the program
// can't read, and a write that went wrong, but not every broken disk.
func Verify(check func(data []byte) error) Option {
	return func(o *options) { o.checks = append(o.checks, check) }
}

// openAndSync makes the entries of a directory (creations, renames, removals)
// durable. It does nothing where directories can't be synced.
func openAndSync(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(syncDir(d), d.Close())
}

// The two ways in which a finished temporary file gets its name.
const (
	create  = false
	replace = true
)

// A gate is called before each step of a write. With it tests can fail or crash
// every step in turn.
type gate func(step string) error

func proceed(string) error { return nil }

// A job is one write of one file.
type job struct {
	options

	target    string // where the file lies, symbolic links followed
	data      []byte
	perm      os.FileMode
	overwrite bool
	next      gate
}

func write(path string, data []byte, perm os.FileMode, overwrite bool, next gate, opts []Option) error {
	j := &job{data: data, perm: perm, overwrite: overwrite, next: next}
	for _, opt := range opts {
		opt(&j.options)
	}
	err := j.aim(path)
	if err == nil {
		err = j.run()
	}
	if err != nil {
		return fmt.Errorf("durable: write %s: %w", path, err)
	}
	return nil
}

// aim sets the target. It refuses a write that could not succeed.
func (j *job) aim(path string) (err error) {
	if !j.overwrite {
		j.target = path
		if j.previous != leavePrevious {
			return errors.New("a new file has no previous one: use KeepPrevious and DropPrevious with WriteFile")
		}
		return nil
	}
	if j.target, err = resolve(path); err != nil {
		return err
	}
	// Other problems are errors of the next system call.
	if info, err := os.Lstat(j.target); err == nil && !info.Mode().IsRegular() {
		return errors.New("not a regular file: choose another path, or remove what is there")
	}
	return nil
}

func (j *job) run() error {
	temp, err := j.writeTemp(j.data, j.perm)
	if err != nil {
		return err
	}
	if err := j.settle(temp); err != nil {
		return errors.Join(err, removeIfThere(temp))
	}
	if err := j.syncDirectory(); err != nil {
		return err
	}
	if j.previous == dropPrevious {
		return j.drop()
	}
	return nil
}

// settle moves a finished temporary file to its place.
func (j *job) settle(temp string) error {
	if err := j.verify(temp); err != nil {
		return err
	}
	if j.previous == keepPrevious {
		if err := j.keep(); err != nil {
			return err
		}
	}
	if j.overwrite {
		return j.do("rename", func() error { return os.Rename(temp, j.target) })
	}
	return j.publish(temp)
}

// do takes one step, unless the gate returns an error.
func (j *job) do(step string, f func() error) error {
	if err := j.next(step); err != nil {
		return err
	}
	return f()
}

// writeTemp returns the name of a synced file beside the target.
//
// CreateTemp opens with O_CREATE|O_EXCL and mode 0600. O_EXCL fails on any name
// that is taken, a symbolic link too, so it implies O_NOFOLLOW (POSIX, open).
func (j *job) writeTemp(data []byte, perm os.FileMode) (name string, err error) {
	if err := j.next("create"); err != nil {
		return "", err
	}
	f, err := os.CreateTemp(filepath.Dir(j.target), tempPrefix(j.target)+"*"+tempSuffix)
	if err != nil {
		return "", err
	}
	if err := j.fill(f, data, perm); err != nil {
		return "", errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	if err := errors.Join(j.next("close"), f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

func (j *job) fill(f *os.File, data []byte, perm os.FileMode) error {
	if err := j.do("chmod", func() error { return f.Chmod(perm) }); err != nil {
		return err
	}
	// Two writes, so that a test can stop between them.
	for _, part := range [][]byte{data[:len(data)/2], data[len(data)/2:]} {
		err := j.do("write", func() error { _, err := f.Write(part); return err })
		if err != nil {
			return err
		}
	}
	return j.do("sync", f.Sync)
}

func (j *job) verify(temp string) error {
	if len(j.checks) == 0 {
		return nil
	}
	// By its name, which could lead to another file than the one that was written.
	// One byte too many is enough to see that something is wrong.
	got, err := j.read(temp, "", int64(len(j.data))+1)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	if !bytes.Equal(got, j.data) {
		return errors.New("verify: the file does not hold what was written to it: check the disk")
	}
	for _, check := range j.checks {
		if err := check(got); err != nil {
			return fmt.Errorf("verify: %w", err)
		}
	}
	return nil
}

// read reads the file called name, but no more than limit bytes. of is the end
// of the names of its two steps.
func (j *job) read(name, of string, limit int64) (data []byte, err error) {
	if err := j.next("open" + of); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(name, os.O_RDONLY|noFollow, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	err = j.do("read"+of, func() error { data, err = io.ReadAll(io.LimitReader(f, limit)); return err })
	return data, err
}

// publish gives temp the name of the target if that is free.
func (j *job) publish(temp string) error {
	// A link, unlike a rename, fails if the name is taken.
	err := j.do("link", func() error { return os.Link(temp, j.target) })
	if noHardLinks(err) {
		return j.do("rename", func() error { return renameToFree(temp, j.target) })
	}
	if err != nil {
		return err
	}
	return j.do("remove", func() error { return os.Remove(temp) })
}

// renameToFree is for file systems without hard links. In the short time
// between its two steps, a writer that does not hold the lock could create
// target.
func renameToFree(temp, target string) error {
	if _, err := os.Lstat(target); !errors.Is(err, fs.ErrNotExist) {
		return &fs.PathError{Op: "create", Path: target, Err: errors.Join(fs.ErrExist, err)}
	}
	return os.Rename(temp, target)
}

func (j *job) syncDirectory() error {
	err := j.do("sync directory", func() error { return openAndSync(filepath.Dir(j.target)) })
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	return nil
}

// resolve follows path if it is a symbolic link. A rename would replace the
// link.
func resolve(path string) (string, error) {
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&fs.ModeSymlink == 0 {
		return path, nil // an error will come from the caller's own system call
	}
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", fmt.Errorf("follow symbolic link: %w", err)
	}
	return target, nil
}
