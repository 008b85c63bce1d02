package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
	"github.com/cloakroom-go/cloakroom/internal/durable"
)

// lookDirectories checks who can replace the file: everybody who can write to
// its directory, or to one above it.
func (d *doctor) lookDirectories() {
	owner, _ := tool.OwnerOf(d.info)
	all, err := tool.JudgeDirectories(d.target, owner)
	for i, f := range all {
		own := i == 0
		if own && d.readOnly {
			f = ok("directory", "%s: nobody can write to it", filepath.Dir(d.target))
		}
		if own || f.Severity == tool.Problem {
			d.note(f)
		}
	}
	if err != nil {
		d.note(warning("directory", "it can't be looked at: %v", err))
	}
}

// A trial is something that keygen relies on.
type trial struct {
	what     string
	severity string // of a failure
	without  string // what follows if it does not work
	try      func(ctx context.Context, dir string) error
}

func trials() []trial {
	return []trial{
		{"fsync", tool.Problem, "a power cut can lose what was written", tryFsync},
		{"renaming over a file", tool.Problem, "no change can be written", tryRename},
		{"fsync of directories", tool.Warning, "after a power cut the old file may be back", tryDirectorySync},
		{"hard links", tool.Warning, "the backup is a copy, and of two keygen init at once one may be lost", tryLink},
		{"locks", tool.Problem, "of two changes at once one may be lost", tryLock},
		{"modes", tool.Problem, "others may be able to read what is written", tryMode},
	}
}

// scratchPrefix begins the name of the directory in which the file system is
// tried.
const scratchPrefix = ".keygen-doctor-"

// tryDirectory tries to write beside the file.
func (d *doctor) tryDirectory(ctx context.Context) {
	dir := filepath.Dir(d.target)
	if d.DryRun {
		d.noteWritable(mayWrite(dir))
		d.note(ok("file_system", "not tried, because of --dry-run"))
		return
	}
	scratch, err := os.MkdirTemp(dir, scratchPrefix)
	d.noteWritable(err)
	if err != nil {
		return
	}
	d.tryFileSystem(ctx, scratch)
	if err := removeScratch(scratch); err != nil {
		d.note(warning("file_system", "remove %s yourself: %v", scratch, err))
	}
}

func (d *doctor) noteWritable(err error) {
	d.readOnly, d.writable = isReadOnly(err), err == nil && !d.mounted
	d.note(judgeWritable(err, d.mounted))
}

// removeScratch removes a directory of files. Unlike os.RemoveAll it works
// where the directory above can be written to and not listed.
func removeScratch(dir string) error {
	entries, err := os.ReadDir(dir)
	errs := []error{err}
	for _, e := range entries {
		errs = append(errs, os.Remove(filepath.Join(dir, e.Name())))
	}
	return errors.Join(append(errs, os.Remove(dir))...)
}

func judgeWritable(err error, mounted bool) tool.Finding {
	switch {
	case mounted:
		return ok("writable", "a change here would be lost, or fails: rotation must happen where the file comes from")
	case err == nil:
		return ok("writable", "this user can write to the directory: rotation can happen here")
	case isReadOnly(err):
		return ok("writable", "the directory is read-only, which is normal where the application only reads: "+
			"rotation must happen elsewhere, where the file comes from")
	case errors.Is(err, fs.ErrPermission):
		return warning("writable", "this user can't write to the directory: rotation must happen elsewhere, "+
			"or as another user")
	}
	return problem("writable", "the directory can't be written to: %v", err)
}

func (d *doctor) tryFileSystem(ctx context.Context, dir string) {
	var worked []string
	for _, t := range d.trials {
		if err := t.try(ctx, dir); err != nil {
			d.Add(t.severity, "file_system", "%s: %v: %s", t.what, err, t.without)
			continue
		}
		worked = append(worked, t.what)
	}
	if len(worked) == len(d.trials) {
		d.note(ok("file_system", "tried: %s", strings.Join(worked, ", ")))
	}
}

// write makes a file as package durable does: with fsync before it is closed.
func write(path string) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString("keygen doctor\n")
	return errors.Join(err, f.Sync(), f.Close())
}

func tryFsync(_ context.Context, dir string) error { return write(filepath.Join(dir, "fsync")) }

// tryRename renames over a file, as each change does: readers see the old file
// or the new one, never a part.
func tryRename(_ context.Context, dir string) error {
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	if err := errors.Join(write(from), write(to)); err != nil {
		return err
	}
	return os.Rename(from, to)
}

// tryLink makes a hard link, which FAT and many network file systems lack.
// Package durable makes new files by a link, since it never replaces a file.
func tryLink(_ context.Context, dir string) error {
	path := filepath.Join(dir, "linked")
	if err := write(path); err != nil {
		return err
	}
	return os.Link(path, path+".bak")
}

// tryLock takes a lock twice: the second time must fail. Some network and FUSE
// file systems accept every lock.
func tryLock(ctx context.Context, dir string) error {
	path := filepath.Join(dir, "locked")
	unlock, err := durable.Lock(ctx, path)
	if err != nil {
		return err
	}
	defer unlock()
	again, err := lockAtOnce(ctx, path)
	if err == nil {
		return errors.Join(errors.New("a lock that is held can be taken again"), again())
	}
	if !errors.Is(err, durable.ErrLocked) {
		return err
	}
	return nil
}

// lockAtOnce takes a lock without waiting for it.
func lockAtOnce(ctx context.Context, path string) (unlock func() error, err error) {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	return durable.Lock(ctx, path)
}

// tryMode looks whether a mode is kept: FAT and SMB mounts give all files the
// mode of the mount.
func tryMode(_ context.Context, dir string) error {
	path := filepath.Join(dir, "mode")
	if err := write(path); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err == nil && tool.HasModes && info.Mode().Perm() != 0o600 {
		err = fmt.Errorf("a file that was made with 0600 has %04o", info.Mode().Perm())
	}
	return err
}

// lookLock checks the lock file. It is taken for an instant, if it is there.
func (d *doctor) lookLock(ctx context.Context) tool.Finding {
	name := d.target + ".lock"
	info, err := os.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ok("lock", "no lock file yet: the first change makes one")
	case err != nil:
		return warning("lock", "it can't be looked at: %v", err)
	case !info.Mode().IsRegular():
		return problem("lock", "%s is not a regular file: it can't be locked; remove it", name)
	}
	unlock, err := lockAtOnce(ctx, d.target)
	if err == nil {
		_ = unlock() // closes the file, which gives it back anyway
	}
	return d.judgeLock(name, info.Mode().Perm(), err)
}

// judgeLock judges a lock file by its mode, and by what came of taking it.
func (d *doctor) judgeLock(name string, mode fs.FileMode, err error) tool.Finding {
	switch {
	case errors.Is(err, durable.ErrLocked):
		return warning("lock", "held at this moment: another process is changing the key file")
	case err != nil && (isReadOnly(err) || d.mounted):
		return ok("lock", "there, and can't be taken here, since the directory is read-only")
	case err != nil && d.writable:
		return problem("lock", "this user can write to the directory, and can't take the lock, "+
			"so that the next change fails: %v", err)
	case err != nil:
		return warning("lock", "this user can't take it: %v", err)
	case tool.HasModes && mode&0o077 != 0:
		return warning("lock", "mode %04o: others can hold it, and so stop every change; run: chmod 600 %s", mode, name)
	}
	return ok("lock", "free")
}

// lookLeftovers looks for what crashes left behind.
func (d *doctor) lookLeftovers() {
	entries, err := os.ReadDir(filepath.Dir(d.target))
	if err != nil {
		d.note(warning("leftovers", "the directory can't be listed: %v", err))
		return
	}
	var keys, scratch []string
	for _, e := range entries {
		switch name := e.Name(); {
		case isTemporary(name, filepath.Base(d.target)):
			keys = append(keys, name)
		case strings.HasPrefix(name, scratchPrefix) && e.IsDir():
			scratch = append(scratch, name)
		}
	}
	if keys != nil {
		d.note(warning("leftovers", "a writer that crashed, or is at work, left %s; such a file holds keys; "+
			"the next change removes it", strings.Join(keys, ", ")))
	}
	if scratch != nil {
		d.note(warning("leftovers", "a keygen doctor that was stopped, or is at work, left %s; remove it",
			strings.Join(scratch, ", ")))
	}
	if keys == nil && scratch == nil {
		d.note(ok("leftovers", "none"))
	}
}

// isTemporary reports whether name is one that package durable makes while it
// writes base.
func isTemporary(name, base string) bool {
	random, ok := strings.CutPrefix(name, "."+base+".")
	if !ok {
		return false
	}
	random, ok = strings.CutSuffix(random, ".tmp")
	return ok && random != "" && strings.Trim(random, "0123456789") == ""
}
