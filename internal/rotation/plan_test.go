package rotation_test

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
)

// plan returns "at name from>to reason" for each event of a plan between two
// instants after zero, by name. Keys that are only planned have the names that
// they will have.
func (d *desk) plan(from, until time.Duration) []string {
	d.Helper()
	before := d.set.Clone()
	tl, err := rotation.Plan(d.set, zero().Add(max(0, from)), zero().Add(from), zero().Add(until))
	require.NoError(d, err)
	same(d, before, d.set)
	var all []string
	for _, e := range tl.Events() {
		line := fmt.Sprintf("%s %s %s>%s %s", after(e.At), e.ID, e.From, e.To, e.Reason)
		require.Equal(d, strings.Contains(e.ID, "+"), e.Planned)
		all = append(all, d.plain(plannedName().ReplaceAllStringFunc(line, func(id string) string {
			use, n, _ := strings.Cut(id, "+")
			count, err := strconv.Atoi(n)
			require.NoError(d, err)
			return use + strconv.Itoa(d.count[keyset.Use(use)]+count)
		})))
	}
	return all
}

func plannedName() *regexp.Regexp { return regexp.MustCompile(`\b(sig|enc)\+\d+\b`) }

// What a plan says is what happens if IfDue is taken whenever something is due.
func TestPlanComesTrue(t *testing.T) {
	between := func(publish, sign, until time.Duration) keyset.Dates {
		return keyset.Dates{PublishAt: zero().Add(publish), SignFrom: zero().Add(sign), SignUntil: zero().Add(until),
			VerifyUntil: zero().Add(until + verifyOnly)}
	}
	for name, set := range map[string]func(t *testing.T) *desk{
		"new": func(t *testing.T) *desk { return open(t, keyset.ES256, keyset.Direct) },
		"shortest period": func(t *testing.T) *desk {
			return openWith(t, with(func(p *keyset.Policy) { p.RotationPeriod = lead }), keyset.EdDSA)
		},
		"long tokens": func(t *testing.T) *desk {
			return openWith(t, with(func(p *keyset.Policy) { p.TokenLife = 100 * day }), keyset.EdDSA)
		},
		"two to come": func(t *testing.T) *desk {
			return open(t, keyset.ES256).take(add(keyset.EdDSA), 0).take(add(keyset.HS256), 0)
		},
		"encryption later": func(t *testing.T) *desk { return open(t, keyset.ES256).take(add(keyset.A256KW), 0) },
		"staged": func(t *testing.T) *desk {
			return open(t, keyset.ES256).take(rotation.Add(keyset.EdDSA, rotation.AddOptions{PublishAt: zero().Add(70 * day)}),
				0)
		},
		"withdrawn": func(t *testing.T) *desk { d := open(t, keyset.ES256); return d.take(rotation.Retire(d.id("sig2")), 0) },
		"revoked": func(t *testing.T) *desk {
			d := open(t, keyset.ES256, keyset.Direct)
			return d.take(revoke(d, "sig1", "enc2"), 0)
		},
		"verify only": func(t *testing.T) *desk {
			return open(t, keyset.ES256).take(rotation.Add(keyset.EdDSA,
				rotation.AddOptions{VerifyOnly: true, PublishAt: zero().Add(day)}), 0)
		},
		"old file": func(t *testing.T) *desk {
			return legacy(t, generate(t, keyset.ES256, keyset.Dates{}), generate(t, keyset.Direct, keyset.Dates{}))
		},
		"two that sign": func(t *testing.T) *desk {
			return legacy(t, generate(t, keyset.ES256, keyset.Dates{}),
				generate(t, keyset.EdDSA, keyset.Dates{SignFrom: zero().Add(-day)}))
		},
		"no standby": func(t *testing.T) *desk { return legacy(t, generate(t, keyset.EdDSA, between(-day, -day, 5*day))) },
		"no standby, late": func(t *testing.T) *desk {
			return legacy(t, generate(t, keyset.EdDSA, between(-day, -day, time.Minute)))
		},
		"in the grace": func(t *testing.T) *desk {
			return legacy(t, generate(t, keyset.HS256, between(-day, -day, -time.Minute)))
		},
		"after the grace": func(t *testing.T) *desk {
			return legacy(t,
				generate(t, keyset.EdDSA, between(-day, -day, -time.Hour)))
		},
		"staged late": func(t *testing.T) *desk {
			return legacy(t, generate(t, keyset.EdDSA, between(-day, -day, 5*day)),
				generate(t, keyset.EdDSA, between(200*day, 210*day, 240*day)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := set(t)
			until := 100 * day
			if name == "shortest period" {
				until = 60 * lead
			}
			want := d.plan(0, until)
			require.NotEmpty(t, want)
			d.due(0, until)
			require.ElementsMatch(t, want, d.history(0, until), "at one instant, the order is that of the IDs")
		})
	}
}

// history is the plan of what has happened.
func (d *desk) history(from, until time.Duration) []string {
	d.Helper()
	tl, err := rotation.Plan(d.set, zero().Add(until), zero().Add(from), zero().Add(until))
	require.NoError(d, err)
	var all []string
	for _, e := range tl.Events() {
		require.False(d, e.Planned, "%s", e.At)
		all = append(all, d.plain(fmt.Sprintf("%s %s %s>%s %s", after(e.At), e.ID, e.From, e.To, e.Reason)))
	}
	return all
}

func TestPlan(t *testing.T) {
	waits, retires, expires := "must be known for 1h3m30s before it signs", "signs no more; verifies for token_life 15m "+
		"+ leeway 1m + clock_skew 1m + grace 1h = 1h17m", "the tokens that it signed have expired"
	require.Equal(t, []string{
		"-1m sig1 unknown>active signs",
		"0s sig2 unknown>pending published; " + waits,
		"29d23h59m sig1 active>retiring " + retires,
		"29d23h59m sig2 pending>active signs in place of sig1, for a rotation period of 30d",
		"29d23h59m sig3 unknown>pending published; " + waits,
		"30d1h16m sig1 retiring>expired " + expires,
	}, open(t, keyset.ES256).plan(-time.Hour, 31*day))
	sealed := "published to all instances; must be known for 3m30s before it encrypts"
	require.Equal(t, []string{
		"0s enc1 unknown>pending " + sealed,
		"3m30s enc1 pending>active encrypts",
		"3m30s enc2 unknown>pending " + sealed,
		"30d3m30s enc1 active>retiring encrypts no more; decrypts for token_life 15m + leeway 1m + clock_skew 1m + grace " +
			"1h = 1h17m",
		"30d3m30s enc2 pending>active encrypts in place of enc1, for a rotation period of 30d",
		"30d3m30s enc3 unknown>pending " + sealed,
		"30d1h20m30s enc1 retiring>expired the tokens that it encrypted have expired",
	}, only(open(t, keyset.ES256).take(add(keyset.Direct), 0).plan(-time.Hour, 31*day), " enc"))
	d := open(t, keyset.ES256).take(rotation.Add(keyset.ES256, rotation.AddOptions{PublishAt: zero().Add(day)}), 0)
	d.take(rotation.Retire(d.id("sig3")), time.Hour).take(revoke(d, "sig2"), 2*time.Hour)
	require.Equal(t, []string{
		"0s sig3 unknown>staged made; to be published later",
		"1h sig3 staged>expired the tokens that it signed have expired",
	}, only(d.plan(-time.Hour, day), " sig3"))
	require.Equal(t, []string{
		"0s sig2 unknown>pending published; " + waits,
		"2h sig2 pending>revoked revoked: key_compromise",
	}, only(d.plan(-time.Hour, day), " sig2"))
	d.take(rotation.Retire(d.id("sig4")), 3*time.Hour)
	require.Equal(t, []string{
		"2h sig4 unknown>pending published; " + waits,
		"3h sig4 pending>retiring withdrawn before it signed",
		"4h17m sig4 retiring>expired the tokens that it signed have expired",
	}, only(d.plan(-time.Hour, day), " sig4"))
}

func only(lines []string, part string) (some []string) {
	for _, line := range lines {
		if at, _, _ := strings.Cut(line, ">"); strings.Contains(at+" ", part) {
			some = append(some, line)
		}
	}
	return some
}

// Rows come in the order in which keys sign, signature keys first; what has
// ended before the window, or begins after it, has none.
func TestPlanRows(t *testing.T) {
	d := open(t, keyset.ES256, keyset.Direct).due(0, 31*day)
	rows := func(from, until time.Duration) (ids []string) {
		tl, err := rotation.Plan(d.set, zero().Add(31*day), zero().Add(from), zero().Add(until))
		require.NoError(t, err)
		require.Equal(t, []time.Time{zero().Add(31 * day), zero().Add(from), zero().Add(until)},
			[]time.Time{tl.Now, tl.From, tl.Until})
		for _, r := range tl.Rows {
			ids = append(ids, d.plain(r.ID))
			require.Equal(t, strings.HasPrefix(r.ID, string(r.Use)+"+"), r.Planned)
			for i, s := range r.Spans {
				require.Equal(t, i == len(r.Spans)-1, s.Until.IsZero())
				require.True(t, i == 0 || s.From.Equal(r.Spans[i-1].Until), "without gaps")
			}
		}
		return ids
	}
	const end = 30*day + time.Hour + 16*time.Minute // of the first keys
	require.Equal(t, []string{"sig1", "sig2", "sig3", "enc1", "enc2", "enc3"}, rows(end, 40*day))
	require.Equal(t, []string{"sig2", "sig3", "enc2", "enc3"}, rows(end+1, 40*day))
	require.Equal(t, []string{"sig2", "sig3", "sig+1", "enc2", "enc3", "enc+1"}, rows(35*day, 2*month-time.Minute))
	require.Equal(t, []string{"sig2", "sig3", "enc2", "enc3"}, rows(35*day, 2*month-time.Minute-1))
	require.Equal(t, []string{"sig1", "enc1"}, rows(-day, -time.Second))
}

func TestPlanRefuses(t *testing.T) {
	set := openWith(t, with(func(p *keyset.Policy) { p.RotationPeriod = lead }), keyset.EdDSA).set
	for _, until := range []time.Time{zero(), zero().Add(-1)} {
		_, err := rotation.Plan(set, zero(), zero(), until)
		require.EqualError(t, err, "rotation: a plan must end after it begins")
	}
	_, err := rotation.Plan(set, zero(), zero(), zero().Add(1990*lead))
	require.NoError(t, err)
	_, err = rotation.Plan(set, zero(), zero(), zero().Add(2010*lead))
	require.EqualError(t, err,
		"rotation: a plan until 2026-03-30T15:15:00Z would have more than 2000 steps; choose a nearer end")
	tl, err := rotation.Plan(new(keyset.Set), zero(), zero(), zero().Add(1000*month))
	require.NoError(t, err)
	require.Empty(t, tl.Rows)
}

func TestNextDue(t *testing.T) {
	const handover = month - time.Minute
	next := func(d *desk, at time.Duration) string {
		d.Helper()
		due := rotation.NextDue(d.set, zero().Add(at))
		if due.IsZero() {
			return "never"
		}
		return after(due)
	}
	d := open(t, keyset.ES256, keyset.Direct)
	require.Equal(t, "29d23h59m", next(d, 0), "a new standby")
	d.take(rotation.IfDue(), handover)
	require.Equal(t, "30d59m", next(d, handover), "a private half to erase")
	require.Equal(t, "30d59m", next(d, handover+time.Hour))
	d.take(rotation.IfDue(), handover+time.Hour)
	require.Equal(t, "30d1h16m", next(d, handover+time.Hour), "keys to prune")
	d.take(rotation.IfDue(), handover+verifyOnly)
	require.Equal(t, "59d23h59m", next(d, handover+verifyOnly))
	require.Equal(t, "59d23h59m", next(d, handover+verifyOnly+time.Millisecond))

	d = open(t, keyset.HS256) // nothing to erase
	d.take(rotation.IfDue(), handover)
	require.Equal(t, "30d1h16m", next(d, handover))
	d = open(t, keyset.ES256)
	d.take(revoke(d, "sig1"), 0)
	require.Equal(t, "30d", next(d, 0))
	d.take(rotation.IfDue(), month)
	require.Equal(t, "30d1h", next(d, month))
	d.take(rotation.IfDue(), month+time.Hour)
	require.Equal(t, "30d1h16m", next(d, month+time.Hour), "a revoked key is pruned when its tokens have ended")
	d = legacy(t, generate(t, keyset.ES256, keyset.Dates{}))
	require.Equal(t, "1s", next(d, time.Second), "something is due now")
	require.Equal(t, zero().Add(time.Millisecond), rotation.NextDue(d.set, zero().Add(time.Millisecond)))
	require.Equal(t, "never", next(newDesk(t, new(keyset.Set)), 0))
	d = newDesk(t, new(keyset.Set)).take(rotation.Add(keyset.Direct,
		rotation.AddOptions{VerifyOnly: true, PublishAt: zero().Add(day)}), 0)
	require.Equal(t, "2d1h2m", next(d, 0), "by the policy of a file without one")
}
