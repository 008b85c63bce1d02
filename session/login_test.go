package session_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/session"
)

// How the subject authenticated stays with the session until the next login,
// which says it anew.
func TestLoginMethods(t *testing.T) {
	m := &moment{start}
	acme := session.Tag("tenant", "acme")
	given := []string{"pwd", "otp"}
	rec := kept(t, nil, m, func(s *session.Session) {
		assert.Nil(t, s.AMR())
		require.NoError(t, s.Login("alice", session.AMR(given...), acme, nil, session.AMR("mfa")))
		given[0] = "changed"
		assert.Equal(t, []string{"pwd", "otp", "mfa"}, s.AMR())
		s.AMR()[0] = "changed"
	})
	want := []string{"pwd", "otp", "mfa"}
	assert.Equal(t, want, rec.AMR)
	assert.Equal(t, []session.LoginTag{acme}, rec.Tags)
	for name, change := range map[string]func(s *session.Session) error{
		"Renew": (*session.Session).Renew,
		"Set":   func(s *session.Session) error { return session.Key[int]("n").Set(s, 1) },
		"Clear": (*session.Session).Clear,
	} {
		next := kept(t, rec, m, func(s *session.Session) { require.NoError(t, change(s)) })
		assert.Equal(t, want, next.AMR, name)
	}
	again := kept(t, rec, m, func(s *session.Session) {
		require.NoError(t, s.Login("alice", session.AMR("hwk")))
		assert.Equal(t, []string{"hwk"}, s.AMR())
	})
	assert.Equal(t, []string{"hwk"}, again.AMR)
	for _, subject := range []string{"alice", "bob"} {
		again := kept(t, rec, m, func(s *session.Session) { require.NoError(t, s.Login(subject)) })
		assert.Empty(t, again.AMR, subject)
		assert.Empty(t, again.Tags, subject)
	}
	assert.Equal(t, want, rec.AMR, "a record that was handed out does not change")
}

// A change that meets a newer state of the session keeps that state's login,
// and a login that meets one says everything anew.
func TestLoginMethodsMerge(t *testing.T) {
	m := &moment{start}
	rec := kept(t, nil, m, func(s *session.Session) { require.NoError(t, s.Login("alice", session.AMR("pwd"))) })
	newer := kept(t, rec, m, func(s *session.Session) { require.NoError(t, s.Login("alice", session.AMR("pwd", "otp"))) })

	s, control := begin(rec, m)
	require.NoError(t, session.Key[int]("n").Set(s, 1))
	merged, err := pending(control).Apply(newer)
	require.NoError(t, err)
	assert.Equal(t, []string{"pwd", "otp"}, merged.AMR)

	s, control = begin(rec, m)
	require.NoError(t, s.Login("alice", session.AMR("hwk")))
	merged, err = pending(control).Apply(newer)
	require.NoError(t, err)
	assert.Equal(t, []string{"hwk"}, merged.AMR)
	anew, err := pending(control).Anew(newer).Apply(nil)
	require.NoError(t, err)
	assert.Equal(t, []string{"hwk"}, anew.AMR, "a session of its own")
}

func TestLoginMethodsRefused(t *testing.T) {
	m := &moment{start}
	s, control := begin(nil, m)
	eight := strings.Fields("a b c d e f g h")
	for _, names := range [][]string{
		{""}, {"pwd", ""}, {"a b"}, {"a\n"}, {"\x7f"}, {"é"}, {"\xff"}, {strings.Repeat("x", 65)}, append(eight, "i"),
	} {
		err := s.Login("alice", session.AMR(names...))
		require.ErrorIs(t, err, session.BadValue, "%q", names)
		require.EqualError(t, err, "session: AMR takes at most 8 names, each of 1 to 64 printable ASCII characters "+
			"without a space: invalid value")
	}
	require.ErrorIs(t, s.Login("alice", session.AMR(eight...), session.AMR("i")), session.BadValue)
	assert.True(t, pending(control).TouchOnly())
	require.NoError(t, s.Login("alice", session.AMR()))
	assert.Nil(t, s.AMR())
	require.NoError(t, s.Login("alice", session.AMR(append(eight[:7:7], strings.Repeat("~", 64))...)))
	assert.Len(t, s.AMR(), 8)
}
