package rotation_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
	"github.com/cloakroom-go/cloakroom/keys"
)

func revoke(d *desk, names ...string) rotation.Step { return revokeWith(d, false, names...) }

func revokeWith(d *desk, fresh bool, names ...string) rotation.Step {
	var ids []string
	for _, name := range names {
		ids = append(ids, d.id(name))
	}
	return rotation.Revoke(rotation.RevokeOptions{Reason: "key_compromise", Fresh: fresh}, ids...)
}

// The standby signs at once, also on instances whose clock is behind, and a new
// standby is there.
func TestRevoke(t *testing.T) {
	d := open(t, keyset.ES256, keyset.Direct)
	d.take(revoke(d, "sig1"), 10*day).want(
		"sig1 ES256 -1m -1m 29d23h59m 30d1h16m revoked",
		"sig2 ES256 0s 9d23h59m 39d23h59m 40d1h16m",
		"enc1 dir -1m -1m 29d23h59m 30d1h16m",
		"enc2 dir 0s 29d23h59m 59d23h59m 60d1h16m",
		"sig3 ES256 10d 39d23h59m 69d23h59m 70d1h16m",
	)
	require.Equal(t, "sig2 enc1", d.signers(10*day-time.Minute))
	at, reason, revoked := d.set.Key(d.id("sig1")).Revoked()
	require.True(t, revoked)
	require.Equal(t, zero().Add(10*day), at)
	require.Equal(t, "key_compromise", reason)
	require.False(t, d.set.Key(d.id("sig1")).HasPrivate())
	require.Empty(t, d.findings(10*day))
	d.refuse(revoke(d, "sig1"), 10*day, "key sig1 was revoked already")
	d.refuse(rotation.Promote(d.id("sig1")), 10*day, "key sig1 is revoked")
	d.refuse(rotation.Retire(d.id("sig1")), 10*day, "key sig1 is revoked")
	d.unchanged(rotation.IfDue(), 10*day)
}

// A key that nobody knows signs at once, and the standby waits.
func TestRevokeFresh(t *testing.T) {
	d := open(t, keyset.ES256)
	d.take(revokeWith(d, true, "sig1"), 10*day).want(
		"sig1 ES256 -1m -1m 29d23h59m 30d1h16m revoked",
		"sig2 ES256 0s 39d23h59m 69d23h59m 70d1h16m",
		"sig3 ES256 9d23h59m 9d23h59m 39d23h59m 40d1h16m",
	)
	require.Equal(t, "sig3 none", d.signers(10*day-time.Minute))
}

// The secret of a symmetric key is not kept to verify with.
func TestRevokeEncryption(t *testing.T) {
	d := open(t, keyset.ES256, keyset.Direct)
	d.take(revoke(d, "enc1"), 10*day).want(
		"sig1 ES256 -1m -1m 29d23h59m 30d1h16m",
		"sig2 ES256 0s 29d23h59m 59d23h59m 60d1h16m",
		"enc2 dir 0s 9d23h59m 39d23h59m 40d1h16m",
		"enc3 dir 10d 39d23h59m 69d23h59m 70d1h16m",
		"enc1 pruned revoked",
	)
}

// A key that does not sign leaves the one that does alone.
func TestRevokeOthers(t *testing.T) {
	d := open(t, keyset.ES256)
	d.take(revoke(d, "sig2"), day).want( // the standby
		"sig1 ES256 -1m -1m 29d23h59m 30d1h16m",
		"sig2 ES256 0s 29d23h59m 59d23h59m 60d1h16m revoked",
		"sig3 ES256 1d 29d23h59m 59d23h59m 60d1h16m",
	)
	d.take(rotation.Rotate(""), 2*day)
	d.take(revoke(d, "sig1"), 2*day).want( // the one that signed before
		"sig1 ES256 -1m -1m 2d 2d1h17m revoked",
		"sig2 ES256 0s 29d23h59m 59d23h59m 60d1h16m revoked",
		"sig3 ES256 1d 2d 32d 32d1h17m",
		"sig4 ES256 2d 32d 62d 62d1h17m",
	)
}

// The standby is revoked when the key before it is about to end: that one goes
// on until a new standby is known.
func TestRevokeTheStandbyLate(t *testing.T) {
	d := open(t, keyset.ES256)
	d.take(revoke(d, "sig2"), 29*day+23*time.Hour).want(
		"sig1 ES256 -1m -1m 30d3m30s 30d1h20m30s",
		"sig2 ES256 0s 29d23h59m 59d23h59m 60d1h16m revoked",
		"sig3 ES256 29d23h 30d3m30s 60d3m30s 60d1h20m30s",
	)
}

func TestRevokeSeveral(t *testing.T) {
	d := open(t, keyset.ES256, keyset.Direct)
	d.take(revoke(d, "sig1", "sig2", "enc1"), 10*day).want(
		"sig1 ES256 -1m -1m 29d23h59m 30d1h16m revoked",
		"sig2 ES256 0s 29d23h59m 59d23h59m 60d1h16m revoked",
		"enc2 dir 0s 9d23h59m 39d23h59m 40d1h16m",
		"sig3 ES256 9d23h59m 9d23h59m 39d23h59m 40d1h16m",
		"sig4 ES256 10d 39d23h59m 69d23h59m 70d1h16m",
		"enc3 dir 10d 39d23h59m 69d23h59m 70d1h16m",
		"enc1 pruned revoked",
	)
	d.refuse(revoke(d, "sig3", "sig3"), 10*day, "key sig3 was revoked already")
	_, err := d.try(rotation.Revoke(rotation.RevokeOptions{}), 0)
	require.EqualError(t, err, "rotation: Revoke needs the ID of a key")
	_, err = d.try(rotation.Revoke(rotation.RevokeOptions{Reason: strings.Repeat("x", 201)}, d.id("sig3")), 10*day)
	require.ErrorContains(t, err, "at most 200 bytes")
}

// A key of another algorithm that everybody knows already signs early. What is
// made in a hurry is like the key that it replaces.
func TestRevokeWhileTheAlgorithmChanges(t *testing.T) {
	algorithms := func(d *desk, step rotation.Step) string {
		d.take(step, day)
		ring, err := (*keys.Set)(d.set).Ring()
		require.NoError(t, err)
		k, err := ring.Current(keys.Signature, zero().Add(day))
		require.NoError(t, err)
		return string(k.Algorithm())
	}
	moving := func(o rotation.AddOptions) *desk { return open(t, keyset.ES256).take(rotation.Add(keyset.EdDSA, o), 0) }
	late := rotation.AddOptions{PublishAt: zero().Add(2 * day)}
	d := moving(rotation.AddOptions{})
	require.Equal(t, "ES256", algorithms(d, revokeWith(d, true, "sig1")))
	require.Equal(t, "ES256", algorithms(moving(rotation.AddOptions{}), rotation.RevokeAll("")))
	d = moving(late)
	require.Equal(t, "ES256", algorithms(d, revoke(d, "sig1", "sig2")))
	d = moving(rotation.AddOptions{})
	require.Equal(t, "EdDSA", algorithms(d, revoke(d, "sig1", "sig2")))
}

func TestRevokeDownToTheNextAlgorithm(t *testing.T) {
	d := open(t, keyset.ES256).take(rotation.Add(keyset.EdDSA, rotation.AddOptions{}), 0)
	d.take(revoke(d, "sig1", "sig2"), day)
	require.Equal(t, []string{"sig3 EdDSA 0s 23h59m 30d23h59m 31d1h16m", "sig4 EdDSA 1d 30d23h59m 60d23h59m 61d1h16m"},
		d.lives()[2:])
}

func TestRevokeAll(t *testing.T) {
	d := open(t, keyset.ES256, keyset.Direct).take(rotation.Rotate(""), 2*day)
	d.take(rotation.RevokeAll("backup stolen"), 10*day).want(
		"sig1 ES256 -1m -1m 2d 2d1h17m revoked",
		"sig2 ES256 0s 2d 32d 32d1h17m revoked",
		"sig3 ES256 2d 32d 62d 62d1h17m revoked",
		"sig4 ES256 9d23h59m 9d23h59m 39d23h59m 40d1h16m",
		"sig5 ES256 10d 39d23h59m 69d23h59m 70d1h16m",
		"enc4 dir 9d23h59m 9d23h59m 39d23h59m 40d1h16m",
		"enc5 dir 10d 39d23h59m 69d23h59m 70d1h16m",
		"enc1 pruned revoked", "enc2 pruned revoked", "enc3 pruned revoked",
	)
	require.Equal(t, "sig4 enc4", d.signers(10*day-time.Minute))
	require.Equal(t, []string{
		"warning sig4 key sig4 signs already, and is sure to be known everywhere only at 2026-01-11T01:03:30Z: some " +
			"verifiers may reject its tokens until then",
		"warning enc4 key enc4 signs already, and is sure to be known everywhere only at 2026-01-11T00:03:30Z: some " +
			"verifiers may reject its tokens until then",
		"due sig1 key sig1 has expired; it should be pruned",
	}, d.findings(10*day))
	require.Equal(t, []string{"due sig1 key sig1 has expired; it should be pruned"}, d.findings(10*day+lead))
	_, reason, _ := d.set.Key(d.id("sig3")).Revoked()
	require.Equal(t, "backup stolen", reason)
	d.take(rotation.RevokeAll("again"), 10*day) // and again at once
	_, reason, _ = d.set.Key(d.id("sig3")).Revoked()
	require.Equal(t, "backup stolen", reason, "the first reason stays")
}

func TestRevokeAllOfNothing(t *testing.T) {
	d := newDesk(t, new(keyset.Set))
	d.unchanged(rotation.RevokeAll(""), 0)
	d.unchanged(rotation.IfDue(), 0)
	d.unchanged(rotation.Prune(), 0)
	d.unchanged(rotation.Rotate(""), 0)
}

// Nothing was encrypted yet: the key that follows the first one must be known
// everywhere before it begins.
func TestRevokeTheFirstEncryptionKeyBeforeItBegins(t *testing.T) {
	d := open(t, keyset.HS256).take(rotation.Add(keyset.A256KW, rotation.AddOptions{}), 0)
	d.take(revokeWith(d, true, "enc1"), time.Minute)
	require.Equal(t, []string{"enc2 A256KW 1m 4m30s 30d4m30s 30d1h21m30s", "enc1 pruned revoked"}, d.lives()[2:])
	d = open(t, keyset.HS256).take(rotation.Add(keyset.A256KW, rotation.AddOptions{}), 0)
	d.take(rotation.RevokeAll(""), time.Minute).want(
		"sig3 HS256 0s 0s 30d 30d1h17m",
		"sig4 HS256 1m 30d 60d 60d1h17m",
		"enc2 A256KW 1m 4m30s 30d4m30s 30d1h21m30s",
		"sig1 pruned revoked", "sig2 pruned revoked", "enc1 pruned revoked",
	)
}

// While the last key goes on in its grace, another that is revoked changes
// nothing for it.
func TestRevokeInTheGrace(t *testing.T) {
	const end = 2*month - time.Minute // of sig2; nobody came before
	late := func() *desk {
		d := openWith(t, with(func(p *keyset.Policy) { p.TokenLife = 40 * day }), keyset.ES256)
		return d.take(rotation.IfDue(), end+10*time.Minute)
	}
	sig2, sig3 := "sig2 ES256 0s 29d23h59m 59d23h59m 100d1h1m", "sig3 ES256 60d8m 60d59m 90d59m 130d2h1m"
	d := late()
	require.Equal(t, []string{sig2, sig3}, d.lives()[1:])
	d.take(revoke(d, "sig1"), end+20*time.Minute)
	require.Equal(t, []string{sig2, sig3}, d.lives()[1:])
	require.Equal(t, "sig2 none", d.signers(end+time.Hour-1))
	d = late()
	d.take(revoke(d, "sig3"), end+20*time.Minute) // its successor
	require.Equal(t, []string{sig2, sig3 + " revoked", "sig4 ES256 60d18m 60d59m 90d59m 130d2h1m"}, d.lives()[1:])
	d = late()
	d.take(revoke(d, "sig2"), end+20*time.Minute) // the one that signs
	require.Equal(t, []string{"sig3 ES256 60d8m 60d18m 90d18m 130d1h20m", "sig4 ES256 60d19m 90d18m 120d18m 160d1h20m"},
		d.lives()[2:])
}
