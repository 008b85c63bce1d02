package durable_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/durable"
)

// mounted runs test in a child that has mounted a tmpfs at dir. The child has
// mounts of its own, which end with it; where it may not have them, t is
// skipped.
func mounted(t *testing.T, options string, test func(t *testing.T, dir string)) {
	if dir := os.Getenv(childEnv); dir != "" {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); errors.Is(err, fs.ErrPermission) {
			t.Skip("may not mount")
		} else {
			require.NoError(t, err)
		}
		test(t, dir)
		return
	}
	cmd := child(t, t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if uid, gid := os.Geteuid(), os.Getegid(); uid != 0 { // root of a user namespace, if users may have one
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: gid, Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	for _, no := range []error{fs.ErrPermission, syscall.ENOSPC, syscall.EINVAL, errors.ErrUnsupported} {
		if errors.Is(err, no) {
			t.Skipf("may not have mounts of its own: %v", err)
		}
	}
	requirePass(t, out, err)
}

func TestFullDisk(t *testing.T) {
	mounted(t, "size=64k", func(t *testing.T, dir string) {
		path := filepath.Join(dir, "f")
		put(t, path, "old", 0o600)
		put(t, path+".bak", "older", 0o600)
		size := 64 << 10
		for _, free := range []int64{0, 4 << 10, 20 << 10} { // bytes: none, too few for the first half, for the second
			fill(t, filepath.Join(dir, "filler"), free)
			data := make([]byte, 32<<10)
			for _, opts := range [][]durable.Option{nil, {durable.KeepPrevious()}, {durable.DropPrevious()}} {
				require.ErrorIs(t, durable.WriteFile(path, data, 0o600, opts...), syscall.ENOSPC)
				requireFile(t, path, "old", 0o600)
				requireFile(t, path+".bak", "older", 0o600)
				requireNames(t, dir, "f", "f.bak", "filler")
			}
			require.ErrorIs(t, durable.CreateFile(filepath.Join(dir, "g"), data, 0o600), syscall.ENOSPC)
			requireNames(t, dir, "f", "f.bak", "filler")
		}
		require.NoError(t, os.Remove(filepath.Join(dir, "filler")))
		require.ErrorIs(t, durable.WriteFile(path, make([]byte, size), 0o600), syscall.ENOSPC)
		require.NoError(t, durable.WriteFile(path, make([]byte, size/2), 0o600, durable.KeepPrevious()))
		requireFile(t, path+".bak", "old", 0o600)
	})
}

// fill leaves free bytes of the disk.
func fill(t *testing.T, path string, free int64) {
	t.Helper()
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	size := int64(0)
	for page := make([]byte, 4<<10); err == nil; {
		var n int
		n, err = f.Write(page)
		size += int64(n)
	}
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NoError(t, f.Truncate(size-free))
}

// There is room for data, but not for another name: a tmpfs counts hard links
// too.
func TestFullDiskAtTheLink(t *testing.T) {
	mounted(t, "size=64k,nr_inodes=4", func(t *testing.T, dir string) { // the root, f, f.bak and the temporary file
		path := filepath.Join(dir, "f")
		put(t, path, "old", 0o600)
		put(t, path+".bak", "older", 0o600)
		err := durable.WriteFile(path, []byte("new"), 0o600, durable.KeepPrevious())
		require.ErrorIs(t, err, syscall.ENOSPC)
		require.ErrorContains(t, err, "keep previous file: link ")
		requireFile(t, path, "old", 0o600)
		requireFile(t, path+".bak", "older", 0o600)
		requireNames(t, dir, "f", "f.bak")

		err = durable.CreateFile(filepath.Join(dir, "g"), []byte("new"), 0o600)
		require.ErrorIs(t, err, syscall.ENOSPC)
		require.ErrorContains(t, err, "link ")
		requireNames(t, dir, "f", "f.bak")

		put(t, filepath.Join(dir, "filler"), "", 0o600)
		require.ErrorContains(t, durable.WriteFile(path, []byte("new"), 0o600), "no space left")
		requireFile(t, path, "old", 0o600)
		require.NoError(t, os.Remove(filepath.Join(dir, "filler")))
		require.NoError(t, durable.WriteFile(path, []byte("new"), 0o600, durable.DropPrevious()))
		requireFile(t, path, "new", 0o600)
		requireNames(t, dir, "f")
	})
}

func TestReadOnlyFileSystem(t *testing.T) {
	mounted(t, "size=64k", func(t *testing.T, dir string) {
		path := filepath.Join(dir, "f")
		put(t, path, "old", 0o600)
		require.NoError(t, syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
		_, err := durable.Lock(t.Context(), path)
		require.ErrorIs(t, err, syscall.EROFS)
		require.ErrorContains(t, err, "mount it writable")
		require.NotErrorIs(t, err, durable.ErrLocked)
		require.ErrorIs(t, durable.WriteFile(path, []byte("new"), 0o600, durable.KeepPrevious()), syscall.EROFS)
		requireFile(t, path, "old", 0o600)
		requireNames(t, dir, "f")
	})
}

// Linux refuses links to files that one may neither own nor write
// (fs.protected_hardlinks), even in a directory where one may replace them.
func TestKeepPreviousOfAnotherUser(t *testing.T) {
	if path := os.Getenv(childEnv); path != "" {
		if err := os.Link(path, "trial"); err == nil {
			t.Skip("this system does not protect hard links")
		}
		require.NoError(t, durable.WriteFile(path, []byte("new"), 0o600, durable.KeepPrevious()))
		requireFile(t, path, "new", 0o600)
		requireFile(t, path+".bak", "old", 0o600)
		requireNames(t, ".", "f", "f.bak")
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can make a file of another user")
	}
	dir := t.TempDir()
	put(t, filepath.Join(dir, "f"), "old", 0o644)
	give(t, dir)
	requirePassed(t, unprivileged(t, dir))
}
