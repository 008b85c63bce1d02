//go:build unix

package sqlstore_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/itemtest"
	"github.com/cloakroom-go/cloakroom/internal/servertest"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/opaque/sqlstore"
	"github.com/cloakroom-go/cloakroom/session"
)

// A server is a database that runs for one test.
type server struct {
	database
	start   func(t testing.TB) *servertest.Process
	process *servertest.Process

	others  string              // a query for the IDs of all connections of other clients
	waiting string              // a query for the number of updates that wait for a row
	kill    func(id int) string // the statement that ends one
}

func startPostgres(t testing.TB) *server {
	t.Helper()
	addr, c := servertest.PostgreSQL(t)
	s := &server{}
	openAt := func(t testing.TB, addr string) *sql.DB {
		return open(t, "pgx", "postgres://app@"+addr+"/postgres?sslmode=disable&connect_timeout=10")
	}
	s.start = starter(c, func(t testing.TB) *sql.DB { return openAt(t, addr) })
	s.database = database{
		dialect: sqlstore.PostgreSQL, lock: "UPDATE cloakroom_sessions SET seen = seen",
		open: func(t testing.TB) *sql.DB { return openAt(t, addr) }, addr: addr, openAt: openAt,
	}
	s.others = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
	s.waiting = "SELECT count(*) FROM pg_stat_activity" +
		" WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE%'"
	s.kill = func(id int) string { return fmt.Sprintf("SELECT pg_terminate_backend(%d)", id) }
	s.process = s.start(t)
	return s
}

func startMariaDB(t testing.TB) *server {
	t.Helper()
	addr, c := servertest.MariaDB(t, "--innodb-lock-wait-timeout=1")
	s := &server{}
	openAt := func(t testing.TB, addr string) *sql.DB {
		return open(t, "mysql", "root@tcp("+addr+")/app?timeout=10s&readTimeout=10s")
	}
	s.start = starter(c, func(t testing.TB) *sql.DB { return openAt(t, addr) })
	s.database = database{
		dialect: sqlstore.MySQL, lock: "UPDATE cloakroom_sessions SET seen = seen + 1",
		open: func(t testing.TB) *sql.DB { return openAt(t, addr) }, addr: addr, openAt: openAt,
	}
	s.others = "SELECT id FROM information_schema.processlist WHERE db = 'app' AND id <> CONNECTION_ID()"
	s.waiting = "SELECT count(*) FROM information_schema.innodb_trx" +
		" WHERE trx_state = 'LOCK WAIT' AND trx_query LIKE 'UPDATE%'"
	s.kill = func(id int) string { return fmt.Sprintf("KILL %d", id) }
	s.process = s.start(t)
	return s
}

// ofPrefix opens the database, which has the stores of all prefixes.
func (s *server) ofPrefix(t testing.TB, _ string) *sql.DB { return s.open(t) }

// starter returns the function that starts a server again.
func starter(c servertest.Config, open func(t testing.TB) *sql.DB) func(t testing.TB) *servertest.Process {
	return func(t testing.TB) *servertest.Process {
		t.Helper()
		db := open(t)
		defer func() { _ = db.Close() }()
		c.Ready = db.PingContext
		return servertest.Start(t, c)
	}
}

func TestPostgreSQL(t *testing.T) {
	s := startPostgres(t)
	s.suite(t)
	t.Run("opener", func(t *testing.T) {
		s.opensAt(t, "postgres://app@"+s.addr+"/postgres?sslmode=disable&prefix=opened_", opaque.OpenOptions{})
	})
	t.Run("apps share", func(t *testing.T) {
		s.appsShare(t, func(addr, prefix string) string {
			return "postgres://app@" + addr + "/postgres?sslmode=disable&max_conns=3&prefix=" + prefix
		}, s.ofPrefix)
	})
	t.Run("apps list devices", func(t *testing.T) {
		s.leavesNothing(t)
		s.appsListDevices(t, "postgres://app@"+s.addr+"/postgres?sslmode=disable&")
	})
	t.Run("tables", s.tables)
	t.Run("rights", func(t *testing.T) {
		s.rights(t, "weak", open(t, "pgx", "postgres://weak@"+s.addr+"/postgres?sslmode=disable"))
	})
	t.Run("limit needs the lock", s.limitNeedsTheLock)
	t.Run("lost answers", s.lostAnswers)
	t.Run("full disk", s.fullDisk)
	t.Run("login without room", s.loginWithoutRoom)
	t.Run("rolled back", s.rolledBack)
	s.trouble(t)
}

func TestMariaDB(t *testing.T) {
	require.NoError(t, mysql.SetLogger(quiet{}))
	s := startMariaDB(t)
	s.suite(t)
	t.Run("opener", s.opener)
	t.Run("apps share", func(t *testing.T) {
		s.appsShare(t, func(addr, prefix string) string {
			return "mysql://root@" + addr + "/app?max_conns=3&prefix=" + prefix
		}, s.ofPrefix)
	})
	t.Run("tables", s.tables)
	t.Run("rights", func(t *testing.T) {
		s.rights(t, "'weak'@'127.0.0.1'", open(t, "mysql", "weak@tcp("+s.addr+")/app"))
	})
	t.Run("limit needs the lock", s.limitNeedsTheLock)
	t.Run("lost answers", s.lostAnswers)
	t.Run("lock wait timeout", s.lockWaitTimeout)
	t.Run("found rows", s.foundRows)
	s.trouble(t)
}

// foundRows has connections that count the rows that a statement has found, and
// not those that it has changed.
func (s *server) foundRows(t *testing.T) {
	_, err := s.open(t).ExecContext(t.Context(), "CREATE DATABASE found")
	require.NoError(t, err)
	d := database{dialect: s.dialect, open: func(t testing.TB) *sql.DB {
		return open(t, "mysql", "root@tcp("+s.addr+")/found?clientFoundRows=true")
	}}
	t.Run("contract", d.contract)
	t.Run("clean-up", d.cleanUp)
	t.Run("one cleans up", d.oneCleansUp)
}

// quiet drops what the driver says of connections that a test broke.
type quiet struct{}

func (quiet) Print(...any) {}

// raise makes the database refuse writes to a table with a SQLSTATE, until the
// function that it returns is called. With times above 0 it refuses only so
// many.
func (s *server) raise(t *testing.T, db *sql.DB, table, sqlState string, times int) (end func()) {
	t.Helper()
	exec := func(statement string) {
		t.Helper()
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	condition := "true"
	if times > 0 {
		exec("CREATE SEQUENCE IF NOT EXISTS refused") // does not go back with a transaction
		exec("ALTER SEQUENCE refused RESTART")
		condition = fmt.Sprintf("nextval('refused') <= %d", times)
	}
	exec("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF " + condition +
		" THEN RAISE EXCEPTION 'secret %', NEW USING ERRCODE = '" + sqlState + "'; END IF; RETURN NEW; END $$")
	exec("CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON " + table + " FOR EACH ROW EXECUTE FUNCTION refuse()")
	return func() { exec("DROP FUNCTION refuse CASCADE") }
}

func (s *server) fullDisk(t *testing.T) {
	db := s.open(t)
	store := s.store(t, db, sqlstore.Config{})
	key, unused := itemtest.Key(), itemtest.Key()
	require.NoError(t, store.Create(t.Context(), key, itemtest.New(1, "data")))
	end := s.raise(t, db, "cloakroom_sessions", "53100", 0)
	_, err := store.Swap(within(t, 5*time.Second), key, 1, itemtest.New(2, "data"))
	require.ErrorIs(t, err, opaque.ErrNotDone)
	require.ErrorContains(t, err, "SQLSTATE 53100")
	require.NotContains(t, err.Error(), "secret")
	require.ErrorIs(t, store.Create(within(t, 5*time.Second), unused, itemtest.New(1, "data")), session.Unavailable)
	_, ok, err := store.Get(t.Context(), key)
	require.NoError(t, err)
	require.True(t, ok)
	require.NoError(t, store.Delete(t.Context(), unused), "a logout needs no room")
	end()
	ok, err = store.Swap(within(t, time.Second), key, 1, itemtest.New(2, "data"))
	require.NoError(t, err)
	require.True(t, ok)
}

// What the database rolled back for a deadlock is tried again.
func (s *server) rolledBack(t *testing.T) {
	db := s.open(t)
	store := s.store(t, db, sqlstore.Config{})
	key := itemtest.Key()
	require.NoError(t, store.Create(t.Context(), key, itemtest.New(1, "data")))
	defer s.raise(t, db, "cloakroom_sessions", "40P01", 3)()
	ok, err := store.Swap(within(t, 5*time.Second), key, 1, itemtest.New(2, "data"))
	require.NoError(t, err)
	require.True(t, ok)
}

// A password with every character that has a meaning somewhere.
func (s *server) opener(t *testing.T) {
	const password = "p@ss/w:o?r#d(%41)"
	_, err := s.open(t).ExecContext(t.Context(), "CREATE USER shop@'127.0.0.1' IDENTIFIED BY '"+password+"'")
	require.NoError(t, err)
	_, err = s.open(t).ExecContext(t.Context(), "GRANT ALL ON app.* TO shop@'127.0.0.1'")
	require.NoError(t, err)
	at := "mysql://shop@" + s.addr + "/app?prefix=opened_"
	s.opensAt(t, at, opaque.OpenOptions{Password: password})
	_, err = openAt(t, s.dialect, at, opaque.OpenOptions{Password: "hunter2"})
	require.ErrorIs(t, err, session.Unavailable)
	require.ErrorContains(t, err, "Access denied")
	require.NotContains(t, err.Error(), "hunter2")
}

// The server gives up waiting for a row after a second (1205), and the store
// tries again.
func (s *server) lockWaitTimeout(t *testing.T) {
	store := s.store(t, s.open(t), sqlstore.Config{})
	key := itemtest.Key()
	require.NoError(t, store.Create(t.Context(), key, itemtest.New(1, "data")))
	conn, err := s.open(t).Conn(t.Context())
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	for _, statement := range []string{"BEGIN", s.lock} {
		_, err := conn.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	unlocked := make(chan error)
	time.AfterFunc(1300*time.Millisecond, func() {
		_, err := conn.ExecContext(context.Background(), "ROLLBACK")
		unlocked <- err
	})
	ok, err := store.Swap(within(t, 10*time.Second), key, 1, itemtest.New(2, "data"))
	require.NoError(t, err)
	require.True(t, ok)
	require.NoError(t, <-unlocked)
}
