package durable_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/durable"
)

func TestWriteFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for _, content := range []string{"first", "", "a longer third content"} {
		require.NoError(t, durable.WriteFile(path, []byte(content), 0o600))
		requireFile(t, path, content, 0o600)
	}
	requireNoOthers(t, path)
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
	require.NoError(t, os.WriteFile(target, []byte("old"), 0o600))
	require.NoError(t, os.Symlink("real/f", link))
	require.NoError(t, durable.WriteFile(link, []byte("new"), 0o600))
	requireFile(t, target, "new", 0o600)
	info, err := os.Lstat(link)
	require.NoError(t, err)
	require.NotZero(t, info.Mode()&fs.ModeSymlink)
}

func TestWriteFileFails(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Symlink("nowhere", filepath.Join(dir, "dangling")))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "directory", "x"), 0o700))
	tests := []struct{ name, path string }{
		{"no directory", filepath.Join(dir, "missing", "f")},
		{"a directory", filepath.Join(dir, "directory")},
		{"a dangling link", filepath.Join(dir, "dangling")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.ErrorContains(t, durable.WriteFile(tt.path, []byte("x"), 0o600), "durable: ")
		})
	}
	requireNoTemps(t, dir)
}

func TestCreateFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	require.NoError(t, durable.CreateFile(path, []byte("first"), 0o600))
	require.ErrorIs(t, durable.CreateFile(path, []byte("second"), 0o600), fs.ErrExist)
	requireFile(t, path, "first", 0o600)
	requireNoOthers(t, path)

	link := filepath.Join(dir, "dangling")
	require.NoError(t, os.Symlink("nowhere", link))
	require.ErrorIs(t, durable.CreateFile(link, []byte("x"), 0o600), fs.ErrExist)
	require.NoFileExists(t, filepath.Join(dir, "nowhere"))
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
	requireNoOthers(t, path)
}

var errInjected = errors.New("injected")

// Every step fails in turn: the file holds the old or the new content, and
// only a failed removal leaves a temporary file.
func TestWriteFileFailsAtEachStep(t *testing.T) {
	forEachStep(t, func(t *testing.T, path string, write gated, k int) (done bool) {
		n := 0
		err := write(path, []byte("new content"), 0o600, func(string) error {
			if n++; n == k {
				return errInjected
			}
			return nil
		})
		requireNoTemps(t, filepath.Dir(path))
		if n < k {
			require.NoError(t, err)
			return true
		}
		require.ErrorIs(t, err, errInjected)
		return false
	})
}

// Every step is a crash in turn: nothing after it happens, no cleaning up
// either. What it leaves, Sweep removes.
func TestWriteFileCrashesAtEachStep(t *testing.T) {
	forEachStep(t, func(t *testing.T, path string, write gated, k int) (done bool) {
		n := 0
		crashed := didPanic(func() {
			require.NoError(t, write(path, []byte("new content"), 0o600, func(string) error {
				if n++; n == k {
					panic(errInjected)
				}
				return nil
			}))
		})
		unlock, err := durable.Lock(t.Context(), path)
		require.NoError(t, err)
		require.NoError(t, durable.Sweep(path))
		require.NoError(t, unlock())
		requireNoTemps(t, filepath.Dir(path))
		return !crashed
	})
}

type gated func(path string, data []byte, perm os.FileMode, next func(string) error) error

// forEachStep runs run with k = 1, 2, … until it says that there is no step k,
// and checks that path holds the whole old or the whole new content each time.
func forEachStep(t *testing.T, run func(t *testing.T, path string, write gated, k int) (done bool)) {
	t.Run("WriteFile", func(t *testing.T) {
		for k := 1; ; k++ {
			path := filepath.Join(t.TempDir(), "f")
			require.NoError(t, os.WriteFile(path, []byte("old"), 0o600))
			done := run(t, path, durable.WriteFileGated, k)
			got, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Contains(t, []string{"old", "new content"}, string(got))
			if done {
				require.Greater(t, k, 8)
				require.Equal(t, "new content", string(got))
				return
			}
		}
	})
	t.Run("CreateFile", func(t *testing.T) {
		for k := 1; ; k++ {
			path := filepath.Join(t.TempDir(), "f")
			done := run(t, path, durable.CreateFileGated, k)
			got, err := os.ReadFile(path)
			if !errors.Is(err, fs.ErrNotExist) {
				require.NoError(t, err)
				require.Equal(t, "new content", string(got))
			}
			if done {
				require.Greater(t, k, 8)
				require.NoError(t, err)
				return
			}
		}
	})
}

func didPanic(f func()) (did bool) {
	defer func() {
		if r := recover(); r != nil {
			if r != errInjected {
				panic(r)
			}
			did = true
		}
	}()
	f()
	return false
}

// A process that writes all the time is killed at some instant, again and again.
func TestWriteFileSurvivesKill(t *testing.T) {
	if path := os.Getenv("DURABLE_TEST_WRITE"); path != "" {
		writeForEver(path)
	}
	path := filepath.Join(t.TempDir(), "f")
	require.NoError(t, durable.WriteFile(path, pattern(0), 0o600))
	kills := 15
	if testing.Short() {
		kills = 3
	}
	for range kills {
		cmd := exec.Command(os.Args[0], "-test.run=^TestWriteFileSurvivesKill$")
		cmd.Env = append(os.Environ(), "DURABLE_TEST_WRITE="+path)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		_, err = out.Read(make([]byte, 1)) // it is at work
		require.NoError(t, err)
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait()
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NotEmpty(t, got)
		require.Equal(t, pattern(int(got[0])), got, "a torn file")
	}
	require.NoError(t, durable.Sweep(path))
	requireNoOthers(t, path)
}

func writeForEver(path string) {
	for i := 0; ; i++ {
		if err := durable.WriteFile(path, pattern(i%256), 0o600); err != nil {
			panic(err)
		}
		fmt.Print(".")
	}
}

func pattern(i int) []byte { return bytes.Repeat([]byte{byte(i)}, 64<<10+i) }

func TestSweepLeavesOtherFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "keys.json")
	keep := []string{"keys.json", "keys.json.lock", "keys.json.tmp", ".keys.json.tmp", ".keys.json.x.tmp", ".keys.json.1.bak", ".other.json.123.tmp", "123.tmp"}
	for _, name := range append(keep, ".keys.json.123456.tmp", ".keys.json.7.tmp") {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	require.NoError(t, durable.Sweep(path))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var left []string
	for _, e := range entries {
		left = append(left, e.Name())
	}
	require.ElementsMatch(t, keep, left)
}

func TestSyncDir(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, durable.SyncDir(dir))
	require.ErrorIs(t, durable.SyncDir(filepath.Join(dir, "missing")), fs.ErrNotExist)
}

func ended() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	unlock, err := durable.Lock(ended(), path) // tries once
	require.NoError(t, err)
	requireFile(t, path+".lock", "", 0o600)

	_, err = durable.Lock(ended(), path)
	require.ErrorIs(t, err, durable.ErrLocked)
	require.ErrorIs(t, err, context.Canceled)

	other, err := durable.Lock(ended(), filepath.Join(dir, "g"))
	require.NoError(t, err, "another file has its own lock")
	require.NoError(t, other())

	require.NoError(t, unlock())
	unlock, err = durable.Lock(ended(), path)
	require.NoError(t, err)
	require.NoError(t, unlock())
}

func TestLockWaits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	unlock, err := durable.Lock(t.Context(), path)
	require.NoError(t, err)
	got := make(chan error)
	go func() {
		second, err := durable.Lock(context.Background(), path)
		if err == nil {
			err = second()
		}
		got <- err
	}()
	select {
	case <-got:
		t.Fatal("locked twice")
	case <-time.After(30 * time.Millisecond):
	}
	require.NoError(t, unlock())
	require.NoError(t, <-got)
}

func TestLockIsSharedThroughLinks(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "f"), filepath.Join(dir, "link")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, os.Symlink("f", link))
	unlock, err := durable.Lock(ended(), path)
	require.NoError(t, err)
	_, err = durable.Lock(ended(), link)
	require.ErrorIs(t, err, durable.ErrLocked)
	require.NoError(t, unlock())
}

// Somebody who can write to the directory makes the lock file a link to a file of ours.
func TestLockDoesNotFollowLinks(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Symlink("victim", filepath.Join(dir, "f.lock")))
	_, err := durable.Lock(ended(), filepath.Join(dir, "f"))
	require.Error(t, err)
	require.NotErrorIs(t, err, durable.ErrLocked)
	require.NoFileExists(t, filepath.Join(dir, "victim"))
}

func TestLockEndsWithItsProcess(t *testing.T) {
	if path := os.Getenv("DURABLE_TEST_LOCK"); path != "" {
		if _, err := durable.Lock(context.Background(), path); err != nil {
			panic(err)
		}
		fmt.Print(".")
		select {}
	}
	path := filepath.Join(t.TempDir(), "f")
	cmd := exec.Command(os.Args[0], "-test.run=^TestLockEndsWithItsProcess$")
	cmd.Env = append(os.Environ(), "DURABLE_TEST_LOCK="+path)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	_, err = out.Read(make([]byte, 1))
	require.NoError(t, err)
	_, err = durable.Lock(ended(), path)
	require.ErrorIs(t, err, durable.ErrLocked)
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	unlock, err := durable.Lock(t.Context(), path)
	require.NoError(t, err)
	require.NoError(t, unlock())
}

func requireFile(t *testing.T, path, content string, perm fs.FileMode) {
	t.Helper()
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, content, string(got))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, perm, info.Mode().Perm())
}

func requireNoOthers(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1, "%v", entries)
}

func requireNoTemps(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		require.False(t, strings.HasSuffix(e.Name(), ".tmp"), e.Name())
	}
}
