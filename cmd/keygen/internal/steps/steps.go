// Package steps has the commands of keygen that make or change a key file,
// except import: [Init]; the steps of package rotation, from [Add] to [Prune];
// [Policy]; and [Encrypt] and [Decrypt]. Each takes --dry-run.
package steps

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
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

// takeOrForce takes a step, with --force also one that would be refused. Then
// it says why.
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

// The algorithms, for help texts and errors.
const (
	signAlgs = "ES256, EdDSA, PS256, RS256 or HS256"
	encAlgs  = "dir, A256KW, ECDH-ES+A256KW"
)

// Add returns keygen add.
func Add(t *tool.Tool) *cobra.Command {
	var alg, publishAt string
	cmd := &cobra.Command{
		Use:   "add --alg ALG",
		Short: "Add a new key that signs after all others",
		Long: `Add makes a key and appends it to those of its use: it is published now, or at
--publish-at, and signs when the last of them has signed for a rotation period.
Use it to move to another algorithm, or to begin to encrypt. To let the key sign
earlier: keygen promote.

` + changeExits,
		Example: `  keygen add --alg EdDSA
  keygen add --alg dir --publish-at 2027-01-01`,
		Args: tool.NoArgs,
	}
	cmd.Flags().StringVar(&alg, "alg", "", signAlgs+"; "+encAlgs+" (required)")
	cmd.Flags().StringVar(&publishAt, "publish-at", "", "`time` at which the key is published; default now")
	cmd.RunE = t.Do(func(ctx context.Context, _ []string) error {
		if keyset.Algorithm(alg).Use() == "" {
			return tool.Refuse(tool.ExitUsage, "--alg %q: use %s to sign, or %s to encrypt", alg, signAlgs, encAlgs)
		}
		at, err := tool.ParseTime(publishAt, t.Now)
		if err != nil {
			return tool.Refuse(tool.ExitUsage, "--publish-at: %w", err)
		}
		if at.Before(t.Now) { // it would seem to be known for longer than it is
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
nobody is logged out. Rotate is refused while the standby may not be known
everywhere; the text says when it is safe.

With --if-due it does only what the dates require: it publishes a standby where
there is none, gives a key whose time is over a successor, erases private halves
that no longer sign, and prunes keys that have expired. Run it from cron as often
as you like; once a day will do. The standby takes over without any command, on
the date that is in the file.

If it runs late, the key that signs goes on until its successor is known
everywhere, but no longer than its grace. If it runs after the grace, when
nothing signs any more, the new key signs immediately, and verifiers that keep an
older key set refuse its tokens for some time.

` + newIDs + "\n\n" + changeExits,
		Example: `  keygen rotate --if-due
  keygen rotate --use enc
  keygen rotate --dry-run --at +30d`,
		Args: tool.NoArgs,
	}
	cmd.Flags().BoolVar(&ifDue, "if-due", false, "do only what is due")
	cmd.Flags().StringVar(&use, "use", "", "only the keys of this use: sig or enc")
	forceFlag(cmd, &force)
	cmd.RunE = t.Do(func(ctx context.Context, _ []string) error {
		step := rotation.Rotate(keyset.Use(use))
		switch {
		case use != "" && use != string(keyset.Signature) && use != string(keyset.Encryption):
			return tool.Refuse(tool.ExitUsage, "--use %q: use sig or enc", use)
		case ifDue && (use != "" || force):
			return tool.Refuse(tool.ExitUsage, "--if-due can't be used with --use or --force")
		case ifDue:
			return takeDue(t, ctx)
		}
		return takeOrForce(t, ctx, step, force)
	})
	return cmd
}

// takeDue does what is due. What it can't mend, such as a key that has to be
// made in a KMS, must not look like success to cron.
func takeDue(t *tool.Tool, ctx context.Context) error {
	before, after, err := t.Take(ctx, rotation.IfDue())
	if err == nil {
		err = t.PrintChanges(before, after, nil)
	}
	if err != nil {
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
	return stepOnKey(t, "promote KID", "Let a pending key sign now", `
Promote lets a pending key sign now, before the others that wait. The key that
signed so far goes on verifying. Promote is refused while the key may not be
known everywhere; the text says when it is safe.`, rotation.Promote)
}

// Retire returns keygen retire.
func Retire(t *tool.Tool) *cobra.Command {
	return stepOnKey(t, "retire KID", "Stop signing with a key", `
Retire stops signing with a key. Its standby signs instead, and what the key has
signed stays good until it expires. A key that has not signed yet is withdrawn.
If tokens of the key must no longer be trusted: keygen revoke.`, rotation.Retire)
}

// stepOnKey is a command that takes a step on one key.
func stepOnKey(t *tool.Tool, usage, short, long string, step func(id string) rotation.Step) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   usage,
		Short: short,
		Long:  strings.TrimSpace(long) + "\n\n" + keyIDs + "\n\n" + changeExits,
		Args:  tool.One("the ID of a key; see keygen list"),

		ValidArgsFunction: t.CompleteKID,
	}
	forceFlag(cmd, &force)
	cmd.RunE = t.Do(func(ctx context.Context, args []string) error {
		set, err := t.Read()
		if err != nil {
			return err
		}
		k, err := tool.Pick(set, args[0])
		if err != nil {
			return err
		}
		return takeOrForce(t, ctx, step(k.ID()), force)
	})
	return cmd
}

// Prune returns keygen prune.
func Prune(t *tool.Tool) *cobra.Command {
	return &cobra.Command{
		Use:   "prune",
		Short: "Remove keys that have expired or were revoked",
		Long: `Prune removes the keys that have expired or were revoked, and the private halves
of signature keys that no longer sign. A note of each key stays, so that its ID is
not used again and its tokens can be explained.

` + changeExits,
		Args: tool.NoArgs,
		RunE: t.Do(func(ctx context.Context, _ []string) error {
			return take(t, ctx, rotation.Prune(), nil)
		}),
	}
}

// changeExits is part of the help of commands that change keys.
const changeExits = `Exit codes: 0 done, 3 refused, for example because it is not safe yet (the text
says when it is), 5 another process has locked the key file: try again, 8 no such
key, or no key file.`

// newIDs is part of the help of commands of which a dry run makes keys.
const newIDs = `A dry run makes keys too, and forgets them: the IDs of new keys are not those of
the real run.`

// keyIDs is part of the help of commands that change a named key.
const keyIDs = `The first 6 characters of a key ID are enough. Write "-- KID" after all flags if
the ID begins with a dash.`
