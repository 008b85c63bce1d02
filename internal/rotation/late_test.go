package rotation_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
)

// Nobody came since the file was made. What IfDue makes of it, by when it is
// taken: the key that signs goes on until its successor is known; in its grace,
// that one takes over at the end of it at the latest; after it, at once.
func TestIfDueLate(t *testing.T) {
	const end = 2*month - time.Minute // of sig2, the standby
	long := func(p *keyset.Policy) { p.Grace = 2 * time.Hour }
	for _, row := range []struct {
		name       string
		edit       func(p *keyset.Policy)
		at         time.Duration
		sig2, sig3 string
		signs      string // at the time of the step
	}{
		{"in time", nil, end - lead, "0s 29d23h59m 59d23h59m 60d1h16m", "59d22h55m30s 59d23h59m 89d23h59m 90d1h16m", "sig2 none"},
		{"a second late", nil, end - lead + time.Second, "0s 29d23h59m 59d23h59m1s 60d1h16m1s", "59d22h55m31s 59d23h59m1s 89d23h59m1s 90d1h16m1s", "sig2 none"},
		{"at the last second", nil, end - time.Second, "0s 29d23h59m 60d1h2m29s 60d2h19m29s", "59d23h58m59s 60d1h2m29s 90d1h2m29s 90d2h19m29s", "sig2 none"},
		{"at the end", nil, end, "0s 29d23h59m 59d23h59m 60d1h16m", "59d23h58m 60d59m 90d59m 90d2h16m", "sig2 none"},
		{"in the grace", nil, end + 30*time.Minute, "0s 29d23h59m 59d23h59m 60d1h16m", "60d28m 60d59m 90d59m 90d2h16m", "sig2 none"},
		{"in a long grace", long, end + 56*time.Minute, "0s 29d23h59m 59d23h59m 60d2h16m", "60d55m 60d1h58m30s 90d1h58m30s 90d4h15m30s", "sig2 none"},
		{"in a long grace, too late", long, end + 57*time.Minute, "0s 29d23h59m 59d23h59m 60d2h16m", "60d55m 60d1h59m 90d1h59m 90d4h16m", "sig2 none"},
		{"at the last second of the grace", nil, end + time.Hour - time.Second, "0s 29d23h59m 59d23h59m 60d1h16m", "60d57m59s 60d59m 90d59m 90d2h16m", "sig2 none"},
		{"after the grace", nil, end + time.Hour, "0s 29d23h59m 59d23h59m 60d1h16m", "60d58m 60d58m 90d58m 90d2h15m", "sig3 none"},
		{"after a year", nil, end + 365*day, "0s 29d23h59m 59d23h59m 60d1h16m", "424d23h58m 424d23h58m 454d23h58m 455d1h15m", "sig3 none"},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := example()
			if row.edit != nil {
				row.edit(&p)
			}
			d := openWith(t, p, keyset.ES256)
			d.take(rotation.IfDue(), row.at)
			require.Contains(t, d.lives(), "sig3 ES256 "+row.sig3)
			require.Contains(t, d.lives(), "sig2 ES256 "+row.sig2)
			require.Equal(t, row.signs, d.signers(row.at))
			require.NoError(t, errorsOf(d, row.at))
			if row.signs == "sig3 none" {
				d.take(rotation.IfDue(), row.at) // a recovery leaves it to the next one to clean up
				require.NotContains(t, d.lives(), "sig2 ES256 0s 29d23h59m 59d23h59m 60d1h16m", "erased, or pruned")
			}
			d.unchanged(rotation.IfDue(), row.at)
			d.due(row.at, row.at+2*month)
			require.NoError(t, errorsOf(d, row.at+2*month))
		})
	}
}

// After the grace a standby is made too; before it, the next one is due when
// the successor begins.
func TestIfDueLateCounts(t *testing.T) {
	const end = 2*month - time.Minute
	for at, want := range map[time.Duration]int{end - lead: 3, end - 1: 3, end: 3, end + time.Hour - time.Second: 3,
		end + time.Hour: 4} {
		d := open(t, keyset.ES256)
		d.take(rotation.IfDue(), at)
		require.Equal(t, want, d.count[keyset.Signature])
	}
}

// Someone who rotates in the grace gets what IfDue does, and a successor that
// is appointed can't be hurried.
func TestStepsInTheGrace(t *testing.T) {
	const now = 2*month - time.Minute + 10*time.Minute
	d := open(t, keyset.HS256, keyset.Direct).take(rotation.Rotate(""), now)
	require.Equal(t, []string{"sig3 HS256 60d9m 60d12m30s 90d12m30s 90d1h29m30s",
		"enc3 dir 60d9m 60d12m30s 90d12m30s 90d1h29m30s"}, d.lives()[2:4])
	require.Equal(t, "sig2 enc2", d.signers(now))
	d.refuse(rotation.Promote(d.id("sig3")), now+spread-time.Second, "earliest safe: 2026-03-02T00:12:30Z")
	require.Equal(t, []string{"warning sig2 key sig2 (sig) should have been replaced at 2026-03-01T23:59:00Z, and " +
		"goes on in its grace until 2026-03-02T00:12:30Z; then key sig3 takes over"}, d.findings(now)[:1])
	d.refuse(rotation.Retire(d.id("sig2")), now, "key sig2 is retiring")
	d.take(rotation.Retire(d.id("sig3")), now+time.Minute) // it is replaced
	require.Contains(t, d.lives(), "sig4 HS256 60d10m 60d13m30s 90d13m30s 90d1h30m30s")
	require.Equal(t, "sig2 enc2", d.signers(now+time.Minute))
	forced := open(t, keyset.ES256).take(rotation.IfDue(), now)
	forced.take(rotation.Promote(forced.id("sig3")).Force(), now)
	require.Equal(t, "sig3 none", forced.signers(now))
}

// A file from before rotation was: one key without dates, and no policy.
func TestOldFile(t *testing.T) {
	set, err := keyset.NewSet(generate(t, keyset.EdDSA, keyset.Dates{}), generate(t, keyset.A256KW, keyset.Dates{}))
	require.NoError(t, err)
	d := newDesk(t, set)
	require.Len(t, d.findings(0), 6)
	d.take(rotation.IfDue(), 0).want( // by the defaults, where tokens live for a day
		"sig1 EdDSA - - 1h3m30s 1d2h5m30s",
		"enc1 A256KW - - 3m30s 1d1h5m30s",
		"sig2 EdDSA 0s 1h3m30s 30d1h3m30s 31d2h5m30s",
		"enc2 A256KW 0s 3m30s 30d3m30s 31d1h5m30s",
	)
	require.Empty(t, d.findings(0))
	d.due(0, 31*day)
	require.Equal(t, "sig3 enc3", d.signers(31*day))
}

// Two keys without an end: the one that a Ring takes goes on, and the other
// one, which signs no more, gets an end.
func TestOldFileWithTwoKeys(t *testing.T) {
	at := func(days int) keyset.Dates { return keyset.Dates{SignFrom: zero().AddDate(0, 0, -days)} }
	d := legacy(t, generate(t, keyset.EdDSA, at(9)), generate(t, keyset.ES256, at(3)), generate(t, keyset.EdDSA, at(7)))
	require.Equal(t, "sig2 none", d.signers(0))
	d.take(rotation.IfDue(), 0).want(
		"sig1 EdDSA - -9d 0s 1h17m",
		"sig2 ES256 - -3d 27d 27d1h17m",
		"sig3 EdDSA - -7d 0s 1h17m",
		"sig4 ES256 0s 27d 57d 57d1h17m",
	)
	for range 20 { // the tie goes to the lower ID, wherever it is in the file
		d := legacy(t, generate(t, keyset.EdDSA, at(3)), generate(t, keyset.EdDSA, at(3)))
		signs := d.signers(0)
		d.take(rotation.IfDue(), 0)
		require.Equal(t, signs, d.signers(0))
	}
}

// Other steps on such a file leave alone what they are not about.
func TestStepsOnAnOldFileWithTwoKeys(t *testing.T) {
	from := keyset.Dates{SignFrom: zero().Add(-day)}
	d := legacy(t, generate(t, keyset.EdDSA, keyset.Dates{}), generate(t, keyset.EdDSA, from))
	d.take(add(keyset.Direct), 0)
	require.Equal(t, []string{"sig1 EdDSA - - - -", "sig2 EdDSA - -1d - -"}, d.lives()[:2])
	d.take(revoke(d, "sig1"), 0)
	require.Equal(t, []string{"sig1 EdDSA - - - - revoked", "sig2 EdDSA - -1d 29d 29d1h17m"}, d.lives()[:2])
}

// A standby that was appointed too early or too late in an edited file is
// brought in line.
func TestIfDueMendsGapsAndOverlaps(t *testing.T) {
	end := zero().Add(10 * day)
	for _, row := range []struct {
		from time.Duration // of the standby
		want string
	}{{9 * day, "sig2 EdDSA 0s 10d 40d 40d1h17m"}, {11 * day, "sig2 EdDSA 0s 10d 40d 40d1h17m"}} {
		from := zero().Add(row.from)
		d := legacy(t, generate(t, keyset.EdDSA, keyset.Dates{SignUntil: end, VerifyUntil: end.Add(verifyOnly)}),
			generate(t, keyset.EdDSA, keyset.Dates{PublishAt: zero(), SignFrom: from, SignUntil: from.Add(month),
				VerifyUntil: from.Add(month + verifyOnly)}))
		require.Error(t, errorsOf(d, 0))
		d.take(rotation.IfDue(), 0).want("sig1 EdDSA - - 10d 10d1h17m", row.want)
		require.NoError(t, errorsOf(d, 0))
	}
}

// A clock that is set back by no more than the skew does no harm. One that is
// further back is refused, as long as there is something to lose.
func TestClockSetBack(t *testing.T) {
	const now = 10 * day
	d := open(t, keyset.ES256, keyset.Direct).take(rotation.Rotate(""), now)
	back := newDesk(t, d.set)
	back.take(rotation.Retire(back.id("sig2")), now-time.Minute) // it signs already where the clock is right
	require.Equal(t, "sig2 ES256 0s 9d23h59m 9d23h59m 10d1h16m", back.lives()[1])
	require.Equal(t, "sig1 ES256 -1m -1m 10d1h3m30s 10d2h20m30s", back.lives()[0],
		"it goes on until the next one is known")

	late := now - time.Minute - time.Second
	for name, step := range map[string]rotation.Step{
		"retire": rotation.Retire(d.id("sig2")), "add": add(keyset.EdDSA),
		"policy": policy(func(p *keyset.Policy) { p.TokenLife = time.Hour }),
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, d.set)
			d.refuse(step, late, "has a creation time in the future (2026-01-11T00:00:00Z): the clock of this machine, or of "+
				"the one that made it, is more than the clock_skew of 1m wrong", "earliest safe: 2026-01-10T23:59:00Z")
			d.refuse(step.Force(), late, "has a creation time in the future (2026-01-11T00:00:00Z)")
		})
	}
	d.unchanged(rotation.IfDue(), late)
	newDesk(t, d.set).take(revoke(d, "sig2"), late) // an emergency doesn't wait for a clock
	d.take(rotation.RevokeAll("emergency"), late)
	require.Equal(t, "sig4 enc4", d.signers(late))

	d = open(t, keyset.ES256)
	d.take(rotation.IfDue(), -day) // nothing signs yet by this clock
	require.Equal(t, "sig1 none", d.signers(-day))
}

// Instants that no file can hold are errors, not wrong dates.
func TestYear9999(t *testing.T) {
	last := time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	set, err := rotation.New(example(), last.Add(-2*month-verifyOnly+time.Minute), keyset.ES256)
	require.NoError(t, err)
	require.Equal(t, last, set.Keys()[1].Dates().VerifyUntil)
	_, err = rotation.New(example(), last.Add(-2*month-verifyOnly+time.Minute+time.Second), keyset.ES256)
	require.ErrorContains(t, err, "after 9999")

	handover := set.Keys()[1].Dates().SignFrom
	for _, step := range []rotation.Step{rotation.IfDue(), rotation.Rotate(""), rotation.IfDue().Force(),
		rotation.RevokeAll("")} {
		after, err := step.Try(set, handover)
		require.Nil(t, after)
		require.ErrorContains(t, err, "after 9999")
	}
	require.Equal(t, handover, rotation.NextDue(set, handover))
	plan, err := rotation.Plan(set, handover, handover, last.Add(90*day))
	require.NoError(t, err)
	require.NotEmpty(t, plan.Rows)
	require.NotEmpty(t, rotation.Inspect(set, handover))

	_, err = rotation.New(example(), time.Unix(0, 0), keyset.ES256)
	require.ErrorContains(t, err, "before 1970")
	_, err = rotation.RevokeAll("").Try(set, time.Unix(-1, 0))
	require.ErrorContains(t, err, "before 1970")
}
