// Keygen makes and shows the keys of a Cloakroom application.
//
// Start with "keygen init". It writes a key file, mode 0600, that the
// application opens; keygen never overwrites one, and never prints a private
// key unless it is asked to. Run "keygen help" for the commands.
//
// Data goes to standard output and everything else to standard error. Exit codes:
//
//	0  done
//	1  input, output or internal error
//	2  wrong usage
//	3  refused: the file exists, others can read it, or a private key would show on a terminal
//	4  the key file is damaged
//	5  another process holds the lock of the key file
//	6  the token is no good
//	7  the token has expired
//	8  no such key, or no key file
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"

	"github.com/spf13/cobra"

	"github.com/cloakroom-go/cloakroom/internal/durable"
	"github.com/cloakroom-go/cloakroom/keys"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// The exit codes, as documented above.
const (
	exitOK = iota
	exitError
	exitUsage
	exitRefused
	exitDamaged
	exitLocked
	exitToken
	exitExpired
	exitNotFound
)

// An exit is an error with the code to end with.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string { return e.err.Error() }
func (e *exit) Unwrap() error { return e.err }

func refuse(code int, format string, args ...any) error {
	return &exit{code, fmt.Errorf(format, args...)}
}

// run is main with its surroundings as arguments. It returns the exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	t := &tool{stdin: stdin, stdout: stdout, stderr: stderr}
	root := t.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(stderr, "keygen:", err)
	if !t.ran {
		fmt.Fprintln(stderr, "Run \"keygen help\" for the commands.")
		return exitUsage
	}
	return exitCode(err)
}

func exitCode(err error) int {
	var e *exit
	switch {
	case errors.As(err, &e):
		return e.code
	case errors.Is(err, keys.ErrUnsafeFile), errors.Is(err, fs.ErrExist):
		return exitRefused
	case errors.Is(err, keys.ErrInvalidFile):
		return exitDamaged
	case errors.Is(err, durable.ErrLocked):
		return exitLocked
	case errors.Is(err, fs.ErrNotExist):
		return exitNotFound
	}
	return exitError
}

// A tool is one call of keygen.
type tool struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	keyset string // --keyset
	format string // --format
	json   bool   // --json

	ran bool // a command has begun: errors before that are wrong usage
}

func (t *tool) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "keygen",
		Short: "Make and show the keys of a Cloakroom application",
		Long: `Keygen makes and shows the keys of a Cloakroom application.

Exit codes: 0 done, 1 input, output or internal error, 2 wrong usage, 3 refused,
4 key file damaged, 5 key file locked, 6 token no good, 7 token expired,
8 no such key or no key file.`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetIn(t.stdin)
	root.SetOut(t.stdout)
	root.SetErr(t.stderr)
	root.PersistentFlags().StringVar(&t.keyset, "keyset", "", "the key `file` (default $CLOAKROOM_KEYSET, or keys.json)")
	root.AddCommand(t.initCommand(), t.listCommand(), t.showCommand(), t.exportCommand(), t.tokenCommand(), t.versionCommand())
	return root
}

// do wraps what a command does, so that errors from here on are not wrong usage.
func (t *tool) do(f func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		t.ran = true
		return f(cmd.Context(), args)
	}
}

// path is the key file that was chosen.
func (t *tool) path() string {
	if t.keyset != "" {
		return t.keyset
	}
	if path := os.Getenv("CLOAKROOM_KEYSET"); path != "" {
		return path
	}
	return "keys.json"
}

func (t *tool) note(format string, args ...any) {
	fmt.Fprintf(t.stderr, "keygen: "+format+"\n", args...)
}
