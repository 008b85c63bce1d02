// Package steps has the commands of keygen that make or change a key file, except
// import: [Init]; the steps of package rotation, from [Add] to [Prune]; [Policy];
// and [Encrypt] and [Decrypt]. Each takes --dry-run.
package steps

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
	"github.com/cloakroom-go/cloakroom/internal/exposure"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
)

// take takes a step and prints what it has changed, or would change.
func take(t *tool.Tool, ctx context.Context, step rotation.Step, extra map[string]any) error {
	before, after, err := t.Take(ctx, step)
	if err != nil {
		return err
	}
	return t.PrintChanges(before, after, extra)
}

// force is take, with --force if that was given: then it says what the step would be refused for without.
func takeOrForce(t *tool.Tool, ctx context.Context, step rotation.Step, force bool) error {
	if !force {
		return take(t, ctx, step, nil)
	}
	set, err := t.Read()
	if err != nil {
		return err
	}
	_, refused := step.Try(set, t.Now)
	if err := take(t, ctx, step.Force(), nil); err != nil || refused == nil {
		return err
	}
	t.Note("WARNING: without --force this would have been %v", strings.TrimPrefix(refused.Error(), "rotation: "))
	return nil
}

// Add returns keygen add.
func Add(t *tool.Tool) *cobra.Command {
	var alg, publishAt string
	cmd := &cobra.Command{
		Use:   "add --alg ALG",
		Short: "Add a new key that signs after all others",
		Long: `Add makes a key and appends it to those of its use: it is published now, or at
--publish-at, and signs when the last of them has signed for a rotation period.
So an application moves to another algorithm, or begins to encrypt. To let the
key sign earlier: keygen promote.

` + changeExits,
		Example: `  keygen add --alg EdDSA
  keygen add --alg dir --publish-at 2027-01-01`,
		Args: tool.NoArgs,
	}
	cmd.Flags().StringVar(&alg, "alg", "", "ES256, EdDSA, PS256, RS256, HS256; dir, A256KW, ECDH-ES+A256KW (required)")
	cmd.Flags().StringVar(&publishAt, "publish-at", "", "`time` at which it becomes known; default now")
	cmd.RunE = t.Do(tool.Tables(), func(ctx context.Context, _ []string) error {
		if keyset.Algorithm(alg).Use() == "" {
			return tool.Refuse(tool.ExitUsage, "--alg %q: use ES256, EdDSA, PS256, RS256 or HS256 to sign, dir, A256KW or ECDH-ES+A256KW to encrypt", alg)
		}
		at, err := tool.ParseTime(publishAt, t.Now)
		if err != nil {
			return tool.Refuse(tool.ExitUsage, "--publish-at: %w", err)
		}
		if at.Before(t.Now) {
			return tool.Refuse(tool.ExitUsage, "--publish-at %s has passed; leave it out to publish now", tool.Date(at))
		}
		return take(t, ctx, rotation.Add(keyset.Algorithm(alg), rotation.AddOptions{PublishAt: at}), nil)
	})
	return cmd
}

// Rotate returns keygen rotate.
func Rotate(t *tool.Tool) *cobra.Command {
	var ifDue, force bool
	var use string
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Let the standby sign now, or do what is due",
		Long: `Rotate lets the standby sign now, ahead of the plan, and publishes the next one.
The key that signed so far goes on verifying until its tokens have expired, so
nobody is logged out. It is refused as long as the standby may not be known
everywhere; the text says when it is safe.

With --if-due it does what the plan says and time has made necessary, and
nothing else: it publishes a standby where there is none, gives a key whose time
is over a successor, erases private halves that sign no more, and prunes keys
that have expired. Run it from cron as often as you like; once a day will do.
The change of keys itself needs no command: it is in the dates of the file.

If it comes late, the key that signs goes on until its successor is known
everywhere, and for its grace at most. If it comes after the grace, when nothing
signs any more, the new key signs at once, and verifiers that keep an older key
set refuse its tokens for some time.

` + newIDs + "\n\n" + changeExits,
		Example: `  keygen rotate --if-due
  keygen rotate --use enc
  keygen rotate --dry-run --at +30d`,
		Args: tool.NoArgs,
	}
	cmd.Flags().BoolVar(&ifDue, "if-due", false, "do only what is due")
	cmd.Flags().StringVar(&use, "use", "", "only the keys of this use: sig or enc")
	forceFlag(cmd, &force)
	cmd.RunE = t.Do(tool.Tables(), func(ctx context.Context, _ []string) error {
		step := rotation.Rotate(keyset.Use(use))
		switch {
		case use != "" && use != string(keyset.Signature) && use != string(keyset.Encryption):
			return tool.Refuse(tool.ExitUsage, "--use %q: use sig or enc", use)
		case ifDue && (use != "" || force):
			return tool.Refuse(tool.ExitUsage, "--if-due goes without --use and --force")
		case ifDue:
			return takeDue(t, ctx)
		}
		return takeOrForce(t, ctx, step, force)
	})
	return cmd
}

// ifDue does what is due. What it can't mend, such as a key that has to be made in a KMS, must not look like success to cron.
func takeDue(t *tool.Tool, ctx context.Context) error {
	before, after, err := t.Take(ctx, rotation.IfDue())
	if err != nil {
		return err
	}
	if err := t.PrintChanges(before, after, nil); err != nil {
		return err
	}
	var wrong []string
	for _, f := range rotation.Inspect(after, t.Now) {
		if f.Severity == rotation.Error {
			wrong = append(wrong, tool.Cell(f.Text))
		}
	}
	if len(wrong) > 0 {
		return tool.Refuse(tool.ExitRefused, "what was due is done, and this is not: %s", strings.Join(wrong, "; "))
	}
	return nil
}

func forceFlag(cmd *cobra.Command, force *bool) {
	cmd.Flags().BoolVar(force, "force", false, "go on although valid tokens may be rejected for some time")
}

// Promote returns keygen promote.
func Promote(t *tool.Tool) *cobra.Command {
	return stepOnKey(t, "promote KID", "Let a pending key sign now", `Promote lets a key sign now that was to sign later; the others wait after it. The
key that signed so far goes on verifying. It is refused as long as the key may
not be known everywhere; the text says when it is safe.`, rotation.Promote)
}

// Retire returns keygen retire.
func Retire(t *tool.Tool) *cobra.Command {
	return stepOnKey(t, "retire KID", "Let a key sign no more", `Retire lets a key sign no more from now on. Its standby signs instead, and what
the key has signed stays good until it expires. A key that has not signed yet is
withdrawn. If tokens of the key must not be trusted any more: keygen revoke.`, rotation.Retire)
}

// stepOnKey is a command that takes a step on one key.
func stepOnKey(t *tool.Tool, usage, short, long string, step func(id string) rotation.Step) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   usage,
		Short: short,
		Long:  long + "\n\nThe first 6 characters of a key ID are enough. Write \"-- KID\" if the ID\nbegins with a dash.\n\n" + changeExits,
		Args:  tool.OneKID,

		ValidArgsFunction: t.CompleteKID,
	}
	forceFlag(cmd, &force)
	cmd.RunE = t.Do(tool.Tables(), func(ctx context.Context, args []string) error {
		id, err := t.KeyID(args[0])
		if err != nil {
			return err
		}
		return takeOrForce(t, ctx, step(id), force)
	})
	return cmd
}

// Prune returns keygen prune.
func Prune(t *tool.Tool) *cobra.Command {
	return &cobra.Command{
		Use:   "prune",
		Short: "Remove keys that have expired or were revoked",
		Long: `Prune removes the keys that have expired or were revoked, and the private halves
of signature keys that sign no more. A note of each key stays, so that its ID is
not used again and its tokens can be explained.

` + changeExits,
		Args: tool.NoArgs,
		RunE: t.Do(tool.Tables(), func(ctx context.Context, _ []string) error { return take(t, ctx, rotation.Prune(), nil) }),
	}
}

// Revoke returns keygen revoke.
func Revoke(t *tool.Tool) *cobra.Command {
	var all, fresh bool
	var reason string
	cmd := &cobra.Command{
		Use:   "revoke KID... | --all",
		Short: "Trust a key no more, in an emergency",
		Long: `Revoke says that a key is not to be trusted any more, for the tokens that it has
signed either: whoever holds one is logged out. There is no way back. If the key
signs, its standby signs at once, and a new standby is published.

Verifiers of other services that know the standby already may not ask for the
key set again soon, and go on trusting the revoked key. With --force-refetch a
key signs that was never published, so that the first new token makes them ask;
those that ask only every so often then refuse new tokens until they do. The
exposure report, which --dry-run prints too, says for each kind of verifier how
long.

If the key file itself has leaked, the standby is burnt too: revoke --all, which
always works with new keys. Then everybody is logged out.

No .bak of the file stays: it would bring the key back. The first 6 characters
of a key ID are enough; write "revoke --reason R -- KID" if it begins with a
dash.

` + emergency + "\n\n" + newIDs + "\n\n" + changeExits,
		Example: `  keygen revoke --dry-run KID
  keygen revoke KID --reason key_compromise
  keygen revoke --all --reason "backup stolen"`,
		ValidArgsFunction: t.CompleteKIDs,
	}
	cmd.Flags().BoolVar(&all, "all", false, "every key")
	cmd.Flags().BoolVar(&fresh, "force-refetch", false, "let a key sign that was never published")
	cmd.Flags().StringVar(&reason, "reason", "unspecified", "why, for people")
	cmd.RunE = t.Do(tool.Tables(), func(ctx context.Context, args []string) error {
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
	step, other := rotation.RevokeAll(o.Reason), rotation.RevokeAll(o.Reason)
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
		step, other = rotation.Revoke(o, ids...), rotation.Revoke(rotation.RevokeOptions{}, ids...)
	}
	before, after, err := t.Take(ctx, step)
	if err != nil {
		return err
	}
	alg := mostExposed(chosen)
	published := publishedSince(t, before, other, alg.Use())
	report := exposure.Report(before.Rules(), alg, published, t.Now)
	if err := t.PrintChanges(before, after, map[string]any{"exposure": report}); err != nil || t.Format == "json" {
		return err
	}
	return printExposures(t, report, o.Fresh, !published.IsZero() && !all)
}

// mostExposed is the algorithm of a key that others verify with, if there is one among those that were chosen.
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
	k = before.Key(k.ID())
	since := time.Unix(0, 0) // without dates it was always there
	for _, at := range [...]time.Time{k.Dates().PublishAt, k.Dates().Created} {
		if at.After(since) {
			since = at
		}
	}
	return since
}

// printExposures prints what was chosen, or, before that, both ways to choose from. Without a key that is known already, all ways
// are that of a fresh one; where the step has left the one that signs alone, it is the known one.
func printExposures(t *tool.Tool, report []exposure.Verifier, fresh, known bool) error {
	standby := func(e exposure.Verifier) exposure.Effect { return e.Standby }
	forced := func(e exposure.Verifier) exposure.Effect { return e.Fresh }
	switch {
	case t.DryRun && (known || fresh) && len(report) > 1:
		if err := printExposure(t, "If the standby takes over:", report, standby); err != nil {
			return err
		}
		return printExposure(t, "With --force-refetch:", report, forced)
	case fresh, !known:
		return printExposure(t, "", report, forced)
	}
	return printExposure(t, "", report, standby)
}

func printExposure(t *tool.Tool, title string, report []exposure.Verifier, of func(exposure.Verifier) exposure.Effect) error {
	fmt.Fprintln(t.Stdout)
	if title != "" {
		fmt.Fprintln(t.Stdout, title)
	}
	w := tool.NewTable(t.Stdout)
	w.Row("VERIFIER", "TRUSTS THE REVOKED KEY FOR", "REFUSES NEW TOKENS FOR", "BECAUSE")
	for _, e := range report {
		x := of(e)
		w.Row(e.Name, x.Trusts, x.Refuses, x.Why)
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
