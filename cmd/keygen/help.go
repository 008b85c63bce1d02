package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// changeExits is part of the help of commands that change keys.
const changeExits = `Exit codes: 0 done, 3 refused, such as by the timing (the text has the earliest
safe instant), 5 another process has locked the key file: try again, 8 no such
key, or no key file.`

// newIDs is part of the help of commands of which a dry run makes keys.
const newIDs = `A dry run makes keys too, and forgets them: the IDs of new keys are not those of
the real run.`

// emergency is part of the help of revoke.
const emergency = `In an emergency:

  keygen token explain FILE      with which key a forged token was signed
  keygen revoke --dry-run KID    the effect, and how long it is trusted still
  keygen revoke KID --reason key_compromise
  keygen jwks check URL          whether all instances have taken the key down`

// A witness remembers the first write that failed: of what cobra prints, it does not ask whether it was printed.
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

// helpCommand is cobra's own, but for a command that is not there: that is wrong usage, and not help of another one.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "help [COMMAND]",
		Short:             "Help about any command",
		Long:              "Help shows the help of a command, as COMMAND --help does.",
		ValidArgsFunction: completeCommands,
		RunE: func(cmd *cobra.Command, args []string) error {
			found, rest, err := cmd.Root().Find(args)
			switch {
			case err != nil:
				return err
			case len(rest) > 0:
				return fmt.Errorf("unknown command %q for %q", rest[0], found.CommandPath())
			}
			found.InitDefaultHelpFlag() // as when it runs, so that the help shows them
			found.InitDefaultVersionFlag()
			return found.Help()
		},
	}
}

// completeCommands completes the names of commands, as arguments.
func completeCommands(cmd *cobra.Command, args []string, _ string) (names []cobra.Completion, _ cobra.ShellCompDirective) {
	found, _, err := cmd.Root().Find(args)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	for _, sub := range found.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, cobra.CompletionWithDesc(sub.Name(), sub.Short))
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
