package rotation_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
)

func TestNew(t *testing.T) {
	d := open(t, keyset.ES256, keyset.Direct)
	d.want(
		"sig1 ES256 -1m -1m 29d23h59m 30d1h16m",
		"sig2 ES256 0s 29d23h59m 59d23h59m 60d1h16m",
		"enc1 dir -1m -1m 29d23h59m 30d1h16m",
		"enc2 dir 0s 29d23h59m 59d23h59m 60d1h16m",
	)
	require.Equal(t, "sig1 enc1", d.signers(-time.Minute), "an instance whose clock is behind")
	require.Equal(t, "error none", d.signers(-time.Minute-1), "no token was encrypted before")
	require.Zero(t, d.set.Generation())
	require.Equal(t, example(), d.set.Policy())
	require.Empty(t, d.findings(0))
	for _, k := range d.set.Keys() {
		require.Equal(t, zero(), k.Dates().Created)
		require.True(t, k.HasPrivate())
	}
	d.unchanged(rotation.IfDue(), 0)
}

func TestNewOfOneUse(t *testing.T) {
	d := open(t, keyset.HS256)
	d.want("sig1 HS256 -1m -1m 29d23h59m 30d1h16m", "sig2 HS256 0s 29d23h59m 59d23h59m 60d1h16m")
	require.Equal(t, "sig1 none", d.signers(0))
	require.Empty(t, d.findings(0))
}

// Fractions of a second are cut off: the file can't hold them.
func TestNewBetweenSeconds(t *testing.T) {
	set, err := rotation.New(example(), zero().Add(999*time.Millisecond), keyset.EdDSA)
	require.NoError(t, err)
	newDesk(t, set).want("sig1 EdDSA -1m -1m 29d23h59m 30d1h16m", "sig2 EdDSA 0s 29d23h59m 59d23h59m 60d1h16m")
}

// The standby has its lead, although the first key began a little earlier than
// now.
func TestNewWithTheShortestPeriod(t *testing.T) {
	d := openWith(t, with(func(p *keyset.Policy) { p.RotationPeriod = lead }), keyset.EdDSA)
	d.want("sig1 EdDSA -1m -1m 1h3m30s 2h20m30s", "sig2 EdDSA 0s 1h3m30s 2h7m 3h24m")
}

func TestNewRefuses(t *testing.T) {
	rate := with(func(p *keyset.Policy) { p.PeakRate = 5000 })
	for _, row := range []struct {
		name string
		in   keyset.Policy
		algs []keyset.Algorithm
		text string
	}{
		{"two keys of a use", example(), []keyset.Algorithm{keyset.ES256, keyset.EdDSA}, "would sign at the same time"},
		{"unknown algorithm", example(), []keyset.Algorithm{"none"}, `rotation: unknown algorithm "none"`},
		{"a policy that contradicts itself", with(func(p *keyset.Policy) { p.Grace = time.Second }), []keyset.Algorithm{keyset.ES256}, "grace 1s is shorter than distribution_lag + 2 * reload_interval + clock_skew = 4m"},
		{"AES-GCM", rate, []keyset.Algorithm{keyset.ES256, keyset.Direct}, "peak_rate * (rotation_period + grace + clock_skew) = 5000 * 30d1h1m = 1.3e+10 tokens under one key, and 2^31 are allowed"},
	} {
		t.Run(row.name, func(t *testing.T) {
			set, err := rotation.New(row.in, zero(), row.algs...)
			require.Nil(t, set)
			require.ErrorContains(t, err, row.text)
		})
	}
	_, err := rotation.New(rate, zero(), keyset.ES256, keyset.A256KW)
	require.NoError(t, err, "a fresh key for each token")
}

// A standby takes over by its date; what is due then, and what later, is done
// once.
func TestIfDue(t *testing.T) {
	d := open(t, keyset.ES256, keyset.Direct)
	const handover = month - time.Minute
	d.unchanged(rotation.IfDue(), handover-time.Second)
	require.Equal(t, "sig1 enc1", d.signers(handover-1))
	require.Equal(t, "sig2 enc2", d.signers(handover))
	d.take(rotation.IfDue(), handover).want(
		"sig1 ES256 -1m -1m 29d23h59m 30d1h16m",
		"sig2 ES256 0s 29d23h59m 59d23h59m 60d1h16m",
		"enc1 dir -1m -1m 29d23h59m 30d1h16m",
		"enc2 dir 0s 29d23h59m 59d23h59m 60d1h16m",
		"sig3 ES256 29d23h59m 59d23h59m 89d23h59m 90d1h16m",
		"enc3 dir 29d23h59m 59d23h59m 89d23h59m 90d1h16m",
	)
	d.unchanged(rotation.IfDue(), handover)
	d.unchanged(rotation.IfDue(), handover+time.Hour-time.Second)
	d.take(rotation.IfDue(), handover+time.Hour) // the grace is over: an encryption key is needed on
	require.Equal(t, "sig1 ES256 -1m -1m 29d23h59m 30d1h16m public", d.lives()[0])
	require.Equal(t, "enc1 dir -1m -1m 29d23h59m 30d1h16m", d.lives()[2])
	d.unchanged(rotation.IfDue(), handover+verifyOnly-time.Second)
	d.take(rotation.IfDue(), handover+verifyOnly).want(
		"sig2 ES256 0s 29d23h59m 59d23h59m 60d1h16m",
		"enc2 dir 0s 29d23h59m 59d23h59m 60d1h16m",
		"sig3 ES256 29d23h59m 59d23h59m 89d23h59m 90d1h16m",
		"enc3 dir 29d23h59m 59d23h59m 89d23h59m 90d1h16m",
		"sig1 pruned", "enc1 pruned",
	)
}

// A year of a daily cron: keys come and go at the same pace, and both uses in
// step.
func TestIfDueForAYear(t *testing.T) {
	d := open(t, keyset.EdDSA, keyset.Direct)
	for at := time.Duration(0); at < 365*day; at += day {
		d.take(rotation.IfDue(), at)
		require.LessOrEqual(t, len(d.set.Keys()), 6)
		require.Empty(t, d.findings(at))
	}
	require.Equal(t, "sig13 enc13", d.signers(364*day))
}

func TestRotate(t *testing.T) {
	d := open(t, keyset.ES256, keyset.Direct)
	d.safeFrom(rotation.Rotate(""), lead,
		"distribution_lag 2m + reload_interval 30s + clock_skew 1m + cache_life 1h = 1h3m30s")
	d.want(
		"sig1 ES256 -1m -1m 1h3m30s 2h20m30s",
		"sig2 ES256 0s 1h3m30s 30d1h3m30s 30d2h20m30s",
		"enc1 dir -1m -1m 1h3m30s 2h20m30s",
		"enc2 dir 0s 1h3m30s 30d1h3m30s 30d2h20m30s",
		"sig3 ES256 1h3m30s 30d1h3m30s 60d1h3m30s 60d2h20m30s",
		"enc3 dir 1h3m30s 30d1h3m30s 60d1h3m30s 60d2h20m30s",
	)
	d.refuse(rotation.Rotate(""), lead, "is published only since 2026-01-01T01:03:30Z")
}

func TestRotateOneUse(t *testing.T) {
	d := open(t, keyset.ES256, keyset.Direct)
	d.safeFrom(rotation.Rotate(keyset.Encryption), spread,
		"it needs distribution_lag 2m + reload_interval 30s + clock_skew 1m = 3m30s")
	require.Equal(t, "sig1 enc2", d.signers(spread))
	require.Equal(t, "sig1 ES256 -1m -1m 29d23h59m 30d1h16m", d.lives()[0])
	d.safeFrom(rotation.Rotate(keyset.Signature), lead)
	require.Equal(t, "sig2 enc2", d.signers(lead))
	_, err := d.try(rotation.Rotate("both"), lead)
	require.ErrorContains(t, err, `rotation: there is no key for use "both"; add one first: keygen add`)
	_, err = open(t, keyset.HS256).try(rotation.Rotate(keyset.Encryption), 0)
	require.ErrorContains(t, err, `there is no key for use "enc"`)
}

// HS256 keys are published to nobody else, so nobody else's caches count.
func TestRotateHS256(t *testing.T) {
	d := open(t, keyset.HS256)
	d.safeFrom(rotation.Rotate(""), spread, "= 3m30s; earliest safe").want(
		"sig1 HS256 -1m -1m 3m30s 1h20m30s",
		"sig2 HS256 0s 3m30s 30d3m30s 30d1h20m30s",
		"sig3 HS256 3m30s 30d3m30s 60d3m30s 60d1h20m30s",
	)
	d.due(0, 2*day)
	require.Equal(t, "sig1 pruned", d.lives()[2], "the secret went with the key")
}

// Without a standby, one is published, and signs as soon as it may.
func TestRotateWithoutAStandby(t *testing.T) {
	d := legacy(t, generate(t, keyset.ES256,
		keyset.Dates{SignUntil: zero().Add(20 * day), VerifyUntil: zero().Add(21 * day)}))
	d.take(rotation.Rotate(""), 0).want(
		"sig1 ES256 - - 1h3m30s 1d1h3m30s", // it may have signed tokens that live for a day
		"sig2 ES256 0s 1h3m30s 30d1h3m30s 30d2h20m30s",
	)
}

func TestPromote(t *testing.T) {
	d := open(t, keyset.ES256).take(rotation.Add(keyset.EdDSA, rotation.AddOptions{}), time.Hour)
	third := rotation.Promote(d.id("sig3"))
	d.safeFrom(third, time.Hour+lead).want(
		"sig1 ES256 -1m -1m 2h3m30s 3h20m30s",
		"sig2 ES256 0s 30d2h3m30s 60d2h3m30s 60d3h20m30s", // it waits
		"sig3 EdDSA 1h 2h3m30s 30d2h3m30s 30d3h20m30s",
	)
	d.refuse(third, time.Hour+lead, "key sig3 is active: only a pending key can be promoted")
	d.refuse(rotation.Promote(d.id("sig1")), time.Hour+lead, "key sig1 is retiring")
	d.take(rotation.Promote(d.id("sig2")), day).want(
		"sig1 ES256 -1m -1m 2h3m30s 3h20m30s",
		"sig2 ES256 0s 1d 31d 31d1h17m",
		"sig3 EdDSA 1h 2h3m30s 1d 1d1h17m",
		"sig4 ES256 1d 31d 61d 61d1h17m", // a standby is there again
	)
}

func TestPromoteStaged(t *testing.T) {
	d := open(t, keyset.ES256).take(rotation.Add(keyset.ES256, rotation.AddOptions{PublishAt: zero().Add(day)}), 0)
	d.want(
		"sig1 ES256 -1m -1m 29d23h59m 30d1h16m",
		"sig2 ES256 0s 29d23h59m 59d23h59m 60d1h16m",
		"sig3 ES256 1d 59d23h59m 89d23h59m 90d1h16m",
	)
	d.refuse(rotation.Promote(d.id("sig3")), day-time.Second, "key sig3 is staged: only a pending key can be promoted")
	d.safeFrom(rotation.Promote(d.id("sig3")), day+lead)
	require.Equal(t, "sig3 none", d.signers(day+lead))
}

func TestRetire(t *testing.T) {
	d := open(t, keyset.ES256, keyset.Direct)
	d.safeFrom(rotation.Retire(d.id("sig1")), lead, "cache_life 1h = 1h3m30s").want(
		"sig1 ES256 -1m -1m 1h3m30s 2h20m30s",
		"sig2 ES256 0s 1h3m30s 30d1h3m30s 30d2h20m30s",
		"enc1 dir -1m -1m 29d23h59m 30d1h16m",
		"enc2 dir 0s 29d23h59m 59d23h59m 60d1h16m",
		"sig3 ES256 1h3m30s 30d1h3m30s 60d1h3m30s 60d2h20m30s",
	)
	d.refuse(rotation.Retire(d.id("sig1")), lead, "key sig1 is retiring, and signs nothing any more")
	d.take(rotation.Retire(d.id("enc1")), lead)
	require.Equal(t, "sig2 enc2", d.signers(lead))
}

// The key that signs can't go before somebody can follow it.
func TestRetireWithoutAStandby(t *testing.T) {
	d := legacy(t, generate(t, keyset.ES256, keyset.Dates{SignFrom: zero().Add(-10 * day)}))
	d.refuse(rotation.Retire(d.id("sig1")), 0, "cache_life 1h = 1h3m30s; earliest safe: 2026-01-01T01:03:30Z")
	d.take(rotation.IfDue(), 0)
	d.safeFrom(rotation.Retire(d.id("sig1")), lead)
	forced := legacy(t, generate(t, keyset.ES256, keyset.Dates{}))
	forced.take(rotation.Retire(forced.id("sig1")).Force(), 0).want(
		"sig1 ES256 - - 0s 1h17m",
		"sig2 ES256 0s 0s 30d 30d1h17m",
		"sig3 ES256 0s 30d 60d 60d1h17m",
	)
}

// A key that was published verifies on when it is withdrawn: an instance that
// has not heard of it may still begin to sign.
func TestRetirePending(t *testing.T) {
	d := open(t, keyset.ES256)
	d.take(rotation.Retire(d.id("sig2")), day).want(
		"sig1 ES256 -1m -1m 29d23h59m 30d1h16m",
		"sig2 ES256 0s 1d 1d 1d1h17m",
		"sig3 ES256 1d 29d23h59m 59d23h59m 60d1h16m",
	)
	require.Equal(t, "sig1 none", d.signers(day))
	d.take(rotation.IfDue(), day+time.Hour)
	require.Equal(t, "sig2 ES256 0s 1d 1d 1d1h17m public", d.lives()[1])
	d.take(rotation.IfDue(), day+verifyOnly)
	require.Equal(t, "sig2 pruned", d.lives()[2])
}

// The key before it goes on until another standby is known.
func TestRetirePendingLate(t *testing.T) {
	const late = month - 2*time.Minute
	d := open(t, keyset.ES256)
	d.take(rotation.Retire(d.id("sig2")), late).want(
		"sig1 ES256 -1m -1m 30d1h1m30s 30d2h18m30s",
		"sig2 ES256 0s 29d23h58m 29d23h58m 30d1h15m",
		"sig3 ES256 29d23h58m 30d1h1m30s 60d1h1m30s 60d2h18m30s",
	)
	require.NoError(t, errorsOf(d, late))
}

func TestRetireStaged(t *testing.T) {
	d := open(t, keyset.ES256).take(rotation.Add(keyset.ES256, rotation.AddOptions{PublishAt: zero().Add(day)}), 0)
	d.take(rotation.Retire(d.id("sig3")), time.Hour).want(
		"sig1 ES256 -1m -1m 29d23h59m 30d1h16m",
		"sig2 ES256 0s 29d23h59m 59d23h59m 60d1h16m",
		"sig3 ES256 1h 1h 1h 1h",
	)
	d.refuse(rotation.Retire(d.id("sig3")), time.Hour, "key sig3 is expired, and signs nothing any more")
}

// The first of several that wait is withdrawn: the others move up.
func TestRetireTheNextOfTwo(t *testing.T) {
	d := open(t, keyset.ES256).take(rotation.Add(keyset.EdDSA, rotation.AddOptions{}), day)
	d.take(rotation.Retire(d.id("sig2")), 2*day).want(
		"sig1 ES256 -1m -1m 29d23h59m 30d1h16m",
		"sig2 ES256 0s 2d 2d 2d1h17m",
		"sig3 EdDSA 1d 29d23h59m 59d23h59m 60d1h16m",
	)
	// An algorithm that was withdrawn is not the one of the next key.
	d.take(rotation.Retire(d.id("sig3")), 3*day)
	require.Equal(t, "sig4 ES256 3d 29d23h59m 59d23h59m 60d1h16m", d.lives()[3])
}

func TestPrune(t *testing.T) {
	d := open(t, keyset.ES256, keyset.Direct)
	d.unchanged(rotation.Prune(), 0)
	d.take(rotation.Rotate(""), lead).unchanged(rotation.Prune(), lead+time.Hour-time.Second)
	d.take(rotation.Prune(), lead+time.Hour)
	require.Equal(t, "sig1 ES256 -1m -1m 1h3m30s 2h20m30s public", d.lives()[0])
	d.unchanged(rotation.Prune(), lead+verifyOnly-time.Second)
	d.take(rotation.Prune(), lead+verifyOnly)
	require.Equal(t, []string{"sig1 pruned", "enc1 pruned"}, d.lives()[4:])
	d.take(rotation.Revoke(rotation.RevokeOptions{}, d.id("sig3")), day) // the standby
	d.take(rotation.Prune(), day)
	require.Equal(t, []string{"sig1 pruned", "enc1 pruned", "sig3 pruned revoked"}, d.lives()[4:])
}

func TestStepsAndUnknownKeys(t *testing.T) {
	d := open(t, keyset.ES256).take(rotation.Rotate(""), lead).due(0, 2*day)
	pruned := d.id("sig1")
	for name, step := range map[string]rotation.Step{
		"promote": rotation.Promote("x"), "retire": rotation.Retire(""), "revoke": rotation.Revoke(rotation.RevokeOptions{},
			d.id("sig2"), "x"),
		"promote pruned": rotation.Promote(pruned), "retire pruned": rotation.Retire(pruned), "revoke " +
			"pruned": rotation.Revoke(rotation.RevokeOptions{}, pruned),
	} {
		_, err := d.try(step.Force(), 3*day)
		require.ErrorIs(t, err, keyset.ErrUnknownKey, name)
		require.NotErrorIs(t, err, rotation.ErrRefused, name)
	}
}

func TestZeroStep(t *testing.T) {
	d := open(t, keyset.ES256)
	f := place(t, d.set)
	for _, s := range []rotation.Step{{}, rotation.Step{}.Force()} {
		_, err := d.try(s, 0)
		require.EqualError(t, err, "rotation: the zero Step does nothing")
		_, _, err = s.Apply(t.Context(), f, zero())
		require.EqualError(t, err, "rotation: the zero Step does nothing")
	}
}

// errorsOf returns the texts of the errors that Inspect finds.
func errorsOf(d *desk, at time.Duration) error {
	var all []error
	for _, f := range rotation.Inspect(d.set, zero().Add(at)) {
		if f.Severity == rotation.Error {
			all = append(all, errors.New(d.plain(f.Text)))
		}
	}
	return errors.Join(all...)
}
