package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
)

// try takes a step, or, with --dry-run, only finds out what it would do.
func (t *tool) try(ctx context.Context, step rotation.Step) (before, after *keyset.Set, err error) {
	if err := t.mayWrite(); err != nil {
		return nil, nil, err
	}
	file, err := t.file()
	if err != nil {
		return nil, nil, err
	}
	if t.dryRun {
		if before, err = file.Read(); err != nil {
			return nil, nil, err
		}
		after, err = step.Try(before, t.now)
		return before, after, err
	}
	ctx, cancel := t.lockContext(ctx)
	defer cancel()
	return step.Apply(ctx, file, t.now)
}

// take takes a step and prints what it has changed, or would change.
func (t *tool) take(ctx context.Context, step rotation.Step, extra map[string]any) error {
	before, after, err := t.try(ctx, step)
	if err != nil {
		return err
	}
	return t.printChanges(before, after, extra)
}

// force is take, with --force if that was given: then it says what the step would be refused for without.
func (t *tool) force(ctx context.Context, step rotation.Step, force bool) error {
	if !force {
		return t.take(ctx, step, nil)
	}
	set, err := t.read()
	if err != nil {
		return err
	}
	_, refused := step.Try(set, t.now)
	if err := t.take(ctx, step.Force(), nil); err != nil || refused == nil {
		return err
	}
	t.note("WARNING: without --force this would have been %v", strings.TrimPrefix(refused.Error(), "rotation: "))
	return nil
}

func (t *tool) printChanges(before, after *keyset.Set, extra map[string]any) error {
	changes := rotation.Diff(before, after)
	t.noteChanges(changes, after)
	if t.format == "json" {
		if changes == nil {
			changes = []rotation.Change{}
		}
		out := map[string]any{"keyset": t.path(), "generation": after.Generation(), "dry_run": t.dryRun, "changes": changes}
		for name, v := range extra {
			out[name] = v
		}
		return t.printJSON(out)
	}
	return t.printTable(changes)
}

func (t *tool) noteChanges(changes []rotation.Change, after *keyset.Set) {
	switch {
	case len(changes) == 0:
		t.note("nothing is to be done")
	case t.dryRun:
		t.note("this would be done; nothing was changed")
	default:
		t.note("wrote %s, generation %d; instances go by it after %s", t.path(), after.Generation(), reach(after))
	}
}

func (t *tool) printTable(changes []rotation.Change) error {
	if len(changes) == 0 {
		return nil
	}
	w := newTable(t.stdout)
	w.row("KID", "USE", "ALG", "CHANGE", "WAS", "IS")
	for _, c := range condense(changes) {
		w.row(dash(c.ID), dash(string(c.Use)), dash(string(c.Algorithm)), c.What, dash(c.Was), dash(c.Is))
	}
	return w.Flush()
}

// condense puts the dates of each key that was made into one line.
func condense(changes []rotation.Change) (lines []rotation.Change) {
	for i := 0; i < len(changes); i++ {
		c := changes[i]
		if c.What != "made" {
			lines = append(lines, c)
			continue
		}
		words := map[string]string{"publish_at": "published from ", "sign_from": "signs from ", "sign_until": "until ", "verify_until": "verifies until "}
		var said []string
		for ; i+1 < len(changes) && changes[i+1].ID == c.ID; i++ {
			said = append(said, words[changes[i+1].What]+changes[i+1].Is)
		}
		c.Is = strings.Join(said, ", ")
		lines = append(lines, c)
	}
	return lines
}

func (t *tool) addCommand() *cobra.Command {
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
		Args: noArgs,
	}
	cmd.Flags().StringVar(&alg, "alg", "", "ES256, EdDSA, PS256, RS256, HS256; dir, A256KW, ECDH-ES+A256KW (required)")
	cmd.Flags().StringVar(&publishAt, "publish-at", "", "`time` at which it becomes known; default now")
	cmd.RunE = t.do(tables(), func(ctx context.Context, _ []string) error {
		if keyset.Algorithm(alg).Use() == "" {
			return refuse(exitUsage, "--alg %q: use ES256, EdDSA, PS256, RS256 or HS256 to sign, dir, A256KW or ECDH-ES+A256KW to encrypt", alg)
		}
		at, err := parseTime(publishAt, t.now)
		if err != nil {
			return refuse(exitUsage, "--publish-at: %w", err)
		}
		if at.Before(t.now) {
			return refuse(exitUsage, "--publish-at %s has passed; leave it out to publish now", date(at))
		}
		return t.take(ctx, rotation.Add(keyset.Algorithm(alg), rotation.AddOptions{PublishAt: at}), nil)
	})
	return cmd
}

func (t *tool) rotateCommand() *cobra.Command {
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
		Args: noArgs,
	}
	cmd.Flags().BoolVar(&ifDue, "if-due", false, "do only what is due")
	cmd.Flags().StringVar(&use, "use", "", "only the keys of this use: sig or enc")
	forceFlag(cmd, &force)
	cmd.RunE = t.do(tables(), func(ctx context.Context, _ []string) error {
		step := rotation.Rotate(keyset.Use(use))
		switch {
		case use != "" && use != string(keyset.Signature) && use != string(keyset.Encryption):
			return refuse(exitUsage, "--use %q: use sig or enc", use)
		case ifDue && (use != "" || force):
			return refuse(exitUsage, "--if-due goes without --use and --force")
		case ifDue:
			return t.ifDue(ctx)
		}
		return t.force(ctx, step, force)
	})
	return cmd
}

// ifDue does what is due. What it can't mend, such as a key that has to be made in a KMS, must not look like success to cron.
func (t *tool) ifDue(ctx context.Context) error {
	before, after, err := t.try(ctx, rotation.IfDue())
	if err != nil {
		return err
	}
	if err := t.printChanges(before, after, nil); err != nil {
		return err
	}
	var wrong []string
	for _, f := range rotation.Inspect(after, t.now) {
		if f.Severity == rotation.Error {
			wrong = append(wrong, cell(f.Text))
		}
	}
	if len(wrong) > 0 {
		return refuse(exitRefused, "what was due is done, and this is not: %s", strings.Join(wrong, "; "))
	}
	return nil
}

func forceFlag(cmd *cobra.Command, force *bool) {
	cmd.Flags().BoolVar(force, "force", false, "go on although valid tokens may be rejected for some time")
}

func (t *tool) promoteCommand() *cobra.Command {
	return t.stepOnKey("promote KID", "Let a pending key sign now", `Promote lets a key sign now that was to sign later; the others wait after it. The
key that signed so far goes on verifying. It is refused as long as the key may
not be known everywhere; the text says when it is safe.`, rotation.Promote)
}

func (t *tool) retireCommand() *cobra.Command {
	return t.stepOnKey("retire KID", "Let a key sign no more", `Retire lets a key sign no more from now on. Its standby signs instead, and what
the key has signed stays good until it expires. A key that has not signed yet is
withdrawn. If tokens of the key must not be trusted any more: keygen revoke.`, rotation.Retire)
}

// stepOnKey is a command that takes a step on one key.
func (t *tool) stepOnKey(usage, short, long string, step func(id string) rotation.Step) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   usage,
		Short: short,
		Long:  long + "\n\nThe first 6 characters of a key ID are enough. Write \"-- KID\" if the ID\nbegins with a dash.\n\n" + changeExits,
		Args:  oneKID,

		ValidArgsFunction: t.completeKID,
	}
	forceFlag(cmd, &force)
	cmd.RunE = t.do(tables(), func(ctx context.Context, args []string) error {
		id, err := t.kid(args[0])
		if err != nil {
			return err
		}
		return t.force(ctx, step(id), force)
	})
	return cmd
}

// kid is the ID of the key that an argument means.
func (t *tool) kid(arg string) (string, error) {
	set, err := t.read()
	if err != nil {
		return "", err
	}
	k, err := pick(set, arg)
	if err != nil {
		return "", err
	}
	return k.ID(), nil
}

func (t *tool) pruneCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "prune",
		Short: "Remove keys that have expired or were revoked",
		Long: `Prune removes the keys that have expired or were revoked, and the private halves
of signature keys that sign no more. A note of each key stays, so that its ID is
not used again and its tokens can be explained.

` + changeExits,
		Args: noArgs,
		RunE: t.do(tables(), func(ctx context.Context, _ []string) error { return t.take(ctx, rotation.Prune(), nil) }),
	}
}

func (t *tool) revokeCommand() *cobra.Command {
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
		ValidArgsFunction: t.completeKIDs,
	}
	cmd.Flags().BoolVar(&all, "all", false, "every key")
	cmd.Flags().BoolVar(&fresh, "force-refetch", false, "let a key sign that was never published")
	cmd.Flags().StringVar(&reason, "reason", "unspecified", "why, for people")
	cmd.RunE = t.do(tables(), func(ctx context.Context, args []string) error {
		if err := checkReason(reason); err != nil {
			return err
		}
		switch {
		case all && len(args) > 0:
			return refuse(exitUsage, "either key IDs or --all, not both")
		case !all && len(args) == 0:
			return refuse(exitUsage, "revoke needs the IDs of keys, or --all; see keygen list")
		}
		return t.revoke(ctx, args, all, rotation.RevokeOptions{Reason: reason, Fresh: fresh})
	})
	return cmd
}

func (t *tool) revoke(ctx context.Context, args []string, all bool, o rotation.RevokeOptions) error {
	set, err := t.read()
	if err != nil {
		return err
	}
	chosen := set.Keys()
	step, other := rotation.RevokeAll(o.Reason), rotation.RevokeAll(o.Reason)
	if !all {
		var ids []string
		chosen = nil
		for _, arg := range args {
			k, err := pick(set, arg)
			if err != nil {
				return err
			}
			ids, chosen = append(ids, k.ID()), append(chosen, k)
		}
		step, other = rotation.Revoke(o, ids...), rotation.Revoke(rotation.RevokeOptions{}, ids...)
	}
	before, after, err := t.try(ctx, step)
	if err != nil {
		return err
	}
	alg := mostExposed(chosen)
	published := t.publishedSince(before, other, alg.Use())
	report := rotation.Exposures(before.Rules(), alg, published, t.now)
	if err := t.printChanges(before, after, map[string]any{"exposure": report}); err != nil || t.format == "json" {
		return err
	}
	return t.printExposures(report, o.Fresh, !published.IsZero() && !all)
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
func (t *tool) publishedSince(before *keyset.Set, step rotation.Step, use keyset.Use) time.Time {
	after, err := step.Try(before, t.now)
	if err != nil {
		return time.Time{}
	}
	k, _ := after.Signs(use, t.now)
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
func (t *tool) printExposures(report []rotation.Exposure, fresh, known bool) error {
	standby := func(e rotation.Exposure) rotation.Exposed { return e.Standby }
	forced := func(e rotation.Exposure) rotation.Exposed { return e.Fresh }
	switch {
	case t.dryRun && (known || fresh) && len(report) > 1:
		if err := t.printExposure("If the standby takes over:", report, standby); err != nil {
			return err
		}
		return t.printExposure("With --force-refetch:", report, forced)
	case fresh, !known:
		return t.printExposure("", report, forced)
	}
	return t.printExposure("", report, standby)
}

func (t *tool) printExposure(title string, report []rotation.Exposure, of func(rotation.Exposure) rotation.Exposed) error {
	fmt.Fprintln(t.stdout)
	if title != "" {
		fmt.Fprintln(t.stdout, title)
	}
	w := newTable(t.stdout)
	w.row("VERIFIER", "TRUSTS THE REVOKED KEY FOR", "REFUSES NEW TOKENS FOR", "BECAUSE")
	for _, e := range report {
		x := of(e)
		w.row(e.Verifier, x.Trusts, x.Refuses, x.Why)
	}
	return w.Flush()
}

// due is the error that stands for exit code 10.
func due(format string, args ...any) error {
	return &exit{exitDue, fmt.Errorf(format, args...)}
}
