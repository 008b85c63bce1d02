//go:build unix

package sqlstore_test

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/servertest"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/opaque/sqlstore"
	"github.com/cloakroom-go/cloakroom/session"
)

// A server is a database that runs for one test.
type server struct {
	database
	addr    string
	openAt  func(t *testing.T, addr string) *sql.DB
	start   func(t *testing.T) *servertest.Process
	process *servertest.Process
}

// run runs a program to its end.
func run(t *testing.T, as *syscall.Credential, dir, program string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir, cmd.SysProcAttr = dir, &syscall.SysProcAttr{Credential: as}
	output, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", output)
}

// postgresProgram returns the path of a program of PostgreSQL, which Debian
// keeps out of PATH.
func postgresProgram(t *testing.T, name string) string {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	require.NoError(t, err)
	return servertest.Program(t, append(found, name)...)
}

func startPostgres(t *testing.T) *server {
	t.Helper()
	postgres, initdb := postgresProgram(t, "postgres"), postgresProgram(t, "initdb")
	as := servertest.User(t, "postgres")
	dir, addr := servertest.Dir(t, as), servertest.FreeAddr(t)
	data := filepath.Join(dir, "data")
	run(t, as, dir, initdb, "-D", data, "-U", "app", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C")
	host, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	s := &server{addr: addr}
	s.openAt = func(t *testing.T, addr string) *sql.DB {
		return open(t, "pgx", "postgres://app@"+addr+"/postgres?sslmode=disable")
	}
	s.start = func(t *testing.T) *servertest.Process {
		t.Helper()
		return servertest.Start(t, servertest.Config{
			Program: postgres, As: as, Dir: dir, Stop: syscall.SIGINT, // closes connections
			Args:  []string{"-D", data, "-h", host, "-p", port, "-k", dir, "-c", "fsync=off"},
			Ready: ping(t, s.openAt(t, addr)),
		})
	}
	s.database = database{
		dialect: sqlstore.PostgreSQL, lock: "UPDATE cloakroom_sessions SET seen = seen",
		open: func(t *testing.T) *sql.DB { return s.openAt(t, addr) },
	}
	s.process = s.start(t)
	return s
}

func startMariaDB(t *testing.T, parameters string) *server {
	t.Helper()
	mariadbd := servertest.Program(t, "mariadbd", "/usr/sbin/mariadbd")
	install := servertest.Program(t, "mariadb-install-db")
	as := servertest.User(t, "mysql")
	dir, addr := servertest.Dir(t, as), servertest.FreeAddr(t)
	data := filepath.Join(dir, "data")
	run(t, as, dir, install, "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal",
		"--skip-test-db")
	initFile := filepath.Join(dir, "init.sql")
	require.NoError(t, os.WriteFile(initFile, []byte("CREATE DATABASE IF NOT EXISTS app;\n"), 0o644))
	host, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	s := &server{addr: addr}
	s.openAt = func(t *testing.T, addr string) *sql.DB {
		return open(t, "mysql", "root@tcp("+addr+")/app?"+parameters)
	}
	s.start = func(t *testing.T) *servertest.Process {
		t.Helper()
		return servertest.Start(t, servertest.Config{
			Program: mariadbd, As: as, Dir: dir,
			Args: []string{
				"--no-defaults", "--datadir=" + data, "--bind-address=" + host, "--port=" + port,
				"--socket=" + filepath.Join(dir, "socket"), "--pid-file=" + filepath.Join(dir, "pid"),
				"--init-file=" + initFile, "--innodb-flush-log-at-trx-commit=0", "--innodb-lock-wait-timeout=1",
			},
			Ready: ping(t, s.openAt(t, addr)),
		})
	}
	s.database = database{
		dialect: sqlstore.MySQL, lock: "UPDATE cloakroom_sessions SET seen = seen + 1",
		open: func(t *testing.T) *sql.DB { return s.openAt(t, addr) },
	}
	s.process = s.start(t)
	return s
}

func ping(t *testing.T, db *sql.DB) func(context.Context) error {
	t.Helper()
	return db.PingContext
}

func TestPostgreSQL(t *testing.T) {
	s := startPostgres(t)
	s.suite(t)
	t.Run("full disk", s.fullDisk)
	t.Run("rolled back", s.rolledBack)
	s.trouble(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"+
		" WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'")
}

func TestMariaDB(t *testing.T) {
	require.NoError(t, mysql.SetLogger(quiet{}))
	s := startMariaDB(t, "")
	s.suite(t)
	t.Run("lock wait timeout", s.lockWaitTimeout)
	s.trouble(t, "")
}

func TestMariaDBFoundRows(t *testing.T) {
	require.NoError(t, mysql.SetLogger(quiet{}))
	startMariaDB(t, "clientFoundRows=true").suite(t)
}

// quiet drops what the driver says of connections that a test broke.
type quiet struct{}

func (quiet) Print(...any) {}

// raise makes the database refuse writes with a SQLSTATE, until the function
// that it returns is called. With times above 0 it refuses only so many.
func (s *server) raise(t *testing.T, db *sql.DB, sqlState string, times int) (end func()) {
	t.Helper()
	exec := func(statement string) {
		t.Helper()
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	condition := "true"
	if times > 0 {
		exec("CREATE SEQUENCE refused") // does not go back with a transaction
		condition = fmt.Sprintf("nextval('refused') <= %d", times)
	}
	exec("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF " + condition +
		" THEN RAISE EXCEPTION 'secret %', NEW.k USING ERRCODE = '" + sqlState + "'; END IF; RETURN NEW; END $$")
	exec("CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON cloakroom_sessions FOR EACH ROW EXECUTE FUNCTION refuse()")
	return func() { exec("DROP FUNCTION refuse CASCADE") }
}

func (s *server) fullDisk(t *testing.T) {
	db := s.open(t)
	store := s.store(t, db, sqlstore.Config{})
	key, unused := newKey(), newKey()
	require.NoError(t, store.Create(t.Context(), key, newItem(1)))
	end := s.raise(t, db, "53100", 0)
	_, err := store.Swap(within(t, 5*time.Second), key, 1, newItem(2))
	require.ErrorIs(t, err, opaque.ErrNotDone)
	require.ErrorContains(t, err, "SQLSTATE 53100")
	require.NotContains(t, err.Error(), "secret")
	require.ErrorIs(t, store.Create(within(t, 5*time.Second), unused, newItem(1)), session.Unavailable)
	_, ok, err := store.Get(t.Context(), key)
	require.NoError(t, err)
	require.True(t, ok)
	require.NoError(t, store.Delete(t.Context(), unused), "a logout needs no room")
	end()
	ok, err = store.Swap(within(t, time.Second), key, 1, newItem(2))
	require.NoError(t, err)
	require.True(t, ok)
}

// What the database rolled back for a deadlock is tried again.
func (s *server) rolledBack(t *testing.T) {
	db := s.open(t)
	store := s.store(t, db, sqlstore.Config{})
	key := newKey()
	require.NoError(t, store.Create(t.Context(), key, newItem(1)))
	defer s.raise(t, db, "40P01", 3)()
	ok, err := store.Swap(within(t, 5*time.Second), key, 1, newItem(2))
	require.NoError(t, err)
	require.True(t, ok)
}

// The server gives up waiting for a row after a second (1205), and the store
// tries again.
func (s *server) lockWaitTimeout(t *testing.T) {
	store := s.store(t, s.open(t), sqlstore.Config{})
	key := newKey()
	require.NoError(t, store.Create(t.Context(), key, newItem(1)))
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
	ok, err := store.Swap(within(t, 10*time.Second), key, 1, newItem(2))
	require.NoError(t, err)
	require.True(t, ok)
	require.NoError(t, <-unlocked)
}

// trouble is what can happen to a connection or a server.
func (s *server) trouble(t *testing.T, kill string) {
	if kill != "" {
		t.Run("killed backends", func(t *testing.T) { s.killedBackends(t, kill) })
	}
	t.Run("lost answers", s.lostAnswers)
	t.Run("refused", s.refused)
	t.Run("paused", s.paused)
	t.Run("restart", s.restart)
}

func (s *server) killedBackends(t *testing.T, kill string) {
	admin := s.open(t)
	store := s.store(t, s.open(t), sqlstore.Config{})
	key := newKey()
	require.NoError(t, store.Create(t.Context(), key, newItem(1)))
	_, err := admin.ExecContext(t.Context(), kill)
	require.NoError(t, err)
	s.recovers(t, store, key)
}

// recovers expects a session to be found within a second.
func (s *server) recovers(t *testing.T, store *sqlstore.Store, key string) {
	t.Helper()
	ctx := within(t, time.Second)
	for {
		_, ok, err := store.Get(ctx, key)
		if err == nil {
			require.True(t, ok)
			return
		}
		require.ErrorIs(t, err, session.Unavailable)
		require.NoError(t, ctx.Err(), "no recovery: %v", err)
	}
}

// A swap whose answer is lost fails within its time, and is done at most once.
func (s *server) lostAnswers(t *testing.T) {
	for name, mode := range map[string]servertest.Mode{"cut": servertest.Cut, "swallow": servertest.Swallow} {
		proxy := servertest.NewProxy(t, s.addr)
		store := s.store(t, s.openAt(t, proxy.Addr()), sqlstore.Config{})
		direct := s.store(t, s.open(t), sqlstore.Config{})
		key := newKey()
		require.NoError(t, store.Create(t.Context(), key, newItem(1)))
		ok, err := store.Swap(t.Context(), key, 1, newItem(2)) // from now on, the statement is prepared
		require.NoError(t, err)
		require.True(t, ok)
		proxy.Set(mode)
		start := time.Now()
		_, err = store.Swap(within(t, 300*time.Millisecond), key, 2, newItem(3))
		require.ErrorIs(t, err, session.Unavailable, name)
		require.NotErrorIs(t, err, opaque.ErrNotDone, name)
		require.Less(t, time.Since(start), 3*time.Second, name)
		proxy.Set(servertest.Pass)
		s.recovers(t, store, key)
		item, ok, err := direct.Get(t.Context(), key)
		require.NoError(t, err)
		require.True(t, ok)
		require.EqualValues(t, 3, item.Version, "the swap was done, and the caller has to look")
	}
}

func (s *server) refused(t *testing.T) {
	proxy := servertest.NewProxy(t, s.addr)
	store := s.store(t, s.openAt(t, proxy.Addr()), sqlstore.Config{})
	key := newKey()
	require.NoError(t, store.Create(t.Context(), key, newItem(1)))
	proxy.Set(servertest.Refuse)
	_, err := store.Swap(within(t, 300*time.Millisecond), key, 1, newItem(2))
	require.ErrorIs(t, err, session.Unavailable)
	proxy.Set(servertest.Pass)
	s.recovers(t, store, key)
}

// A server that is stopped in its tracks holds its connections open.
func (s *server) paused(t *testing.T) {
	proxy := servertest.NewProxy(t, s.addr)
	store := s.store(t, s.openAt(t, proxy.Addr()), sqlstore.Config{})
	key := newKey()
	require.NoError(t, store.Create(t.Context(), key, newItem(1)))
	proxy.Delay(time.Minute)
	start := time.Now()
	_, _, err := store.Get(within(t, 300*time.Millisecond), key)
	require.ErrorIs(t, err, session.Unavailable)
	require.Less(t, time.Since(start), 3*time.Second)
	proxy.Delay(0)
	s.recovers(t, store, key)
}

func (s *server) restart(t *testing.T) {
	store := s.store(t, s.open(t), sqlstore.Config{})
	key := newKey()
	require.NoError(t, store.Create(t.Context(), key, newItem(1)))
	s.process.Stop()
	_, _, err := store.Get(within(t, 300*time.Millisecond), key)
	require.ErrorIs(t, err, session.Unavailable)
	s.start(t)
	s.recovers(t, store, key)
}
