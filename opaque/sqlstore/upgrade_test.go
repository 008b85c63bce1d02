package sqlstore_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/itemtest"
	"github.com/cloakroom-go/cloakroom/opaque/sqlstore"
	"github.com/cloakroom-go/cloakroom/session"
)

// Tables of the version before keep their sessions when Migrate brings them up
// to date, and the store says until then what to do. It also goes on with
// tables of a version to come.
func (d database) upgrade(t *testing.T) {
	db := d.openPatient(t)
	s := d.newStore(t, d.open(t), sqlstore.Config{Prefix: "older_"})
	for statement := range strings.SplitSeq(strings.TrimSuffix(s.Schema(), ";\n"), ";\n") {
		isNew := strings.Contains(statement, "older_subjects") || strings.Contains(statement, "older_entries") ||
			strings.Contains(statement, "SET value = 3")
		if !isNew {
			execute(t, db, statement)
		}
	}
	key, subject := itemtest.Key(), itemtest.Key()
	require.NoError(t, s.Create(t.Context(), key, itemtest.New(1, "data")))
	const say = "the tables are of version 2, want 3; call Migrate"
	require.ErrorContains(t, s.Ping(t.Context()), say)
	_, listErr := s.List(t.Context(), subject)
	_, extendErr := s.Extend(t.Context(), subject, "a", time.Now(), time.Now())
	_, markErr := s.Mark(t.Context(), subject, "a", time.Now())
	for _, err := range []error{
		s.Enter(t.Context(), subject, entry("a", "key"), "", 1), s.Leave(t.Context(), subject, "a"),
		s.Leave(t.Context(), subject, "a", "key"), listErr, extendErr, markErr,
	} {
		require.ErrorContains(t, err, say)
		require.ErrorIs(t, err, session.Unavailable)
	}

	require.NoError(t, s.Migrate(t.Context()))
	require.NoError(t, s.Ping(t.Context()))
	require.NoError(t, s.Enter(t.Context(), subject, entry("a", "key"), "", 1))
	_, ok, err := s.Get(t.Context(), key)
	require.NoError(t, err)
	require.True(t, ok)
	execute(t, db, "UPDATE older_meta SET value = 4 WHERE name = 'schema'")
	require.NoError(t, s.Ping(t.Context()))
	require.NoError(t, s.Migrate(t.Context()))
	all, err := s.List(t.Context(), subject)
	require.NoError(t, err)
	require.Len(t, all, 1)
}
