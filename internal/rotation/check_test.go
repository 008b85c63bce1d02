package rotation_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
)

// made adds a key with other dates than the step has computed.
func made(alg keyset.Algorithm, edit func(d *keyset.Dates)) rotation.Step {
	return rotation.Add(alg, rotation.AddOptions{Make: func(d keyset.Dates) (*keyset.Key, error) {
		edit(&d)
		return keyset.Generate(alg, d)
	}})
}

// Whoever computes the dates, a key that would reject a valid token or be
// trusted too long is not written. Force lifts what only rejects tokens for a
// while. Each number is off by one second, and with the one beside it the key
// is taken.
func TestCheckKey(t *testing.T) {
	need := "token_life 15m + leeway 1m + clock_skew 1m + grace 1h = 1h17m"
	for _, row := range []struct {
		name   string
		edit   func(d *keyset.Dates) // of a key with 1d 59d23h59m 89d23h59m 90d1h16m
		want   string
		lifted bool
	}{
		{"as computed", func(*keyset.Dates) {}, "", false},
		{"published late", func(d *keyset.Dates) { d.PublishAt = d.SignFrom.Add(time.Second - lead) }, "key sig3 would sign from 2026-03-01T23:59:00Z, and is published only since 2026-03-01T22:55:31Z: instances and verifiers that don't know it yet would reject its tokens; it needs distribution_lag 2m + reload_interval 30s + clock_skew 1m + cache_life 1h = 1h3m30s; earliest safe: 2026-03-01T23:59:01Z", true},
		{"published in time", func(d *keyset.Dates) { d.PublishAt = d.SignFrom.Add(-lead) }, "", false},
		{"signs early", func(d *keyset.Dates) { d.SignFrom = d.SignFrom.Add(-time.Second) }, "keys sig2 and sig3 would sign at the same time, from 2026-03-01T23:58:59Z", false},
		{"signs late", func(d *keyset.Dates) { d.SignFrom = d.SignFrom.Add(time.Second) }, "no key of use sig would sign from 2026-03-01T23:59:00Z to 2026-03-01T23:59:01Z", true},
		{"signs now", func(d *keyset.Dates) {
			d.SignFrom, d.SignUntil, d.VerifyUntil = d.PublishAt, d.PublishAt.Add(day), d.PublishAt.Add(day+verifyOnly)
		}, "keys sig1 and sig3 would sign at the same time", false},
		{"signs for ever", func(d *keyset.Dates) { d.SignUntil, d.VerifyUntil = time.Time{}, time.Time{} }, "key sig3 would sign for ever; give it an end, at most 2 * rotation_period = 60d after it begins", false},
		{"signs for long", func(d *keyset.Dates) { end(d, month+time.Second) }, "key sig3 would sign for 60d1s, and 2 * rotation_period = 60d is the most", false},
		{"signs for two periods", func(d *keyset.Dates) { end(d, month) }, "", false},
		{"verifies too short", func(d *keyset.Dates) { d.VerifyUntil = d.VerifyUntil.Add(-time.Second) }, "key sig3 would stop verifying 1h16m59s after it has ceased to sign, while its tokens live: " + need + " are needed; earliest safe: 2026-04-01T01:16:00Z", false},
		{"verifies too long", func(d *keyset.Dates) { d.VerifyUntil = d.VerifyUntil.Add(time.Second) }, "key sig3 would be trusted for 1h17m1s after it has ceased to sign, and " + need + " is enough", false},
		{"verifies for ever", func(d *keyset.Dates) { d.VerifyUntil = time.Time{} }, "key sig3 would be trusted for ever after it has ceased to sign; " + need + " is enough", false},
		{"never signs, verifies too short", func(d *keyset.Dates) { never(d, verifyOnly-time.Second) }, "key sig3 would stop verifying 1h16m59s after", false},
		{"never signs, verifies too long", func(d *keyset.Dates) { never(d, verifyOnly+time.Second) }, "key sig3 would be trusted for 1h17m1s after", false},
		{"never signs", func(d *keyset.Dates) { never(d, verifyOnly) }, "", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := open(t, keyset.ES256)
			step := made(keyset.ES256, row.edit)
			if row.want == "" {
				d.take(step, day)
				return
			}
			d.refuseNew(step, day, row.want)
			if row.lifted {
				d.take(step.Force(), day)
				return
			}
			d.refuseNew(step.Force(), day, row.want)
		})
	}
}

// end lets a key sign for longer.
func end(d *keyset.Dates, more time.Duration) {
	d.SignUntil, d.VerifyUntil = d.SignUntil.Add(more), d.VerifyUntil.Add(more)
}

// never lets a key verify alone.
func never(d *keyset.Dates, verify time.Duration) {
	d.SignFrom, d.SignUntil, d.VerifyUntil = d.PublishAt, d.PublishAt, d.PublishAt.Add(verify)
}

// What is claimed to be published since yesterday is known to nobody if it
// comes into the file now.
func TestCheckLeadOfANewKey(t *testing.T) {
	d := open(t, keyset.ES256)
	d.refuseNew(made(keyset.Direct, func(d *keyset.Dates) {
		d.PublishAt, d.SignFrom = d.PublishAt.Add(-time.Hour), d.SignFrom.Add(-time.Second)
	}), day,
		"key enc1 would sign from 2026-01-02T00:03:29Z, and is published only since 2026-01-02T00:00:00Z", "clock_skew 1m = "+
			"3m30s; earliest safe: 2026-01-02T00:03:30Z")
	d.take(made(keyset.Direct, func(d *keyset.Dates) { d.PublishAt = d.PublishAt.Add(-time.Hour) }), day)
}

// All that is wrong is said at once.
func TestCheckSaysEverything(t *testing.T) {
	open(t, keyset.ES256).refuseNew(made(keyset.ES256, func(d *keyset.Dates) {
		d.PublishAt, d.SignFrom, d.VerifyUntil = d.SignFrom, d.SignFrom.Add(time.Minute), d.SignUntil
	}), day, "is published only since", "would stop verifying 0s after", "no key of use sig would sign from")
}

// A standby that is published later is known that much later.
func TestCheckLeadOfAStagedKey(t *testing.T) {
	from := func(publish, sign, until time.Duration) keyset.Dates {
		return keyset.Dates{PublishAt: zero().Add(publish), SignFrom: zero().Add(sign), SignUntil: zero().Add(until),
			VerifyUntil: zero().Add(until + verifyOnly)}
	}
	staged := func() *desk {
		return legacy(t, generate(t, keyset.ES256, from(-day, -day, 10*day)),
			generate(t, keyset.ES256, from(5*day, 10*day, 40*day)))
	}
	for name, step := range map[string]func(d *desk) rotation.Step{
		"rotate": func(*desk) rotation.Step { return rotation.Rotate("") },
		"retire": func(d *desk) rotation.Step { return rotation.Retire(d.id("sig1")) },
	} {
		t.Run(name, func(t *testing.T) {
			d := staged()
			d.refuse(step(d), day, "and is published only since 2026-01-02T00:00:00Z", "earliest safe: 2026-01-06T01:03:30Z")
			d.safeFrom(step(d), 5*day+lead)
		})
	}
}

// A key that signs, however long already, may go on until its successor is
// known, whatever that one's algorithm.
func TestCheckTrustOfTheKeyThatSigns(t *testing.T) {
	p := with(func(p *keyset.Policy) { p.RotationPeriod = 2 * time.Hour })
	old := func() *desk {
		d := legacy(t, generate(t, keyset.HS256, keyset.Dates{SignFrom: zero().Add(-20 * day),
			SignUntil: zero().Add(10 * time.Minute), VerifyUntil: zero().Add(10*time.Minute + verifyOnly)}))
		require.NoError(t, d.set.SetPolicy(p))
		return d
	}
	old().take(add(keyset.ES256), 0).want("sig1 HS256 - -20d 1h3m30s 2h20m30s", "sig2 ES256 0s 1h3m30s 3h3m30s 4h20m30s")
	d := old()
	d.refuse(rotation.Add(keyset.ES256, rotation.AddOptions{PublishAt: zero().Add(61 * time.Second)}), 0,
		"key sig1 would sign for 20d1h4m31s, and 2 * rotation_period = 4h is the most")
	d = openWith(t, p, keyset.ES256)
	for at := time.Duration(0); at < day; at += time.Hour { // whoever withdraws every standby keeps the first key for ever
		_, next, _ := signersAt(d.set, at)
		d.take(rotation.Retire(next.ID()), at)
	}
	d.due(day, 2*day)
	require.NotContains(t, d.signers(2*day), "sig1")
}

// signersAt returns the signature key that is active at an instant after zero,
// and the one that comes next.
func signersAt(s *keyset.Set, at time.Duration) (current, next *keyset.Key, ok bool) {
	for _, k := range s.Keys() {
		switch state := k.State(zero().Add(at)); {
		case k.Use() != keyset.Signature:
		case state == keyset.Active:
			current = k
		case state == keyset.Pending || state == keyset.Staged:
			next = k
		}
	}
	return current, next, current != nil && next != nil
}

// No more tokens under one AES-GCM key than it is good for, by its own time to
// sign; nothing lifts that.
func TestCheckRate(t *testing.T) {
	// 2^31 tokens at 500 a second, less the grace and the skew
	const most = 49*day + 16*time.Hour + time.Minute + 47*time.Second
	staged := func(at time.Duration) rotation.Step {
		return rotation.Add(keyset.Direct, rotation.AddOptions{PublishAt: zero().Add(at)})
	}
	last := month - time.Minute + most - spread
	d := open(t, keyset.HS256, keyset.Direct)
	for _, step := range []rotation.Step{staged(last + time.Second), staged(last + time.Second).Force()} {
		d.refuse(step, 0, "peak_rate * (rotation_period + grace + clock_skew) = 500 * 49d17h2m48s = 2.1e+09 tokens under "+
			"one key, and 2^31 are allowed")
	}
	d.take(staged(last), 0)
	require.Equal(t, "enc2 dir 0s 29d23h59m 79d16h0m47s 79d17h17m47s", d.lives()[3])

	d = openWith(t, with(func(p *keyset.Policy) { p.PeakRate = 5000 }), keyset.HS256, keyset.A256KW)
	for _, step := range []rotation.Step{add(keyset.Direct), add(keyset.Direct).Force()} {
		d.refuse(step, day, "5000 * 30d1h1m = 1.3e+10 tokens under one key")
	}
	d.take(add(keyset.A256KW), day)
}

// A file whose rate is too high already stays of use: it may be rotated, and
// the rate lowered.
func TestCheckRateOfAnOldFile(t *testing.T) {
	d := legacy(t, generate(t, keyset.HS256, keyset.Dates{}), generate(t, keyset.Direct, keyset.Dates{}))
	require.NoError(t, d.set.SetPolicy(with(func(p *keyset.Policy) { p.PeakRate = 5000 })))
	d.take(rotation.IfDue(), 0).take(rotation.Rotate(""), 10*day)
	require.Contains(t, errorsOf(d, 10*day).Error(), "5000 * 30d1h1m")
	d.take(policy(func(p *keyset.Policy) { p.PeakRate = 4000 }), 10*day)
	d.take(policy(func(p *keyset.Policy) { p.PeakRate = 500 }), 10*day)
	d.refuse(policy(func(p *keyset.Policy) { p.PeakRate = 4000 }), 10*day, "4000 * 30d1h1m")
}

// Of the keys of other uses a step changes nothing, and what was wrong before
// is not its business.
func TestCheckLeavesTheRestAlone(t *testing.T) {
	wrong := keyset.Dates{PublishAt: zero(), SignFrom: zero().Add(time.Minute), SignUntil: zero().Add(9 * month),
		VerifyUntil: zero().Add(10 * month)}
	d := legacy(t, generate(t, keyset.EdDSA, keyset.Dates{}), generate(t, keyset.HS256, wrong),
		generate(t, keyset.Direct, keyset.Dates{}))
	d.take(rotation.Rotate(keyset.Encryption), 0)
	require.Equal(t, []string{"sig1 EdDSA - - - -", "sig2 HS256 0s 1m 270d 300d"}, d.lives()[:2])
}
