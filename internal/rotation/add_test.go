package rotation_test

import (
	"crypto"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
)

// public makes the public half of a new key, whose private half is elsewhere.
func public(t testing.TB, alg keyset.Algorithm) func(keyset.Dates) (*keyset.Key, error) {
	half := generate(t, alg, keyset.Dates{}).Public()
	return func(d keyset.Dates) (*keyset.Key, error) { return keyset.Import(alg, half, d) }
}

func add(alg keyset.Algorithm) rotation.Step { return rotation.Add(alg, rotation.AddOptions{}) }

// A new algorithm comes in behind the standby; what follows has it too.
func TestAddChangesTheAlgorithm(t *testing.T) {
	d := open(t, keyset.ES256)
	d.take(add(keyset.EdDSA), day).want(
		"sig1 ES256 -1m -1m 29d23h59m 30d1h16m",
		"sig2 ES256 0s 29d23h59m 59d23h59m 60d1h16m",
		"sig3 EdDSA 1d 59d23h59m 89d23h59m 90d1h16m",
	)
	d.take(add(keyset.HS256), day) // and another behind that
	require.Equal(t, "sig4 HS256 1d 89d23h59m 119d23h59m 120d1h16m", d.lives()[3])
	d.due(0, 91*day)
	require.Equal(t, "sig4 none", d.signers(91*day))
	require.Equal(t, "sig5 HS256 89d23h59m 119d23h59m 149d23h59m 150d1h16m", d.lives()[1])
}

// Every verifier fetches all of them. One that is withdrawn makes room when it
// has expired. Others don't see the rest.
func TestAddNoMoreThanEight(t *testing.T) {
	d := open(t, keyset.ES256, keyset.Direct)
	for range 6 {
		d.take(add(keyset.EdDSA), day)
	}
	d.refuse(add(keyset.EdDSA), day,
		"there are 8 keys in the JWK Set already, and every verifier has to fetch them; earliest safe: "+
			"2026-01-31T01:16:00Z, when the first of them expires")
	d.refuse(rotation.Add(keyset.ES256, rotation.AddOptions{VerifyOnly: true}).Force(), day)
	for range 8 {
		d.take(add(keyset.A256KW), day).take(rotation.Add(keyset.HS256, rotation.AddOptions{VerifyOnly: true}), day)
	}
	d.take(rotation.Retire(d.id("sig8")), day)
	d.refuse(add(keyset.EdDSA), day, "earliest safe: 2026-01-02T01:17:00Z")
	d.take(add(keyset.EdDSA), day+verifyOnly)
	d.refuse(add(keyset.EdDSA), day+verifyOnly)
	d.take(revoke(d, "sig7"), day+verifyOnly) // at once
	d.take(add(keyset.EdDSA), day+verifyOnly)
}

// Where tokens live so long that eight keys are listed all the time, there is
// room for one that is added.
func TestAddToAFullSet(t *testing.T) {
	p := with(func(p *keyset.Policy) { p.TokenLife = 5 * month })
	require.Equal(t, 8, p.Listed())
	d := openWith(t, p, keyset.ES256).due(0, year)
	for at := year; at < year+2*month; at += 5 * day {
		newDesk(t, d.due(at, at).set).take(add(keyset.EdDSA), at)
	}
}

const year = 365 * day

// Tokens are signed alone until every instance knows the first key that
// encrypts; nothing makes it begin before.
func TestAddEncryptionLater(t *testing.T) {
	d := open(t, keyset.ES256).take(add(keyset.Direct), day)
	sig1, sig2 := "sig1 ES256 -1m -1m 29d23h59m 30d1h16m", "sig2 ES256 0s 29d23h59m 59d23h59m 60d1h16m"
	d.want(sig1, sig2, "enc1 dir 1d 1d3m30s 31d3m30s 31d1h20m30s")
	require.Empty(t, d.findings(day))
	require.Equal(t, zero().Add(day+spread), rotation.NextDue(d.set, zero().Add(day)))
	d.unchanged(rotation.IfDue(), day)
	d.unchanged(rotation.IfDue(), day+spread-time.Second)
	require.Equal(t, "sig1 none", d.signers(day+spread-1))
	require.Equal(t, "sig1 enc1", d.signers(day+spread))
	for _, early := range []rotation.Step{rotation.Rotate(keyset.Encryption), rotation.Rotate(""),
		rotation.Promote(d.id("enc1"))} {
		d.refuse(early, day+spread-time.Second,
			"reload_interval 30s + clock_skew 1m = 3m30s; earliest safe: 2026-01-02T00:03:30Z")
	}
	d.take(rotation.IfDue(), day+spread).want(sig1, sig2, "enc1 dir 1d 1d3m30s 31d3m30s 31d1h20m30s",
		"enc2 dir 1d3m30s 31d3m30s 61d3m30s 61d1h20m30s")

	d = open(t, keyset.ES256).take(add(keyset.Direct), day)
	d.take(rotation.Promote(d.id("enc1")).Force(), day+time.Minute)
	require.Equal(t, "sig1 enc1", d.signers(day+time.Minute))
	require.Equal(t, "enc2 dir 1d1m 31d1m 61d1m 61d1h18m", d.lives()[3])
}

// The first key that encrypts is withdrawn before it begins: nothing is
// encrypted, and nothing is missing.
func TestAddEncryptionAndWithdrawIt(t *testing.T) {
	d := open(t, keyset.ES256).take(add(keyset.Direct), day)
	d.take(rotation.Retire(d.id("enc1")), day+time.Minute)
	require.Equal(t, "enc1 dir 1d 1d1m 1d1m 1d1h18m", d.lives()[2], "an instance that has not heard of it may begin")
	require.Equal(t, "sig1 none", d.signers(2*day))
	require.Empty(t, d.findings(day+time.Minute))
	d.due(0, 35*day)
	require.Equal(t, 1, d.count[keyset.Encryption])
}

func TestAddStaged(t *testing.T) {
	d := open(t, keyset.HS256)
	d.take(rotation.Add(keyset.HS256, rotation.AddOptions{PublishAt: zero().Add(10*day + time.Millisecond)}), 0)
	require.Equal(t, "sig3 HS256 10d 59d23h59m 89d23h59m 90d1h16m", d.lives()[2])
	require.Equal(t, keyset.Staged, d.set.Key(d.id("sig3")).State(zero()))
	d.take(rotation.Add(keyset.HS256, rotation.AddOptions{PublishAt: zero()}), day)
	require.Equal(t, "sig4 HS256 1d 89d23h59m 119d23h59m 120d1h16m", d.lives()[3], "an instant that has passed is now")
	d.take(rotation.Rotate(""), 2*day) // those that wait move up
	require.Equal(t, []string{"sig2 HS256 0s 2d 32d 32d1h17m", "sig3 HS256 10d 32d 62d 62d1h17m",
		"sig4 HS256 1d 62d 92d 92d1h17m"}, d.lives()[1:])
}

// The key before one that is published late goes on until then, up to twice its
// time.
func TestAddStagedLate(t *testing.T) {
	const last = 3*month - time.Minute - lead
	at := func(at time.Duration) rotation.Step {
		return rotation.Add(keyset.ES256, rotation.AddOptions{PublishAt: zero().Add(at)})
	}
	d := open(t, keyset.ES256)
	d.refuse(at(last+time.Second), 0,
		"key sig2 signs until 2026-03-01T23:59:00Z, and would have to go on until 2026-03-31T23:59:01Z", "publish its "+
			"successor at 2026-03-01T22:55:30Z at the latest")
	d.take(at(last), 0).want(
		"sig1 ES256 -1m -1m 29d23h59m 30d1h16m",
		"sig2 ES256 0s 29d23h59m 89d23h59m 90d1h16m",
		"sig3 ES256 89d22h55m30s 89d23h59m 119d23h59m 120d1h16m",
	)
}

// A key that signs without an end gets one, as far off as a rotation period.
func TestAddToAnOpenKey(t *testing.T) {
	d := legacy(t, generate(t, keyset.ES256, keyset.Dates{SignFrom: zero().Add(-10 * day)}))
	d.take(add(keyset.EdDSA), 0).want("sig1 ES256 - -10d 20d 20d1h17m", "sig2 EdDSA 0s 20d 50d 50d1h17m")
	d = legacy(t, generate(t, keyset.ES256, keyset.Dates{}))
	d.take(add(keyset.EdDSA), 0).want("sig1 ES256 - - 1h3m30s 2h20m30s", "sig2 EdDSA 0s 1h3m30s 30d1h3m30s 30d2h20m30s")
}

// Tokens of another system are accepted until they have ended. Its key never
// signs, and is not the model of the next.
func TestAddVerifyOnly(t *testing.T) {
	d := legacy(t, generate(t, keyset.ES256, keyset.Dates{SignFrom: zero().Add(-40 * day)}))
	d.take(rotation.Add(keyset.EdDSA, rotation.AddOptions{VerifyOnly: true, Make: public(t, keyset.EdDSA)}), 0)
	require.Equal(t, "sig2 EdDSA 0s 0s 0s 1h17m public", d.lives()[1])
	require.Equal(t, keyset.Retiring, d.set.Key(d.id("sig2")).State(zero()))
	d.take(rotation.IfDue(), 0)
	require.Equal(t, "sig3 ES256 0s 1h3m30s 30d1h3m30s 30d2h20m30s", d.lives()[2])
	d.take(rotation.IfDue(), verifyOnly)
	require.Equal(t, "sig2 pruned", d.lives()[3])

	d = open(t, keyset.ES256)
	d.take(rotation.Add(keyset.Direct, rotation.AddOptions{VerifyOnly: true}), 0)
	require.Equal(t, "enc1 dir 0s 0s 0s 1h17m", d.lives()[2])
	require.Empty(t, d.findings(0))
	d.due(0, 20*day)
	require.Equal(t, "sig1 none", d.signers(20*day))
	require.Equal(t, 1, d.count[keyset.Encryption], "nobody asked for a key that encrypts")
	_, err := d.try(rotation.Rotate(keyset.Encryption), 20*day)
	require.ErrorContains(t, err, "there is no key for use")
}

func TestAddMake(t *testing.T) {
	d := open(t, keyset.ES256)
	var given keyset.Dates
	_, err := d.try(rotation.Add(keyset.ES256, rotation.AddOptions{Make: func(dates keyset.Dates) (*keyset.Key, error) {
		given = dates
		return nil, errors.New("the vault is closed")
	}}), time.Hour)
	require.EqualError(t, err, "the vault is closed")
	require.NotErrorIs(t, err, rotation.ErrRefused)
	from := zero().Add(2*month - time.Minute)
	require.Equal(t, keyset.Dates{Created: zero().Add(time.Hour), PublishAt: zero().Add(time.Hour), SignFrom: from,
		SignUntil: from.Add(month), VerifyUntil: from.Add(month + verifyOnly)}, given)
	_, err = d.try(rotation.Add(keyset.ES256,
		rotation.AddOptions{Make: func(keyset.Dates) (*keyset.Key, error) { return nil, nil }}), 0)
	require.ErrorContains(t, err, "not a key")
	_, err = d.try(add("none"), 0)
	require.EqualError(t, err, `rotation: unknown algorithm "none"`)

	k := generate(t, keyset.Direct, keyset.Dates{})
	d.take(rotation.Add(keyset.Direct, rotation.AddOptions{Make: func(dates keyset.Dates) (*keyset.Key,
		error) {
		return keyset.Generate(k.Algorithm(), dates)
	}}), 0)
	require.Equal(t, "enc1 dir 0s 3m30s 30d3m30s 30d1h20m30s", d.lives()[2])
}

// The keys of a KMS: the next one is made there, and no key in the file takes
// its place, whatever happens.
func TestExternalKeys(t *testing.T) {
	external := func(t *testing.T, d keyset.Dates) *keyset.Key {
		k, err := public(t, keyset.ES256)(d)
		require.NoError(t, err)
		return k
	}
	until := zero().Add(10 * day)
	make := func(t *testing.T) *desk {
		return legacy(t, external(t, keyset.Dates{SignUntil: until, VerifyUntil: until.Add(verifyOnly)}))
	}
	said := "the private keys of use sig are not in the file: make the next one where the private keys are, " +
		"and bring its public half in: keygen import"
	for at, when := range map[time.Duration]string{0: "it signs", 10 * day: "it is in its grace",
		10*day + time.Hour: "it signs no more", 11 * day: "it has expired"} {
		d := make(t)
		d.unchanged(rotation.IfDue(), at)
		require.Contains(t, strings.Join(d.findings(at), "\n"),
			"make the next one where the private keys are, and bring its public half in: keygen import --external", when)
		plan, err := rotation.Plan(d.set, zero().Add(at), zero(), zero().Add(12*day))
		require.NoError(t, err)
		require.Len(t, plan.Rows, 1, "nobody plans what he can't make")
		d.refuse(rotation.Rotate("").Force(), at, said)
		d.refuse(add(keyset.EdDSA).Force(), at, said)
		d.unchanged(rotation.Prune(), at)
		require.Equal(t, 1, d.count[keyset.Signature], when)
	}
	d := make(t)
	d.refuse(rotation.Retire(d.id("sig1")).Force(), 0, said)
	d.refuse(revoke(d, "sig1"), 0, "no key of use sig would sign any more; make a successor where the private keys are",
		"keygen import, which may sign after its lead of 1h3m30s; earliest safe: 2026-01-01T01:03:30Z")
	d.refuse(revokeWith(d, true, "sig1").Force(), 0, said)
	d.refuse(rotation.RevokeAll(""), 0, "no key of use sig would sign any more")
	d.take(rotation.RevokeAll("").Force(), 0).want("sig1 ES256 - - 10d 10d1h17m revoked")

	next := func() rotation.Step {
		return rotation.Add(keyset.ES256, rotation.AddOptions{Make: public(t, keyset.ES256)})
	}
	d = make(t).take(next(), 0)
	d.want("sig1 ES256 - - 10d 10d1h17m public", "sig2 ES256 0s 10d 40d 40d1h17m public")
	d.unchanged(rotation.IfDue(), 0)
	d.unchanged(rotation.IfDue(), 10*day)
	require.Contains(t, d.findings(13*day),
		"warning sig2 key sig2 has had no standby for 3d: make the next one where the private keys are, and bring its "+
			"public half in: keygen import --external; it signs until 2026-02-10T00:00:00Z")
	d.take(rotation.IfDue(), 10*day+time.Hour) // the first one is pruned in time
	emergency := newDesk(t, d.set)
	emergency.take(revoke(emergency, "sig1"), day).want("sig1 ES256 - - 10d 10d1h17m revoked",
		"sig2 ES256 0s 23h59m 30d23h59m 31d1h16m public")
	d.take(rotation.Promote(d.id("sig2")), day).want("sig1 ES256 - - 1d 1d1h17m public",
		"sig2 ES256 0s 1d 31d 31d1h17m public")
	d.take(next(), day).take(rotation.Retire(d.id("sig2")), 2*day)
	require.Equal(t, "sig3 ES256 1d 2d 32d 32d1h17m public", d.lives()[2])
}

// Nor does one take the place of a key that was revoked there; of one that was
// in the file, it does.
func TestExternalKeysAreRevoked(t *testing.T) {
	k, err := public(t, keyset.ES256)(keyset.Dates{SignUntil: zero().Add(10 * day), VerifyUntil: zero().Add(11 * day)})
	require.NoError(t, err)
	d := legacy(t, k)
	d.take(revoke(d, "sig1").Force(), day)
	d.unchanged(rotation.IfDue(), day)
	d.take(rotation.Prune(), day)
	d.unchanged(rotation.IfDue(), 20*day)
	require.Contains(t, strings.Join(d.findings(20*day), "\n"), "keygen import --external")

	for _, alg := range []keyset.Algorithm{keyset.ES256, keyset.HS256} {
		d = open(t, alg)
		d.take(rotation.RevokeAll("").Force(), day)
		d.take(rotation.RevokeAll("").Force(), 2*day).take(rotation.Prune(), 2*day).take(rotation.IfDue(), 2*day)
		require.NotContains(t, d.signers(2*day), "error")
	}
}

// A key with a signer attached is external too.
func TestExternalKeysWithASigner(t *testing.T) {
	signer, err := keyset.Import(keyset.ES256, kms{generate(t, keyset.ES256, keyset.Dates{}).Public()}, keyset.Dates{})
	require.NoError(t, err)
	require.True(t, signer.External())
	legacy(t, signer).unchanged(rotation.IfDue(), 0)
	legacy(t, signer).refuse(rotation.Rotate(""), 0, "are not in the file")
}

// A kms is a signer that is never asked to sign.
type kms struct{ public crypto.PublicKey }

func (k kms) Public() crypto.PublicKey { return k.public }

func (kms) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("not here")
}

// All does what its steps do one after the other, or nothing, and OnlyIf sees
// the keys before them.
func TestAll(t *testing.T) {
	d, apart := open(t, keyset.ES256), open(t, keyset.ES256)
	step := rotation.All(add(keyset.EdDSA), add(keyset.Direct), add(keyset.PS256))
	d.take(step, 0)
	apart.take(add(keyset.EdDSA), 0).take(add(keyset.Direct), 0).take(add(keyset.PS256), 0)
	require.ElementsMatch(t, apart.lives(), d.lives())
	d.unchanged(rotation.All(), 0)

	before := len(d.set.Keys())
	late := errors.New("not now")
	step = step.OnlyIf(func(set *keyset.Set) error {
		require.Len(t, set.Keys(), before)
		return late
	})
	_, err := d.try(step, 0)
	require.ErrorIs(t, err, late)
	_, err = d.try(rotation.All(add(keyset.EdDSA), rotation.Promote("x")), 0)
	require.ErrorIs(t, err, keyset.ErrUnknownKey)
	require.Len(t, d.set.Keys(), before)
}
