// Keygen makes, rotates and revokes the keys of a Cloakroom application.
//
// Start with "keygen init". It writes a key file, mode 0600, that the
// application opens. "keygen rotate --if-due", as often as you like, keeps the keys in rotation without logging
// anybody out; a step that would reject a valid token, or trust a key too long, is refused. Run "keygen help" for
// the commands.
//
// Data goes to standard output and everything else to standard error. Exit codes:
//
//	0   done
//	1   input, output or internal error
//	2   wrong usage
//	3   refused: by the policy or the timing (the text has the formula and the earliest safe instant), because the
//	    file exists or others can read it, or because a private key would show on a terminal
//	4   the key file is damaged or was edited, or the passphrase or key for it is wrong
//	5   another process holds the lock of the key file: try again
//	6   the token is no good
//	7   the token has expired
//	8   no such key, or a file is missing
//	10  something is due, or differs
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
	"github.com/cloakroom-go/cloakroom/internal/secret"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// The exit codes, as documented above.
const (
	exitOK       = 0
	exitError    = 1
	exitUsage    = 2
	exitRefused  = 3
	exitDamaged  = 4
	exitLocked   = 5
	exitToken    = 6
	exitExpired  = 7
	exitNotFound = 8
	exitDue      = 10
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
	t := &tool{stdin: stdin, stdout: stdout, stderr: stderr, lockTimeout: defaultLockTimeout}
	root := t.root()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if t.help.err != nil {
		err, t.ran = t.help.err, true
	}
	if err == nil {
		return exitOK
	}
	say(stderr, strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n\t", "\n  ")) // as cobra lists similar commands
	if errors.Is(err, keyset.ErrUnsafeFile) && !t.groupRead {
		fmt.Fprintln(stderr, "If it is a mounted secret of mode 0440, add --insecure-group-readable to read it.")
	}
	var flag *pflag.NotExistError
	if errors.As(err, &flag) && flag.GetSpecifiedShortnames() != "" {
		fmt.Fprintln(stderr, "Write \"-- KID\" behind all flags if a key ID begins with a dash.")
	}
	if !t.ran {
		fmt.Fprintln(stderr, helpHint(cmd))
		return exitUsage
	}
	return exitCode(err)
}

// helpHint says where to read how a command is used.
func helpHint(cmd *cobra.Command) string {
	if !cmd.HasParent() || cmd.Name() == "help" {
		return "Run \"keygen help\" for the commands."
	}
	return fmt.Sprintf("Run \"keygen help %s\" for its usage.", called(cmd))
}

func exitCode(err error) int {
	var e *exit
	switch {
	case errors.As(err, &e):
		return e.code
	case errors.Is(err, keyset.ErrUnsafeFile), errors.Is(err, secret.ErrUnsafe), errors.Is(err, fs.ErrExist), errors.Is(err, rotation.ErrRefused):
		return exitRefused
	case errors.Is(err, keyset.ErrInvalidFile):
		return exitDamaged
	case errors.Is(err, keyset.ErrLocked):
		return exitLocked
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, keyset.ErrUnknownKey):
		return exitNotFound
	}
	return exitError
}
