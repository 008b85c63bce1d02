package interop_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/servertest"
)

// patience is how long a program may take for its start, or for one answer.
const patience = 20 * time.Second

// script returns a way to start a program that reads one token a line, and
// answers each with "ok SUBJECT" or "no REASON". Its working directory is this
// one. From the environment it learns JWKS_URL, ISSUER, AUDIENCE and CA_FILE.
func script(program string, args ...string) func(*testing.T, *application) verifier {
	return func(t *testing.T, a *application) verifier {
		t.Helper()
		cmd := exec.Command(servertest.Program(t, program), args...)
		cmd.Env = a.environment()
		cmd.Stderr = t.Output()
		cmd.WaitDelay = time.Second
		in, err := cmd.StdinPipe()
		require.NoError(t, err)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		p := &process{in: in, answers: make(chan string)}
		done := make(chan struct{})
		go func() {
			defer close(done)
			p.read(out)
			_ = cmd.Wait()
		}()
		t.Cleanup(func() { p.stop(cmd, done) })
		return p.verify
	}
}

// environment is the one of the programs that verify a's tokens.
func (a *application) environment() []string {
	return append(os.Environ(), "JWKS_URL="+a.jwks(), "ISSUER="+a.url, "AUDIENCE="+audience)
}

// A process is a program that runs.
type process struct {
	in      io.WriteCloser
	answers chan string // closed when the program has ended
}

func (p *process) read(out io.Reader) {
	defer close(p.answers)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		p.answers <- lines.Text()
	}
}

// stop lets the program end, and kills it if it doesn't.
func (p *process) stop(cmd *exec.Cmd, done <-chan struct{}) {
	_ = p.in.Close()
	go func() {
		for range p.answers { // nobody asked
		}
	}()
	select {
	case <-done:
	case <-time.After(time.Second):
		_ = cmd.Process.Kill()
		<-done
	}
}

func (p *process) verify(ctx context.Context, token string) (string, error) {
	if _, err := io.WriteString(p.in, token+"\n"); err != nil {
		return "", broken{fmt.Errorf("write a token: %w", err)}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case <-ctx.Done():
		return "", broken{errors.New("no answer")}
	case line, ok := <-p.answers:
		word, rest, _ := strings.Cut(line, " ")
		switch {
		case !ok:
			return "", broken{errors.New("the program has ended")}
		case word == "ok":
			return rest, nil
		case word == "no":
			return "", errors.New(rest)
		}
		return "", broken{fmt.Errorf("%q is no answer", line)}
	}
}

// A broken program refuses nothing: it doesn't do its work.
type broken struct{ error }
