package opaque_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

// A listing is a revocation list that fails, or doesn't.
type listing struct {
	ended int
	fails error
}

func (*listing) Check(*session.Record) error { return nil }

func (l *listing) EndSession(context.Context, *session.Record) error {
	l.ended++
	return l.fails
}

// End asks the store and the list, whichever fails, and says so.
func TestEndAsksBoth(t *testing.T) {
	list := &listing{fails: errors.New("disk full")}
	p := newPlace(t, false, func(c *opaque.CarrierConfig) { c.Revocations = list })
	credential, err := p.Issue(t.Context(), alice(), "")
	require.NoError(t, err)
	require.ErrorIs(t, p.End(t.Context(), credential, alice()), list.fails)
	_, _, err = p.Open(t.Context(), credential)
	require.ErrorIs(t, err, session.NotFound, "the store has ended it")

	list = new(listing)
	down, err := opaque.NewCarrier(opaque.CarrierConfig{Store: failing{}, Secrets: secrets(), Revocations: list})
	require.NoError(t, err)
	require.ErrorIs(t, down.End(t.Context(), credential, alice()), session.Unavailable)
	require.Equal(t, 1, list.ended)
}

// A logout whose store failed is in the list of this instance alone. When the
// client tries again, the store learns of it, so that no other instance opens
// the session.
func TestEndAgainReachesStore(t *testing.T) {
	there := newPlace(t, false)
	credential, err := there.Issue(t.Context(), alice(), "")
	require.NoError(t, err)
	list := revocation.NewVolatile(revocation.Config{Now: there.clock})
	here, err := opaque.NewCarrier(opaque.CarrierConfig{Store: there.memory, Revocations: list, Now: there.clock})
	require.NoError(t, err)
	down, err := opaque.NewCarrier(opaque.CarrierConfig{Store: failing{}, Secrets: secrets(), Revocations: list})
	require.NoError(t, err)
	require.ErrorIs(t, down.End(t.Context(), credential, alice()), session.Unavailable)

	require.NoError(t, here.End(t.Context(), credential, alice()))
	_, _, err = there.Open(t.Context(), credential)
	require.ErrorIs(t, err, session.NotFound)
}

// The same, if the client comes again only to look: to this instance it has no
// session that it could end.
func TestOpenEndsInStore(t *testing.T) {
	there := newPlace(t, false)
	credential, err := there.Issue(t.Context(), alice(), "")
	require.NoError(t, err)
	list := revocation.NewVolatile(revocation.Config{Now: there.clock})
	here, err := opaque.NewCarrier(opaque.CarrierConfig{Store: there.memory, Revocations: list, Now: there.clock})
	require.NoError(t, err)
	require.NoError(t, list.EndSession(t.Context(), alice()))
	_, _, err = here.Open(t.Context(), credential)
	require.ErrorIs(t, err, session.Ended)
	_, _, err = there.Open(t.Context(), credential)
	require.ErrorIs(t, err, session.NotFound)
}
