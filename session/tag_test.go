package session_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/session"
)

// No two pairs of kind and value make one tag, and none without both makes any.
func TestTag(t *testing.T) {
	seen := make(map[session.LoginTag]string)
	for _, row := range [][2]string{
		{"a", "b"}, {"ab", "c"}, {"a", "bc"}, {"tenant", "acme"}, {"tenan", "tacme"}, {"tenant", "Acme"},
		{"\x01a", "b"}, {"a", "\x01b"}, {"k", strings.Repeat("v", 10_000)},
	} {
		tag := session.Tag(row[0], row[1])
		assert.NotContains(t, seen, tag, "%q", row)
		assert.Equal(t, tag, session.Tag(row[0], row[1]))
		seen[tag] = row[1]
	}
	assert.Zero(t, session.Tag("", "a"))
	assert.Zero(t, session.Tag("a", ""))
}

// A login has the tags that it was given, until another login. A renewal
// changes none.
func TestLoginTags(t *testing.T) {
	m := &moment{start}
	acme, phone := session.Tag("tenant", "acme"), session.Tag("device", "phone")
	rec := kept(t, nil, m, func(s *session.Session) {
		require.NoError(t, s.Login("alice", acme, phone))
		assert.Equal(t, []session.LoginTag{acme, phone}, s.Tags())
	})
	assert.Equal(t, []session.LoginTag{acme, phone}, rec.Tags)
	rec = kept(t, rec, m, func(s *session.Session) { require.NoError(t, s.Renew()) })
	assert.Equal(t, []session.LoginTag{acme, phone}, rec.Tags)
	rec = kept(t, rec, m, func(s *session.Session) { require.NoError(t, s.Login("alice")) })
	assert.Empty(t, rec.Tags)
}

func TestLoginTagsRefused(t *testing.T) {
	m := &moment{start}
	s, control := begin(nil, m)
	five := []session.LoginOption{
		session.LoginTag{1}, session.LoginTag{2}, session.LoginTag{3}, session.LoginTag{4}, session.LoginTag{5},
	}
	assert.ErrorIs(t, s.Login("alice", five...), session.BadValue)
	assert.ErrorIs(t, s.Login("alice", session.Tag("tenant", "")), session.BadValue)
	assert.True(t, pending(control).TouchOnly())
	assert.NoError(t, s.Login("alice", five[:4]...))
}
