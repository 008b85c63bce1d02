package benchmarks_test

import (
	"context"
	"database/sql"
	"encoding/base64"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
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

// run runs a program to its end.
func run(tb testing.TB, as *syscall.Credential, dir, program string, args ...string) {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), program, args...)
	cmd.Dir, cmd.SysProcAttr = dir, &syscall.SysProcAttr{Credential: as}
	output, err := cmd.CombinedOutput()
	require.NoError(tb, err, "%s", output)
}

// startPostgres starts a server that doesn't wait for the disk, which would
// hide what the peers cost.
func startPostgres(tb testing.TB) (addr string) {
	tb.Helper()
	program := func(name string) string {
		found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name) // Debian keeps them out of PATH
		require.NoError(tb, err)
		return servertest.Program(tb, append(found, name)...)
	}
	as := servertest.User(tb, "postgres")
	dir, addr := servertest.Dir(tb, as), servertest.FreeAddr(tb)
	data := filepath.Join(dir, "data")
	run(tb, as, dir, program("initdb"), "-D", data, "-U", "app", "--auth=trust", "--no-sync",
		"--encoding=UTF8", "--locale=C")
	host, port, err := net.SplitHostPort(addr)
	require.NoError(tb, err)
	servertest.Start(tb, servertest.Config{
		Program: program("postgres"), As: as, Dir: dir, Stop: syscall.SIGINT,
		Args:  []string{"-D", data, "-h", host, "-p", port, "-k", dir, "-c", "fsync=off", "-c", "max_connections=200"},
		Ready: ping(tb, "pgx", "postgres://app@"+addr+"/postgres?sslmode=disable"),
	})
	return addr
}

func startMariaDB(tb testing.TB) (addr string) {
	tb.Helper()
	mariadbd := servertest.Program(tb, "mariadbd", "/usr/sbin/mariadbd")
	install := servertest.Program(tb, "mariadb-install-db")
	as := servertest.User(tb, "mysql")
	dir, addr := servertest.Dir(tb, as), servertest.FreeAddr(tb)
	data := filepath.Join(dir, "data")
	run(tb, as, dir, install, "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal",
		"--skip-test-db")
	initFile := filepath.Join(dir, "init.sql")
	require.NoError(tb, os.WriteFile(initFile, []byte("CREATE DATABASE IF NOT EXISTS app;\n"), 0o644))
	host, port, err := net.SplitHostPort(addr)
	require.NoError(tb, err)
	servertest.Start(tb, servertest.Config{
		Program: mariadbd, As: as, Dir: dir,
		Args: []string{
			"--no-defaults", "--datadir=" + data, "--bind-address=" + host, "--port=" + port,
			"--socket=" + filepath.Join(dir, "socket"), "--pid-file=" + filepath.Join(dir, "pid"),
			"--init-file=" + initFile, "--innodb-flush-log-at-trx-commit=0",
		},
		Ready: ping(tb, "mysql", "root@tcp("+addr+")/app"),
	})
	return addr
}

func ping(tb testing.TB, driver, source string) func(ctx context.Context) error {
	tb.Helper()
	return openSQL(tb, driver, source).PingContext
}
