package benchmarks_test

import (
	"context"
	"database/sql"
	"encoding/base64"
	"path/filepath"
	"testing"
	"time"

	"github.com/alexedwards/scs/mysqlstore"
	"github.com/alexedwards/scs/postgresstore"
	"github.com/alexedwards/scs/sqlite3store"
	"github.com/alexedwards/scs/v2"
	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/cloakroom-go/cloakroom/internal/servertest"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/opaque/sqlstore"
)

// sqlConnections is how many connections a pool has, all of which stay open.
const sqlConnections = 16

func inPostgreSQL(tb testing.TB) []*app {
	tb.Helper()
	db := openSQL(tb, "pgx", "postgres://app@"+startPostgres(tb)+"/postgres?sslmode=disable")
	peer := postgresstore.NewWithCleanupInterval(db, 0)
	return inSQL(tb, db, sqlstore.PostgreSQL, "$1", peer,
		"CREATE TABLE sessions (token TEXT PRIMARY KEY, data BYTEA NOT NULL, expiry TIMESTAMPTZ NOT NULL)")
}

func inMariaDB(tb testing.TB) []*app {
	tb.Helper()
	// Without interpolateParams, statements that aren't prepared take three round
	// trips, and those of scs aren't.
	db := openSQL(tb, "mysql", "root@tcp("+startMariaDB(tb)+")/app?interpolateParams=true&parseTime=true")
	peer := mysqlstore.NewWithCleanupInterval(db, 0)
	return inSQL(tb, db, sqlstore.MySQL, "?", peer,
		"CREATE TABLE sessions (token CHAR(43) PRIMARY KEY, data BLOB NOT NULL, expiry TIMESTAMP(6) NOT NULL)")
}

func inSQLite(tb testing.TB) []*app {
	tb.Helper()
	db := openSQL(tb, "sqlite", "file:"+filepath.Join(tb.TempDir(), "sessions.db")+
		"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)")
	db.SetMaxOpenConns(0) // no limit, as the documentation of package sqlstore says
	peer := sqlite3store.NewWithCleanupInterval(db, 0)
	return inSQL(tb, db, sqlstore.SQLite, "?", peer,
		"CREATE TABLE sessions (token TEXT PRIMARY KEY, data BLOB NOT NULL, expiry REAL NOT NULL)")
}

// inSQL returns the apps in one database: ours, that of scs with the table of
// its documentation, and the bare statement that reads a session of ours.
func inSQL(
	tb testing.TB, db *sql.DB, dialect sqlstore.Dialect, placeholder string, peer scs.Store, table string,
) []*app {
	tb.Helper()
	for _, statement := range []string{table, "CREATE INDEX sessions_expiry_idx ON sessions (expiry)"} {
		_, err := db.ExecContext(tb.Context(), statement)
		require.NoError(tb, err)
	}
	store, err := sqlstore.New(db, sqlstore.Config{Dialect: dialect})
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = store.Close() })
	require.NoError(tb, store.Migrate(tb.Context()))
	key := newItem(tb, store)
	statement, err := db.PrepareContext(tb.Context(),
		"SELECT version, seen, idle, dead, data FROM cloakroom_sessions WHERE k = "+placeholder)
	require.NoError(tb, err)
	ask := func(ctx context.Context) error {
		var version, seen, idle, dead int64
		var data []byte
		return statement.QueryRowContext(ctx, key).Scan(&version, &seen, &idle, &dead, &data)
	}
	return []*app{
		oursIn(tb, "ours", store, nil),
		scsIn("scs", peer, idleTimeout),
		query("select-with-deadline", ask),
		query("select", func(context.Context) error { return ask(context.Background()) }),
	}
}

// newItem makes an item as large as that of a session, and returns its key.
func newItem(tb testing.TB, store opaque.Store) (key string) {
	tb.Helper()
	key = base64.RawURLEncoding.EncodeToString(random(32))
	now := time.Now()
	require.NoError(tb, store.Create(tb.Context(), key, opaque.Item{
		Version: 1, SeenAt: now, IdleDeadline: now.Add(idleTimeout), Deadline: now.Add(lifetime), Data: random(200),
	}))
	return key
}

func openSQL(tb testing.TB, driver, source string) *sql.DB {
	tb.Helper()
	db, err := sql.Open(driver, source)
	require.NoError(tb, err)
	db.SetMaxOpenConns(sqlConnections)
	db.SetMaxIdleConns(sqlConnections)
	tb.Cleanup(func() { _ = db.Close() })
	return db
}

// startPostgres starts a server that doesn't wait for the disk, which would
// hide what the peers cost.
func startPostgres(tb testing.TB) (addr string) {
	tb.Helper()
	addr, c := servertest.PostgreSQL(tb, "-c", "max_connections=200")
	c.Ready = ping(tb, "pgx", "postgres://app@"+addr+"/postgres?sslmode=disable")
	servertest.Start(tb, c)
	return addr
}

func startMariaDB(tb testing.TB) (addr string) {
	tb.Helper()
	addr, c := servertest.MariaDB(tb)
	c.Ready = ping(tb, "mysql", "root@tcp("+addr+")/app")
	servertest.Start(tb, c)
	return addr
}

func ping(tb testing.TB, driver, source string) func(ctx context.Context) error {
	tb.Helper()
	return openSQL(tb, driver, source).PingContext
}
