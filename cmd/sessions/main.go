// Sessions lists and ends the sessions of a running Cloakroom application, from
// the command line.
//
// It reads the config of the application, so that it finds the same store, and
// needs neither its keys nor a connection to it: what it ends is in the store,
// and the instances hear of it there, usually within a second. Run "sessions
// help" for the commands.
//
// Data goes to standard output, everything else to standard error. Exit codes,
// as far as they go those of keygen:
//
//	0   done
//	1   input, output or internal error: for example, the store does not answer
//	2   wrong usage
//	3   refused: the config has a mistake, or the store can't do it, or nobody
//	    has confirmed it
//	8   the subject has no such session, or a file is missing
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/spf13/cobra"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run is main with its surroundings as arguments. It returns the exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	t := &tool{stdin: stdin, stdout: stdout, stderr: stderr, environ: os.Environ(), asks: isTerminal(stdin)}
	return t.run(args)
}

func (t *tool) run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	out := &witness{Writer: t.stdout}
	root := t.root(out)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if out.err != nil {
		err, t.ran = out.err, true
	}
	if err == nil {
		return exitOK
	}
	// cobra lists similar commands after tabs, which note would escape.
	t.note("%s", strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n\t", "\n  "))
	if !t.ran {
		fmt.Fprintln(t.stderr, helpHint(cmd))
		return exitUsage
	}
	return exitCode(err)
}

const rootHelp = `Sessions lists and ends the sessions of a running Cloakroom application.

It reads the application's config: --config, with the CLOAKROOM_ variables over
it. Run it where relative paths in the config mean the same as for the
application. The store must be Redis, PostgreSQL, MySQL, MariaDB or SQLite.

  sessions list alice               see where alice is logged in
  sessions end alice ID             end one session of alice
  sessions end-subject alice        end all sessions of alice
  sessions end-tag idp_session 5f3  end the sessions whose login had this tag
  sessions end-all                  end all sessions of everybody
  sessions stats                    see what the store knows of ended sessions

An end is in force on every instance of the application when that has read the
store: usually within a second, and in any case within
revocations.max_staleness.

Data goes to standard output, everything else to standard error. Exit codes:
0 done, 1 input, output or internal error (such as a store that does not
answer), 2 wrong usage, 3 refused (a mistake in the config, a store that can't
do it, or not confirmed), 8 no such session or a file is missing.`

// root is the command that has all others. cobra writes help to out.
func (t *tool) root(out io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:           "sessions",
		Short:         "List and end the sessions of a Cloakroom application",
		Long:          rootHelp,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetIn(t.stdin)
	root.SetOut(out)
	root.SetErr(t.stderr)
	f := root.PersistentFlags()
	f.StringVar(&t.config, "config", "", "the application's config `file` (default cloakroom.yaml, if there is one)")
	f.StringVar(&t.format, "format", "text", "text or json")
	f.BoolVar(&t.dryRun, "dry-run", false, "show what would end, and end nothing")
	f.DurationVar(&t.timeout, "timeout", defaultTimeout, "how long the store may take, once it is open")
	root.AddCommand(t.list(), t.end(), t.endSubject(), t.endTag(), t.endAll(), t.stats())
	root.SetHelpCommand(helpCommand())
	return root
}

// helpHint says where to read how a command is used.
func helpHint(cmd *cobra.Command) string {
	if !cmd.HasParent() || cmd.Name() == "help" {
		return "Run \"sessions help\" for the commands."
	}
	return fmt.Sprintf("Run \"sessions help %s\" for its usage.", cmd.Name())
}

// A witness remembers the first write that failed, since cobra ignores errors
// when it prints.
type witness struct {
	io.Writer
	err error
}

func (w *witness) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	if w.err == nil {
		w.err = err
	}
	return n, err
}

// helpCommand differs from cobra's own for an unknown command: that is wrong
// usage, where cobra prints the help of another command and exits with 0.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Help about any command",
		Long:  "Help shows the help of a command, as COMMAND --help does.",
		RunE: func(cmd *cobra.Command, args []string) error {
			found, rest, err := cmd.Root().Find(args)
			switch {
			case err != nil:
				return err
			case len(rest) > 0:
				return fmt.Errorf("unknown command %q for %q", rest[0], found.CommandPath())
			}
			found.InitDefaultHelpFlag() // as when it runs, so that the help shows it
			return found.Help()
		},
	}
}
