// Package look has the commands of keygen that show keys and change nothing:
// [List], [Plan], [Check], [Diff] and [Export].
package look

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
)

// List returns keygen list.
func List(t *tool.Tool) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "list [KID]",
		Short: "List the keys and their states, or show one key",
		Long: `List shows each key with its use, its algorithm, its state and the instants at
which that changes:

  staged    not published yet: does nothing
  pending   published, verifies and decrypts
  active    signs and encrypts too
  retiring  verifies and decrypts
  expired   does nothing any more
  revoked   does nothing any more, whatever its dates say

With a key ID, or the beginning of one, it shows that key, also a pruned one, and
its public half. Write "list -- KID" if the ID begins with a dash.`,
		Args:              tool.AtMostOne,
		ValidArgsFunction: t.CompleteKID,
	}
	cmd.Flags().BoolVar(&all, "all", false, "also what is remembered of keys that were pruned")
	cmd.RunE = t.Do(tool.Tables(), func(_ context.Context, args []string) error {
		set, err := t.Read()
		if err != nil {
			return err
		}
		if len(args) == 1 {
			k, err := tool.FindIn(append(set.Keys(), set.Pruned()...), args[0])
			if err != nil {
				return err
			}
			return show(t, set, k)
		}
		if all {
			return t.ListKeys(set, append(set.Keys(), set.Pruned()...))
		}
		return t.List(set)
	})
	return cmd
}

func show(t *tool.Tool, set *keyset.Set, k *keyset.Key) error {
	used := tool.InUse(set, t.Now)
	r := tool.RowOf(k, set, used, t.Now)
	jwk, err := publicJWK(k)
	if err != nil {
		return err
	}
	r.JWK = jwk
	if t.Format == "json" {
		return t.PrintJSON(r)
	}
	half := fmt.Sprint(r.Private)
	if k.External() {
		half = "elsewhere"
	}
	w := tool.NewTable(t.Stdout)
	for _, line := range [][2]string{
		{"kid", r.ID}, {"use", string(r.Use)}, {"alg", string(r.Algorithm)}, {"state", r.State}, {"in use", fmt.Sprint(r.InUse)}, {"private half", half},
		{"created", tool.Dash(r.Created)}, {"published from", tool.Dash(r.PublishAt)}, {"signs from", tool.Dash(r.SignFrom)}, {"signs until", tool.Dash(r.SignUntil)}, {"verifies until", tool.Dash(r.VerifyUntil)},
		{"revoked", strings.TrimSpace(tool.Dash(r.RevokedAt) + " " + r.Reason)}, {"public key", tool.Dash(string(r.JWK))},
	} {
		w.Row(line[0], line[1])
	}
	return w.Flush()
}
