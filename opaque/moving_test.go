package opaque_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/opaque/storetest"
	"github.com/cloakroom-go/cloakroom/session"
)

// outside returns a store that says nothing of being in this process.
func outside(t *testing.T) opaque.Store {
	s, err := opaque.NewMemoryStore(opaque.MemoryConfig{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return struct{ opaque.Store }{s}
}

// startsIn makes items in another store than the one that has the rest.
type startsIn struct {
	opaque.Store
	first opaque.Store
}

func (s startsIn) Create(ctx context.Context, key string, item opaque.Item) error {
	return s.first.Create(ctx, key, item)
}

// Moving keeps the contract, whichever of the two stores has an item.
func TestMoving(t *testing.T) {
	t.Run("new items", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) opaque.Store { return opaque.Moving(outside(t), outside(t)) })
	})
	t.Run("old items", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) opaque.Store {
			from := outside(t)
			return startsIn{opaque.Moving(outside(t), from), from}
		})
	})
}

// A move in the order that the documentation gives. During each roll-out
// instances of both kinds are running.
func TestMovingLogsNobodyOut(t *testing.T) {
	old, next := outside(t), outside(t)
	stages := []opaque.Store{old, opaque.Moving(old, next), opaque.Moving(next, old)}
	for i := range len(stages) - 1 {
		before, after := carrierOver(t, stages[i]), carrierOver(t, stages[i+1])
		for _, roll := range [][2]*opaque.Carrier{{before, after}, {after, before}} {
			one, other := roll[0], roll[1]
			rec := living()
			credential, err := one.Issue(t.Context(), rec, "")
			require.NoError(t, err)
			got, _, err := other.Open(t.Context(), credential)
			require.NoError(t, err, "stage %d", i)
			assert.Equal(t, rec.Subject, got.Subject)

			require.NoError(t, other.End(t.Context(), credential, got))
			_, _, err = one.Open(t.Context(), credential)
			assert.ErrorIs(t, err, session.NotFound, "stage %d: a logout holds on all instances", i)
		}
	}

	credential, err := carrierOver(t, old).Issue(t.Context(), living(), "")
	require.NoError(t, err)
	_, _, err = carrierOver(t, next).Open(t.Context(), credential)
	assert.ErrorIs(t, err, session.NotFound, "without the move")
	_, _, err = carrierOver(t, opaque.Moving(next, old)).Open(t.Context(), credential)
	assert.NoError(t, err, "with it")
	credential, err = carrierOver(t, opaque.Moving(next, old)).Issue(t.Context(), living(), credential)
	require.NoError(t, err)
	_, _, err = carrierOver(t, next).Open(t.Context(), credential)
	assert.NoError(t, err, "new sessions are in the new store")
}

// Records are encrypted unless both stores are in this process.
func TestMovingSeals(t *testing.T) {
	memory, err := opaque.NewMemoryStore(opaque.MemoryConfig{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = memory.Close() })
	for name, row := range map[string]struct {
		store opaque.Store
		want  bool
	}{
		"both in process": {opaque.Moving(memory, memory), true},
		"to a server":     {opaque.Moving(outside(t), memory), false},
		"from a server":   {opaque.Moving(memory, outside(t)), false},
	} {
		assert.Equal(t, row.want, row.store.(opaque.InProcessStore).InProcess(), name)
	}
}

func carrierOver(t *testing.T, s opaque.Store) *opaque.Carrier {
	c, err := opaque.NewCarrier(opaque.CarrierConfig{Store: s, Secrets: secrets()})
	require.NoError(t, err)
	return c
}

// living returns a session of alice that lives now.
func living() *session.Record {
	rec := alice()
	now := time.Now().Truncate(time.Second)
	rec.CreatedAt, rec.AuthenticatedAt, rec.SeenAt = now, now, now
	rec.IdleDeadline, rec.Deadline = now.Add(time.Hour), now.Add(2*time.Hour)
	return rec
}
