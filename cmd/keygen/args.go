package main

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// called is how a command is called, without keygen.
func called(cmd *cobra.Command) string {
	return strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" ")
}

// noArgs is for commands that take no arguments.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%s takes no arguments", called(cmd))
	}
	return nil
}

// one is for commands that take one argument, which is what.
func one(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("%s needs %s", called(cmd), what)
		}
		return atMostOne(cmd, args)
	}
}

// oneKID is for commands that take the ID of a key.
func oneKID(cmd *cobra.Command, args []string) error {
	return one("the ID of a key; see keygen list")(cmd, args)
}

// atMostOne is for commands that can do without an argument.
func atMostOne(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return fmt.Errorf("%s takes one argument, and there are %d", called(cmd), len(args))
	}
	return nil
}

// oneOrTwo is for diff.
func oneOrTwo(cmd *cobra.Command, args []string) error {
	if len(args) == 0 || len(args) > 2 {
		return fmt.Errorf("%s needs one key file or two, and there are %d", called(cmd), len(args))
	}
	return nil
}

// maxReason is how long package keys lets a reason be, in bytes.
const maxReason = 200

// checkReason refuses a reason that package keys would refuse, before anything is read or asked for.
func checkReason(reason string) error {
	odd := func(r rune) bool { return !unicode.IsPrint(r) && !unicode.IsSpace(r) }
	if len(reason) > maxReason || !utf8.ValidString(reason) || strings.IndexFunc(reason, odd) >= 0 {
		return refuse(exitUsage, "--reason must be text of at most %d bytes", maxReason)
	}
	return nil
}
