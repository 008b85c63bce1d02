//go:build unix

package sqlstore_test

import (
	"database/sql"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/opaque/sqlstore"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

// The store says at the start which rights its user lacks, and what it says is
// enough. db is a pool of the user, whom this makes.
func (s *server) rights(t *testing.T, user string, db *sql.DB) {
	admin := s.open(t)
	identified := map[sqlstore.Dialect]string{sqlstore.PostgreSQL: "LOGIN", sqlstore.MySQL: "IDENTIFIED BY ''"}
	execute(t, admin, "CREATE USER "+user+" "+identified[s.dialect])
	cfg := sqlstore.Config{Prefix: "rights_"}
	weak := func() *sqlstore.Store { return s.newStore(t, db, cfg) }
	if s.dialect == sqlstore.MySQL {
		execute(t, admin, "CREATE TABLE other (n int)")
		execute(t, admin, "GRANT SELECT ON other TO "+user) // or it could not connect
	}
	require.ErrorContains(t, weak().Migrate(t.Context()), "the statements of Schema")
	require.NoError(t, s.store(t, admin, cfg).Append(t.Context(), []revocation.Entry{ended("x"), ended("y"), ended("z")}))

	const all = "SELECT, INSERT, UPDATE, DELETE ON "
	err := s.lacks(t, weak(), "GRANT "+all+"rights_sessions TO "+user+"; GRANT SELECT, UPDATE ON rights_meta TO "+user+
		"; GRANT "+all+"rights_ended TO "+user+"; GRANT "+all+"rights_subjects TO "+user+
		"; GRANT "+all+"rights_entries TO "+user+": ")
	_, grants, _ := strings.Cut(err, ": GRANT ")
	grants, _, _ = strings.Cut(grants, ": ")
	for grant := range strings.SplitSeq("GRANT "+grants, "; ") {
		execute(t, admin, grant)
	}
	strong := weak()
	require.NoError(t, strong.Migrate(t.Context()))
	require.NoError(t, strong.Ping(t.Context()))
	require.NoError(t, strong.Append(t.Context(), []revocation.Entry{ended("new")}))
	r, readErr := strong.Read(t.Context(), "", 0)
	require.NoError(t, readErr)
	require.Len(t, r.Entries, 4, "the check has changed nothing")

	for _, table := range []string{"sessions", "meta", "ended", "subjects", "entries"} {
		for _, right := range []string{"SELECT", "INSERT", "UPDATE", "DELETE"} {
			if table == "meta" && (right == "INSERT" || right == "DELETE") {
				continue
			}
			on := right + " ON rights_" + table
			execute(t, admin, "REVOKE "+on+" FROM "+user)
			s.lacks(t, weak(), ": GRANT "+on+" TO "+user+": ")
			execute(t, admin, "GRANT "+on+" TO "+user)
		}
	}
}

// lacks expects that neither Migrate nor Ping is content with the user.
func (s *server) lacks(t *testing.T, store *sqlstore.Store, want string) string {
	t.Helper()
	err := store.Migrate(t.Context())
	require.ErrorIs(t, err, session.Unavailable)
	require.ErrorContains(t, err, want)
	require.ErrorContains(t, store.Ping(t.Context()), want)
	return err.Error()
}
