package session_test

import (
	"context"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const count session.Key[int] = "count"

// A moment is a clock that a test moves.
type moment struct{ time.Time }

func (m *moment) now() time.Time { return m.Time }

type noSaver struct{}

func (noSaver) Save(context.Context) error { return nil }

func (noSaver) Ended() <-chan struct{} { return nil }

func begin(rec *session.Record, m *moment) (*session.Session, session.Control) {
	return session.Begin(rec, session.Options{Policy: session.Policy{}.WithDefaults(), Now: m.now, Saver: noSaver{}})
}

// pending returns the changes that are not saved; they only record activity if
// there are none.
func pending(control session.Control) *session.Changes {
	changes := control.State().Pending
	return &changes
}

// touch returns changes that only record activity.
func touch(policy session.Policy, m *moment) *session.Changes {
	_, control := session.Begin(nil, session.Options{Policy: policy.WithDefaults(), Now: m.now, Saver: noSaver{}})
	return pending(control)
}

// kept returns the record that follows rec after f.
func kept(t *testing.T, rec *session.Record, m *moment, f func(s *session.Session)) *session.Record {
	t.Helper()
	s, control := begin(rec, m)
	f(s)
	next, err := pending(control).Apply(rec)
	require.NoError(t, err)
	control.Settle(next, pending(control))
	assert.Equal(t, *next, s.Snapshot(), "the handler sees what is kept")
	return next
}

func TestApply(t *testing.T) {
	m := &moment{start.Add(300 * time.Millisecond)}
	first := kept(t, nil, m, func(s *session.Session) { require.NoError(t, count.Set(s, 1)) })
	assert.Equal(t, uint64(1), first.Version)
	assert.Equal(t, uint64(1), first.Generation)
	assert.Equal(t, start, first.CreatedAt, "whole seconds, rounded down")
	assert.Equal(t, start.Add(12*time.Hour), first.Deadline)
	assert.Equal(t, start.Add(20*time.Minute), first.IdleDeadline)

	m.Time = start.Add(time.Minute + 700*time.Millisecond)
	second := kept(t, first, m, func(s *session.Session) {
		require.NoError(t, s.Login("alice"))
		require.NoError(t, s.Renew())
	})
	assert.Equal(t, uint64(2), second.Version)
	assert.Equal(t, uint64(2), second.Generation, "one new credential, one generation")
	assert.Equal(t, m.Truncate(time.Millisecond), second.AuthenticatedAt)
	assert.Equal(t, start.Add(12*time.Hour+time.Minute), second.Deadline)
	assert.Equal(t, start.Add(21*time.Minute), second.IdleDeadline)
	assert.Equal(t, first.ID, second.ID)

	m.Time = start.Add(12 * time.Hour)
	late := *second
	late.SeenAt, late.IdleDeadline = start.Add(12*time.Hour-time.Minute), second.Deadline
	touched, err := touch(session.Policy{}, m).Apply(&late)
	require.NoError(t, err)
	assert.Equal(t, second.Version, touched.Version, "a touch is no new version")
	assert.Equal(t, second.Deadline, touched.IdleDeadline, "never beyond the deadline")
	assert.Equal(t, uint64(1), first.Version, "records don't change")
}

func TestApplyToAnEndedSession(t *testing.T) {
	m := &moment{start}
	rec := kept(t, nil, m, func(s *session.Session) { require.NoError(t, count.Set(s, 1)) })
	s, control := begin(rec, m)
	require.NoError(t, s.Login("alice"))
	m.Time = start.Add(20 * time.Minute)
	_, err := pending(control).Apply(rec)
	assert.ErrorIs(t, err, session.IdleTimeout)
	_, err = touch(session.Policy{}, m).Apply(nil)
	assert.ErrorIs(t, err, session.NotFound)
}

// Two requests begin with the same record; each one's changes are applied to
// what the other has left.
func TestMerge(t *testing.T) {
	m := &moment{start}
	rec := kept(t, nil, m, func(s *session.Session) {
		require.NoError(t, count.Set(s, 1))
		require.NoError(t, session.Key[any]("flash").Set(s, "old"))
		require.NoError(t, session.Key[any]("gone").Set(s, true))
	})
	other := kept(t, rec, m, func(s *session.Session) {
		require.NoError(t, count.Set(s, 10))
		require.NoError(t, session.Key[any]("flash").Set(s, "new"))
		require.NoError(t, session.Key[any]("theirs").Set(s, true))
		require.NoError(t, s.Remember(true))
	})
	s, control := begin(rec, m)
	runs := 0
	n, err := count.Update(s, func(n int) int { runs++; return n + 1 })
	require.NoError(t, err)
	assert.Equal(t, 2, n)
	flash, ok, err := session.Key[string]("flash").Take(s)
	require.NoError(t, err)
	assert.True(t, ok)
	assert.Equal(t, "old", flash)
	require.NoError(t, session.Key[any]("gone").Delete(s))
	require.NoError(t, session.Key[any]("ours").Set(s, true))
	merged, err := pending(control).Apply(other)
	require.NoError(t, err)
	assert.Equal(t, 2, runs, "again, on the newer value")
	control.Settle(merged, pending(control))
	assert.Equal(t, 11, count.Get(s))
	assert.Equal(t, []string{"count", "flash", "ours", "theirs"}, s.Keys())
	assert.Equal(t, "new", session.Key[string]("flash").Get(s), "what was left there since isn't lost")
	assert.True(t, s.Snapshot().Persistent)
	assert.Equal(t, uint64(3), merged.Version)
}

// An update on a value that is still the same runs once.
func TestUpdateRunsOnce(t *testing.T) {
	m := &moment{start}
	rec := kept(t, nil, m, func(s *session.Session) { require.NoError(t, count.Set(s, 1)) })
	runs := 0
	next := kept(t, rec, m, func(s *session.Session) {
		_, err := count.Update(s, func(n int) int { runs++; return n + 1 })
		require.NoError(t, err)
	})
	assert.Equal(t, 1, runs)
	got, _ := next.Values.Get("count")
	assert.Equal(t, "2", got)
}

// Changes that are made while others are being saved stay pending.
func TestChangesDuringSave(t *testing.T) {
	m := &moment{start}
	s, control := begin(nil, m)
	require.NoError(t, session.Key[any]("a").Set(s, 1))
	taken := pending(control)
	require.NoError(t, session.Key[any]("b").Set(s, 2))
	rec, err := taken.Apply(nil)
	require.NoError(t, err)
	control.Settle(rec, taken)
	assert.Equal(t, []string{"a", "b"}, s.Keys())
	rec, err = pending(control).Apply(rec)
	require.NoError(t, err)
	assert.Equal(t, 2, rec.Values.Len())

	taken = pending(control)
	require.NoError(t, session.Key[any]("c").Set(s, 3))
	control.Settle(control.State().Kept, taken)
	assert.Equal(t, []string{"a", "c"}, s.Keys(), "only what was dropped is gone")
}
