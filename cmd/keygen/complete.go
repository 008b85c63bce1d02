package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

// completeKID completes the ID of a key where a command takes one.
func (t *tool) completeKID(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return t.completeKIDs(cmd, nil, begun)
}

// completeKIDOrFile is completeKID for a command that takes a file in place of a key.
func (t *tool) completeKIDOrFile(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	ids, directive := t.completeKID(cmd, args, begun)
	if len(args) == 0 {
		directive = cobra.ShellCompDirectiveDefault
	}
	return ids, directive
}

// completeKIDs completes the IDs of keys, each once. A key file that is encrypted stays closed: a shell that
// completes can't ask for its passphrase.
func (t *tool) completeKIDs(_ *cobra.Command, given []string, begun string) (ids []cobra.Completion, _ cobra.ShellCompDirective) {
	set, err := keyset.File{Path: t.path(), InsecureGroupReadable: t.groupRead}.Read()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	for _, k := range set.Keys() {
		id := k.ID()
		flag := begun == "" && strings.HasPrefix(id, "-") // unless -- stands before it
		if strings.HasPrefix(id, begun) && cell(id) == id && !flag && !slices.Contains(given, id) {
			ids = append(ids, cobra.CompletionWithDesc(id, fmt.Sprintf("%s %s %s", k.Use(), k.Algorithm(), k.State(time.Now()))))
		}
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

// choices are the values of the flags that have few.
func choices() map[string][]cobra.Completion {
	sign, enc := []cobra.Completion{"ES256", "EdDSA", "PS256", "RS256", "HS256"}, []cobra.Completion{"dir", "A256KW", "ECDH-ES+A256KW"}
	return map[string][]cobra.Completion{
		"use": {"sig", "enc"}, "profile": {"service", "web"}, "color": {"auto", "always", "never"},
		"alg": slices.Concat(sign, enc), "sign-alg": sign, "enc-alg": append(enc, "none"),
	}
}

// offerChoices lets shells complete the values of flags, for a command and those below it.
func offerChoices(cmd *cobra.Command) {
	for name, values := range choices() {
		if cmd.LocalFlags().Lookup(name) != nil {
			_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)) // fails without the flag
		}
	}
	for _, sub := range cmd.Commands() {
		offerChoices(sub)
	}
}

// completeFormat completes the value of --format, which depends on the command.
func completeFormat(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	formats := tables()
	switch called(cmd) {
	case "plan":
		formats = pictures()
	case "export":
		formats = keyForms()
	case "token decode":
		formats = texts()
	}
	return formats, cobra.ShellCompDirectiveNoFileComp
}
