package rotation_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
)

// span4 is dates by times after zero, with the verify-only time of the example.
func span4(publish, sign, until time.Duration) keyset.Dates {
	return keyset.Dates{PublishAt: zero().Add(publish), SignFrom: zero().Add(sign), SignUntil: zero().Add(until),
		VerifyUntil: zero().Add(until + verifyOnly)}
}

// Each finding, with a set that shows it, and one beside it that does not.
func TestInspect(t *testing.T) {
	const end = 2*month - time.Minute
	one := func(t *testing.T, alg keyset.Algorithm, d keyset.Dates) *desk { return legacy(t, generate(t, alg, d)) }
	two := func(t *testing.T, x, y keyset.Dates) *desk {
		return legacy(t, generate(t, keyset.EdDSA, x), generate(t, keyset.EdDSA, y))
	}
	shortly := func(t *testing.T, until time.Duration) *desk {
		d := one(t, keyset.ES256, span4(-day, -day, until))
		require.NoError(t, d.set.SetPolicy(with(func(p *keyset.Policy) { p.RotationPeriod = 6 * time.Hour })))
		return d
	}
	for _, row := range []struct {
		name      string
		want      string
		bad, good func(t *testing.T) (d *desk, at time.Duration)
	}{
		{
			"nothing to sign with", "error - there is no key to sign with; run: keygen add --alg ES256",
			func(t *testing.T) (*desk, time.Duration) { return open(t, keyset.Direct), 0 },
			func(t *testing.T) (*desk, time.Duration) { return open(t, keyset.Direct).take(add(keyset.ES256), 0), 0 },
		},
		{
			"nobody signs", "error - no active key that signs; run: keygen rotate",
			func(t *testing.T) (*desk, time.Duration) { return open(t, keyset.ES256), end + time.Hour },
			func(t *testing.T) (*desk, time.Duration) { return open(t, keyset.ES256), end + time.Hour - time.Second },
		},
		{
			"nobody encrypts", "error - no active key that encrypts; run: keygen rotate",
			func(t *testing.T) (*desk, time.Duration) {
				return open(t, keyset.ES256, keyset.Direct), end + time.Hour
			},
			func(t *testing.T) (*desk, time.Duration) { return open(t, keyset.ES256).take(add(keyset.Direct), 0), 0 },
		},
		{
			"in the grace", "error sig2 key sig2 (sig) should have been replaced at 2026-03-01T23:59:00Z, and goes on in its " +
				"grace until 2026-03-02T00:59:00Z; run: keygen rotate",
			func(t *testing.T) (*desk, time.Duration) { return open(t, keyset.ES256), end },
			func(t *testing.T) (*desk, time.Duration) { return open(t, keyset.ES256), end - time.Second },
		},
		{
			"in the grace, with a successor", "warning sig2 key sig2 (sig) should have been replaced at " +
				"2026-03-01T23:59:00Z, and goes on in its grace until 2026-03-02T00:59:00Z; then key sig3 takes over",
			func(t *testing.T) (*desk, time.Duration) {
				return open(t, keyset.ES256).take(rotation.IfDue(), end+time.Minute), end + time.Minute
			},
			func(t *testing.T) (*desk, time.Duration) {
				return open(t, keyset.ES256).take(rotation.IfDue(), end-lead), end + time.Minute
			},
		},
		{
			"without an end", "warning sig1 key sig1 has no end; run keygen rotate --if-due to give it one",
			func(t *testing.T) (*desk, time.Duration) { return one(t, keyset.ES256, keyset.Dates{}), 0 },
			func(t *testing.T) (*desk, time.Duration) {
				return one(t, keyset.ES256, keyset.Dates{}).take(rotation.IfDue(), 0), 0
			},
		},
		{
			"without a standby, with a short period", "error sig1 key sig1 (sig) signs until 2026-01-01T02:07:00Z, and no " +
				"standby is there to follow it; run: keygen rotate --if-due",
			func(t *testing.T) (*desk, time.Duration) { return shortly(t, 2*lead), 0 },
			func(t *testing.T) (*desk, time.Duration) { return shortly(t, 2*lead), -time.Second },
		},
		{
			"without a standby for long", "warning sig2 key sig2 has had no standby for 2d1s: keygen rotate --if-due seems " +
				"not to run; it signs until 2026-03-01T23:59:00Z",
			func(t *testing.T) (*desk, time.Duration) {
				return open(t, keyset.ES256), month - time.Minute + 2*day + time.Second
			},
			func(t *testing.T) (*desk, time.Duration) { return open(t, keyset.ES256), month - time.Minute + 2*day },
		},
		{
			"without a standby, high time", "error sig2 key sig2 (sig) signs until 2026-03-01T23:59:00Z, and no standby is " +
				"there to follow it; run: keygen rotate --if-due",
			func(t *testing.T) (*desk, time.Duration) { return open(t, keyset.ES256), end - 3*day },
			func(t *testing.T) (*desk, time.Duration) { return open(t, keyset.ES256), end - 3*day - time.Second },
		},
		{
			"signs too early", "warning sig2 key sig2 signs already, and is sure to be known everywhere only at " +
				"2026-01-01T01:03:30Z: some verifiers may reject its tokens until then",
			func(t *testing.T) (*desk, time.Duration) {
				return open(t, keyset.ES256).take(rotation.Rotate("").Force(), time.Minute), lead - time.Second
			},
			func(t *testing.T) (*desk, time.Duration) {
				return open(t, keyset.ES256).take(rotation.Rotate("").Force(), time.Minute), lead
			},
		},
		{
			"too many keys", "warning - there are 9 keys in the JWK Set, and every verifier has to fetch them: 8 are enough",
			func(t *testing.T) (*desk, time.Duration) {
				var all []*keyset.Key
				for i := range 9 {
					all = append(all, generate(t, keyset.EdDSA, span4(-day, time.Duration(i)*day, time.Duration(i+1)*day)))
				}
				return legacy(t, all...), 0
			},
			func(t *testing.T) (*desk, time.Duration) { return open(t, keyset.ES256), 0 },
		},
		{
			"an overlap", "error sig2 keys sig1 and sig2 sign at the same time from 2026-01-06T00:00:00Z",
			func(t *testing.T) (*desk, time.Duration) {
				return two(t, span4(-day, -day, 5*day+time.Second), span4(0, 5*day, 9*day)), 0
			},
			func(t *testing.T) (*desk, time.Duration) {
				return two(t, span4(-day, -day, 5*day), span4(0, 5*day, 9*day)), 0
			},
		},
		{
			"an overlap without an end", "error sig2 keys sig1 and sig2 sign at the same time from 2026-01-06T00:00:00Z",
			func(t *testing.T) (*desk, time.Duration) { return two(t, keyset.Dates{}, span4(0, 5*day, 9*day)), 0 },
			func(t *testing.T) (*desk, time.Duration) {
				return two(t, span4(-day, -day, 5*day), span4(0, 5*day, 9*day)), 0
			},
		},
		{
			"a gap", "error sig2 no key of use sig signs from 2026-01-05T23:59:59Z to 2026-01-06T00:00:00Z, except in its grace",
			func(t *testing.T) (*desk, time.Duration) {
				return two(t, span4(-day, -day, 5*day-time.Second), span4(0, 5*day, 9*day)), 0
			},
			func(t *testing.T) (*desk, time.Duration) {
				return two(t, span4(-day, -day, 5*day), span4(0, 5*day, 9*day)), 0
			},
		},
		{
			"AES-GCM", "error enc1 keys: policy: peak_rate * (rotation_period + grace + clock_skew) = 829 * 30d1h1m = 2.2e+09 " +
				"tokens under one key, and 2^31 are allowed (NIST SP 800-38D, Section 8.3, halved): rotate every 29d22h33m10s, " +
				"or use A256KW, which has a fresh key for each token",
			func(t *testing.T) (*desk, time.Duration) {
				d := open(t, keyset.ES256, keyset.Direct)
				require.NoError(t, d.set.SetPolicy(with(func(p *keyset.Policy) { p.PeakRate = 829 })))
				return d, 0
			},
			func(t *testing.T) (*desk, time.Duration) {
				d := open(t, keyset.ES256, keyset.A256KW)
				require.NoError(t, d.set.SetPolicy(with(func(p *keyset.Policy) { p.PeakRate = 829 })))
				return d, 0
			},
		},
		{
			"a clock that is wrong", "error sig2 key sig2 has a creation time in the future (2026-01-01T00:00:00Z): the clock " +
				"of this machine, or of the one that made it, is wrong",
			func(t *testing.T) (*desk, time.Duration) { return open(t, keyset.ES256), -time.Minute - time.Second },
			func(t *testing.T) (*desk, time.Duration) { return open(t, keyset.ES256), -time.Minute },
		},
		{
			"a standby that is young", "warning sig2 key sig2 signs from 2026-01-01T01:03:29Z, and is sure to be known " +
				"everywhere only at 2026-01-01T01:03:30Z: some verifiers may reject its first tokens",
			func(t *testing.T) (*desk, time.Duration) {
				return two(t, span4(-day, -day, lead-time.Second), span4(0, lead-time.Second, 9*day)), 0
			},
			func(t *testing.T) (*desk, time.Duration) {
				return two(t, span4(-day, -day, lead), span4(0, lead, 9*day)), 0
			},
		},
		{
			"trusted for ever", "warning sig2 key sig2 is trusted for ever; 1h17m is enough; run: keygen revoke sig2, when " +
				"its tokens have expired",
			func(t *testing.T) (*desk, time.Duration) {
				return two(t, keyset.Dates{}, keyset.Dates{SignUntil: zero()}), 0
			},
			func(t *testing.T) (*desk, time.Duration) { return two(t, keyset.Dates{}, span4(-day, -day, 0)), 0 },
		},
		{
			"a key in a KMS", "warning sig1 the private half of key sig1 is not in the file: the application must have it as " +
				"a crypto.Signer",
			func(t *testing.T) (*desk, time.Duration) {
				k, err := public(t, keyset.ES256)(span4(-day, -day, 5*day))
				require.NoError(t, err)
				return legacy(t, k), 0
			},
			func(t *testing.T) (*desk, time.Duration) { return one(t, keyset.ES256, span4(-day, -day, 5*day)), 0 },
		},
		{
			"a key is due", "due - a new key of use sig is due, to sign from 2026-01-06T00:00:00Z",
			func(t *testing.T) (*desk, time.Duration) { return one(t, keyset.ES256, span4(-day, -day, 5*day)), 0 },
			func(t *testing.T) (*desk, time.Duration) {
				return two(t, span4(-day, -day, 5*day), span4(0, 5*day, 9*day)), 0
			},
		},
		{
			"dates are due", "due sig1 the dates of key sig1 are to be moved: it signs until 2026-01-01T01:03:30Z",
			func(t *testing.T) (*desk, time.Duration) {
				return one(t, keyset.ES256, span4(-day, -day, lead-time.Second)), 0
			},
			func(t *testing.T) (*desk, time.Duration) { return one(t, keyset.ES256, span4(-day, -day, lead)), 0 },
		},
		{
			"to be erased", "due sig1 key sig1 no longer signs; its private key should be erased",
			func(t *testing.T) (*desk, time.Duration) {
				return open(t, keyset.ES256), month - time.Minute + time.Hour
			},
			func(t *testing.T) (*desk, time.Duration) {
				return open(t, keyset.HS256), month - time.Minute + time.Hour
			},
		},
		{
			"to be pruned", "due sig1 key sig1 has expired; it should be pruned",
			func(t *testing.T) (*desk, time.Duration) {
				return open(t, keyset.HS256), month - time.Minute + verifyOnly
			},
			func(t *testing.T) (*desk, time.Duration) {
				return open(t, keyset.HS256), month - time.Minute + verifyOnly - time.Second
			},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			d, at := row.bad(t)
			before := d.set.Clone()
			require.Contains(t, d.findings(at), row.want)
			same(t, before, d.set)
			d, at = row.good(t)
			require.NotContains(t, d.findings(at), row.want)
		})
	}
}

// Findings come in this order: each use, each key in the order of the file,
// what is due.
func TestInspectInOrder(t *testing.T) {
	d := legacy(t, generate(t, keyset.Direct, keyset.Dates{}),
		generate(t, keyset.EdDSA, keyset.Dates{SignUntil: zero()}), generate(t, keyset.EdDSA, keyset.Dates{}))
	want := []string{
		"warning sig2 key sig2 has no end; run keygen rotate --if-due to give it one",
		"warning enc1 key enc1 has no end; run keygen rotate --if-due to give it one",
		"warning sig1 key sig1 is trusted for ever; 1h17m is enough; run: keygen revoke sig1, when its tokens have expired",
		"due enc1 the dates of key enc1 are to be moved: it signs until 2026-01-01T00:03:30Z",
		"due sig2 the dates of key sig2 are to be moved: it signs until 2026-01-01T01:03:30Z",
		"due - a new key of use sig is due, to sign from 2026-01-01T01:03:30Z",
		"due - a new key of use enc is due, to sign from 2026-01-01T00:03:30Z",
	}
	for range 3 {
		require.Equal(t, want, d.findings(0))
	}
	require.Equal(t, []string{"error - there is no key to sign with; run: keygen add --alg ES256"},
		newDesk(t, new(keyset.Set)).findings(0))
}
