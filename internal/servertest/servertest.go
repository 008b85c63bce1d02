//go:build unix

// Package servertest starts real servers for the tests of stores, and breaks
// the network between a store and its server.
//
//	server := servertest.Start(t, servertest.Config{
//		Program: servertest.Program(t, "redis-server"),
//		Args:    []string{"--port", port},
//		Ready:   func(ctx context.Context) error { … ping it … },
//	})
//	proxy := servertest.NewProxy(t, addr)
//	proxy.Set(servertest.Swallow)
//
// Everything that a test starts is stopped when the test ends. A test that
// lacks its program is skipped, or fails if CI=true.
package servertest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	readyTimeout = 60 * time.Second // a database that sets itself up on a busy machine takes long
	stopTimeout  = 10 * time.Second
	keptOutput   = 64 << 10 // bytes of a server's output
)

// A Config says which server to start, and how.
type Config struct {
	Program string // required: its path, as [Program] returns it
	Args    []string
	Env     []string            // "NAME=value", in addition to the environment of the test
	Dir     string              // the working directory; if "", a new one
	As      *syscall.Credential // the user that runs it; if nil, the one that runs the test
	Stop    syscall.Signal      // asks it to stop; 0 means SIGTERM

	// Ready returns nil once the server answers. Start calls it again and again,
	// each time with a context of one second.
	Ready func(ctx context.Context) error // required
}

// A Process is a server that runs.
type Process struct {
	cmd    *exec.Cmd
	stop   syscall.Signal
	output *tail
	exited chan struct{}
}

// Start starts a server, and returns when it is ready. The test fails if the
// server ends before that, or takes longer than a minute. Its output is logged
// if the test fails.
func Start(tb testing.TB, c Config) *Process {
	tb.Helper()
	if c.Dir == "" {
		c.Dir = Dir(tb, c.As)
	}
	if c.Stop == 0 {
		c.Stop = syscall.SIGTERM
	}
	p := &Process{cmd: exec.Command(c.Program, c.Args...), stop: c.Stop, output: &tail{}, exited: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env = c.Dir, append(os.Environ(), c.Env...)
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	p.cmd.SysProcAttr = attributes(c.As)
	p.cmd.WaitDelay = time.Second // a grandchild may hold the output open
	if err := p.cmd.Start(); err != nil {
		tb.Fatalf("start %s: %v", c.Program, err)
	}
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait()
	}()
	tb.Cleanup(func() {
		p.Stop()
		if tb.Failed() {
			tb.Logf("output of %s:\n%s", c.Program, p.output)
		}
	})
	p.awaitReady(tb, c)
	return p
}

func (p *Process) awaitReady(tb testing.TB, c Config) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), readyTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try(ctx, c.Ready)
		select {
		case <-p.exited: // asked first: somebody else may answer on the same port
			tb.Fatalf("%s ended before it was ready: %v", c.Program, p.cmd.ProcessState)
		default:
		}
		if err == nil {
			return
		}
		select {
		case <-p.exited:
		case <-tick.C:
		case <-ctx.Done():
			tb.Fatalf("%s is not ready after %v: %v", c.Program, readyTimeout, err)
		}
	}
}

func try(ctx context.Context, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return ready(ctx)
}

// Stop asks the server to end, and kills it if it takes longer than 10 seconds.
// It returns when the server has ended. A server that has ended stays so.
func (p *Process) Stop() {
	p.Continue() // a paused process would not see the signal
	_ = p.cmd.Process.Signal(p.stop)
	select {
	case <-p.exited:
	case <-time.After(stopTimeout):
		p.Kill()
	}
}

// Kill ends the server without its doing (SIGKILL), and returns when it has
// ended.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// Pause stops the server where it is (SIGSTOP), and returns when all of its
// threads stand still. Its connections stay open, and it answers nothing. What
// it is sent meanwhile takes effect after Continue.
func (p *Process) Pause() {
	_ = p.cmd.Process.Signal(syscall.SIGSTOP)
	awaitStopped(p.cmd.Process.Pid)
}

// Continue ends a Pause.
func (p *Process) Continue() { _ = p.cmd.Process.Signal(syscall.SIGCONT) }

// Program returns the path of the first program of this name that exists; a
// name may be a path. Without one the test is skipped, or fails if CI=true.
func Program(tb testing.TB, names ...string) string {
	tb.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	missing(tb, "none of the programs %q is installed", names)
	return ""
}

// User returns the user of this name, for a server that refuses to run as root.
// It returns nil if the test doesn't run as root, since it can't change its
// user then and needs no other.
func User(tb testing.TB, name string) *syscall.Credential {
	tb.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		missing(tb, "there is no user %q", name)
	}
	uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
	if uidErr != nil || gidErr != nil {
		tb.Fatalf("user %q has the IDs %s and %s", name, u.Uid, u.Gid)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func missing(tb testing.TB, format string, args ...any) {
	tb.Helper()
	if os.Getenv("CI") == "true" {
		tb.Fatalf(format, args...)
	}
	tb.Skipf(format, args...)
}

// Dir returns a new directory of this user, nil being the one that runs the
// test. It is removed when the test ends. The directory of testing.TB can't be
// entered by another user.
func Dir(tb testing.TB, as *syscall.Credential) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "cloakroom-servertest-")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	if as != nil {
		if err := os.Chown(dir, int(as.Uid), int(as.Gid)); err != nil {
			tb.Fatal(err)
		}
	}
	return dir
}

// FreeAddr returns an address of this machine, such as 127.0.0.1:41234, where
// nothing listens.
func FreeAddr(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// Dial returns nil if something listens at addr. It is the simplest Ready.
func Dial(addr string) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			return fmt.Errorf("dial: %w", err)
		}
		return conn.Close()
	}
}

// A tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	data []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, b...)
	if over := len(t.data) - keptOutput; over > 0 {
		t.data = append(t.data[:0], t.data[over:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.data)
}
