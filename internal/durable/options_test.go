package durable_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/durable"
)

func TestVerifySeesWhatWasWritten(t *testing.T) {
	dir := t.TempDir()
	for _, size := range []int{0, 1, 511, 512, 513, 1 << 20} {
		data := bytes.Repeat([]byte("0123456789\x00\n\xff"), size/13+1)[:size]
		for _, name := range []string{"written", "created"} {
			path, calls := filepath.Join(dir, name), 0
			check := durable.Verify(func(got []byte) error {
				calls++
				require.True(t, bytes.Equal(data, got), "%d bytes instead of %d", len(got), size)
				return nil
			})
			if name == "written" {
				require.NoError(t, durable.WriteFile(path, data, 0o600, check))
			} else {
				require.NoError(t, durable.CreateFile(path, data, 0o600, check))
				require.NoError(t, os.Remove(path))
			}
			require.Equal(t, 1, calls)
		}
	}
	requireNames(t, dir, "written")
}

func TestVerifyComesBeforeAnythingIsTouched(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	put(t, path, "old", 0o600)
	put(t, path+".bak", "older", 0o600)
	var order []string
	first := durable.Verify(func([]byte) error {
		requireFile(t, path, "old", 0o600)
		requireFile(t, path+".bak", "older", 0o600)
		order = append(order, "first")
		return nil
	})
	second := durable.Verify(func([]byte) error { order = append(order, "second"); return nil })
	next := func(step string) error { order = append(order, step); return nil }
	require.NoError(t, durable.WriteFileGated(path, []byte("new"), 0o600, next, durable.KeepPrevious(), first, second))
	require.Equal(t, []string{"sync", "close", "open", "read", "first", "second", "link previous"}, order[4:11])
}

func TestVerifyFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	put(t, path, "old", 0o600)
	put(t, path+".bak", "older", 0o600)
	good := durable.Verify(func([]byte) error { return nil })
	bad := durable.Verify(func([]byte) error { return errInjected })
	tests := []struct {
		name string
		opts []durable.Option
	}{
		{"alone", []durable.Option{bad}},
		{"after another", []durable.Option{good, bad}},
		{"before another", []durable.Option{bad, good}},
		{"keep", []durable.Option{bad, durable.KeepPrevious()}},
		{"drop", []durable.Option{durable.DropPrevious(), bad}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := durable.WriteFile(path, []byte("secret"), 0o600, tt.opts...)
			require.ErrorIs(t, err, errInjected)
			require.EqualError(t, err, "durable: write "+path+": verify: injected")
			requireFile(t, path, "old", 0o600)
			requireFile(t, path+".bak", "older", 0o600)
			requireNames(t, filepath.Dir(path), "f", "f.bak")
		})
	}
	created := filepath.Join(t.TempDir(), "f")
	require.ErrorIs(t, durable.CreateFile(created, []byte("x"), 0o600, bad), errInjected)
	requireNames(t, filepath.Dir(created))
}

// The temporary file is damaged before it is read back.
func TestVerifyFindsDamage(t *testing.T) {
	tests := []struct {
		name   string
		damage func(temp string) error
	}{
		{"one byte", func(temp string) error { return os.WriteFile(temp, []byte("new!content"), 0o600) }},
		{"cut", func(temp string) error { return os.Truncate(temp, 4) }},
		{"empty", func(temp string) error { return os.Truncate(temp, 0) }},
		{"longer", func(temp string) error { return os.Truncate(temp, 12) }},
		{"much longer", func(temp string) error { return os.Truncate(temp, 64<<20) }},
		{"gone", os.Remove},
		{"a directory", func(temp string) error { _ = os.Remove(temp); return os.Mkdir(temp, 0o700) }},
		{"a link to the same content", func(temp string) error { _ = os.Remove(temp); return os.Symlink("../same", temp) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "d")
			require.NoError(t, os.Mkdir(dir, 0o700))
			put(t, dir+"/../same", "new content", 0o600)
			path := filepath.Join(dir, "f")
			put(t, path, "old", 0o600)
			check := durable.Verify(func([]byte) error { panic("called with something else") })
			next := func(step string) error {
				if step != "open" {
					return nil
				}
				temps, err := filepath.Glob(filepath.Join(dir, ".f.*.tmp"))
				require.NoError(t, err)
				require.Len(t, temps, 1)
				return tt.damage(temps[0])
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			require.Error(t, durable.WriteFileGated(path, []byte("new content"), 0o600, next, check))
			runtime.ReadMemStats(&after)
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(16<<20), "bytes: it read more than it wrote")
			requireFile(t, path, "old", 0o600)
			requireNames(t, dir, "f")
		})
	}
}

func TestKeepPrevious(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	require.NoError(t, durable.WriteFile(path, []byte("1"), 0o640, durable.KeepPrevious()))
	requireNames(t, filepath.Dir(path), "f") // there was nothing to keep
	first, err := os.Stat(path)
	require.NoError(t, err)

	require.NoError(t, durable.WriteFile(path, []byte("2"), 0o600, durable.KeepPrevious()))
	requireFile(t, path, "2", 0o600)
	requireFile(t, path+".bak", "1", 0o640)
	kept, err := os.Stat(path + ".bak")
	require.NoError(t, err)
	require.True(t, os.SameFile(first, kept), "a copy could differ")

	require.NoError(t, durable.WriteFile(path, []byte("3"), 0o600, durable.KeepPrevious()))
	requireFile(t, path, "3", 0o600)
	requireFile(t, path+".bak", "2", 0o600)
	requireNames(t, filepath.Dir(path), "f", "f.bak")
}

// Where no file is replaced, one that was kept before stays.
func TestKeepPreviousWithoutOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	put(t, path+".bak", "older", 0o600)
	require.NoError(t, durable.WriteFile(path, []byte("new"), 0o600, durable.KeepPrevious()))
	requireFile(t, path, "new", 0o600)
	requireFile(t, path+".bak", "older", 0o600)
	requireNames(t, filepath.Dir(path), "f", "f.bak")
}

// Every way in which a system says that it has no hard links ends in a copy.
func TestKeepPreviousCopies(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EPERM, syscall.EACCES, syscall.ENOTSUP, syscall.EOPNOTSUPP,
		syscall.ENOSYS, syscall.EMLINK, syscall.EXDEV} {
		path := filepath.Join(t.TempDir(), "f")
		put(t, path, "old", 0o644)
		put(t, path+".bak", "older", 0o644)
		next := func(step string) error {
			if step == "link previous" {
				return &os.LinkError{Op: "link", Old: "a", New: "b", Err: errno}
			}
			return nil
		}
		require.NoError(t, durable.WriteFileGated(path, []byte("new"), 0o640, next, durable.KeepPrevious()), errno)
		requireFile(t, path, "new", 0o640)
		requireFile(t, path+".bak", "old", 0o600)
		requireNames(t, filepath.Dir(path), "f", "f.bak")
	}
}

// Somebody swaps the file for a link while it is about to be copied.
func TestKeepPreviousCopyDoesNotFollowLinks(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	put(t, path, "old", 0o600)
	put(t, filepath.Join(dir, "victim"), "secret", 0o600)
	next := noLinks(func(step string) error {
		if step == "open previous" {
			require.NoError(t, os.Remove(path))
			require.NoError(t, os.Symlink("victim", path))
		}
		return nil
	})
	require.ErrorContains(t, durable.WriteFileGated(path, []byte("new"), 0o600, next, durable.KeepPrevious()),
		"keep previous file: ")
	requireNames(t, dir, "f", "victim")
	requireFile(t, filepath.Join(dir, "victim"), "secret", 0o600)
}

func TestKeepPreviousDoesNotFollowLinks(t *testing.T) {
	for _, target := range []string{"victim", "nowhere", "f", "f.bak"} {
		for name, gate := range map[string]func(func(string) error) func(string) error{
			"link": func(next func(string) error) func(string) error { return next },
			"copy": noLinks,
		} {
			t.Run(name+" to "+target, func(t *testing.T) {
				dir := t.TempDir()
				path := filepath.Join(dir, "f")
				put(t, path, "old", 0o600)
				put(t, filepath.Join(dir, "victim"), "secret", 0o600)
				require.NoError(t, os.Symlink(target, path+".bak"))
				require.NoError(t, durable.WriteFileGated(path, []byte("new"), 0o600, gate(proceed), durable.KeepPrevious()))
				requireFile(t, path, "new", 0o600)
				requireFile(t, path+".bak", "old", 0o600)
				requireFile(t, filepath.Join(dir, "victim"), "secret", 0o600)
				requireNames(t, dir, "f", "f.bak", "victim")
			})
		}
	}
}

func TestKeepPreviousWhereADirectoryIs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	put(t, path, "old", 0o600)
	require.NoError(t, os.Mkdir(path+".bak", 0o700))
	require.ErrorContains(t, durable.WriteFile(path, []byte("new"), 0o600, durable.KeepPrevious()), "keep previous file: ")
	requireFile(t, path, "old", 0o600)
	requireNames(t, filepath.Dir(path), "f", "f.bak")
}

func TestDropPrevious(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for range 2 { // the second time there is nothing to drop
		require.NoError(t, durable.WriteFile(path, []byte("new"), 0o600, durable.DropPrevious()))
		requireNames(t, dir, "f")
	}
	put(t, path+".bak", "older", 0o600)
	require.NoError(t, durable.WriteFile(path, []byte("newer"), 0o600, durable.DropPrevious()))
	requireFile(t, path, "newer", 0o600)
	requireNames(t, dir, "f")

	put(t, filepath.Join(dir, "victim"), "secret", 0o600)
	require.NoError(t, os.Symlink("victim", path+".bak"))
	require.NoError(t, durable.WriteFile(path, []byte("newest"), 0o600, durable.DropPrevious()))
	requireFile(t, filepath.Join(dir, "victim"), "secret", 0o600)
	requireNames(t, dir, "f", "victim")
}

func TestDropPreviousFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	put(t, path, "old", 0o600)
	require.NoError(t, os.MkdirAll(path+".bak/x", 0o700))
	err := durable.WriteFile(path, []byte("new"), 0o600, durable.DropPrevious())
	require.ErrorContains(t, err, "the new file is in place, remove the previous one yourself")
	requireFile(t, path, "new", 0o600)
}

func TestOfKeepAndDropTheLastCounts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	put(t, path, "1", 0o600)
	require.NoError(t, durable.WriteFile(path, []byte("2"), 0o600, durable.DropPrevious(), durable.KeepPrevious()))
	requireFile(t, path+".bak", "1", 0o600)
	require.NoError(t, durable.WriteFile(path, []byte("3"), 0o600, durable.KeepPrevious(), durable.DropPrevious()))
	require.NoFileExists(t, path+".bak")
}

func TestCreateFileTakesOnlyVerify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	put(t, path+".bak", "older", 0o600)
	for _, opt := range []durable.Option{durable.KeepPrevious(), durable.DropPrevious()} {
		err := durable.CreateFile(path, []byte("x"), 0o600, opt)
		require.ErrorContains(t, err, "use KeepPrevious and DropPrevious with WriteFile")
		require.NotErrorIs(t, err, fs.ErrExist)
		requireNames(t, filepath.Dir(path), "f.bak")
	}
}
