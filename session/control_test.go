package session_test

import (
	"testing"

	"github.com/cloakroom-go/cloakroom/session"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A phase is entered only if what is pending can still be saved in it, and then
// decides what may follow.
func TestEnter(t *testing.T) {
	set := func(s *session.Session) error { return count.Set(s, 2) }
	renew := (*session.Session).Renew
	nothing := func(*session.Session) error { return nil }
	for _, row := range []struct {
		name            string
		pending         func(s *session.Session) error
		enter           session.Phase
		entered         bool
		set, renew, end error // what follows fails with
	}{
		{"nothing, header sent", nothing, session.HeaderSent, true, nil, session.TooLate, nil},
		{"nothing, closed", nothing, session.Closed, true, session.TooLate, session.TooLate, nil},
		{"nothing, finished", nothing, session.Finished, true, session.TooLate, session.TooLate, session.TooLate},
		{"a change, header sent", set, session.HeaderSent, true, nil, session.TooLate, nil},
		{"a change, closed", set, session.Closed, false, nil, nil, nil},
		{"a change, finished", set, session.Finished, false, nil, nil, nil},
		{"a renewal, header sent", renew, session.HeaderSent, false, nil, nil, nil},
		{"a renewal, closed", renew, session.Closed, false, nil, nil, nil},
	} {
		m := &moment{start}
		rec := kept(t, nil, m, func(s *session.Session) { require.NoError(t, count.Set(s, 1)) })
		s, control := begin(rec, m)
		require.NoError(t, row.pending(s), row.name)
		assert.Equal(t, row.entered, control.Enter(row.enter), row.name)
		assert.Equal(t, row.entered, session.PhaseOf(control) == row.enter, row.name)
		assert.ErrorIs(t, s.Renew(), row.renew, row.name)
		assert.ErrorIs(t, count.Set(s, 3), row.set, row.name)
		assert.ErrorIs(t, s.Destroy(), row.end, row.name)
	}
}

// Close drops what is pending, in every phase; the session shows what is kept.
func TestClose(t *testing.T) {
	for _, phase := range []session.Phase{session.HeaderSent, session.Closed, session.Finished} {
		m := &moment{start}
		rec := kept(t, nil, m, func(s *session.Session) { require.NoError(t, count.Set(s, 1)) })
		s, control := begin(rec, m)
		require.NoError(t, count.Set(s, 2))
		require.NoError(t, s.Renew())
		control.Close(phase)
		assert.True(t, pending(control).TouchOnly())
		assert.Equal(t, *rec, s.Snapshot())
		assert.Equal(t, phase, session.PhaseOf(control))
	}
}

// Of a session that was found over, only a login begins another.
func TestLose(t *testing.T) {
	m := &moment{start}
	rec := kept(t, nil, m, func(s *session.Session) { require.NoError(t, count.Set(s, 1)) })
	s, control := begin(rec, m)
	assert.False(t, control.Lose(), "nothing was pending")
	assert.ErrorIs(t, count.Set(s, 2), session.Ended)
	assert.NoError(t, s.Login("alice"))
	assert.NoError(t, count.Set(s, 2))
	assert.True(t, control.Lose())
	assert.Nil(t, control.State().Kept)
	assert.NoError(t, s.Destroy())
	assert.ErrorIs(t, s.Login("alice"), session.Ended)
}
