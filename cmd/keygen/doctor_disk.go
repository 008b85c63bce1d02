package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cloakroom-go/cloakroom/internal/durable"
)

// lookDirectories checks who can exchange the file: whoever can write to its
// directory, or to one above it.
func (d *doctor) lookDirectories() {
	owner, _ := ownerOf(d.info)
	all, err := judgeDirectories(d.target, owner)
	for i, f := range all {
		own := i == 0
		if own && d.readOnly {
			f = finding{fine, "directory", filepath.Dir(d.target) + ": nobody can write to it"}
		}
		if own || f.Severity == problem {
			d.findings = append(d.findings, f)
		}
	}
	if err != nil {
		d.add(warning, "directory", "it can't be looked at: %v", err)
	}
}

// judgeDirectories judges the directory of a file that belongs to fileOwner, and
// then each one above it.
func judgeDirectories(target string, fileOwner int) (all []finding, err error) {
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

// warnDirectories warns, once, of directories in which others can replace a key
// file that this command trusts, or is going to make. Doctor says it itself.
func (t *tool) warnDirectories(path string) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	owner := os.Geteuid()
	if info, err := os.Stat(path); err == nil {
		owner, _ = ownerOf(info)
	}
	all, _ := judgeDirectories(path, owner) // what can't be looked at, doctor says
	for _, f := range all {
		if f.Severity == problem && !slices.Contains(t.warned, f.Text) {
			t.warned = append(t.warned, f.Text)
			t.note("WARNING: %s", f.Text)
		}
	}
}

// judgeDirectory judges a directory of a file that belongs to fileOwner.
func judgeDirectory(path string, info fs.FileInfo, fileOwner int) finding {
	owner, ok := ownerOf(info)
	mode, sticky := info.Mode().Perm(), info.Mode()&fs.ModeSticky != 0
	switch {
	case !hasModes || !ok:
		return finding{fine, "directory", path + ": this system does not say who can write to it"}
	case owner != 0 && owner != fileOwner:
		return finding{problem, "directory", fmt.Sprintf("%s belongs to user %d, who can replace the key file; it should belong to user %d or to root", path, owner, fileOwner)}
	case mode&0o002 != 0 && !sticky:
		return finding{problem, "directory", fmt.Sprintf("%s has mode %04o: everybody can replace the key file; run: chmod o-w %s", path, mode, path)}
	case mode&0o020 != 0 && !sticky:
		return finding{warning, "directory", fmt.Sprintf("%s has mode %04o: its group can replace the key file; if that is not meant: chmod g-w %s", path, mode, path)}
	case mode&0o022 != 0:
		return finding{warning, "directory", fmt.Sprintf("%s is open to others, who can put a lock there that they never give back; a directory of its own is better", path)}
	}
	return finding{fine, "directory", fmt.Sprintf("%s, of user %d, mode %04o", path, owner, mode)}
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
		{"fsync", problem, "a power cut can lose what was written", tryFsync},
		{"renaming over a file", problem, "no change can be written", tryRename},
		{"fsync of directories", warning, "after a power cut the old file may be back", tryDirectorySync},
		{"hard links", warning, "the backup is a copy, and of two keygen init at once one may be lost", tryLink},
		{"locks", problem, "of two changes at once one may be lost", tryLock},
		{"modes", problem, "others may be able to read what is written", tryMode},
	}
}

// scratchPrefix begins the name of the directory in which the file system is tried.
const scratchPrefix = ".keygen-doctor-"

// tryDirectory tries to write beside the file.
func (d *doctor) tryDirectory(ctx context.Context) {
	dir := filepath.Dir(d.target)
	if d.dryRun {
		err := mayWrite(dir)
		d.noteWritable(err)
		d.findings = append(d.findings, finding{fine, "file_system", "not tried, because of --dry-run"})
		return
	}
	scratch, err := os.MkdirTemp(dir, scratchPrefix)
	d.noteWritable(err)
	if err != nil {
		return
	}
	d.tryFileSystem(ctx, scratch)
	if err := removeScratch(scratch); err != nil {
		d.add(warning, "file_system", "remove %s yourself: %v", scratch, err)
	}
}

func (d *doctor) noteWritable(err error) {
	d.readOnly, d.writable = isReadOnly(err), err == nil && !d.mounted
	d.findings = append(d.findings, judgeWritable(err, d.mounted))
}

// removeScratch removes a directory of files. Unlike os.RemoveAll it works where
// the directory above can be written to and not listed.
func removeScratch(dir string) error {
	entries, err := os.ReadDir(dir)
	errs := []error{err}
	for _, e := range entries {
		errs = append(errs, os.Remove(filepath.Join(dir, e.Name())))
	}
	return errors.Join(append(errs, os.Remove(dir))...)
}

func judgeWritable(err error, mounted bool) finding {
	switch {
	case mounted:
		return finding{fine, "writable", "a change here would be lost, or fails: rotation must happen where the file comes from"}
	case err == nil:
		return finding{fine, "writable", "this user can write to the directory: rotation can happen here"}
	case isReadOnly(err):
		return finding{fine, "writable", "the directory is read-only, which is normal where the application only reads: rotation must happen elsewhere, where the file comes from"}
	case errors.Is(err, fs.ErrPermission):
		return finding{warning, "writable", "this user can't write to the directory: rotation must happen elsewhere, or as another user"}
	}
	return finding{problem, "writable", fmt.Sprintf("the directory can't be written to: %v", err)}
}

func (d *doctor) tryFileSystem(ctx context.Context, dir string) {
	worked := []string{}
	for _, t := range d.trials {
		if err := t.try(ctx, dir); err != nil {
			d.add(t.severity, "file_system", "%s: %v: %s", t.what, err, t.without)
			continue
		}
		worked = append(worked, t.what)
	}
	if len(worked) == len(d.trials) {
		d.add(fine, "file_system", "tried: %s", strings.Join(worked, ", "))
	}
}

func write(path string) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err = f.WriteString("keygen doctor\n"); err != nil {
		return err
	}
	return f.Sync()
}

func tryFsync(_ context.Context, dir string) error { return write(filepath.Join(dir, "fsync")) }

func tryRename(_ context.Context, dir string) error {
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	if err := errors.Join(write(from), write(to)); err != nil {
		return err
	}
	return os.Rename(from, to)
}

func tryDirectorySync(_ context.Context, dir string) error { return syncDirectory(dir) }

func tryLink(_ context.Context, dir string) error {
	path := filepath.Join(dir, "linked")
	if err := write(path); err != nil {
		return err
	}
	return os.Link(path, path+".bak")
}

// tryLock takes a lock twice: the second time must fail.
func tryLock(ctx context.Context, dir string) error {
	path := filepath.Join(dir, "locked")
	unlock, err := durable.Lock(ctx, path)
	if err != nil {
		return err
	}
	defer unlock()
	again, err := lockAtOnce(ctx, path)
	if err == nil {
		return errors.Join(errors.New("they keep nobody out"), again())
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

func tryMode(_ context.Context, dir string) error {
	path := filepath.Join(dir, "mode")
	if err := write(path); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err == nil && hasModes && info.Mode().Perm() != 0o600 {
		err = fmt.Errorf("a file that was made with 0600 has %04o", info.Mode().Perm())
	}
	return err
}

// lookLock checks the lock file. It is taken for an instant, if it is there.
func (d *doctor) lookLock(ctx context.Context) {
	name := d.target + ".lock"
	info, err := os.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.add(fine, "lock", "no lock file yet: the first change makes one")
		return
	case err != nil:
		d.add(warning, "lock", "it can't be looked at: %v", err)
		return
	case !info.Mode().IsRegular():
		d.add(problem, "lock", "%s is no regular file: nobody can lock; remove it", name)
		return
	}
	unlock, err := lockAtOnce(ctx, d.target)
	if err == nil {
		_ = unlock() // closes the file, which gives it back anyway
	}
	d.findings = append(d.findings, d.judgeLock(name, info.Mode().Perm(), err))
}

// judgeLock judges a lock file by its mode, and by what came of taking it.
func (d *doctor) judgeLock(name string, mode fs.FileMode, err error) finding {
	switch {
	case errors.Is(err, durable.ErrLocked):
		return finding{warning, "lock", "held at this moment: another process is changing the key file"}
	case err != nil && (isReadOnly(err) || d.mounted):
		return finding{fine, "lock", "there, and can't be taken here, since the directory is read-only"}
	case err != nil && d.writable:
		return finding{problem, "lock", fmt.Sprintf("this user can write to the directory, and can't take the lock, so that the next change fails: %v", err)}
	case err != nil:
		return finding{warning, "lock", fmt.Sprintf("this user can't take it: %v", err)}
	case hasModes && mode&0o077 != 0:
		return finding{warning, "lock", fmt.Sprintf("mode %04o: others can hold it, and so stop every change; run: chmod 600 %s", mode, name)}
	}
	return finding{fine, "lock", "free"}
}

// lookLeftovers looks for what crashes left behind.
func (d *doctor) lookLeftovers() {
	entries, err := os.ReadDir(filepath.Dir(d.target))
	if err != nil {
		d.add(warning, "leftovers", "the directory can't be listed: %v", err)
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
		d.add(warning, "leftovers", "a writer that crashed, or is at work, left %s; such a file holds keys; the next change removes it", strings.Join(keys, ", "))
	}
	if scratch != nil {
		d.add(warning, "leftovers", "a keygen doctor that was stopped, or is at work, left %s; remove it", strings.Join(scratch, ", "))
	}
	if keys == nil && scratch == nil {
		d.add(fine, "leftovers", "none")
	}
}

// isTemporary reports whether name is one that package durable makes while it writes base.
func isTemporary(name, base string) bool {
	random, ok := strings.CutPrefix(name, "."+base+".")
	if !ok {
		return false
	}
	random, ok = strings.CutSuffix(random, ".tmp")
	return ok && random != "" && strings.Trim(random, "0123456789") == ""
}
