package tool

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// Called returns the name of a command without "keygen", such as "token
// decode".
func Called(cmd *cobra.Command) string {
	return strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" ")
}

// NoArgs is for commands that take no arguments.
func NoArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%s takes no arguments", Called(cmd))
	}
	return nil
}

// One is for commands that take one argument; what says which.
func One(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("%s needs %s", Called(cmd), what)
		}
		return AtMostOne(cmd, args)
	}
}

// AtMostOne is for commands that can do without an argument.
func AtMostOne(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return fmt.Errorf("%s takes one argument, and there are %d", Called(cmd), len(args))
	}
	return nil
}
