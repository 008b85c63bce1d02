// Keygen makes, rotates and revokes the keys of a Cloakroom application.
//
// Start with "keygen init". It writes a key file, mode 0600, that the
// application opens. "keygen rotate --if-due", as often as you like, keeps the
// keys in rotation without logging anybody out; a step that would reject a
// valid token, or trust a key too long, is refused. Run "keygen help" for the
// commands.
//
// Data goes to standard output, everything else to standard error. Exit codes:
//
//	0   done
//	1   input, output or internal error
//	2   wrong usage
//	3   refused: by the policy or the timing (the text has the formula and the
//	    earliest safe instant), because the file exists or others can read it, or
//	    because a private key would show on a terminal
//	4   the key file is damaged or was edited, or its passphrase or key is wrong
//	5   another process holds the lock of the key file: try again
//	6   the token is refused
//	7   the token has expired
//	8   no such key, or a file is missing
//	10  something is due, or differs
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/doctor"
	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/importing"
	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/jwkscheck"
	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/look"
	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/steps"
	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tokens"
	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run is main with its surroundings as arguments. It returns the exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	t, help := tool.New(stdin, stdout, stderr), &witness{Writer: stdout}
	root := root(t, help)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if help.err != nil {
		err, t.Ran = help.err, true
	}
	if err == nil {
		return tool.ExitOK
	}
	// cobra lists similar commands after tabs, which Say would escape.
	tool.Say(stderr, strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n\t", "\n  "))
	if errors.Is(err, keyset.ErrUnsafeFile) && !t.GroupRead {
		fmt.Fprintln(stderr, "If it is a mounted secret of mode 0440, add --insecure-group-readable to read it.")
	}
	var flag *pflag.NotExistError
	if errors.As(err, &flag) && flag.GetSpecifiedShortnames() != "" {
		fmt.Fprintln(stderr, "Write \"-- KID\" behind all flags if a key ID begins with a dash.")
	}
	if !t.Ran {
		fmt.Fprintln(stderr, helpHint(cmd))
		return tool.ExitUsage
	}
	return tool.ExitCode(err)
}

const rootHelp = `Keygen makes, rotates and revokes the keys of a Cloakroom application.

  keygen init                    make a key file
  keygen rotate --if-due         keep it in rotation: from cron, as often as you like
  keygen plan                    see what will happen
  keygen check                   see whether something is wrong
  keygen revoke KID              in an emergency

Data goes to standard output, everything else to standard error. Exit codes:
0 done, 1 input, output or internal error, 2 wrong usage, 3 refused (not
safe yet: the text says when it is; or the file exists, or others can read it),
4 key file damaged or wrong passphrase, 5 key file locked: try again,
6 token refused, 7 token expired, 8 no such key or a file is missing,
10 something is due, or differs.`

// root is the command that has all others. cobra writes help to out.
func root(t *tool.Tool, out io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:           "keygen",
		Short:         "Make, rotate and revoke the keys of a Cloakroom application",
		Long:          rootHelp,
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetIn(t.Stdin)
	root.SetOut(out)
	root.SetErr(t.Stderr)
	t.AddFlags(root.PersistentFlags())
	root.AddCommand(
		steps.Init(t), steps.Add(t), steps.Rotate(t), steps.Promote(t), steps.Retire(t), steps.Revoke(t), steps.Prune(t),
		steps.Policy(t), look.List(t), look.Plan(t), look.Check(t), look.Diff(t), look.Export(t),
		importing.Command(t), steps.Encrypt(t), steps.Decrypt(t), importing.Thumbprint(t),
		tokens.Command(t), doctor.Command(t), jwkscheck.Command(t), versionCommand(t),
	)
	offerChoices(root)
	_ = root.RegisterFlagCompletionFunc("format", completeFormat) // fails without the flag
	root.SetHelpCommand(helpCommand())
	root.SetVersionTemplate(versionLine())
	root.SetFlagErrorFunc(tool.HideValue)
	return root
}

// helpHint says where to read how a command is used.
func helpHint(cmd *cobra.Command) string {
	if !cmd.HasParent() || cmd.Name() == "help" {
		return "Run \"keygen help\" for the commands."
	}
	return fmt.Sprintf("Run \"keygen help %s\" for its usage.", tool.Called(cmd))
}
