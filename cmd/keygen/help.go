package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
)

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
func completeCommands(cmd *cobra.Command, args []string, _ string) (
	names []cobra.Completion, _ cobra.ShellCompDirective,
) {
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

// choices are the values of the flags that have few.
func choices() map[string][]cobra.Completion {
	sign := []cobra.Completion{"ES256", "EdDSA", "PS256", "RS256", "HS256"}
	enc := []cobra.Completion{"dir", "A256KW", "ECDH-ES+A256KW"}
	return map[string][]cobra.Completion{
		"use": {"sig", "enc"}, "profile": {"service", "web"}, "color": {"auto", "always", "never"},
		"alg": slices.Concat(sign, enc), "sign-alg": sign, "enc-alg": append(enc, "none"),
	}
}

// offerChoices lets shells complete the values of flags, for a command and its
// subcommands.
func offerChoices(cmd *cobra.Command) {
	for name, values := range choices() {
		if cmd.LocalFlags().Lookup(name) != nil {
			complete := cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)
			_ = cmd.RegisterFlagCompletionFunc(name, complete) // fails only without the flag
		}
	}
	for _, sub := range cmd.Commands() {
		offerChoices(sub)
	}
}

// completeFormat completes the value of --format, which depends on the command.
func completeFormat(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return tool.Formats(cmd), cobra.ShellCompDirectiveNoFileComp
}
