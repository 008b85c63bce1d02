package sqlstore_test

import (
	"context"
	"database/sql"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/itemtest"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/opaque/sqlstore"
	"github.com/cloakroom-go/cloakroom/session"
)

// opener returns the opener of a dialect, with the driver of the tests.
func opener(d sqlstore.Dialect) opaque.Opener {
	drivers := map[sqlstore.Dialect]string{sqlstore.PostgreSQL: "pgx", sqlstore.MySQL: "mysql", sqlstore.SQLite: "sqlite"}
	return sqlstore.Opener(d, drivers[d])
}

// An opened store is what an opener returns.
type opened interface {
	opaque.Store
	io.Closer
	Ping(ctx context.Context) error
}

func openAt(t *testing.T, d sqlstore.Dialect, at string, o opaque.OpenOptions) (opened, error) {
	t.Helper()
	u, err := url.Parse(at)
	require.NoError(t, err)
	require.Contains(t, opener(d).Schemes, u.Scheme)
	store, err := opener(d).Open(within(t, 20*time.Second), u, o)
	if err != nil {
		require.Nil(t, store)
		return nil, err
	}
	t.Cleanup(func() { require.NoError(t, store.(opened).Close()) })
	return store.(opened), nil
}

// opensAt expects a store at a URL, with a prefix that no other test uses.
func (d database) opensAt(t *testing.T, at string, o opaque.OpenOptions) {
	t.Helper()
	_, err := openAt(t, d.dialect, at+"&migrate=false", o)
	require.ErrorIs(t, err, session.Unavailable, "there are no tables yet")
	s, err := openAt(t, d.dialect, at, o)
	require.NoError(t, err)
	key := itemtest.Key()
	require.NoError(t, s.Create(t.Context(), key, itemtest.New(1, "data")))
	again, err := openAt(t, d.dialect, at+"&migrate=false&max_conns=1", o)
	require.NoError(t, err)
	ok, err := again.Swap(t.Context(), key, 1, itemtest.New(2, "data"))
	require.NoError(t, err)
	require.True(t, ok)
	require.NoError(t, s.Close())
	require.ErrorIs(t, s.Ping(t.Context()), session.Unavailable)
	var n int
	require.NoError(t, d.open(t).QueryRowContext(t.Context(), "SELECT count(*) FROM opened_sessions").Scan(&n))
	require.Equal(t, 1, n)
}

func TestOpenerOfSQLite(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a b?#%41.db")
	d := database{dialect: sqlstore.SQLite, open: func(t testing.TB) *sql.DB {
		return open(t, "sqlite", (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: file}).EscapedPath()}).String())
	}}
	d.opensAt(t, (&url.URL{Scheme: "sqlite", Path: file}).String()+"?prefix=opened_", opaque.OpenOptions{})
	info, err := os.Stat(file)
	require.NoError(t, err)
	if runtime.GOOS != "windows" {
		require.Equal(t, fs.FileMode(0o600), info.Mode(), "for the owner only")
	}

	t.Chdir(t.TempDir())
	s, err := openAt(t, sqlstore.SQLite, "sqlite:a%20b.db", opaque.OpenOptions{})
	require.NoError(t, err)
	require.NoError(t, s.Create(t.Context(), itemtest.Key(), itemtest.New(1, "data")))
	require.FileExists(t, "a b.db")
}

// A watchedContext counts how often somebody begins to wait for its end.
type watchedContext struct {
	context.Context
	waits atomic.Int32
}

// Done implements context.Context.
func (c *watchedContext) Done() <-chan struct{} {
	c.waits.Add(1)
	return c.Context.Done()
}

// A read doesn't watch its deadline, which takes as long as the read, unless it
// may have to wait for a connection.
func TestOpenerOfSQLiteLeavesReadsUnwatched(t *testing.T) {
	at := "sqlite:" + filepath.Join(t.TempDir(), "sessions.db")
	for params, watches := range map[string]bool{"": false, "?max_conns=16": true} {
		s, err := openAt(t, sqlstore.SQLite, at+params, opaque.OpenOptions{})
		require.NoError(t, err)
		ctx := &watchedContext{Context: within(t, 20*time.Second)}
		_, ok, err := s.Get(ctx, itemtest.Key())
		require.NoError(t, err)
		require.False(t, ok)
		require.Equal(t, watches, ctx.waits.Load() > 0, params)
	}
}

// The clock and Linger arrive: the clean-up of another day removes the session.
func TestOpenerHandsOn(t *testing.T) {
	at := "sqlite:" + filepath.Join(t.TempDir(), "sessions.db")
	s, err := openAt(t, sqlstore.SQLite, at, opaque.OpenOptions{})
	require.NoError(t, err)
	kept := itemtest.Key()
	require.NoError(t, s.Create(t.Context(), kept, itemtest.New(1, "data")))
	in := func(d time.Duration) func() time.Time { return func() time.Time { return time.Now().Add(d) } }
	late, err := openAt(t, sqlstore.SQLite, at, opaque.OpenOptions{Now: in(24 * time.Hour), Linger: 48 * time.Hour})
	require.NoError(t, err)
	ok, err := late.Swap(t.Context(), kept, 1, itemtest.New(2, "data"))
	require.NoError(t, err)
	require.False(t, ok, "by its clock the session has expired")
	_, ok, err = s.Get(t.Context(), kept)
	require.NoError(t, err)
	require.True(t, ok, "and lingers")
	_, err = openAt(t, sqlstore.SQLite, at, opaque.OpenOptions{Now: in(25 * time.Hour)})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		_, ok, err := s.Get(t.Context(), kept)
		return err == nil && !ok
	}, 20*time.Second, 10*time.Millisecond)
}

func TestOpenerRefuses(t *testing.T) {
	const pg, my, lite = sqlstore.PostgreSQL, sqlstore.MySQL, sqlstore.SQLite
	for _, row := range []struct {
		name    string
		dialect sqlstore.Dialect
		url     string
		o       opaque.OpenOptions
		want    string
	}{
		{"unknown parameter", pg, "postgres://h/d?sslmod=a", opaque.OpenOptions{}, `sqlstore: the parameter "sslmod" is unknown; known are max_conns, migrate, prefix, application_name, host, search_path, sslcert, sslkey, sslmode, sslrootcert`},
		{"parameter of another", my, "mysql://h/d?sslmode=a", opaque.OpenOptions{}, `sqlstore: the parameter "sslmode" is unknown; known are max_conns, migrate, prefix, socket, tls`},
		{"no number", lite, "sqlite:x.db?max_conns=0", opaque.OpenOptions{}, `sqlstore: the parameter "max_conns" must be a whole number, at least 1`},
		{"no bool", lite, "sqlite:x.db?migrate=no", opaque.OpenOptions{}, `sqlstore: the parameter "migrate" must be true or false`},
		{"prefix", lite, "sqlite:x.db?prefix=A-B", opaque.OpenOptions{}, `sqlstore: prefix is "A-B"`},
		{"linger", lite, "sqlite:x.db", opaque.OpenOptions{Linger: -1}, "sqlstore: linger is -1ns"},
		{"two databases", pg, "postgres://h/a/hunter2", opaque.OpenOptions{}, "sqlstore: the URL must have the form postgres://user@host:5432/database"},
		{"no host", pg, "postgres:hunter2", opaque.OpenOptions{}, "sqlstore: the URL must have the form postgres:"},
		{"server as a parameter", pg, "postgres:///d?host=db.example", opaque.OpenOptions{}, "sqlstore: host must be the directory of a Unix socket"},
		{"no database", my, "mysql://h", opaque.OpenOptions{}, "sqlstore: the URL must have the form mysql://user@host:3306/database"},
		{"no host", my, "mysql:///d", opaque.OpenOptions{}, "sqlstore: the URL has no host"},
		{"colon", my, "mysql://a%3Ab@h/d", opaque.OpenOptions{}, "sqlstore: the driver takes no user with a colon"},
		{"host", lite, "sqlite://sessions.db", opaque.OpenOptions{}, "sqlstore: the URL must have the form sqlite:sessions.db or sqlite:/var/lib/shop/sessions.db, without a host"},
		{"in memory", lite, "sqlite::memory:", opaque.OpenOptions{}, "sqlstore: the URL must name a file, as in sqlite:sessions.db; for sessions in memory leave the URL out"},
		{"nothing", lite, "sqlite:", opaque.OpenOptions{}, "sqlstore: the URL must name a file"},
		{"password", lite, "sqlite:x.db", opaque.OpenOptions{Password: "hunter2"}, "sqlstore: SQLite has no users and passwords"},
		{"bad escape", lite, "sqlite:x%zz.db", opaque.OpenOptions{}, "sqlstore: the path of the file has a % that escapes nothing"},
		{"no directory", lite, "sqlite:/nowhere/x.db", opaque.OpenOptions{}, "sqlstore: open /nowhere/x.db: no such file"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			_, err := openAt(t, row.dialect, row.url, row.o)
			require.ErrorContains(t, err, row.want)
			require.NotContains(t, err.Error(), "hunter2")
		})
	}
	u, err := url.Parse("sqlite:" + filepath.Join(t.TempDir(), "x.db"))
	require.NoError(t, err)
	_, err = sqlstore.Opener(sqlstore.SQLite, "unknown").Open(t.Context(), u, opaque.OpenOptions{})
	require.ErrorContains(t, err, `sqlstore: sql: unknown driver "unknown" (forgotten import?)`)
	require.Empty(t, sqlstore.Opener(0, "sqlite").Schemes)
}

// A server that is not this machine must show a certificate, unless the URL
// says otherwise. The making of a connection has a time limit.
func TestSources(t *testing.T) {
	for _, row := range []struct {
		dialect sqlstore.Dialect
		in      string
		want    string
	}{
		{sqlstore.PostgreSQL, "postgres://app@db.example/shop", "postgres://app:p%40%2F%3A@db.example/shop?connect_timeout=5&sslmode=verify-full"},
		{sqlstore.PostgreSQL, "postgresql://app@localhost:1/shop?search_path=a", "postgres://app:p%40%2F%3A@localhost:1/shop?connect_timeout=5&search_path=a"},
		{sqlstore.PostgreSQL, "postgres://app@db.example/shop?sslmode=disable", "postgres://app:p%40%2F%3A@db.example/shop?connect_timeout=5&sslmode=disable"},
		{sqlstore.PostgreSQL, "postgres://app@/shop?host=/run/postgresql", "postgres://app:p%40%2F%3A@/shop?connect_timeout=5&host=%2Frun%2Fpostgresql"},
		{sqlstore.PostgreSQL, "postgres://app@localhost,db.example/shop", "postgres://app:p%40%2F%3A@localhost,db.example/shop?connect_timeout=5&sslmode=verify-full"},
		{sqlstore.MySQL, "mysql://app@db.example/shop", "app:p@/:@tcp(db.example:3306)/shop?timeout=5s&readTimeout=10s&tls=true"},
		{sqlstore.MySQL, "mysql://app@[::1]:1/a%3Fb", "app:p@/:@tcp([::1]:1)/a%3Fb?timeout=5s&readTimeout=10s"},
		{sqlstore.MySQL, "mysql://app@db.example/shop?tls=skip-verify", "app:p@/:@tcp(db.example:3306)/shop?timeout=5s&readTimeout=10s&tls=skip-verify"},
		{sqlstore.MySQL, "mysql://app@/shop?socket=/run/mysqld.sock", "app:p@/:@unix(/run/mysqld.sock)/shop?timeout=5s&readTimeout=10s"},
	} {
		u, err := url.Parse(row.in)
		require.NoError(t, err)
		got, err := sqlstore.Source(row.dialect, u, "p@/:")
		require.NoError(t, err)
		require.Equal(t, row.want, got)
	}
}
