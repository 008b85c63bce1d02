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
	cmd.RunE = t.Do(func(_ context.Context, args []string) error {
		set, err := t.Read()
		if err != nil {
			return err
		}
		known := append(set.Keys(), set.Pruned()...)
		switch {
		case len(args) == 1:
			return show(t, set, known, args[0])
		case all:
			return t.List(set, known)
		}
		return t.List(set, set.Keys())
	})
	return cmd
}

// show prints what is known of one key, except its private half.
func show(t *tool.Tool, set *keyset.Set, known []*keyset.Key, id string) error {
	k, err := tool.FindIn(known, id)
	if err != nil {
		return err
	}
	r := tool.RowOf(k, set, t.Now)
	if r.JWK, err = publicJWK(k); err != nil {
		return err
	}
	if t.Format == "json" {
		return t.PrintJSON(r)
	}
	half := fmt.Sprint(r.Private)
	if k.External() {
		half = "elsewhere"
	}
	w := tool.NewTable(t.Stdout)
	for _, line := range [][2]string{
		{"kid", r.ID}, {"use", string(r.Use)}, {"alg", string(r.Algorithm)}, {"state", r.State},
		{"in use", fmt.Sprint(r.InUse)}, {"private half", half}, {"created", r.Created}, {"published from", r.PublishAt},
		{"signs from", r.SignFrom}, {"signs until", r.SignUntil}, {"verifies until", r.VerifyUntil},
		{"revoked", strings.TrimSpace(r.RevokedAt + " " + r.Reason)}, {"public key", string(r.JWK)},
	} {
		w.Row(line[0], tool.Dash(line[1]))
	}
	return w.Flush()
}
