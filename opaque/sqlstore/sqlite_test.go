package sqlstore_test

import (
	"bytes"
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/cloakroom-go/cloakroom/internal/itemtest"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/opaque/sqlstore"
	"github.com/cloakroom-go/cloakroom/session"
)

func sqlite(t testing.TB) database {
	t.Helper()
	file := filepath.Join(t.TempDir(), "sessions.db")
	return database{
		dialect: sqlstore.SQLite,
		lock:    "UPDATE cloakroom_sessions SET seen = seen",
		open:    func(t testing.TB) *sql.DB { return open(t, "sqlite", file) },
	}
}

func open(t testing.TB, driver, source string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, source)
	require.NoError(t, err)
	db.SetMaxIdleConns(16)
	t.Cleanup(func() { _ = db.Close() }) // an error if the server was restarted
	return db
}

// openPatient returns a pool for statements of the test itself, which wait for
// those of stores.
func (d database) openPatient(t testing.TB) *sql.DB {
	t.Helper()
	db := d.open(t)
	if d.dialect == sqlstore.SQLite {
		db.SetMaxOpenConns(1)
		execute(t, db, "PRAGMA busy_timeout = 10000")
	}
	return db
}

func TestSQLite(t *testing.T) {
	d := sqlite(t)
	d.suite(t)
	t.Run("tables", d.tables)
}

// A full disk denies what needs room, and nothing else. Once there is room, it
// goes on.
func TestSQLiteFull(t *testing.T) {
	d := sqlite(t)
	db := d.open(t)
	db.SetMaxOpenConns(1) // max_page_count holds for one connection
	s := d.store(t, db, sqlstore.Config{})
	key := itemtest.Key()
	require.NoError(t, s.Create(t.Context(), key, itemtest.New(1, "data")))
	var pages int
	require.NoError(t, db.QueryRowContext(t.Context(), "PRAGMA max_page_count = 1").Scan(&pages)) // means no more
	large := itemtest.New(2, "data")
	large.Data = bytes.Repeat([]byte("x"), 1<<20)
	_, err := s.Swap(within(t, 5*time.Second), key, 1, large)
	require.ErrorIs(t, err, opaque.ErrNotDone)
	require.ErrorContains(t, err, "SQLite reports error 13")
	require.ErrorIs(t, s.Create(within(t, 5*time.Second), itemtest.Key(), large), session.Unavailable)
	item, ok, err := s.Get(t.Context(), key)
	require.NoError(t, err)
	require.True(t, ok)
	require.EqualValues(t, 1, item.Version)

	require.NoError(t, db.QueryRowContext(t.Context(), "PRAGMA max_page_count = 100000").Scan(&pages))
	ok, err = s.Swap(within(t, time.Second), key, 1, large)
	require.NoError(t, err)
	require.True(t, ok)
}

// Sessions outlive the process.
func TestSQLiteRestart(t *testing.T) {
	d := sqlite(t)
	key := itemtest.Key()
	db := d.open(t)
	s := d.store(t, db, sqlstore.Config{})
	require.NoError(t, s.Create(t.Context(), key, itemtest.New(1, "data")))
	require.NoError(t, s.Close())
	require.NoError(t, db.Close())
	_, ok, err := d.store(t, d.open(t), sqlstore.Config{}).Get(t.Context(), key)
	require.NoError(t, err)
	require.True(t, ok)
}

// Each connection would have a database of its own.
func TestSQLiteInMemory(t *testing.T) {
	d := database{dialect: sqlstore.SQLite}
	s := d.newStore(t, open(t, "sqlite", ":memory:"), sqlstore.Config{})
	require.ErrorContains(t, s.Migrate(t.Context()), "must be a file")
}

func TestConfig(t *testing.T) {
	_, err := sqlstore.New(nil, sqlstore.Config{Prefix: "x; DROP TABLE", Linger: -1})
	require.ErrorContains(t, err, "needs a database")
	require.ErrorContains(t, err, "Config.Dialect is required")
	require.ErrorContains(t, err, "Config.Prefix is")
	require.ErrorContains(t, err, "Config.Linger is -1ns")
	_, err = sqlstore.New(open(t, "sqlite", ":memory:"), sqlstore.Config{Dialect: 4})
	require.ErrorContains(t, err, "Config.Dialect is required")
}

func TestZeroStore(t *testing.T) {
	s := &sqlstore.Store{}
	allFail(t, s)
	require.NoError(t, s.Close())
}
