package session_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/session"
)

const day = 24 * time.Hour

func TestRememberChangesTheLimits(t *testing.T) {
	m := &moment{start}
	login := func(s *session.Session) { require.NoError(t, s.Login("alice")) }
	remember := func(remember bool) func(s *session.Session) {
		return func(s *session.Session) { require.NoError(t, s.Remember(remember)) }
	}
	rec := kept(t, nil, m, login)
	m.Time = start.Add(10 * time.Minute)
	long := kept(t, rec, m, remember(true))
	assert.Equal(t, start.Add(30*day), long.Deadline, "counted from the login")
	assert.Equal(t, m.Add(14*day), long.IdleDeadline)
	assert.Equal(t, rec.Generation+1, long.Generation, "all credentials of one generation end at the same time")

	m.Time = start.Add(11 * time.Hour)
	short := kept(t, long, m, remember(false))
	assert.Equal(t, start.Add(12*time.Hour), short.Deadline)
	assert.Equal(t, m.Add(20*time.Minute), short.IdleDeadline)
	assert.Equal(t, long.Generation+1, short.Generation, "the credential that could live for 30 days is dead")

	m.Time = start.Add(8 * day)
	again := kept(t, long, m, login)
	assert.Equal(t, m.Add(30*day), again.Deadline, "a login starts the lifetime anew, and keeps the limits")
}

// The handler sees its choice at once.
func TestRememberShowsTheDeadline(t *testing.T) {
	m := &moment{start}
	s, _ := begin(kept(t, nil, m, func(s *session.Session) { require.NoError(t, s.Login("alice")) }), m)
	require.NoError(t, s.Remember(true))
	assert.Equal(t, start.Add(14*day), s.ExpiresAt())
	require.NoError(t, s.Remember(false))
	assert.Equal(t, start.Add(20*time.Minute), s.ExpiresAt())
}

// Who remembers with each request does not keep the session alive for ever, and
// does not get a new credential each time.
func TestRememberAgainChangesNothing(t *testing.T) {
	m := &moment{start}
	rec := kept(t, nil, m, func(s *session.Session) { require.NoError(t, s.Remember(true)) })
	assert.Equal(t, uint64(1), rec.Generation, "no credential has had other limits")
	m.Time = start.Add(5 * day)
	s, control := begin(rec, m)
	require.NoError(t, s.Remember(true))
	assert.True(t, pending(control).TouchOnly())
}

func TestRememberFalseOfAnOldLogin(t *testing.T) {
	m := &moment{start}
	rec := kept(t, nil, m, func(s *session.Session) { require.NoError(t, s.Remember(true)) })
	m.Time = start.Add(12 * time.Hour)
	s, control := begin(rec, m)
	assert.ErrorIs(t, s.Remember(false), session.LifetimeOver)
	assert.True(t, pending(control).TouchOnly(), "nothing has changed")
	require.NoError(t, s.Login("alice"))
	assert.NoError(t, s.Remember(false), "the lifetime counts from the login")
}

// Who logs in after another subject on the same device has not asked to be
// remembered.
func TestLoginOfAnotherSubjectIsNotRemembered(t *testing.T) {
	m := &moment{start}
	rec := kept(t, nil, m, func(s *session.Session) {
		require.NoError(t, s.Remember(true))
		require.NoError(t, s.Login("alice"))
	})
	assert.True(t, rec.Persistent, "nobody was logged in before")
	same := kept(t, rec, m, func(s *session.Session) { require.NoError(t, s.Login("alice")) })
	assert.True(t, same.Persistent)
	bob := kept(t, rec, m, func(s *session.Session) { require.NoError(t, s.Login("bob")) })
	assert.False(t, bob.Persistent)
	assert.Equal(t, start.Add(12*time.Hour), bob.Deadline)
	assert.Equal(t, start.Add(20*time.Minute), bob.IdleDeadline)
	carol := kept(t, rec, m, func(s *session.Session) {
		require.NoError(t, s.Login("carol"))
		require.NoError(t, s.Remember(true))
	})
	assert.Equal(t, start.Add(30*day), carol.Deadline)
}

// A policy that has become shorter holds for sessions that were remembered
// before.
func TestTouchHoldsToTheRememberedLimits(t *testing.T) {
	m := &moment{start}
	rec := kept(t, nil, m, func(s *session.Session) { require.NoError(t, s.Remember(true)) })
	touched, err := touch(session.Policy{RememberedIdleTimeout: time.Hour, RememberedLifetime: 2 * day}, m).Apply(rec)
	require.NoError(t, err)
	assert.Equal(t, start.Add(2*day), touched.Deadline)
	assert.Equal(t, start.Add(time.Hour), touched.IdleDeadline)
}
