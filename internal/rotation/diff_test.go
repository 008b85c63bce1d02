package rotation_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
)

// diff returns what a step changes, in words and with names for kids.
func (d *desk) diff(s rotation.Step, at time.Duration) []string {
	d.Helper()
	before := d.set
	d.take(s, at)
	var all []string
	for range 3 { // in the same order each time
		all = nil
		for _, c := range rotation.Diff(before, d.set) {
			all = append(all, d.plain(c.String()))
		}
	}
	require.Empty(d, rotation.Diff(d.set, d.set.Clone()))
	return all
}

func TestDiff(t *testing.T) {
	d := open(t, keyset.ES256, keyset.Direct)
	require.Equal(t, []string{
		"key sig1 (sig ES256): sign_until 2026-01-02T00:00:00Z, was 2026-01-30T23:59:00Z",
		"key sig1 (sig ES256): verify_until 2026-01-02T01:17:00Z, was 2026-01-31T01:16:00Z",
		"key sig2 (sig ES256): sign_from 2026-01-02T00:00:00Z, was 2026-01-30T23:59:00Z",
		"key sig2 (sig ES256): sign_until 2026-02-01T00:00:00Z, was 2026-03-01T23:59:00Z",
		"key sig2 (sig ES256): verify_until 2026-02-01T01:17:00Z, was 2026-03-02T01:16:00Z",
		"key sig3 (sig ES256): made",
		"key sig3 (sig ES256): publish_at 2026-01-02T00:00:00Z",
		"key sig3 (sig ES256): sign_from 2026-02-01T00:00:00Z",
		"key sig3 (sig ES256): sign_until 2026-03-03T00:00:00Z",
		"key sig3 (sig ES256): verify_until 2026-03-03T01:17:00Z",
	}, d.diff(rotation.Rotate(keyset.Signature), day))
	require.Equal(t, []string{"key sig1 (sig ES256): erased the private half"}, d.diff(rotation.IfDue(), day+time.Hour))
	require.Equal(t, []string{"key sig1 (sig ES256): pruned"}, d.diff(rotation.IfDue(), day+verifyOnly))
}

// Of a key that is revoked it is said once, also when nothing is left of it.
func TestDiffOfRevoked(t *testing.T) {
	d := open(t, keyset.HS256).take(add(keyset.Direct), 0)
	require.Equal(t, []string{
		"key sig2 (sig HS256): revoked key_compromise",
		"key sig3 (sig HS256): made",
		"key sig3 (sig HS256): publish_at 2026-01-02T00:00:00Z",
		"key sig3 (sig HS256): sign_from 2026-01-30T23:59:00Z",
		"key sig3 (sig HS256): sign_until 2026-03-01T23:59:00Z",
		"key sig3 (sig HS256): verify_until 2026-03-02T01:16:00Z",
	}, d.diff(revoke(d, "sig2"), day))
	d = open(t, keyset.ES256)
	d.take(revoke(d, "sig2"), day)
	require.Equal(t, []string{"key sig2 (sig ES256): pruned"}, d.diff(rotation.Prune(), day))
}

// The policy comes first, with the defaults in place of zeros.
func TestDiffOfPolicy(t *testing.T) {
	list := func(was, is keyset.Policy) (all []string) {
		before, after := new(keyset.Set), new(keyset.Set)
		require.NoError(t, before.SetPolicy(was))
		require.NoError(t, after.SetPolicy(is))
		for _, c := range rotation.Diff(before, after) {
			all = append(all, c.String())
		}
		return all
	}
	require.Equal(t, []string{"the policy: token_life 15m, was 1d"}, list(keyset.Policy{}, example()))
	require.Equal(t, []string{"the policy: token_life 1d, was 15m", "the policy: rotation_period 9d, was 30d",
		"the policy: peak_rate 7/s, was 500/s"}, list(example(), keyset.Policy{RotationPeriod: 9 * day, PeakRate: 7}))
	require.Empty(t, list(keyset.Policy{}, keyset.Policy{}.WithDefaults()))
	d := open(t, keyset.HS256)
	require.Equal(t, []string{
		"the policy: grace 2h, was 1h",
		"key sig1 (sig HS256): verify_until 2026-01-31T02:16:00Z, was 2026-01-31T01:16:00Z",
		"key sig2 (sig HS256): verify_until 2026-03-02T02:16:00Z, was 2026-03-02T01:16:00Z",
	}, d.diff(policy(func(p *keyset.Policy) { p.Grace = 2 * time.Hour }), day))
}

// Sets that have nothing to do with each other, and keys without dates.
func TestDiffOfOtherSets(t *testing.T) {
	d := legacy(t, generate(t, keyset.EdDSA, keyset.Dates{}),
		generate(t, keyset.A256KW, keyset.Dates{Created: zero(), SignUntil: zero().Add(day)}))
	empty := new(keyset.Set)
	require.NoError(t, empty.SetPolicy(example()))
	list := func(before, after *keyset.Set) (all []string) {
		for _, c := range rotation.Diff(before, after) {
			all = append(all, d.plain(c.String()))
		}
		return all
	}
	require.Equal(t, []string{"key sig1 (sig EdDSA): removed", "key enc1 (enc A256KW): removed"}, list(d.set, empty))
	require.Equal(t, []string{"key sig1 (sig EdDSA): made", "key enc1 (enc A256KW): made",
		"key enc1 (enc A256KW): sign_until 2026-01-02T00:00:00Z"}, list(empty, d.set))
	other := d.set.Clone()
	require.NoError(t, other.SetDates(d.id("enc1"), keyset.Dates{Created: zero()}, zero()))
	require.Equal(t, []string{"key enc1 (enc A256KW): sign_until none, was 2026-01-02T00:00:00Z"}, list(d.set, other))
}

// A reason is for people, and comes from people.
func TestChangeString(t *testing.T) {
	for want, c := range map[string]rotation.Change{
		"the policy: grace 2h, was 1h": {What: "grace", Was: "1h", Is: "2h"},
		"key k (sig ES256): made":      {ID: "k", Use: keyset.Signature, Algorithm: keyset.ES256, What: "made"},
		"key k (enc dir): revoked leaked": {ID: "k", Use: keyset.Encryption, Algorithm: keyset.Direct,
			What: "revoked", Is: "leaked"},
		"key k (enc dir): sign_until none, was x": {ID: "k", Use: keyset.Encryption, Algorithm: keyset.Direct,
			What: "sign_until", Was: "x"},
	} {
		require.Equal(t, want, c.String())
	}
}
