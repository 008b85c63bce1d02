package steps

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
	"github.com/cloakroom-go/cloakroom/internal/span"
)

// policyFlags are the fields of a policy as flags.
type policyFlags struct{ p keyset.Policy }

// A field is a duration of a policy, with its flag.
type field struct {
	flag  string
	value *time.Duration
	usage string
}

func (v *policyFlags) fields() []field {
	return []field{
		{"token-life", &v.p.TokenLife, "longest life of a token: at least the application's session.idle_timeout"},
		{"leeway", &v.p.Leeway, "how long after exp verifiers still accept a token"},
		{"clock-skew", &v.p.ClockSkew, "how far two clocks may differ"},
		{"distribution-lag", &v.p.DistributionLag, "how long a written key file takes to reach every instance"},
		{"reload-interval", &v.p.ReloadInterval, "interval at which instances look for a new file: at least keys.reload"},
		{"cache-life", &v.p.CacheLife, "how long verifiers use a JWK Set that they have fetched"},
		{"grace", &v.p.Grace, "how long a key goes on signing if its successor does not appear"},
		{"rotation-period", &v.p.RotationPeriod, "how long a key signs"},
	}
}

func (v *policyFlags) add(f *pflag.FlagSet) {
	v.p = keyset.Policy{}.WithDefaults()
	for _, d := range v.fields() {
		f.Var((*tool.Duration)(d.value), d.flag, d.usage)
	}
	f.IntVar(&v.p.PeakRate, "peak-rate", v.p.PeakRate, "tokens encrypted in a second, by all instances together")
}

// read returns what gives a policy the fields that flags name, and whether any
// does. It refuses flags that were given as 0: in a policy that means the
// default, which the author of --cache-life 0s did not mean. without says what
// to do instead.
func (v *policyFlags) read(f *pflag.FlagSet, without string) (
	edit func(*keyset.Policy), changed bool, err error,
) {
	take := func(flag string, isZero bool) {
		changed = changed || f.Changed(flag)
		if isZero && f.Changed(flag) {
			err = errors.Join(err, tool.Refuse(tool.ExitUsage, "--%s can't be 0; leave it out %s", flag, without))
		}
	}
	for _, d := range v.fields() {
		take(d.flag, *d.value == 0)
	}
	take("peak-rate", v.p.PeakRate == 0)
	return func(p *keyset.Policy) {
		to := policyFlags{p: *p}
		targets := to.fields()
		for i, d := range v.fields() {
			if f.Changed(d.flag) {
				*targets[i].value = *d.value
			}
		}
		if f.Changed("peak-rate") {
			to.p.PeakRate = v.p.PeakRate
		}
		*p = to.p
	}, changed, err
}

// Policy returns keygen policy.
func Policy(t *tool.Tool) *cobra.Command {
	var policy policyFlags
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Show or change the policy, and what follows from it",
		Long: `Policy shows the policy of the key file and what follows from it; with flags it
changes the policy first. Future dates then follow the new policy, unless that
would reject tokens. What follows:

  lead         how long a key is published before it signs:
               distribution_lag + reload_interval + clock_skew, and for a key
               that other services verify with + cache_life
  verify-only  how long a key verifies after it has ceased to sign:
               token_life + leeway + clock_skew + grace
  listed       keys of one use in the JWK Set:
               2 + ceil(verify-only / rotation_period); at most 8
  GCM tokens   under one dir key at the peak rate; at most 2^31`,
		Example: `  keygen policy
  keygen policy --token-life 30d --rotation-period 90d --peak-rate 100
  keygen policy --cache-life 12h --dry-run`,
		Args: tool.NoArgs,
	}
	f := cmd.Flags()
	policy.add(f)
	cmd.RunE = t.Do(func(ctx context.Context, _ []string) error {
		set, err := t.Read()
		if err != nil {
			return err
		}
		edit, changed, err := policy.read(f, "to change nothing")
		if err != nil {
			return err
		}
		changes := []rotation.Change{} // [] in JSON, not null
		if changed {
			before, after, err := t.Take(ctx, rotation.SetPolicy(edit))
			if err != nil {
				return err
			}
			set, changes = after, append(changes, rotation.Diff(before, after)...)
			t.NoteChanges(changes, after)
		}
		return showPolicy(t, set, changes)
	})
	return cmd
}

// A derivation is what follows from a policy: a duration or a number.
type derivation struct {
	Name    string   `json:"name"`
	Value   string   `json:"value"` // for people
	Formula string   `json:"formula"`
	Seconds *int64   `json:"seconds,omitempty"`
	Number  *float64 `json:"number,omitempty"`
}

func derive(p keyset.Policy) []derivation {
	lasts := func(name string, d time.Duration, formula string) derivation {
		n := seconds64(d)
		return derivation{name, span.Format(d), formula, &n, nil}
	}
	counts := func(name string, n float64, formula string) derivation {
		return derivation{name, fmt.Sprintf("%.3g", n), formula, nil, &n}
	}
	return []derivation{
		lasts("lead", p.Lead(keyset.ES256),
			"distribution_lag + reload_interval + clock_skew + cache_life; of a key that others verify with"),
		lasts("lead_symmetric", p.Lead(keyset.Direct),
			"distribution_lag + reload_interval + clock_skew; of all other keys"),
		lasts("verify_only", p.VerifyOnly(), "token_life + leeway + clock_skew + grace"),
		counts("listed", float64(p.Listed()), "2 + ceil(verify_only / rotation_period); at most 8"),
		counts("gcm_tokens", p.GCMUses(),
			"peak_rate * (rotation_period + grace + clock_skew); at most 2^31 = 2.15e+09 under one dir key"),
	}
}

func seconds64(d time.Duration) int64 { return int64(d / time.Second) }

// inSeconds returns the fields of a policy for programs, by their names in the
// key file: durations in seconds, and the peak rate, which is per second.
func inSeconds(p keyset.Policy) map[string]int64 {
	v := policyFlags{p: p.WithDefaults()}
	fields := map[string]int64{"peak_rate": int64(v.p.PeakRate)}
	for _, d := range v.fields() {
		fields[strings.ReplaceAll(d.flag, "-", "_")] = seconds64(*d.value)
	}
	return fields
}

func showPolicy(t *tool.Tool, set *keyset.Set, changes []rotation.Change) error {
	p := set.Policy()
	if t.Format == "json" {
		fields := make(map[string]string)
		for _, f := range p.Fields() {
			fields[f[0]] = f[1]
		}
		return t.PrintSet(set, map[string]any{
			"dry_run": t.DryRun, "changes": changes, "policy": fields, "policy_seconds": inSeconds(p), "derived": derive(p),
		})
	}
	if len(changes) > 0 {
		if err := t.PrintTable(changes); err != nil {
			return err
		}
		fmt.Fprintln(t.Stdout)
	}
	w := tool.NewTable(t.Stdout)
	for _, f := range p.Fields() {
		w.Row(f[0], f[1])
	}
	fmt.Fprintln(w)
	for _, d := range derive(p) {
		w.Row(d.Name, d.Value, d.Formula)
	}
	return w.Flush()
}
