package steps

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
	"github.com/cloakroom-go/cloakroom/internal/exposure"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
)

// Revoke returns keygen revoke.
func Revoke(t *tool.Tool) *cobra.Command {
	var all, fresh bool
	var reason string
	cmd := &cobra.Command{
		Use:   "revoke KID... | --all",
		Short: "End all trust in a key, in an emergency",
		Long: `Revoke ends all trust in a key, also in the tokens that it has signed: their users
are logged out. There is no way back. If the key signs, its standby takes over
immediately, and a new standby is published.

Verifiers of other services that already know the standby may not fetch the key
set again soon, and go on trusting the revoked key. With --force-refetch a key
signs that was never published, so that the first new token makes them fetch it;
those that fetch only at intervals then refuse new tokens until they do. The
report, which --dry-run prints too, says for each kind of verifier how long.

If the key file itself has leaked, so has the standby: run revoke --all, which
makes new keys. Then everybody is logged out.

No .bak of the file stays: it would bring the key back.

` + keyIDs + "\n\n" + emergency + "\n\n" + newIDs + "\n\n" + changeExits,
		Example: `  keygen revoke --dry-run KID
  keygen revoke KID --reason key_compromise
  keygen revoke --all --reason "backup stolen"`,
		ValidArgsFunction: t.CompleteKIDs,
	}
	cmd.Flags().BoolVar(&all, "all", false, "every key")
	cmd.Flags().BoolVar(&fresh, "force-refetch", false, "let a key sign that was never published")
	cmd.Flags().StringVar(&reason, "reason", "unspecified", "why, for people")
	cmd.RunE = t.Do(func(ctx context.Context, args []string) error {
		if err := checkReason(reason); err != nil {
			return err
		}
		switch {
		case all && len(args) > 0:
			return tool.Refuse(tool.ExitUsage, "either key IDs or --all, not both")
		case !all && len(args) == 0:
			return tool.Refuse(tool.ExitUsage, "revoke needs the IDs of keys, or --all; see keygen list")
		}
		return revoke(t, ctx, args, all, rotation.RevokeOptions{Reason: reason, Fresh: fresh})
	})
	return cmd
}

func revoke(t *tool.Tool, ctx context.Context, args []string, all bool, o rotation.RevokeOptions) error {
	set, err := t.Read()
	if err != nil {
		return err
	}
	chosen := set.Keys()
	// usual is the step without --force-refetch: the key that signs after it is
	// the one whose age the report needs, whatever the operator chooses.
	step, usual := rotation.RevokeAll(o.Reason), rotation.RevokeAll(o.Reason)
	if !all {
		var ids []string
		chosen = nil
		for _, arg := range args {
			k, err := tool.Pick(set, arg)
			if err != nil {
				return err
			}
			ids, chosen = append(ids, k.ID()), append(chosen, k)
		}
		step, usual = rotation.Revoke(o, ids...), rotation.Revoke(rotation.RevokeOptions{}, ids...)
	}
	before, after, err := t.Take(ctx, step)
	if err != nil {
		return err
	}
	alg := mostExposed(chosen)
	published := publishedSince(t, before, usual, alg.Use())
	report := exposure.Report(before.Rules(), alg, published, t.Now)
	if err := t.PrintChanges(before, after, map[string]any{"exposure": report}); err != nil || t.Format == "json" {
		return err
	}
	return printExposures(t, report, o.Fresh, !published.IsZero() && !all)
}

// mostExposed is the algorithm of a key that other services verify with, if one
// of the chosen keys is such a key.
func mostExposed(chosen []*keyset.Key) (alg keyset.Algorithm) {
	for _, k := range chosen {
		if shared := k.Use() == keyset.Signature && !k.Algorithm().Symmetric(); shared || alg == "" {
			alg = k.Algorithm()
		}
	}
	return alg
}

// publishedSince returns when the key that signs, or encrypts, after step was
// published; the zero time if the key did not exist before.
func publishedSince(t *tool.Tool, before *keyset.Set, step rotation.Step, use keyset.Use) time.Time {
	after, err := step.Try(before, t.Now)
	if err != nil {
		return time.Time{}
	}
	k, _ := after.Signs(use, t.Now)
	if k == nil || before.Key(k.ID()) == nil {
		return time.Time{}
	}
	d := before.Key(k.ID()).Dates()
	always := time.Unix(0, 0) // for a key without dates
	return slices.MaxFunc([]time.Time{always, d.PublishAt, d.Created}, time.Time.Compare)
}

// printExposures prints the effect of the strategy that was chosen; a dry run
// prints both, to choose from. known says that the next key was published
// before; otherwise both strategies have the same effect.
func printExposures(t *tool.Tool, report []exposure.Verifier, fresh, known bool) error {
	if t.DryRun && (known || fresh) && len(report) > 1 {
		return errors.Join(
			printExposure(t, "If the standby takes over:", report, false),
			printExposure(t, "With --force-refetch:", report, true))
	}
	return printExposure(t, "", report, fresh || !known)
}

func printExposure(t *tool.Tool, title string, report []exposure.Verifier, fresh bool) error {
	fmt.Fprintln(t.Stdout)
	if title != "" {
		fmt.Fprintln(t.Stdout, title)
	}
	w := tool.NewTable(t.Stdout)
	w.Row("VERIFIER", "TRUSTS THE REVOKED KEY FOR", "REFUSES NEW TOKENS FOR", "BECAUSE")
	for _, v := range report {
		e := v.Standby
		if fresh {
			e = v.Fresh
		}
		w.Row(v.Name, e.Trusts, e.Refuses, e.Why)
	}
	return w.Flush()
}

// checkReason refuses what package keyset would refuse, as wrong usage.
func checkReason(reason string) error {
	if keyset.CheckReason(reason) != nil {
		return tool.Refuse(tool.ExitUsage, "--reason must be text of at most %d bytes", keyset.MaxReason)
	}
	return nil
}

// emergency is part of the help of revoke.
const emergency = `In an emergency:

  keygen token explain FILE      with which key a forged token was signed
  keygen revoke --dry-run KID    the effect, and how long it is still trusted
  keygen revoke KID --reason key_compromise
  keygen jwks check URL          whether all instances have taken the key down`
