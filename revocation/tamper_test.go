package revocation_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

// Somebody else changes the journal while it is in use, as logrotate does with
// copytruncate. The next end notices it, and nothing is lost.
func TestChangedJournalIsRepaired(t *testing.T) {
	grow := func(path string, more string) error {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteString(more)
		return errors.Join(err, f.Close())
	}
	tests := []struct {
		name string
		do   func(path string) error
		want string
	}{
		{"truncated", func(path string) error { return os.Truncate(path, 0) }, "it was cut from"},
		{"cut at a line", func(path string) error { return os.Truncate(path, 40) }, "it was cut from"},
		{"grown by zeros", func(path string) error { return os.Truncate(path, 4096) }, "it grew from"},
		{"grown by a line", func(path string) error { return grow(path, "rotated\n") }, "it grew from"},
		{"removed", os.Remove, "it was removed"},
		{"moved", func(path string) error { return os.Rename(path, path+".1") }, "it was removed"},
		{"moved, and an empty one there", func(path string) error {
			return errors.Join(os.Rename(path, path+".1"), os.WriteFile(path, nil, 0o600))
		}, "it was replaced"},
		{"replaced by a copy", func(path string) error {
			data, err := os.ReadFile(path)
			return errors.Join(err, os.WriteFile(path+".1", data, 0o600), os.Rename(path+".1", path))
		}, "it was replaced"},
		{"opened to others", func(path string) error { return os.Chmod(path, 0o666) }, "it got mode 0666"},
	}
	for _, tt := range tests {
		for _, closing := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, closing %v", tt.name, closing), func(t *testing.T) {
				if runtime.GOOS == "windows" {
					t.Skip("no modes, and files that are open stay where they are")
				}
				c, path := newClock(), journalPath(t)
				told := make(chan error, 10)
				l, err := revocation.Open(revocation.Config{
					Path: path, Lifetime: lifetime, Now: c.Now, OnProblem: func(err error) { told <- err },
				})
				require.NoError(t, err)
				for i := range 5 {
					require.NoError(t, l.EndSession(t.Context(), record(fmt.Sprint(i), 1)))
				}
				require.NoError(t, tt.do(path))
				if !closing {
					require.NoError(t, l.EndSession(t.Context(), record("next", 1)))
					left := journalPath(t) // what a kill would leave
					write(t, left, read(t, path))
					require.Equal(t, 6, open(t, left, c).Len())
				}
				require.NoError(t, l.Close())
				require.Len(t, told, 1)
				require.ErrorContains(t, <-told, tt.want)
				l = open(t, path, c)
				for i := range 5 {
					require.ErrorIs(t, l.Check(record(fmt.Sprint(i), 1)), session.Ended)
				}
				info, err := os.Stat(path)
				require.NoError(t, err)
				require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
			})
		}
	}
}

// Nobody is told that an end is kept before the disk has it.
func TestEndsWaitForTheDisk(t *testing.T) {
	var mu sync.Mutex
	var steps []string
	bad := map[string]error{}
	step := func(name string) error {
		mu.Lock()
		defer mu.Unlock()
		steps = append(steps, name)
		return bad[name]
	}
	taken := func() []string {
		mu.Lock()
		defer mu.Unlock()
		defer func() { steps = nil }()
		return steps
	}
	fail := func(err error, names ...string) {
		mu.Lock()
		defer mu.Unlock()
		clear(bad)
		for _, name := range names {
			bad[name] = err
		}
	}
	synctest.Test(t, func(t *testing.T) {
		path := journalPath(t)
		cfg := revocation.Config{Path: path, Lifetime: lifetime}
		l, err := revocation.OpenStepwise(cfg, step)
		require.NoError(t, err)
		require.Equal(t, []string{"rewrite"}, taken())
		ends := []func(id string) error{
			func(id string) error { return l.EndSession(t.Context(), until(id, 1, time.Time{})) },
			func(id string) error { _, err := l.EndBelow(t.Context(), until(id, 1, time.Time{})); return err },
			func(id string) error { return l.EndSubject(t.Context(), id) },
			func(string) error { return l.EndAll(t.Context()) },
		}
		for i, end := range ends {
			require.NoError(t, end(fmt.Sprint("a", i)))
			require.Equal(t, []string{"write", "sync"}, taken())
			for _, name := range []string{"write", "sync"} {
				fail(syscall.EIO, name)
				require.NoError(t, end(fmt.Sprint("b", i, name)), "written anew")
				require.Contains(t, taken(), "rewrite")

				fail(syscall.EIO, name, "rewrite")
				err := end(fmt.Sprint("c", i, name))
				require.ErrorIs(t, err, session.Unavailable)
				require.ErrorIs(t, err, syscall.EIO)
				fail(nil)
				time.Sleep(2 * time.Second)
				synctest.Wait()
				taken()
			}
		}
		require.NoError(t, l.Close())

		require.NoError(t, os.WriteFile(path+"2", read(t, path), 0o600))
		cfg.Path += "2"
		l, err = revocation.OpenStepwise(cfg, step)
		require.NoError(t, err)
		require.Equal(t, []string{"sync"}, taken(), "it may be from a process that was killed before it could")
		require.NoError(t, l.Close())
	})
}

// The new process of a deployment waits until the old one is done, and then
// knows what was ended there.
func TestNewProcessWaitsForTheOldOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "revocations")
		cfg := revocation.Config{Path: path, Lifetime: lifetime, Wait: time.Minute}
		old, err := revocation.Open(cfg)
		require.NoError(t, err)
		var next *revocation.List
		var group sync.WaitGroup
		group.Go(func() { next, err = revocation.Open(cfg) })
		time.Sleep(59 * time.Second)
		rec := until("a", 1, time.Time{})
		require.NoError(t, old.EndSession(t.Context(), rec))
		require.NoError(t, old.Close())
		group.Wait()
		require.NoError(t, err)
		require.ErrorIs(t, next.Check(rec), session.Ended)

		began := time.Now()
		_, err = revocation.Open(cfg)
		require.ErrorContains(t, err, "still open in another process after 1m0s")
		require.Equal(t, time.Minute, time.Since(began).Truncate(time.Second))
		require.NoError(t, next.Close())
	})
}
