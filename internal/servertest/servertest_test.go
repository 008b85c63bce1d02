//go:build unix

package servertest_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/servertest"
)

const serveVar = "CLOAKROOM_SERVERTEST_ADDR"

// TestMain is the server, too: one that returns what it is sent, and leaves a
// file behind when it is asked to stop.
func TestMain(m *testing.M) {
	addr := os.Getenv(serveVar)
	if addr == "" {
		os.Exit(m.Run())
	}
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	go echo(addr)
	<-terminated
	if err := os.WriteFile("stopped", nil, 0o600); err != nil {
		os.Exit(1)
	}
}

func echo(addr string) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		os.Exit(2)
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			os.Exit(3)
		}
		go func() { _, _ = io.Copy(conn, conn) }()
	}
}

func startEcho(t *testing.T) (addr, dir string, p *servertest.Process) {
	t.Helper()
	addr, dir = servertest.FreeAddr(t), t.TempDir()
	p = servertest.Start(t, servertest.Config{
		Program: servertest.Program(t, os.Args[0]),
		Env:     []string{serveVar + "=" + addr},
		Dir:     dir,
		Ready:   servertest.Dial(addr),
	})
	return addr, dir, p
}

// say sends a line over the connection, and returns the error of its answer.
func say(t *testing.T, conn net.Conn, within time.Duration) error {
	t.Helper()
	require.NoError(t, conn.SetDeadline(time.Now().Add(within)))
	if _, err := conn.Write([]byte("hello")); err != nil {
		return err
	}
	_, err := io.ReadFull(conn, make([]byte, 5))
	return err
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestStop(t *testing.T) {
	addr, dir, p := startEcho(t)
	require.NoError(t, say(t, dial(t, addr), time.Minute))
	p.Pause()
	p.Stop()
	require.FileExists(t, filepath.Join(dir, "stopped"))
	require.Error(t, servertest.Dial(addr)(t.Context()))
	p.Stop()
}

func TestKill(t *testing.T) {
	addr, dir, p := startEcho(t)
	p.Kill()
	require.NoFileExists(t, filepath.Join(dir, "stopped"))
	require.Error(t, servertest.Dial(addr)(t.Context()))
}

func TestPause(t *testing.T) {
	addr, _, p := startEcho(t)
	conn := dial(t, addr)
	p.Pause()
	require.ErrorIs(t, say(t, conn, 100*time.Millisecond), os.ErrDeadlineExceeded)
	p.Continue()
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	_, err := io.ReadFull(conn, make([]byte, 5))
	require.NoError(t, err)
}

func TestProxy(t *testing.T) {
	addr, _, _ := startEcho(t)
	p := servertest.NewProxy(t, addr)
	conn := dial(t, p.Addr())
	require.NoError(t, say(t, conn, time.Minute))

	p.Delay(50 * time.Millisecond)
	start := time.Now()
	require.NoError(t, say(t, conn, time.Minute))
	require.GreaterOrEqual(t, time.Since(start), 50*time.Millisecond)
	p.Delay(0)

	p.Set(servertest.Swallow)
	require.ErrorIs(t, say(t, conn, 100*time.Millisecond), os.ErrDeadlineExceeded)
	p.Set(servertest.Pass)
	require.ErrorIs(t, say(t, conn, 100*time.Millisecond), os.ErrDeadlineExceeded, "one lost answer loses them all")

	conn = dial(t, p.Addr())
	p.Set(servertest.Cut)
	err := say(t, conn, time.Minute)
	require.Error(t, err)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)

	p.Set(servertest.Refuse)
	err = say(t, dial(t, p.Addr()), time.Minute)
	require.Error(t, err)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	p.Set(servertest.Pass)
	require.NoError(t, say(t, dial(t, p.Addr()), time.Minute))
}

func TestLead(t *testing.T) {
	before, _, old := startEcho(t)
	after, _, _ := startEcho(t)
	p := servertest.NewProxy(t, before)
	conn := dial(t, p.Addr())
	require.NoError(t, say(t, conn, time.Minute))
	p.Lead(after)
	require.NoError(t, say(t, conn, time.Minute))
	old.Kill()
	require.Error(t, say(t, conn, time.Minute))
	require.NoError(t, say(t, dial(t, p.Addr()), time.Minute))
}

// One piece gets lost, a request or an answer, and the next connection works.
func TestProxyFunc(t *testing.T) {
	addr, _, _ := startEcho(t)
	p := servertest.NewProxy(t, addr)
	for _, answer := range []bool{false, true} {
		for mode, within := range map[servertest.Mode]time.Duration{
			servertest.Cut: time.Minute, servertest.Swallow: 100 * time.Millisecond,
		} {
			var seen atomic.Int64
			p.SetFunc(func(a bool, _ []byte) servertest.Mode {
				if a == answer && seen.Add(1) == 2 {
					return mode
				}
				return servertest.Pass
			})
			conn := dial(t, p.Addr())
			require.NoError(t, say(t, conn, time.Minute))
			err := say(t, conn, within)
			require.Error(t, err)
			require.Equal(t, mode == servertest.Swallow, errors.Is(err, os.ErrDeadlineExceeded))
			require.NoError(t, say(t, dial(t, p.Addr()), time.Minute))
		}
	}
}

// Answers of two connections are crossed, and those of one reordered, if they
// come soon enough after each other.
func TestProxyMixesAnswersUp(t *testing.T) {
	addr, _, _ := startEcho(t)
	p := servertest.NewProxy(t, addr)
	ask := func(conn net.Conn, question string) { _, err := conn.Write([]byte(question)); require.NoError(t, err) }
	read := func(conn net.Conn, n int) string {
		answer := make([]byte, n)
		require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
		_, err := io.ReadFull(conn, answer)
		require.NoError(t, err)
		return string(answer)
	}
	a, b := dial(t, p.Addr()), dial(t, p.Addr())
	p.Set(servertest.Cross)
	require.Eventually(t, func() bool {
		ask(a, "for a")
		ask(b, "for b")
		toA, toB := read(a, 5), read(b, 5)
		require.ElementsMatch(t, []string{"for a", "for b"}, []string{toA, toB})
		return toA == "for b"
	}, time.Minute, time.Millisecond)

	require.Positive(t, p.Crossed())

	seen := make(chan struct{}, 100)
	p.SetFunc(func(answer bool, piece []byte) servertest.Mode {
		if !answer {
			return servertest.Pass
		}
		if piece[0] == '1' {
			seen <- struct{}{}
		}
		return servertest.Reorder
	})
	require.Eventually(t, func() bool {
		ask(a, "1")
		<-seen
		ask(a, "2")
		got := read(a, 2)
		require.Contains(t, []string{"12", "21"}, got)
		return got == "21"
	}, time.Minute, time.Millisecond)
	p.Set(servertest.Pass)
	require.NoError(t, say(t, a, time.Minute))
}

// A missing program skips the test, or fails it in CI.
func TestProgram(t *testing.T) {
	for ci, want := range map[string]string{"": "skipped", "true": "failed"} {
		t.Setenv("CI", ci)
		r := &recorder{TB: t}
		func() {
			defer func() { _ = recover() }()
			servertest.Program(r, "cloakroom-no-such-program")
		}()
		require.Equal(t, want, r.outcome, "CI=%q", ci)
	}
}

// A recorder keeps what a test would end with, and panics in place of ending.
type recorder struct {
	testing.TB
	outcome string
}

func (r *recorder) Helper()                  {}
func (r *recorder) Context() context.Context { return context.Background() }
func (r *recorder) Skipf(string, ...any)     { r.outcome = "skipped"; panic(r.outcome) }
func (r *recorder) Fatalf(string, ...any)    { r.outcome = "failed"; panic(r.outcome) }
