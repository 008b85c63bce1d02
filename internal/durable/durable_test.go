package durable_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/durable"
)

func TestWriteFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for _, content := range []string{"first", "", "a longer third content"} {
		require.NoError(t, durable.WriteFile(path, []byte(content), 0o600))
		requireFile(t, path, content, 0o600)
	}
	requireNames(t, filepath.Dir(path), "f")
}

func TestWriteFileSetsTheMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	require.NoError(t, durable.WriteFile(path, []byte("x"), 0o666))
	requireFile(t, path, "x", 0o666) // whatever the umask
	require.NoError(t, durable.WriteFile(path, []byte("y"), 0o600))
	requireFile(t, path, "y", 0o600)
}

func TestWriteFileFollowsSymbolicLinks(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "real", "f"), filepath.Join(dir, "link")
	require.NoError(t, os.Mkdir(filepath.Dir(target), 0o700))
	put(t, target, "old", 0o600)
	require.NoError(t, os.Symlink("real/f", link))
	require.NoError(t, durable.WriteFile(link, []byte("new"), 0o600, durable.KeepPrevious()))
	requireFile(t, target, "new", 0o600)
	requireFile(t, target+".bak", "old", 0o600)
	info, err := os.Lstat(link)
	require.NoError(t, err)
	require.NotZero(t, info.Mode()&fs.ModeSymlink)
	requireNames(t, dir, "link", "real")
	requireNames(t, filepath.Dir(target), "f", "f.bak")
}

func TestWriteFileFails(t *testing.T) {
	tests := []struct{ name, path, want string }{
		{"no directory", "missing/f", "no such file or directory"},
		{"a file for a directory", "file/f", "not a directory"},
		{"a directory", "directory", "not a regular file: choose another path"},
		{"an empty directory", "empty", "not a regular file: choose another path"},
		{"a link to a directory", "link", "not a regular file: choose another path"},
		{"a dangling link", "dangling", "follow symbolic link"},
		{"a link to itself", "loop", "follow symbolic link"},
		{"no name", "", "no such file or directory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			require.NoError(t, os.MkdirAll("directory/x", 0o700))
			require.NoError(t, os.Mkdir("empty", 0o700))
			put(t, "file", "content", 0o600)
			for link, target := range map[string]string{"link": "directory", "dangling": "nowhere", "loop": "loop"} {
				require.NoError(t, os.Symlink(target, link))
			}
			before := names(t, ".")
			for _, opts := range [][]durable.Option{nil, {durable.KeepPrevious()}, {durable.DropPrevious()}} {
				err := durable.WriteFile(tt.path, []byte("x"), 0o600, opts...)
				require.ErrorContains(t, err, "durable: write "+tt.path+": ")
				require.ErrorContains(t, err, tt.want)
			}
			require.Equal(t, before, names(t, "."))
			requireFile(t, "file", "content", 0o600)
			requireNames(t, "directory", "x")
		})
	}
}

func TestCreateFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	require.NoError(t, durable.CreateFile(path, []byte("first"), 0o600))
	require.ErrorIs(t, durable.CreateFile(path, []byte("second"), 0o600), fs.ErrExist)
	requireFile(t, path, "first", 0o600)
	requireNames(t, filepath.Dir(path), "f")
}

func TestCreateFileWhereSomethingIs(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "directory"), 0o700))
	require.NoError(t, os.Symlink("nowhere", filepath.Join(dir, "dangling")))
	put(t, filepath.Join(dir, "file"), "content", 0o600)
	for _, name := range []string{"directory", "dangling", "file"} {
		path := filepath.Join(dir, name)
		require.ErrorIs(t, durable.CreateFile(path, []byte("x"), 0o600), fs.ErrExist, name)
		err := durable.CreateFileGated(path, []byte("x"), 0o600, noLinks(proceed))
		require.ErrorIs(t, err, fs.ErrExist, "%s, without hard links", name)
	}
	requireFile(t, filepath.Join(dir, "file"), "content", 0o600)
	requireNames(t, dir, "dangling", "directory", "file")
}

func TestCreateFileHasOneWinner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	var wg sync.WaitGroup
	errs := make([]error, 16)
	for i := range errs {
		wg.Go(func() { errs[i] = durable.CreateFile(path, fmt.Append(nil, i), 0o600) })
	}
	wg.Wait()
	won := -1
	for i, err := range errs {
		if err == nil {
			require.Equal(t, -1, won, "two winners")
			won = i
			continue
		}
		require.ErrorIs(t, err, fs.ErrExist)
	}
	requireFile(t, path, fmt.Sprint(won), 0o600)
	requireNames(t, filepath.Dir(path), "f")
}

func TestSweepLeavesOtherFiles(t *testing.T) {
	dir := t.TempDir()
	keep := []string{
		"keys.json", "keys.json.bak", "keys.json.lock", "keys.json.tmp",
		".keys.json.tmp", ".keys.json..tmp", ".keys.json.x.tmp",
		".keys.json.1.bak", ".keys.json.bak.1.tmp", ".keys.json.1.2.tmp", ".other.json.123.tmp", "123.tmp"}
	for _, name := range append(keep, ".keys.json.123456.tmp", ".keys.json.7.tmp", ".keys.json.18446744073709551615.tmp") {
		put(t, filepath.Join(dir, name), "", 0o600)
	}
	require.NoError(t, durable.Sweep(filepath.Join(dir, "keys.json")))
	requireNames(t, dir, keep...)
}

func TestSweepFollowsSymbolicLinks(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "real"), 0o700))
	put(t, filepath.Join(dir, "real", "f"), "", 0o600)
	put(t, filepath.Join(dir, "real", ".f.1.tmp"), "", 0o600)
	require.NoError(t, os.Symlink("real/f", filepath.Join(dir, "link")))
	require.NoError(t, durable.Sweep(filepath.Join(dir, "link")))
	requireNames(t, filepath.Join(dir, "real"), "f")
}

func TestSweepFails(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, ".f.1.tmp", "x"), 0o700))
	put(t, filepath.Join(dir, ".f.2.tmp"), "", 0o600)
	require.ErrorContains(t, durable.Sweep(filepath.Join(dir, "f")), "durable: sweep: ")
	requireNames(t, dir, ".f.1.tmp") // the other one is gone all the same

	err := durable.Sweep(filepath.Join(dir, "missing", "f"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "durable: sweep: ")
}

func put(t *testing.T, path, content string, perm fs.FileMode) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(content), perm))
	require.NoError(t, os.Chmod(path, perm)) // whatever the umask
}

func requireFile(t *testing.T, path, content string, perm fs.FileMode) {
	t.Helper()
	info, err := os.Lstat(path)
	require.NoError(t, err)
	require.Equal(t, perm, info.Mode(), path) // the type too: a regular file
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, content, string(got), path)
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	list := []string{}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func requireNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	require.ElementsMatch(t, want, names(t, dir))
}

func requireNoTemps(t *testing.T, dir string) {
	t.Helper()
	for _, name := range names(t, dir) {
		require.False(t, strings.HasSuffix(name, ".tmp"), name)
	}
}
