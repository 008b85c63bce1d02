package rotation_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
)

func TestApply(t *testing.T) {
	d := open(t, keyset.ES256, keyset.Direct)
	f := place(t, d.set)
	first := content(t, f.Path)
	before, after, err := rotation.Rotate("").Apply(t.Context(), f, zero().Add(lead))
	require.NoError(t, err)
	require.EqualValues(t, 1, before.Generation())
	require.EqualValues(t, 2, after.Generation())
	require.Equal(t, first, content(t, f.Path+".bak"), "the file that was replaced")
	require.Equal(t, d.take(rotation.Rotate(""), lead).lives(), newDesk(t, after).lives(), "what Try makes of it")

	written, err := f.Read()
	require.NoError(t, err)
	same(t, after, written)
	again := content(t, f.Path)
	for range 3 { // nothing is written when nothing changes
		before, after, err = rotation.IfDue().Apply(t.Context(), f, zero().Add(lead))
		require.NoError(t, err)
		require.EqualValues(t, 2, after.Generation())
		same(t, before, after)
	}
	require.Equal(t, again, content(t, f.Path))
	require.Equal(t, first, content(t, f.Path+".bak"))
}

// What is refused, or can't be done, writes nothing and returns no set.
func TestApplyRefused(t *testing.T) {
	f := place(t, open(t, keyset.ES256).set)
	first := content(t, f.Path)
	for _, row := range []struct {
		step rotation.Step
		want error
	}{
		{rotation.Rotate(""), rotation.ErrRefused},
		{rotation.Promote("x"), keyset.ErrUnknownKey},
		{rotation.Add(keyset.ES256, rotation.AddOptions{Make: func(keyset.Dates) (*keyset.Key, error) { return nil, context.Canceled }}), context.Canceled},
	} {
		before, after, err := row.step.Apply(t.Context(), f, zero())
		require.ErrorIs(t, err, row.want)
		require.Nil(t, before)
		require.Nil(t, after)
	}
	require.Equal(t, first, content(t, f.Path))
	require.NoFileExists(t, f.Path+".bak")
}

func TestApplyWithoutAFile(t *testing.T) {
	_, _, err := rotation.IfDue().Apply(t.Context(), keyset.File{}, zero())
	require.ErrorContains(t, err, "File.Path is required")
	_, _, err = rotation.IfDue().Apply(t.Context(), keyset.File{Path: t.TempDir() + "/none"}, zero())
	require.ErrorIs(t, err, os.ErrNotExist)
}

// While another one writes, a step waits, until its context ends.
func TestApplyLocked(t *testing.T) {
	f := place(t, open(t, keyset.ES256).set)
	require.NoError(t, f.Update(t.Context(), func(*keyset.Set) error {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, _, err := rotation.IfDue().Apply(ctx, f, zero().Add(month))
		require.ErrorIs(t, err, keyset.ErrLocked)
		return nil
	}))
	_, _, err := rotation.IfDue().Apply(t.Context(), f, zero().Add(month))
	require.NoError(t, err)
}

// Steps that are taken at once have the effects of all, in one order or
// another.
func TestApplyRace(t *testing.T) {
	f := place(t, open(t, keyset.EdDSA).set)
	algs := []keyset.Algorithm{keyset.ES256, keyset.EdDSA, keyset.HS256, keyset.ES256, keyset.HS256}
	var working sync.WaitGroup
	errs := make([]error, len(algs)+1)
	for i, alg := range algs {
		working.Go(func() { _, _, errs[i] = add(alg).Apply(t.Context(), f, zero().Add(day)) })
	}
	working.Go(func() { _, _, errs[len(algs)] = rotation.Rotate("").Apply(t.Context(), f, zero().Add(day)) })
	working.Wait()
	require.NoError(t, errors.Join(errs...))
	set, err := f.Read()
	require.NoError(t, err)
	require.EqualValues(t, 1+len(errs), set.Generation())
	d := newDesk(t, set)
	require.Contains(t, d.lives(), "sig1 EdDSA -1m -1m 1d 1d1h17m")
	require.Contains(t, d.lives(), "sig2 EdDSA 0s 1d 31d 31d1h17m")
	count := make(map[keyset.Algorithm]int)
	for _, k := range set.Keys()[2:] {
		count[k.Algorithm()]++
	}
	delete(count, keyset.EdDSA) // a standby came with the rotation, if it was the first
	require.Equal(t, map[keyset.Algorithm]int{keyset.ES256: 2, keyset.HS256: 2}, count)
	require.NoError(t, errorsOf(d, day))
}

// Who comes later finds that nothing is left to do.
func TestApplyIfDueRace(t *testing.T) {
	f := place(t, open(t, keyset.EdDSA).set)
	var working sync.WaitGroup
	wrote := make([]int, 8)
	for i := range wrote {
		working.Go(func() {
			before, after, err := rotation.IfDue().Apply(t.Context(), f, zero().Add(month))
			if err == nil {
				wrote[i] = len(rotation.Diff(before, after))
			}
		})
	}
	working.Wait()
	total := 0
	for _, n := range wrote {
		total += n
	}
	require.Equal(t, 5, total, "one new key with its four dates")
	set, err := f.Read()
	require.NoError(t, err)
	require.EqualValues(t, 2, set.Generation())
}

// A set that is given is not changed by what becomes of the one that is
// returned.
func TestTryLeavesTheSetAlone(t *testing.T) {
	d := open(t, keyset.ES256, keyset.Direct).take(rotation.Rotate(""), day)
	text := func() string { return strings.Join(d.lives(), "\n") }
	was := text()
	for name, step := range everyStep(d) {
		after, err := step.Force().Try(d.set, zero().Add(day+time.Hour))
		require.NoError(t, err, name)
		require.NoError(t, after.Add(generate(t, keyset.HS256, keyset.Dates{})))
		require.NoError(t, after.SetPolicy(keyset.Policy{}))
		for _, k := range after.Keys() {
			_ = after.Revoke(k.ID(), zero(), "")
		}
		require.Equal(t, was, text(), name)
		require.Equal(t, example(), d.set.Policy(), name)
	}
}

// everyStep is a step of each kind that changes something a while after a
// rotation.
func everyStep(d *desk) map[string]rotation.Step {
	return map[string]rotation.Step{
		"if due": rotation.IfDue(), "rotate": rotation.Rotate(""),
		"promote": rotation.Promote(d.id("sig3")), "retire": rotation.Retire(d.id("sig2")),
		"revoke": revoke(d, "sig2",
			"enc2"), "revoke all": rotation.RevokeAll("x"), "add": add(keyset.EdDSA), "prune": rotation.Prune(),
		"policy": policy(func(p *keyset.Policy) { p.RotationPeriod = 9 * day }),
	}
}
