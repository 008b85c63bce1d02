//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
	"github.com/cloakroom-go/cloakroom/internal/durable"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
)

// wantedKills is how many kills must land between the first and the last write
// system call of a rotation.
func wantedKills() int {
	switch {
	case os.Getenv("CLOAKROOM_SOAK") != "":
		return 2000
	case testing.Short():
		return 20
	}
	return 200
}

// keygen rotate is killed at random instants, again and again. A kill counts if
// it came between the first write system call, which makes the lock file, and
// the last one, which prints what was done: then the lock file is there, and
// standard output is empty. Whatever the instant, the key file is the old one
// or the new one, complete, mode 0600; so is the previous one; and the next
// rotation works and clears away what was left.
func TestRaceRotateIsKilled(t *testing.T) {
	c := newCrash(t)
	want, began := wantedKills(), time.Now()
	for c.landed() < want {
		require.Less(t, c.runs, 40*want, "too few kills land: %v", c)
		c.round(t)
	}
	require.NotZero(t, c.old, "no kill came before the change")
	require.NotZero(t, c.fresh, "no kill came after the change")
	account(t, "keygen rotate: %v; in %v", c, time.Since(began).Round(time.Second))
}

// account adds a line to what make test prints at its end, since go test is
// silent about tests that pass.
func account(t *testing.T, format string, args ...any) {
	t.Logf(format, args...)
	path := os.Getenv("TEST_REPORT")
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	require.NoError(t, err)
	_, err = fmt.Fprintf(f, format+"\n", args...)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// A crash keeps the books of a crash test.
type crash struct {
	binary, template string
	before           *keyset.Set
	at               time.Time     // as of when the rotation runs
	window           time.Duration // within which kills are tried, after the lock file has appeared

	runs, missed int // rotations in all; those that had ended, or not begun to write
	old, fresh   int // kills that left the old file, and the new one
	leftovers    int // kills that left temporary files
	bak          int // kills that came when the previous file had been kept, and the new one was not in place
}

func (c *crash) landed() int { return c.old + c.fresh }

func (c *crash) String() string {
	return fmt.Sprintf("%d kills landed between its first and its last write system call, in %d runs: "+
		"%d left the old file (%d of them with the previous one kept already), %d the new one, %d temporary files; %d missed",
		c.landed(), c.runs, c.old, c.bak, c.fresh, c.leftovers, c.missed)
}

func newCrash(t *testing.T) *crash {
	c := &crash{binary: filepath.Join(t.TempDir(), "keygen"), template: filepath.Join(t.TempDir(), "keys.json")}
	out, err := exec.Command("go", "build", "-o", c.binary, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c.before, err = rotation.New(keyset.Policy{}, now, keyset.ES256, keyset.Direct)
	require.NoError(t, err)
	require.NoError(t, keyset.File{Path: c.template}.Create(t.Context(), c.before))
	c.at = now.Add(2 * time.Hour)
	c.window = c.measure(t)
	return c
}

// measure returns how long a rotation takes after its lock file has appeared.
func (c *crash) measure(t *testing.T) time.Duration {
	var longest time.Duration
	for range 5 {
		path := c.fresher(t)
		cmd := c.command(path, newOutput(t))
		require.NoError(t, cmd.Start())
		c.await(t, cmd, path+".lock")
		began := time.Now()
		require.NoError(t, cmd.Wait())
		longest = max(longest, time.Since(began))
		requireRotated(t, path)
	}
	return longest
}

func newOutput(t *testing.T) *os.File {
	f, err := os.Create(filepath.Join(t.TempDir(), "stdout"))
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

// fresher returns the path of a copy of the key file in a directory of its own.
func (c *crash) fresher(t *testing.T) string {
	dir, err := os.MkdirTemp(filepath.Dir(c.template), "run")
	require.NoError(t, err)
	text, err := os.ReadFile(c.template)
	require.NoError(t, err)
	path := filepath.Join(dir, "keys.json")
	require.NoError(t, os.WriteFile(path, text, 0o600))
	return path
}

func (c *crash) command(path string, stdout *os.File) *exec.Cmd {
	cmd := exec.Command(c.binary, "rotate", "--write-at", "--keyset", path, "--at", c.at.Format(time.RFC3339))
	cmd.Stdout = stdout
	return cmd
}

// await waits until name exists or the process has ended. It never sleeps long
// enough to miss the write.
func (c *crash) await(t *testing.T, cmd *exec.Cmd, name string) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for ctx.Err() == nil {
		if _, err := os.Lstat(name); err == nil {
			return
		}
		if cmd.Process.Signal(syscall.Signal(0)) != nil {
			return
		}
		time.Sleep(50 * time.Microsecond)
	}
	t.Fatal("keygen rotate never began to write")
}

// round is one rotation that is killed.
func (c *crash) round(t *testing.T) {
	c.runs++
	path, stdout := c.fresher(t), newOutput(t)
	defer os.RemoveAll(filepath.Dir(path))
	cmd := c.command(path, stdout)
	require.NoError(t, cmd.Start())
	c.await(t, cmd, path+".lock")
	time.Sleep(rand.N(c.window))
	_ = cmd.Process.Kill()
	err := cmd.Wait()
	printed, statErr := stdout.Stat()
	require.NoError(t, statErr)
	var exit *exec.ExitError
	killed := errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
	if !killed || printed.Size() > 0 {
		c.missed++
		return
	}
	c.inspect(t, path)
	next := exec.Command(c.binary, "rotate", "--write-at", "--keyset", path, "--at",
		c.at.Add(2*time.Hour).Format(time.RFC3339))
	out, err := next.CombinedOutput()
	require.NoError(t, err, "the next rotation: %s", out)
	requireRotated(t, path)
}

// inspect looks at what a kill has left.
func (c *crash) inspect(t *testing.T, path string) {
	set, err := keyset.File{Path: path}.Read() // whole, by its checksum, and with mode 0600
	require.NoError(t, err)
	info, err := os.Lstat(path)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode())
	bak, bakErr := keyset.File{Path: path + ".bak"}.Read()
	switch set.Generation() {
	case 1:
		require.Empty(t, rotation.Diff(c.before, set))
		c.old++
		if bakErr == nil {
			c.bak++
		}
	case 2:
		require.NoError(t, bakErr, "the previous file")
		require.NotEmpty(t, rotation.Diff(c.before, set))
		c.fresh++
	default:
		t.Fatalf("generation %d", set.Generation())
	}
	if bakErr == nil {
		require.Empty(t, rotation.Diff(c.before, bak))
	} else {
		require.ErrorIs(t, bakErr, fs.ErrNotExist)
	}
	if len(temporaries(t, path)) > 0 {
		c.leftovers++
	}
}

// requireRotated checks the result of a rotation that was let end.
func requireRotated(t *testing.T, path string) {
	set, err := keyset.File{Path: path}.Read()
	require.NoError(t, err)
	require.GreaterOrEqual(t, set.Generation(), int64(2))
	require.Empty(t, temporaries(t, path))
	unlock, err := durable.Lock(t.Context(), path)
	require.NoError(t, err, "the lock of a process that died")
	require.NoError(t, unlock())
}

func temporaries(t *testing.T, path string) (names []string) {
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".tmp") {
			names = append(names, e.Name())
		}
	}
	return names
}

// Two rotations at once: one waits for the other, and then finds that it is too
// early.
func TestRotateTwice(t *testing.T) {
	c := newCrash(t)
	path := c.fresher(t)
	var errs [2]error
	var out [2]bytes.Buffer
	done := make(chan int)
	for i := range errs {
		go func() {
			cmd := c.command(path, nil)
			cmd.Stderr = &out[i]
			errs[i] = cmd.Run()
			done <- i
		}()
	}
	<-done
	<-done
	codes := map[int]int{}
	for i := range errs {
		var exit *exec.ExitError
		if errors.As(errs[i], &exit) {
			codes[exit.ExitCode()]++
			require.Contains(t, out[i].String(), "earliest safe: 2026-01-01T03:03:30Z")
			continue
		}
		require.NoError(t, errs[i])
		codes[tool.ExitOK]++
	}
	require.Equal(t, map[int]int{tool.ExitOK: 1, tool.ExitRefused: 1}, codes)
	set, err := keyset.File{Path: path}.Read()
	require.NoError(t, err)
	require.Equal(t, int64(2), set.Generation())
}
