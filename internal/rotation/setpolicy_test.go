package rotation_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
)

func policy(edit func(p *keyset.Policy)) rotation.Step { return setPolicy(with(edit)) }

func setPolicy(to keyset.Policy) rotation.Step {
	return rotation.SetPolicy(func(p *keyset.Policy) { *p = to })
}

// A change of one field keeps what was set in another meanwhile.
func TestSetPolicyMerges(t *testing.T) {
	d := open(t, keyset.ES256)
	d.take(rotation.SetPolicy(func(p *keyset.Policy) { p.PeakRate = 100 }), day)
	d.take(rotation.SetPolicy(func(p *keyset.Policy) { p.TokenLife = 2 * day }), day)
	want := with(func(p *keyset.Policy) { p.PeakRate, p.TokenLife = 100, 2*day })
	require.Equal(t, want, d.set.Policy())
}

// Each row is one change at one instant, and what becomes of the two keys of a
// new file and of a third one, if any.
func TestSetPolicy(t *testing.T) {
	sig1, sig2 := "sig1 ES256 -1m -1m 29d23h59m 30d1h16m", "sig2 ES256 0s 29d23h59m 59d23h59m 60d1h16m"
	for _, row := range []struct {
		name string
		at   time.Duration
		edit func(p *keyset.Policy)
		want []string
	}{
		{"the same", day, func(*keyset.Policy) {}, []string{sig1, sig2}},
		{"a longer lead that has passed", day, func(p *keyset.Policy) { p.CacheLife = 20 * time.Hour }, []string{sig1, sig2}},
		{"a longer lead that has not", day, func(p *keyset.Policy) { p.CacheLife = 29*day + 23*time.Hour + 56*time.Minute }, []string{"sig1 ES256 -1m -1m 29d23h59m30s 30d1h16m30s", "sig2 ES256 0s 29d23h59m30s 59d23h59m30s 60d1h16m30s"}},
		{"a shorter period", day, func(p *keyset.Policy) { p.RotationPeriod = 7 * day }, []string{"sig1 ES256 -1m -1m 6d23h59m 7d1h16m", "sig2 ES256 0s 6d23h59m 13d23h59m 14d1h16m"}},
		{"a shorter period that is over", 20 * day, func(p *keyset.Policy) { p.RotationPeriod = 7 * day }, []string{"sig1 ES256 -1m -1m 20d 20d1h17m", "sig2 ES256 0s 20d 27d 27d1h17m", "sig3 ES256 20d 27d 34d 34d1h17m"}},
		{"a shorter period, before the standby is known", time.Hour, func(p *keyset.Policy) { p.RotationPeriod = lead }, []string{"sig1 ES256 -1m -1m 1h3m30s 2h20m30s", "sig2 ES256 0s 1h3m30s 2h7m 3h24m"}},
		{"a longer period", day, func(p *keyset.Policy) { p.RotationPeriod = 100 * day }, []string{"sig1 ES256 -1m -1m 99d23h59m 100d1h16m", "sig2 ES256 0s 99d23h59m 199d23h59m 200d1h16m"}},
		{"longer tokens", day, func(p *keyset.Policy) { p.TokenLife = day }, []string{"sig1 ES256 -1m -1m 29d23h59m 31d1h1m", "sig2 ES256 0s 29d23h59m 59d23h59m 61d1h1m"}},
		{"shorter tokens", day, func(p *keyset.Policy) { p.TokenLife = time.Minute }, []string{sig1, sig2}},
		{"a shorter grace", day, func(p *keyset.Policy) { p.Grace = spread + p.ReloadInterval }, []string{sig1, sig2}},
		{"more leeway and skew", day, func(p *keyset.Policy) { p.Leeway, p.ClockSkew = 2*time.Minute, 3*time.Minute }, []string{"sig1 ES256 -1m -1m 29d23h59m 30d1h19m", "sig2 ES256 0s 29d23h59m 59d23h59m 60d1h19m"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := open(t, keyset.ES256)
			require.Equal(t, row.want, d.take(policy(row.edit), row.at).lives())
			require.Equal(t, with(row.edit), d.set.Policy())
			d.unchanged(rotation.IfDue(), row.at)
			require.NoError(t, errorsOf(d, row.at))
		})
	}
}

// A key verifies for as long as the longest tokens need that it may have
// signed, however often the policy changes. One that is published later is not
// concerned.
func TestSetPolicyUpAndDown(t *testing.T) {
	life := func(life time.Duration) rotation.Step {
		return policy(func(p *keyset.Policy) { p.TokenLife = life })
	}
	d := open(t, keyset.ES256).take(life(2*day), day).take(life(time.Minute), 2*day)
	// an instance that has not read the new file may sign with either
	d.want("sig1 ES256 -1m -1m 29d23h59m 32d1h1m", "sig2 ES256 0s 29d23h59m 59d23h59m 62d1h1m")
	d.take(rotation.Rotate(""), 3*day)
	require.Equal(t, "sig3 ES256 3d 33d 63d 63d1h3m", d.lives()[2])
	d.take(life(day), 3*day+time.Hour).want(
		"sig1 ES256 -1m -1m 3d 5d1h2m",
		"sig2 ES256 0s 3d 33d 35d1h2m",
		"sig3 ES256 3d 33d 63d 64d1h2m",
	)
	d.due(0, 5*day+2*time.Hour)
	require.Equal(t, "sig1 pruned", d.lives()[2])
}

func TestSetPolicyRefuses(t *testing.T) {
	d := open(t, keyset.ES256, keyset.Direct)
	rate := policy(func(p *keyset.Policy) { p.PeakRate = 829 })
	for name, row := range map[string]struct {
		step rotation.Step
		text string
	}{
		"grace": {policy(func(p *keyset.Policy) { p.Grace = spread + p.ReloadInterval - time.Second }),
			"keys: policy: grace 3m59s is shorter than distribution_lag + 2 * reload_interval + clock_skew = 4m"},
		"period": {policy(func(p *keyset.Policy) { p.RotationPeriod = lead - time.Second }),
			"rotation_period 1h3m29s is shorter than the lead = distribution_lag + reload_interval + clock_skew + cache_life " +
				"= 1h3m30s"},
		"units":  {policy(func(p *keyset.Policy) { p.Leeway = time.Millisecond }), "leeway must be whole seconds"},
		"tokens": {policy(func(p *keyset.Policy) { p.TokenLife = 300 * day }), "keys would be published, and 8 are allowed"},
		"rate": {rate, "peak_rate * (rotation_period + grace + clock_skew) = 829 * 30d1h1m = 2.2e+09 tokens under one " +
			"key, and 2^31 are allowed (NIST SP 800-38D, Section 8.3, halved): rotate every 29d22h33m"},
	} {
		t.Run(name, func(t *testing.T) {
			d.refuse(row.step, day, row.text)
			d.refuse(row.step.Force(), day, row.text)
		})
	}
	d.take(policy(func(p *keyset.Policy) { p.PeakRate = 800 }), day)
	d = open(t, keyset.ES256, keyset.A256KW)
	d.take(rate, day)
}

// Verifiers have filled their caches by the old policy: what they don't know
// yet, they may not know for long.
func TestSetPolicyWithAShorterCacheLife(t *testing.T) {
	slow := with(func(p *keyset.Policy) { p.CacheLife = 12 * time.Hour })
	fast := func() rotation.Step { return policy(func(p *keyset.Policy) { p.CacheLife = 10 * time.Minute }) }
	// 2h + 12h + clock_skew
	const slowLead, fastLead, emptied = spread + 12*time.Hour, spread + 10*time.Minute, 14*time.Hour + time.Minute
	text := "cache_life 10m = 13m30s, and caches that were filled before cache_life was made shorter may not have " +
		"expired yet"
	d := openWith(t, slow, keyset.ES256).take(fast(), 2*time.Hour)
	d.safeFrom(rotation.Rotate(""), slowLead, text)                // the standby was published at zero
	d.safeFrom(rotation.Rotate(""), emptied, text)                 // the next one was just now
	d.safeFrom(rotation.Rotate(""), emptied+fastLead, "= 13m30s;") // and the one after it when no cache was slow any more

	f := place(t, openWith(t, slow, keyset.ES256, keyset.Direct).set)
	_, _, err := fast().Apply(t.Context(), f, zero().Add(2*time.Hour))
	require.NoError(t, err)
	set, err := f.Read()
	require.NoError(t, err)
	d = newDesk(t, set)
	d.take(rotation.Rotate(keyset.Encryption), 2*time.Hour) // others don't have it
	d.take(fast(), 3*time.Hour)                             // again
	d.take(policy(func(p *keyset.Policy) { p.CacheLife = time.Hour }), 4*time.Hour)
	d.safeFrom(rotation.Rotate(keyset.Signature), slowLead, "cache_life 1h")
	d.take(policy(func(p *keyset.Policy) { p.CacheLife = 12 * time.Hour }), 13*time.Hour)
	d.safeFrom(rotation.Rotate(keyset.Signature), 2*slowLead, "cache_life 12h")

	both := policy(func(p *keyset.Policy) { p.CacheLife, p.RotationPeriod = 10*time.Minute, 2*time.Hour })
	d = openWith(t, slow, keyset.ES256).take(fast(), 0)
	d.safeFrom(both, 12*time.Hour+time.Minute-2*time.Hour, "rotation_period 2h is shorter than the lead of",
		"change cache_life first")
}

// The first key that encrypts is still to begin: it waits for the lead of the
// new policy.
func TestSetPolicyBeforeEncryptionBegins(t *testing.T) {
	d := open(t, keyset.ES256).take(add(keyset.Direct), 0)
	d.take(policy(func(p *keyset.Policy) { p.DistributionLag = 12 * time.Minute }), time.Minute)
	require.Equal(t, "enc1 dir 0s 13m30s 30d13m30s 30d1h30m30s", d.lives()[2])
	d.take(policy(func(p *keyset.Policy) { p.DistributionLag = time.Minute }), 2*time.Minute)
	require.Equal(t, "enc1 dir 0s 13m30s 30d13m30s 30d1h30m30s", d.lives()[2])
}

// What has no end gets one, and what is missing is made.
func TestSetPolicyOnAnOldFile(t *testing.T) {
	d := legacy(t, generate(t, keyset.EdDSA, keyset.Dates{SignFrom: zero().Add(-5 * day)}))
	d.take(policy(func(p *keyset.Policy) { p.RotationPeriod = 7 * day }), 0)
	d.want("sig1 EdDSA - -5d 2d 2d1h17m", "sig2 EdDSA 0s 2d 9d 9d1h17m")
}

// While the last key goes on in its grace, a policy moves nobody's beginning.
func TestSetPolicyInTheGrace(t *testing.T) {
	const end = 2*month - time.Minute
	d := open(t, keyset.ES256).take(rotation.IfDue(), end+10*time.Minute)
	d.take(policy(func(p *keyset.Policy) { p.Leeway = 5 * time.Minute }), end+20*time.Minute)
	require.Equal(t, "sig3 ES256 60d8m 60d59m 90d59m 90d2h20m", d.lives()[len(d.lives())-2])
}
