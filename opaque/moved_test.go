package opaque_test

import (
	"strings"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// inToken is a session that was in a token.
func inToken() *session.Record {
	rec := alice()
	rec.Lineage = "c2VjcmV0LW9mLTk2"
	return rec
}

// Another carrier over the same store finds the successor by the generation,
// and by nothing else, for as long as the session could have lived in the
// token.
func TestSuccessorOfAToken(t *testing.T) {
	inBoth(t, func(t *testing.T, p *place) {
		const successor = "cr1_c3VjY2Vzc29y"
		rec := inToken()
		none, err := p.Successor(t.Context(), rec)
		require.NoError(t, err)
		require.Empty(t, none)
		require.NoError(t, p.SetSuccessor(t.Context(), rec, successor))
		newer := *rec // another token of the same generation
		newer.Version, newer.SeenAt, newer.IdleDeadline = 9, rec.SeenAt.Add(time.Minute), rec.IdleDeadline.Add(time.Minute)
		for _, rec := range []*session.Record{rec, &newer} {
			got, err := p.Successor(t.Context(), rec)
			require.NoError(t, err)
			assert.Equal(t, successor, got)
		}
		for name, change := range map[string]func(*session.Record){
			"ID":         func(r *session.Record) { r.ID += "A" },
			"generation": func(r *session.Record) { r.Generation++ },
			"lineage":    func(r *session.Record) { r.Lineage = "" },
			"borders":    func(r *session.Record) { r.ID, r.Lineage = r.ID[:4], r.ID[4:]+r.Lineage },
		} {
			other := *rec
			change(&other)
			got, err := p.Successor(t.Context(), &other)
			assert.NoError(t, err)
			assert.Empty(t, got, name)
		}
		assert.ErrorIs(t, p.SetSuccessor(t.Context(), rec, "cr1_another"), session.Conflict, "a generation moves once")
		for _, told := range p.remote.told {
			for _, secret := range []string{successor, rec.Lineage, rec.ID, "alice"} {
				assert.NotContains(t, told, secret)
			}
		}
		idle := rec.IdleDeadline.Sub(rec.SeenAt)
		p.at(begun.Add(idle + time.Minute - time.Second))
		got, err := p.Successor(t.Context(), rec)
		assert.NoError(t, err)
		assert.Equal(t, successor, got)
		p.at(begun.Add(idle + time.Minute))
		got, err = p.Successor(t.Context(), rec)
		assert.NoError(t, err)
		assert.Empty(t, got)
	})
}

// What the store can't tell is no "no", and what it has damaged leads nowhere.
func TestSuccessorInTrouble(t *testing.T) {
	p, l := newLossy(t)
	require.NoError(t, p.SetSuccessor(t.Context(), inToken(), "cr1_x"))
	l.reads = []fault{refused}
	_, err := p.Successor(t.Context(), inToken())
	assert.ErrorIs(t, err, session.Unavailable)

	key := p.remote.told[0]
	item, ok, err := p.memory.Get(t.Context(), key)
	require.NoError(t, err)
	require.True(t, ok)
	damaged := item
	damaged.Version++
	ok, err = p.memory.Swap(t.Context(), key, item.Version, damaged)
	require.NoError(t, err)
	require.True(t, ok)
	got, err := p.Successor(t.Context(), inToken())
	assert.NoError(t, err)
	assert.Empty(t, got)

	down, err := opaque.NewCarrier(opaque.CarrierConfig{Store: failing{}, Secrets: secrets(), Now: p.clock})
	require.NoError(t, err)
	_, err = down.Successor(t.Context(), inToken())
	assert.ErrorIs(t, err, session.Unavailable)
}

// What a token's generation is kept under is no credential.
func TestSuccessorIsNoSession(t *testing.T) {
	p := newPlace(t, true)
	require.NoError(t, p.SetSuccessor(t.Context(), inToken(), "cr1_x"))
	for _, credential := range []string{
		"cr1_" + p.remote.told[0], "session in a token 1 ", "cr1_" + strings.Repeat("A", 43),
	} {
		_, _, err := p.Open(t.Context(), credential)
		assert.Error(t, err)
	}
}
