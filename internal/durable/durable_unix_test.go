//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package durable_test

import (
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/durable"
)

// A FIFO would make a reader wait for ever, and a program that has it open
// would lose it.
func TestFIFO(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	require.NoError(t, syscall.Mkfifo(path, 0o600))
	require.ErrorContains(t, durable.WriteFile(path, []byte("x"), 0o600, durable.KeepPrevious()), "not a regular file")
	require.ErrorIs(t, durable.CreateFile(path, []byte("x"), 0o600), fs.ErrExist)
	require.NoError(t, os.Symlink("f", filepath.Join(dir, "link")))
	require.ErrorContains(t, durable.WriteFile(filepath.Join(dir, "link"), []byte("x"), 0o600), "not a regular file")
	info, err := os.Lstat(path)
	require.NoError(t, err)
	require.NotZero(t, info.Mode()&fs.ModeNamedPipe)
	requireNames(t, dir, "f", "link")
}

func TestKeepPreviousWhereAFIFOIs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	put(t, path, "old", 0o600)
	require.NoError(t, syscall.Mkfifo(path+".bak", 0o600))
	require.NoError(t, durable.WriteFile(path, []byte("new"), 0o600, durable.KeepPrevious()))
	requireFile(t, path, "new", 0o600)
	requireFile(t, path+".bak", "old", 0o600)
}

// The system stops a write in its middle: after the limit of the file size
// there is no room, as on a full disk.
func TestFileSizeLimit(t *testing.T) {
	if path := os.Getenv(childEnv); path != "" {
		writeBeyondTheLimit(t, path)
		return
	}
	path := filepath.Join(t.TempDir(), "f")
	put(t, path, "old", 0o600)
	put(t, path+".bak", "older", 0o600)
	requirePassed(t, child(t, path))
}

func writeBeyondTheLimit(t *testing.T, path string) {
	const limit = 1000 // bytes
	signal.Ignore(syscall.SIGXFSZ)
	var before syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before))
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: limit, Max: before.Max}))
	defer syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before) // go test -cover writes a file at the end
	dir := filepath.Dir(path)
	for _, size := range []int{limit + 1, 2*limit - 1, 2*limit + 2, 100 * limit} { // in the second write, and in the first
		for _, opts := range [][]durable.Option{nil, {durable.KeepPrevious()}, {durable.DropPrevious()}} {
			require.ErrorIs(t, durable.WriteFile(path, make([]byte, size), 0o600, opts...), syscall.EFBIG)
			requireFile(t, path, "old", 0o600)
			requireFile(t, path+".bak", "older", 0o600)
			requireNames(t, dir, "f", "f.bak")
		}
		require.ErrorIs(t, durable.CreateFile(filepath.Join(dir, "g"), make([]byte, size), 0o600), syscall.EFBIG)
		requireNames(t, dir, "f", "f.bak")
	}
	most := strings.Repeat("x", limit)
	require.NoError(t, durable.WriteFile(path, []byte(most), 0o600, durable.KeepPrevious()))
	requireFile(t, path, most, 0o600)
	requireFile(t, path+".bak", "old", 0o600)
}

// nobody is a user who owns nothing on usual systems.
const nobody = 65534

// unprivileged returns a child that runs in the directory dir, as nobody if
// this process is root, who may write everywhere.
//
// nobody may not pass through the private directories above, where the program
// and dir lie: it inherits dir as its working directory, and Linux has a name
// for the program.
func unprivileged(t *testing.T, dir string) *exec.Cmd {
	cmd := child(t, "f")
	t.Chdir(dir)
	if os.Geteuid() != 0 {
		return cmd
	}
	if runtime.GOOS == "linux" {
		cmd.Path = "/proc/self/exe"
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	return cmd
}

// give makes path belong to the user of an unprivileged child.
func give(t *testing.T, path string) {
	t.Helper()
	if os.Geteuid() == 0 {
		require.NoError(t, os.Chown(path, nobody, nobody))
	}
}

func TestReadOnlyDirectory(t *testing.T) {
	if os.Getenv(childEnv) != "" {
		require.NotZero(t, os.Geteuid())
		t.Run("read-only", func(t *testing.T) { writeReadOnlyDirectory(t, "read-only") })
		// The same where one may write: what failed above failed for the right
		// reason.
		require.NoError(t, durable.WriteFile("writable/f", []byte("new"), 0o600, durable.KeepPrevious()))
		unlock, err := durable.Lock(t.Context(), "writable/f")
		require.NoError(t, err)
		require.NoError(t, unlock())
		return
	}
	dir := t.TempDir()
	for _, name := range []string{"read-only", "writable"} {
		path := filepath.Join(dir, name, "f")
		require.NoError(t, os.Mkdir(filepath.Dir(path), 0o700))
		for suffix, content := range map[string]string{"": "old", ".bak": "older"} {
			put(t, path+suffix, content, 0o600)
			give(t, path+suffix)
		}
		give(t, filepath.Dir(path))
	}
	require.NoError(t, os.Chmod(filepath.Join(dir, "read-only"), 0o555))
	t.Cleanup(func() { _ = os.Chmod(filepath.Join(dir, "read-only"), 0o700) })
	requirePassed(t, unprivileged(t, dir))
	requireFile(t, filepath.Join(dir, "writable", "f"), "new", 0o600)
	requireFile(t, filepath.Join(dir, "writable", "f.bak"), "old", 0o600)
}

func writeReadOnlyDirectory(t *testing.T, dir string) {
	path := filepath.Join(dir, "f")
	for _, opts := range [][]durable.Option{nil, {durable.KeepPrevious()}, {durable.DropPrevious()}} {
		require.ErrorIs(t, durable.WriteFile(path, []byte("new"), 0o600, opts...), fs.ErrPermission)
	}
	require.ErrorIs(t, durable.CreateFile(filepath.Join(dir, "g"), []byte("new"), 0o600), fs.ErrPermission)
	_, err := durable.Lock(t.Context(), path)
	require.ErrorIs(t, err, fs.ErrPermission)
	require.ErrorContains(t, err, "durable: lock read-only/f: directory read-only must be writable")
	require.NotErrorIs(t, err, durable.ErrLocked)
	requireFile(t, path, "old", 0o600)
	requireFile(t, path+".bak", "older", 0o600)
	requireNames(t, dir, "f", "f.bak")
}

// The lock file of another user says so. One's own that can't be written to is
// the same to the system.
func TestLockOfAnotherUser(t *testing.T) {
	if path := os.Getenv(childEnv); path != "" {
		_, err := durable.Lock(t.Context(), path)
		require.ErrorIs(t, err, fs.ErrPermission)
		require.ErrorContains(t, err, "run as its owner, or chown it")
		return
	}
	dir := t.TempDir()
	put(t, filepath.Join(dir, "f.lock"), "", 0o400)
	requirePassed(t, unprivileged(t, dir))
}

// Where the lock file belongs, a FIFO doesn't keep Lock from ending with its
// context.
func TestLockWhereAFIFOIs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	require.NoError(t, syscall.Mkfifo(path+".lock", 0o600))
	returned := make(chan error, 1)
	go func() {
		unlock, err := durable.Lock(t.Context(), path)
		if err == nil {
			err = unlock()
		}
		returned <- err
	}()
	select {
	case <-returned:
	case <-time.After(10 * time.Second):
		t.Error("it waits for somebody to write into the FIFO")
		require.NoError(t, os.WriteFile(path+".lock", nil, 0)) // lets it go
	}
}

// Under a umask that takes the owner's rights away, the lock can be taken
// again.
func TestLockUnderAStrictUmask(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	mode := func() fs.FileMode {
		info, err := os.Lstat(path + ".lock")
		require.NoError(t, err)
		return info.Mode()
	}
	defer syscall.Umask(syscall.Umask(0o277))
	for range 2 {
		unlock, err := durable.Lock(t.Context(), path)
		require.NoError(t, err)
		require.NoError(t, unlock())
		require.Equal(t, fs.FileMode(0o600), mode())
		require.NoError(t, os.Chmod(path+".lock", 0o400)) // as one that was made before
	}
}
