package tool

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

// CompleteKID completes the ID of a key where a command takes one.
func (t *Tool) CompleteKID(cmd *cobra.Command, args []string, begun string) (
	[]cobra.Completion, cobra.ShellCompDirective,
) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return t.CompleteKIDs(cmd, nil, begun)
}

// CompleteKIDs completes the IDs of keys, each once. It offers none of an
// encrypted file: a shell that completes can't ask for the passphrase.
func (t *Tool) CompleteKIDs(_ *cobra.Command, given []string, begun string) (
	ids []cobra.Completion, _ cobra.ShellCompDirective,
) {
	set, err := keyset.File{Path: t.Path(), InsecureGroupReadable: t.GroupRead}.Read()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	for _, k := range set.Keys() {
		id := k.ID()
		flag := begun == "" && strings.HasPrefix(id, "-") // unless -- stands before it
		if strings.HasPrefix(id, begun) && Cell(id) == id && !flag && !slices.Contains(given, id) {
			description := fmt.Sprintf("%s %s %s", k.Use(), k.Algorithm(), k.State(time.Now()))
			ids = append(ids, cobra.CompletionWithDesc(id, description))
		}
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}
