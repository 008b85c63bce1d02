//go:build unix

package revocation_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

const (
	childTask = "CLOAKROOM_TEST_CHILD"   // what a child process does
	childPath = "CLOAKROOM_TEST_JOURNAL" // with which journal
)

func TestMain(m *testing.M) {
	switch os.Getenv(childTask) {
	case "append":
		os.Exit(appendForEver(os.Getenv(childPath)))
	case "share":
		os.Exit(shareForEver(os.Getenv(childPath)))
	case "full":
		os.Exit(fillTheDisk(os.Getenv(childPath)))
	case "files":
		os.Exit(runOutOfFiles(os.Getenv(childPath)))
	}
	os.Exit(m.Run())
}

func child(t *testing.T, task, path string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childTask+"="+task, childPath+"="+path)
	cmd.Stderr = os.Stderr
	return cmd
}

// appendForEver ends sessions until it is killed, and prints the ID of each
// when it has ended.
func appendForEver(path string) int {
	l, err := revocation.Open(revocation.Config{Path: path, Lifetime: lifetime})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var group sync.WaitGroup
	for worker := range 4 {
		group.Go(func() {
			for n := 0; ; n++ {
				id := fmt.Sprintf("%d-%d-%d", os.Getpid(), worker, n)
				if err := l.EndSession(context.Background(), until(id, 0, time.Time{})); err != nil {
					fmt.Fprintln(os.Stderr, err)
					return
				}
				fmt.Println(id)
			}
		})
	}
	group.Wait()
	return 1
}

// Whatever EndSession promised before a SIGKILL is kept.
func TestKilledInTheMidstOfAppends(t *testing.T) {
	rounds := 4
	if os.Getenv("CLOAKROOM_SOAK") != "" {
		rounds = 200
	}
	path := journalPath(t)
	var ids []string
	for round := range rounds {
		ids = append(ids, killedChild(t, path, 1+rand.IntN(200))...)
		l, err := revocation.Open(revocation.Config{Path: path, Lifetime: lifetime})
		require.NoError(t, err)
		for _, id := range ids {
			require.ErrorIs(t, l.Check(record(id, 1)), session.Ended, "round %d: %s was ended, and lives again", round, id)
		}
		require.NoError(t, l.Close())
	}
	t.Logf("%d rounds, %d sessions", rounds, len(ids))
}

// killedChild returns the IDs that a child had printed, up to one that it was
// in the midst of, when it was killed after so many.
func killedChild(t *testing.T, path string, after int) (ids []string) {
	t.Helper()
	cmd := child(t, "append", path)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewReader(out)
	for {
		id, err := lines.ReadString('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		ids = append(ids, id[:len(id)-1])
		if len(ids) == after {
			require.NoError(t, cmd.Process.Kill())
		}
	}
	require.Error(t, cmd.Wait(), "killed")
	return ids
}

func TestFullDisk(t *testing.T) {
	path := journalPath(t)
	require.NoError(t, child(t, "full", path).Run())
	l, err := revocation.Open(revocation.Config{Path: path, Lifetime: lifetime})
	require.NoError(t, err)
	defer l.Close()
	require.ErrorIs(t, l.Check(record("before", 1)), session.Ended)
	require.ErrorIs(t, l.Check(record("full", 1)), session.Ended, "written at Close")
}

// fillTheDisk lets the file grow by a few bytes only, in the middle of a line,
// and gives room again before the list is closed.
func fillTheDisk(path string) int {
	signal.Ignore(syscall.SIGXFSZ)
	return withList(path, func(l *revocation.List) error {
		if err := l.EndSession(context.Background(), until("before", 0, time.Time{})); err != nil {
			return err
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		var old syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
			return err
		}
		small := old
		small.Cur = uint64(info.Size() + 20)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &small); err != nil {
			return err
		}
		if err := l.EndSession(context.Background(), until("full", 0, time.Time{})); !errors.Is(err, session.Unavailable) {
			return fmt.Errorf("a full disk went unnoticed: %v", err)
		}
		if err := l.Check(record("full", 1)); !errors.Is(err, session.Ended) {
			return fmt.Errorf("not in force: %v", err)
		}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
			return err
		}
		return nil
	})
}

// A compaction that fails leaves the old file in use, and is tried again later.
func TestCompactionThatFails(t *testing.T) {
	path := journalPath(t)
	require.NoError(t, child(t, "files", path).Run())
	require.Less(t, bytes.Count(read(t, path), []byte("\n")), 1100, "compacted in the end")
	l, err := revocation.Open(revocation.Config{Path: path, Lifetime: lifetime})
	require.NoError(t, err)
	defer l.Close()
	require.ErrorIs(t, l.Check(login("alice", start)), session.Ended)
}

// runOutOfFiles has no file descriptor left when the journal is due for
// compaction.
func runOutOfFiles(path string) int {
	return withList(path, func(l *revocation.List) error {
		var old syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
			return err
		}
		few := old
		few.Cur = 3
		for _, limit := range []syscall.Rlimit{few, old} {
			if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
				return err
			}
			for range 1100 {
				if err := l.EndSubject(context.Background(), "alice"); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// withList opens a list for f, and returns an exit code.
func withList(path string, f func(*revocation.List) error) int {
	l, err := revocation.Open(revocation.Config{Path: path, Lifetime: lifetime})
	if err == nil {
		err = errors.Join(f(l), l.Close())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
