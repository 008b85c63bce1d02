package token_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// successors are kept by the lineage of a generation; calls counts what they
// are asked.
type successors struct {
	kept       map[string]string
	set, asked int
	fails      error
}

func (s *successors) SetSuccessor(_ context.Context, rec *session.Record, successor string) error {
	s.set++
	if s.fails == nil {
		s.kept[rec.Lineage] = successor
	}
	return s.fails
}

func (s *successors) Successor(_ context.Context, rec *session.Record) (string, error) {
	s.asked++
	return s.kept[rec.Lineage], s.fails
}

// newMoved returns an instance, another one that starts later, and a token of a
// session that has moved to next, or was renewed.
func newMoved(t *testing.T, s *successors, grace time.Duration) (
	b *bench, later func() *token.Carrier, old, next string,
) {
	b = newBench(t)
	with := func(c *token.CarrierConfig) { c.Successors = s }
	b.Carrier = b.another(t, with)
	old, err := b.Issue(t.Context(), record(nil), "")
	require.NoError(t, err)
	rec, _, err := b.Open(t.Context(), old)
	require.NoError(t, err)
	_, _, err = b.Save(t.Context(), old, rec, b.changes(rec, func(*session.Session) {}))
	require.NoError(t, err)
	require.Zero(t, s.set+s.asked, "a usual request costs nothing")
	next = "cr1_successor"
	require.NoError(t, retire(t, b.Carrier, old, rec, next, grace))
	return b, func() *token.Carrier { return b.another(t, with) }, old, next
}

func TestSuccessorsAfterAMove(t *testing.T) {
	s := &successors{kept: map[string]string{}}
	b, later, old, next := newMoved(t, s, time.Minute)
	require.Equal(t, 1, s.set)
	_, current, err := b.Open(t.Context(), old)
	require.NoError(t, err)
	require.Equal(t, next, current)
	require.Zero(t, s.asked, "this instance knows it for a while")
	for _, passed := range []time.Duration{0, time.Minute, 17 * time.Minute} {
		b.now = b.now.Add(passed)
		for _, c := range []*token.Carrier{later(), b.Carrier} {
			rec, current, err := c.Open(t.Context(), old)
			assert.NoError(t, err)
			assert.Nil(t, rec)
			assert.Equal(t, next, current)
			base := record(nil)
			_, _, err = c.Save(t.Context(), old, base, b.changes(base, func(*session.Session) {}))
			assert.ErrorIs(t, err, session.Conflict)
		}
	}
	s.fails = errors.New("reset")
	_, _, err = later().Open(t.Context(), old)
	assert.ErrorIs(t, err, session.Unavailable, "the store could not tell")
	s.fails = nil
	b.now = b.now.Add(2 * time.Minute)
	asked := s.asked
	_, _, err = later().Open(t.Context(), old)
	assert.ErrorIs(t, err, session.Ended)
	assert.Equal(t, asked, s.asked, "a token that has expired leads nowhere")
}

// The old token of a renewed session is dead on every instance.
func TestSuccessorsAfterARenewal(t *testing.T) {
	s := &successors{kept: map[string]string{}}
	b, later, old, _ := newMoved(t, s, 0)
	require.Zero(t, s.set)
	for _, c := range []*token.Carrier{b.Carrier, later()} {
		_, _, err := c.Open(t.Context(), old)
		assert.ErrorAs(t, err, new(*session.SupersededError))
	}
}

// A move succeeds without its note: the client gets the new credential, and
// this instance knows it for a minute.
func TestMoveWithoutItsNote(t *testing.T) {
	s := &successors{fails: errors.New("reset")}
	b, _, old, next := newMoved(t, s, time.Minute)
	_, current, err := b.Open(t.Context(), old)
	require.NoError(t, err)
	require.Equal(t, next, current)
}
