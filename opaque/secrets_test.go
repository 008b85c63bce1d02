package opaque_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
)

// with returns a carrier over the store of p with the secrets that begin with
// these letters.
func (p *place) with(t *testing.T, letters string) *opaque.Carrier {
	c := opaque.CarrierConfig{Store: p.remote, Now: p.clock}
	for _, letter := range letters {
		c.Secrets = append(c.Secrets, fmt.Appendf(nil, "%032c", letter))
	}
	carrier, err := opaque.NewCarrier(c)
	require.NoError(t, err)
	for _, secret := range c.Secrets {
		clear(secret) // the carrier has its own copy
	}
	return carrier
}

// Whatever was sealed under any of the secrets opens: records, markers of
// renewals, and those of sessions that were in a token. What is changed is
// sealed under the newest.
func TestSecretsAreTriedInTurn(t *testing.T) {
	p := newPlace(t, true)
	old, both, newest := p.with(t, "a"), p.with(t, "ba"), p.with(t, "b")
	rec := alice()
	credential, err := old.Issue(t.Context(), rec, "")
	require.NoError(t, err)
	successor, err := old.Issue(t.Context(), rec, "")
	require.NoError(t, err)
	moved, err := old.Issue(t.Context(), rec, "")
	require.NoError(t, err)
	require.NoError(t, retire(t, old, moved, rec, successor, time.Minute))
	require.NoError(t, old.SetSuccessor(t.Context(), rec, successor))

	_, _, err = newest.Open(t.Context(), credential)
	assert.ErrorIs(t, err, session.Forged)
	_, next, err := both.Open(t.Context(), moved)
	require.NoError(t, err)
	assert.Equal(t, successor, next)
	next, err = both.Successor(t.Context(), rec)
	require.NoError(t, err)
	assert.Equal(t, successor, next)
	found, _, err := both.Open(t.Context(), credential)
	require.NoError(t, err)
	_, _, err = both.Save(t.Context(), credential, found, set(p, found, "changed"))
	require.NoError(t, err)
	_, _, err = newest.Open(t.Context(), credential)
	require.NoError(t, err)
	_, _, err = old.Open(t.Context(), credential)
	assert.ErrorIs(t, err, session.Forged)
}

// A wrong secret is found at the start. The proof follows the newest secret,
// and is renewed before it expires.
func TestCheckSecrets(t *testing.T) {
	p := newPlace(t, true)
	check := func(letters string) error { return p.with(t, letters).CheckSecrets(t.Context()) }
	const wrong = "opaque: none of the secrets is the one"
	require.NoError(t, check("a"))
	require.NoError(t, check("a"))
	require.ErrorContains(t, check("b"), wrong)
	require.NoError(t, check("ab"))
	require.ErrorContains(t, check("b"), wrong, "b is not the first yet")
	require.NoError(t, check("ba"))
	require.NoError(t, check("ab"), "an instance that starts late")
	require.NoError(t, check("ba"))
	require.NoError(t, check("b"))
	require.ErrorContains(t, check("a"), wrong)
	p.at(p.clock().Add(300 * 24 * time.Hour))
	require.NoError(t, check("b"))
	p.at(p.clock().Add(300 * 24 * time.Hour))
	require.ErrorContains(t, check("a"), wrong, "it was renewed after 300 days")
	p.at(p.clock().Add(66 * 24 * time.Hour))
	require.NoError(t, check("a"), "it has expired")
}

// Processes that start at the same time agree on one proof.
func TestCheckSecretsRace(t *testing.T) {
	for range 50 {
		p := newPlace(t, true)
		errs := make(chan error)
		for i := range 8 {
			c := p.with(t, []string{"ab", "ba"}[i%2])
			go func() { errs <- c.CheckSecrets(t.Context()) }()
		}
		for range 8 {
			if err := <-errs; err != nil {
				require.ErrorIs(t, err, session.Unavailable)
				require.ErrorContains(t, err, "other processes keep changing the proof")
			}
		}
		require.ErrorContains(t, p.with(t, "c").CheckSecrets(t.Context()), "none of the secrets")
	}
}

// A store that fails, or that somebody has spoiled, is no reason to go on.
func TestCheckSecretsInTrouble(t *testing.T) {
	p := newPlace(t, true)
	down, err := opaque.NewCarrier(opaque.CarrierConfig{Store: failing{}, Secrets: secrets(), Now: p.clock})
	require.NoError(t, err)
	assert.ErrorIs(t, down.CheckSecrets(t.Context()), session.Unavailable)
	full, err := opaque.NewCarrier(opaque.CarrierConfig{Store: readOnly{p.remote}, Secrets: secrets(), Now: p.clock})
	require.NoError(t, err)
	assert.ErrorIs(t, full.CheckSecrets(t.Context()), session.Unavailable)
	for _, data := range [][]byte{nil, {0}, []byte("s"), make([]byte, 100)} {
		spoiled, err := opaque.NewCarrier(opaque.CarrierConfig{
			Store: spoiledStore{p.remote, data}, Secrets: secrets(), Now: p.clock,
		})
		require.NoError(t, err)
		assert.ErrorContains(t, spoiled.CheckSecrets(t.Context()), "none of the secrets")
	}
	assert.NoError(t, newPlace(t, false).CheckSecrets(t.Context()), "nothing to check in process")
}

type readOnly struct{ opaque.Store }

func (readOnly) Create(context.Context, string, opaque.Item) error { return errors.New("read-only") }

type spoiledStore struct {
	opaque.Store
	data []byte
}

func (s spoiledStore) Get(context.Context, string) (opaque.Item, bool, error) {
	later := time.Now().Add(1000 * time.Hour)
	return opaque.Item{Version: 1, Data: s.data, IdleDeadline: later, Deadline: later}, true, nil
}
