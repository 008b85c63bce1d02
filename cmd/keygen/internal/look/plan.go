package look

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
	"github.com/cloakroom-go/cloakroom/internal/span"
	"github.com/cloakroom-go/cloakroom/internal/timeline"
)

// Plan returns keygen plan.
func Plan(t *tool.Tool) *cobra.Command {
	var from, until string
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Show what will happen to the keys",
		Long: `Plan draws the lives of the keys, with those that will be made if keygen rotate
--if-due runs every day: a row for each key, a colour for each state, and a line
for today. Below are all changes of state, with their reasons.

With --format svg or html it draws a picture, with the reasons on hover.`,
		Example: `  keygen plan --until 90d
  keygen plan --format svg > plan.svg
  keygen plan --at 2027-01-01 --format json`,
		Args: tool.NoArgs,
	}
	cmd.Flags().StringVar(&from, "from", "", "`time` at which it begins; default: before now, by a quarter of --until")
	cmd.Flags().StringVar(&until, "until", "90d", "`time` at which it ends, such as 90d from now, or 2027-06-01")
	cmd.RunE = t.Do(func(context.Context, []string) error {
		set, err := t.Read()
		if err != nil {
			return err
		}
		begin, end, err := window(t, from, until)
		if err != nil {
			return err
		}
		plan, err := rotation.Plan(set, t.Now, begin, end)
		if err != nil {
			return err
		}
		return draw(t, set, plan)
	})
	return cmd
}

// window is the time that a plan is about.
func window(t *tool.Tool, from, until string) (begin, end time.Time, err error) {
	if d, err := span.Parse(until); err == nil {
		end = t.Now.Add(d)
	} else if end, err = tool.ParseTime(until, t.Now); err != nil {
		return begin, end, tool.Refuse(tool.ExitUsage, "--until: %w", err)
	}
	begin = t.Now.Add(-end.Sub(t.Now) / 4)
	if from != "" {
		if begin, err = tool.ParseTime(from, t.Now); err != nil {
			return begin, end, tool.Refuse(tool.ExitUsage, "--from: %w", err)
		}
	}
	if !end.After(begin) {
		return begin, end, tool.Refuse(tool.ExitUsage, "--until is not after --from")
	}
	return begin.Truncate(time.Second), end, nil
}

func draw(t *tool.Tool, set *keyset.Set, plan *rotation.Timeline) error {
	switch t.Format {
	case "svg":
		return timeline.SVG(t.Stdout, plan)
	case "html":
		return timeline.HTML(t.Stdout, plan)
	case "json":
		return t.PrintSet(set, planJSON(plan))
	}
	return timeline.Text(t.Stdout, plan, timeline.TextOptions{Width: width(t), Color: t.Colored()})
}

// width returns the width of the terminal, 100 for a file. Under 40 columns
// there is no room beside the names of the keys; over 200 a picture is hard to
// follow.
func width(t *tool.Tool) int {
	if f, ok := t.Stdout.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			return min(max(w, 40), 200)
		}
	}
	return 100
}

type planEvent struct {
	At        string           `json:"at"`
	ID        string           `json:"kid"`
	Use       keyset.Use       `json:"use"`
	Algorithm keyset.Algorithm `json:"alg"`
	From      string           `json:"from,omitempty"`
	To        string           `json:"to"`
	Planned   bool             `json:"planned"` // the key does not exist yet
	Reason    string           `json:"reason"`
}

func planJSON(plan *rotation.Timeline) map[string]any {
	events := []planEvent{}
	algs := make(map[string]keyset.Algorithm)
	for _, r := range plan.Rows {
		algs[r.ID] = r.Algorithm
	}
	for _, e := range plan.Events() {
		event := planEvent{tool.Date(e.At), e.ID, e.Use, algs[e.ID], "", e.To.String(), e.Planned, e.Reason}
		if e.From != 0 { // 0: the key is made then
			event.From = e.From.String()
		}
		events = append(events, event)
	}
	return map[string]any{
		"now": tool.Date(plan.Now), "from": tool.Date(plan.From), "until": tool.Date(plan.Until), "events": events,
	}
}

// Check returns keygen check.
func Check(t *tool.Tool) *cobra.Command {
	var dueToo, strict bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check the keys in the key file",
		Long: `Check reports what is wrong with the key file, or soon will be: no key that signs,
no standby, dates that leave a gap or overlap, keys without an end, a policy that
contradicts itself. It exits with 3 if something is wrong.

With --due it exits with 10 if nothing is wrong, and keygen rotate --if-due has
something to do. With --strict a warning is an error.`,
		Example: `  keygen check --strict
  keygen check --due || keygen rotate --if-due
  keygen check --at +45d`,
		Args: tool.NoArgs,
	}
	cmd.Flags().BoolVar(&dueToo, "due", false, "exit with 10 if something is due")
	cmd.Flags().BoolVar(&strict, "strict", false, "warnings are errors")
	cmd.RunE = t.Do(func(context.Context, []string) error {
		set, err := t.Read()
		if err != nil {
			return err
		}
		return check(t, set, dueToo, strict)
	})
	return cmd
}

func check(t *tool.Tool, set *keyset.Set, dueToo, strict bool) error {
	findings := rotation.Inspect(set, t.Now)
	next := rotation.NextDue(set, t.Now)
	if err := printFindings(t, findings, next); err != nil {
		return err
	}
	count := make(map[rotation.Severity]int)
	for _, f := range findings {
		count[f.Severity]++
	}
	wrong := count[rotation.Error]
	if strict {
		wrong += count[rotation.Warning]
	}
	switch { // wrong first: keygen check --due || keygen rotate needs 10 for due only
	case wrong > 0:
		return tool.Refuse(tool.ExitRefused, "%d of %d findings need action", wrong, len(findings))
	case dueToo && count[rotation.Due] > 0:
		return tool.Refuse(tool.ExitDue, "something is due; run: keygen rotate --if-due")
	}
	return nil
}

func printFindings(t *tool.Tool, findings []rotation.Finding, next time.Time) error {
	if t.Format == "json" {
		all := append([]rotation.Finding{}, findings...) // [] in JSON, not null
		return t.PrintJSON(map[string]any{"keyset": t.Path(), "findings": all, "next_due": tool.Date(next)})
	}
	if len(findings) == 0 {
		_, err := fmt.Fprintf(t.Stdout, "all is well; something is due at %s\n", tool.Dash(tool.Date(next)))
		return err
	}
	w := tool.NewTable(t.Stdout)
	for _, f := range findings {
		w.Row(f.Severity, f.Text)
	}
	return w.Flush()
}

// Diff returns keygen diff.
func Diff(t *tool.Tool) *cobra.Command {
	return &cobra.Command{
		Use:   "diff FILE [FILE]",
		Short: "List the differences between two key files",
		Long: `Diff lists what has changed from the first key file to the second: keys made,
revoked or pruned, dates, the policy. Without the second it takes --keyset. It
exits with 10 if the files differ. The same secret must open both.`,
		Example: `  keygen diff keys.json.bak
  keygen diff staging.json production.json --json`,
		Args: oneOrTwo,
		RunE: t.Do(func(_ context.Context, args []string) error {
			if slices.Contains(args, "-") {
				return tool.Refuse(tool.ExitUsage, tool.NotStandardInput)
			}
			file, err := t.File()
			if err != nil {
				return err
			}
			paths := append(args, file.Path)[:2] // the second defaults to --keyset
			var sets [2]*keyset.Set
			for i, path := range paths {
				t.WarnDirectories(path)
				file.Path = path
				if sets[i], err = file.Read(); err != nil {
					return err
				}
			}
			return diff(t, paths, rotation.Diff(sets[0], sets[1]))
		}),
	}
}

func diff(t *tool.Tool, paths []string, changes []rotation.Change) (err error) {
	if t.Format == "json" {
		all := append([]rotation.Change{}, changes...) // [] in JSON, not null
		err = t.PrintJSON(map[string]any{"was": paths[0], "is": paths[1], "changes": all})
	} else {
		err = t.PrintTable(changes)
	}
	if err != nil {
		return err
	}
	if len(changes) > 0 {
		return tool.Refuse(tool.ExitDue, "%s and %s differ in %d points", paths[0], paths[1], len(changes))
	}
	return nil
}

// oneOrTwo is for diff.
func oneOrTwo(cmd *cobra.Command, args []string) error {
	if len(args) == 0 || len(args) > 2 {
		return fmt.Errorf("%s needs one key file or two, and there are %d", tool.Called(cmd), len(args))
	}
	return nil
}
