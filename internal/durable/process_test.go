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
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/durable"
)

// childEnv names the file that a child process works on. Only children have it.
const childEnv = "DURABLE_TEST_CHILD"

// child returns the command that runs this test, and no other, in a process of
// its own, with path in childEnv.
func child(t *testing.T, path string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	// With the race detector a process sleeps a second before its end, unless told
	// otherwise.
	cmd.Env = append(os.Environ(), childEnv+"="+path, "GORACE="+os.Getenv("GORACE")+" atexit_sleep_ms=0")
	return cmd
}

// requirePassed runs a child. If that finds that the test is not possible here,
// t is skipped.
func requirePassed(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	out, err := cmd.CombinedOutput()
	requirePass(t, out, err)
}

func requirePass(t *testing.T, out []byte, err error) {
	t.Helper()
	require.NoError(t, err, string(out))
	if strings.Contains(string(out), "--- SKIP: "+t.Name()) {
		t.Skipf("%s", out)
	}
	require.Contains(t, string(out), "--- PASS: "+t.Name())
}

// startAndWait returns when the child has said that it is at work.
func startAndWait(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	at, ready, err := os.Pipe()
	require.NoError(t, err)
	defer at.Close()
	cmd.ExtraFiles = []*os.File{ready} // not stdout: the test runner talks there
	require.NoError(t, cmd.Start())
	require.NoError(t, ready.Close())
	n, err := at.Read(make([]byte, 1))
	require.NoError(t, err)
	require.Equal(t, 1, n)
}

// atWork is called in a child, with any number of children to one pipe.
func atWork() {
	if _, err := os.NewFile(3, "ready").Write([]byte(".")); err != nil {
		panic(err)
	}
}

// A process that writes all the time is killed at some instant, again and
// again.
func TestWriteFileSurvivesKill(t *testing.T) {
	if path := os.Getenv(childEnv); path != "" {
		writeForEver(path)
	}
	path := filepath.Join(t.TempDir(), "f")
	require.NoError(t, durable.WriteFile(path, pattern(0), 0o600))
	require.NoError(t, durable.WriteFile(path, pattern(1), 0o600, durable.KeepPrevious()))
	kills := 15
	if testing.Short() {
		kills = 3
	}
	for range kills {
		cmd := child(t, path)
		startAndWait(t, cmd)
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait()
		now, kept := readPattern(t, path), readPattern(t, path+".bak")
		// As long as the two names may be one file, which a crash before the rename
		// leaves.
		require.Contains(t, []byte{now, now - 1}, kept)
	}
	require.NoError(t, durable.Sweep(path))
	requireNames(t, filepath.Dir(path), "f", "f.bak")
}

func writeForEver(path string) {
	first, err := os.ReadFile(path)
	if err != nil {
		panic(err)
	}
	for i := first[0] + 1; ; i++ {
		whole := durable.Verify(func(got []byte) error {
			if !bytes.Equal(got, pattern(i)) {
				return errors.New("torn")
			}
			return nil
		})
		if err := durable.WriteFile(path, pattern(i), 0o600, whole, durable.KeepPrevious()); err != nil {
			panic(err)
		}
		if i == first[0]+1 {
			atWork()
		}
	}
}

func pattern(i byte) []byte { return bytes.Repeat([]byte{i}, 64<<10+int(i)) }

func readPattern(t *testing.T, path string) byte {
	t.Helper()
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NotEmpty(t, got)
	require.True(t, bytes.Equal(pattern(got[0]), got), "a torn file: %s", path)
	info, err := os.Lstat(path)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode())
	return got[0]
}

// Two processes count in one file. Both wait for the lock when they start, so
// that they meet.
func TestTwoProcessesLoseNothing(t *testing.T) {
	const each = 50
	if path := os.Getenv(childEnv); path != "" {
		atWork()
		for range each {
			increment(t, path)
		}
		return
	}
	path := filepath.Join(t.TempDir(), "f")
	put(t, path, "0", 0o600)
	unlock, err := durable.Lock(t.Context(), path)
	require.NoError(t, err)
	var cmds [2]*exec.Cmd
	var out [2]bytes.Buffer
	for i := range cmds {
		cmds[i] = child(t, path)
		cmds[i].Stdout = &out[i]
		startAndWait(t, cmds[i])
	}
	require.NoError(t, unlock())
	for i, cmd := range cmds {
		require.NoError(t, cmd.Wait(), out[i].String())
	}
	requireFile(t, path, fmt.Sprint(2*each), 0o600)
	requireFile(t, path+".bak", fmt.Sprint(2*each-1), 0o600)
	requireNames(t, filepath.Dir(path), "f", "f.bak", "f.lock")
}

func increment(t *testing.T, path string) {
	unlock, err := durable.Lock(t.Context(), path)
	require.NoError(t, err)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	n, err := strconv.Atoi(string(text))
	require.NoError(t, err)
	require.NoError(t, durable.WriteFile(path, fmt.Append(nil, n+1), 0o600, durable.KeepPrevious()))
	require.NoError(t, durable.Sweep(path)) // takes nothing from a writer that waits
	require.NoError(t, unlock())
}

// A reader that takes no lock finds both files at every instant, and each of
// them whole.
func TestReadersAlwaysFindBoth(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	put(t, path, string(pattern(0)), 0o600)
	put(t, path+".bak", string(pattern(0)), 0o600)
	done := make(chan error, 1)
	go func() {
		defer close(done)
		for i := range byte(100) {
			if err := durable.WriteFile(path, pattern(i+1), 0o600, durable.KeepPrevious()); err != nil {
				done <- err
				return
			}
		}
	}()
	for {
		select {
		case err := <-done:
			require.NoError(t, err)
			require.Equal(t, byte(100), readPattern(t, path))
			require.Equal(t, byte(99), readPattern(t, path+".bak"))
			return
		default:
			kept := readPattern(t, path+".bak")
			require.LessOrEqual(t, kept, readPattern(t, path)) // read later
		}
	}
}

func TestLockEndsWithItsProcess(t *testing.T) {
	if path := os.Getenv(childEnv); path != "" {
		if _, err := durable.Lock(context.Background(), path); err != nil {
			panic(err)
		}
		atWork()
		select {}
	}
	path := filepath.Join(t.TempDir(), "f")
	cmd := child(t, path)
	startAndWait(t, cmd)
	_, err := durable.Lock(ended(), path)
	require.ErrorIs(t, err, durable.ErrLocked)
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	unlock, err := durable.Lock(t.Context(), path)
	require.NoError(t, err)
	require.NoError(t, unlock())
}
