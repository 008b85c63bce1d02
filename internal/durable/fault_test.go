package durable_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/durable"
)

// A scene is one way to write, and every step that it takes.
type scene struct {
	name    string
	opts    []durable.Option
	create  bool   // CreateFile: there is no file before
	older   string // what path+".bak" holds before; empty if it is not there
	noLinks bool   // each hard link fails as on a file system without them
	turn    string // the last step of this name makes the new content count
	kept    string // the last step of this name changes path+".bak"
	steps   string
}

const (
	temp   = "create,chmod,write,write,sync,close"
	reread = ",open,read"
	keep   = ",link previous,rename previous,remove previous name"
	copied = ",link previous,open previous,read previous," + temp + ",rename previous,remove previous name"
	finish = ",rename,sync directory"
)

func scenes() []scene {
	verify := durable.Verify(func([]byte) error { return nil })
	keepIt, drop := durable.KeepPrevious(), durable.DropPrevious()
	type options = []durable.Option
	return []scene{
		{name: "write", turn: "rename", steps: temp + finish},
		{name: "write beside a kept file", older: "older", turn: "rename", steps: temp + finish},
		{name: "verify", opts: options{verify}, turn: "rename", steps: temp + reread + finish},
		{name: "keep the first", opts: options{keepIt}, turn: "rename", kept: "rename previous", steps: temp + keep + finish},
		{name: "keep another", opts: options{keepIt}, older: "older", turn: "rename", kept: "rename previous", steps: temp + keep + finish},
		{name: "verify and keep", opts: options{verify, keepIt}, older: "older", turn: "rename", kept: "rename previous", steps: temp + reread + keep + finish},
		{name: "keep the first as a copy", opts: options{keepIt}, noLinks: true, turn: "rename", kept: "rename previous", steps: temp + copied + finish},
		{name: "keep another as a copy", opts: options{keepIt}, older: "older", noLinks: true, turn: "rename", kept: "rename previous", steps: temp + copied + finish},
		{name: "drop", opts: options{drop}, older: "older", turn: "rename", kept: "remove previous", steps: temp + finish + ",remove previous,sync directory"},
		{name: "drop nothing", opts: options{drop}, turn: "rename", steps: temp + finish + ",remove previous,sync directory"},
		{name: "verify and drop", opts: options{verify, drop}, older: "older", turn: "rename", kept: "remove previous", steps: temp + reread + finish + ",remove previous,sync directory"},
		{name: "create", create: true, turn: "link", steps: temp + ",link,remove,sync directory"},
		{name: "verify and create", opts: options{verify}, create: true, turn: "link", steps: temp + reread + ",link,remove,sync directory"},
		{name: "create without hard links", create: true, noLinks: true, turn: "rename", steps: temp + ",link" + finish},
	}
}

func proceed(string) error { return nil }

// noLinks lets next speak first, and then fails every hard link.
func noLinks(next func(string) error) func(string) error {
	return func(step string) error {
		if err := next(step); err != nil {
			return err
		}
		if strings.HasPrefix(step, "link") {
			return &os.LinkError{Op: "link", Old: "a", New: "b", Err: syscall.EPERM}
		}
		return nil
	}
}

func (s scene) set(t *testing.T) (path string) {
	path = filepath.Join(t.TempDir(), "f")
	if !s.create {
		put(t, path, "old", 0o600)
	}
	if s.older != "" {
		put(t, path+".bak", s.older, 0o600)
	}
	return path
}

func (s scene) write(path, content string, next func(string) error) error {
	if s.noLinks {
		next = noLinks(next)
	}
	if s.create {
		return durable.CreateFileGated(path, []byte(content), 0o600, next, s.opts...)
	}
	return durable.WriteFileGated(path, []byte(content), 0o600, next, s.opts...)
}

// requireState checks both files after the first done steps were taken. Each of
// them holds one content or the other, as a whole, with mode 0600.
func (s scene) requireState(t *testing.T, path string, done int) {
	t.Helper()
	steps := strings.Split(s.steps, ",")
	s.requireContent(t, path, done > lastIndex(steps, s.turn), "old", "new content")
	after := "old"
	if s.kept == "remove previous" {
		after = ""
	}
	changed := s.kept != "" && done > lastIndex(steps, s.kept)
	s.requireContent(t, path+".bak", changed, s.older, after)
}

func (s scene) requireContent(t *testing.T, path string, changed bool, before, after string) {
	t.Helper()
	want := before
	if changed {
		want = after
	}
	if want == "" || s.create && !changed {
		require.NoFileExists(t, path)
		return
	}
	requireFile(t, path, want, 0o600)
}

func lastIndex(steps []string, step string) int {
	last := -1
	for i := range steps {
		if steps[i] == step {
			last = i
		}
	}
	return last
}

// The lists of steps are right, and complete: what follows fails each of them.
func TestSteps(t *testing.T) {
	for _, s := range scenes() {
		t.Run(s.name, func(t *testing.T) {
			path := s.set(t)
			var steps []string
			require.NoError(t, s.write(path, "new content", func(step string) error {
				steps = append(steps, step)
				return nil
			}))
			require.Equal(t, strings.Split(s.steps, ","), steps)
			require.Contains(t, steps, s.turn)
			requireOrder(t, steps)
			s.requireState(t, path, len(steps))
			requireNoTemps(t, filepath.Dir(path))
		})
	}
}

// What is not on the disk may not count: each file is synced before it gets its
// name, and the directory before success, and before the kept file is removed.
func requireOrder(t *testing.T, steps []string) {
	t.Helper()
	synced := false
	for i, step := range steps {
		switch step {
		case "write":
			synced = false
		case "sync":
			synced = true
		case "link", "rename", "link previous", "rename previous":
			require.True(t, synced, step)
		case "remove previous":
			require.Equal(t, "sync directory", steps[i-1])
		}
	}
	require.Equal(t, "sync directory", steps[len(steps)-1])
}

// Every step fails in turn, in each of the ways in which disks fail.
func TestFailsAtEachStep(t *testing.T) {
	kinds := []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EIO}
	forEachStep(t, func(t *testing.T, s scene, k int) {
		for _, kind := range kinds {
			path := s.set(t)
			err := s.write(path, "new content", at(k, func() error { return &os.PathError{Op: "step", Path: "f", Err: kind} }))
			require.ErrorIs(t, err, kind)
			require.ErrorContains(t, err, "durable: write "+path+": ")
			requireNoTemps(t, filepath.Dir(path))
			s.requireState(t, path, k)
			if kind == kinds[0] {
				s.requireNextWrite(t, path)
			}
		}
	})
}

var errInjected = errors.New("injected")

// Every step is a crash in turn: nothing after it happens, no cleaning up
// either. What it leaves, Sweep removes.
func TestCrashesAtEachStep(t *testing.T) {
	forEachStep(t, func(t *testing.T, s scene, k int) {
		path := s.set(t)
		require.PanicsWithValue(t, errInjected, func() {
			_ = s.write(path, "new content", at(k, func() error { panic(errInjected) }))
		})
		s.requireState(t, path, k)
		requirePrivate(t, filepath.Dir(path))
		unlock, err := durable.Lock(t.Context(), path)
		require.NoError(t, err)
		require.NoError(t, durable.Sweep(path))
		require.NoError(t, unlock())
		requireNoTemps(t, filepath.Dir(path))
		s.requireState(t, path, k)
		s.requireNextWrite(t, path)
	})
}

// requirePrivate checks that what a crash leaves is for its owner alone.
func requirePrivate(t *testing.T, dir string) {
	t.Helper()
	for _, name := range names(t, dir) {
		info, err := os.Lstat(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o600), info.Mode(), name)
	}
}

// requireNextWrite checks that nothing of the failed write is in the way of the
// next one.
func (s scene) requireNextWrite(t *testing.T, path string) {
	t.Helper()
	before, err := os.ReadFile(path)
	if s.create && err == nil {
		return // created after all
	}
	require.NoError(t, s.write(path, "newer", proceed))
	requireFile(t, path, "newer", 0o600)
	requireNoTemps(t, filepath.Dir(path))
	switch s.kept {
	case "rename previous":
		requireFile(t, path+".bak", string(before), 0o600)
	case "remove previous":
		require.NoFileExists(t, path+".bak")
	}
}

// forEachStep runs run for every step k, counted from 0, of every scene.
func forEachStep(t *testing.T, run func(t *testing.T, s scene, k int)) {
	for _, s := range scenes() {
		for k, step := range strings.Split(s.steps, ",") {
			t.Run(s.name+"/"+step, func(t *testing.T) {
				t.Parallel() // they wait for the disk
				run(t, s, k)
			})
		}
	}
}

// at returns a gate that calls f at step k.
func at(k int, f func() error) func(string) error {
	n := -1
	return func(string) error {
		if n++; n == k {
			return f()
		}
		return nil
	}
}
