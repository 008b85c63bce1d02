package tool

import (
	"context"
	"maps"
	"strings"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
)

// Take takes a step on the key file. With --dry-run, it only finds out what the
// step would do.
func (t *Tool) Take(ctx context.Context, step rotation.Step) (before, after *keyset.Set, err error) {
	if err := t.MayWrite(); err != nil {
		return nil, nil, err
	}
	file, err := t.File()
	if err != nil {
		return nil, nil, err
	}
	if t.DryRun {
		if before, err = file.Read(); err != nil {
			return nil, nil, err
		}
		after, err = step.Try(before, t.Now)
		return before, after, err
	}
	ctx, cancel := t.LockContext(ctx)
	defer cancel()
	return step.Apply(ctx, file, t.Now)
}

// PrintChanges prints what a step has changed, or would change. JSON has the
// members of extra too.
func (t *Tool) PrintChanges(before, after *keyset.Set, extra map[string]any) error {
	changes := append([]rotation.Change{}, rotation.Diff(before, after)...) // [] in JSON, not null
	t.NoteChanges(changes, after)
	if t.Format == "json" {
		out := map[string]any{"dry_run": t.DryRun, "changes": changes}
		maps.Copy(out, extra)
		return t.PrintSet(after, out)
	}
	return t.PrintTable(changes)
}

// NoteChanges says on standard error whether something was written.
func (t *Tool) NoteChanges(changes []rotation.Change, after *keyset.Set) {
	switch {
	case len(changes) == 0:
		t.Note("nothing is to be done")
	case t.DryRun:
		t.Note("this would be done; nothing was changed")
	default:
		t.Note("wrote %s, generation %d; instances go by it after %s", t.Path(), after.Generation(), reach(after))
	}
}

// PrintTable prints changes as a table.
func (t *Tool) PrintTable(changes []rotation.Change) error {
	if len(changes) == 0 {
		return nil
	}
	w := NewTable(t.Stdout)
	w.Row("KID", "USE", "ALG", "CHANGE", "WAS", "IS")
	for _, c := range condense(changes) {
		w.Row(Dash(c.ID), Dash(string(c.Use)), Dash(string(c.Algorithm)), c.What, Dash(c.Was), Dash(c.Is))
	}
	return w.Flush()
}

// condense puts the dates of each new key into one line.
func condense(changes []rotation.Change) (lines []rotation.Change) {
	for i := 0; i < len(changes); i++ {
		c := changes[i]
		if c.What != "made" {
			lines = append(lines, c)
			continue
		}
		words := map[string]string{
			"publish_at": "published from ", "sign_from": "signs from ",
			"sign_until": "until ", "verify_until": "verifies until ",
		}
		var said []string
		for ; i+1 < len(changes) && changes[i+1].ID == c.ID; i++ {
			said = append(said, words[changes[i+1].What]+changes[i+1].Is)
		}
		c.Is = strings.Join(said, ", ")
		lines = append(lines, c)
	}
	return lines
}
