package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/internal/storeurl"
	"github.com/cloakroom-go/cloakroom/opaque"
)

const (
	// defaultConns is far below the 100 connections that PostgreSQL has for all
	// instances together, and more than one instance uses at a time.
	defaultConns = 16

	// maxIdleTime is below the time after which firewalls forget a connection.
	maxIdleTime = 4 * time.Minute

	// connectSeconds bounds the making of a connection. database/sql does that in
	// a goroutine that knows no deadline, so a server that accepts a connection
	// and doesn't answer would stop all requests.
	connectSeconds = 5
)

// Opener returns the opener of URLs of databases of that dialect:
//
//	postgres://app@db.example:5432/shop
//	mysql://app@db.example:3306/shop
//	sqlite:sessions.db, or sqlite:/var/lib/shop/sessions.db
//
// driver is the name that the driver has in database/sql, such as "pgx",
// "mysql" or "sqlite": the program imports it. The opener opens the database,
// calls [Store.Migrate], and closes the database together with the store. The
// parameters are:
//
//	prefix         Config.Prefix
//	max_conns      how many connections there may be; if it is left out, 16, and
//	               any number for SQLite, which reads faster without a limit
//	migrate=false  doesn't change the tables, and fails if they are not there
//
// PostgreSQL also has sslmode, sslrootcert, sslcert, sslkey, application_name,
// search_path, and host, the directory of a Unix socket. The driver gets them
// as they are. If the server is not this machine, sslmode is verify-full unless
// the URL says otherwise.
//
// MySQL also has tls, which the driver gets as it is, and socket, the path of a
// Unix socket. If the server is not this machine, tls is true unless the URL
// says otherwise.
//
// A SQLite file that does not exist is made, and only its owner can read it.
func Opener(dialect Dialect, driver string) opaque.Opener {
	return opaque.Opener{
		Schemes: dialect.schemes(),
		Open: func(ctx context.Context, u *url.URL, o opaque.OpenOptions) (opaque.Store, error) {
			return open(ctx, dialect, driver, u, o)
		},
	}
}

func (d Dialect) schemes() []string {
	switch d {
	case PostgreSQL:
		return []string{"postgres", "postgresql"}
	case MySQL:
		return []string{"mysql"}
	case SQLite:
		return []string{"sqlite"}
	}
	return nil
}

// An openedStore has a database of its own.
type openedStore struct{ *Store }

// Close closes the store and its database.
func (s openedStore) Close() error { return errors.Join(s.Store.Close(), s.db.Close()) }

func open(ctx context.Context, d Dialect, driver string, u *url.URL, o opaque.OpenOptions) (opaque.Store, error) {
	known := append([]string{"max_conns", "migrate", "prefix"}, d.parameters()...)
	q := storeurl.ReadQuery(u, known...)
	conns, migrate := q.Int("max_conns", defaultConns), q.Bool("migrate", true)
	source, err := d.source(u, q, o.Password)
	if err := errors.Join(q.Err("sqlstore"), err); err != nil {
		return nil, err
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		return nil, fmt.Errorf("sqlstore: %w", err)
	}
	if d != SQLite || u.Query().Has("max_conns") { // see Store.forRead
		db.SetMaxOpenConns(conns)
	}
	db.SetMaxIdleConns(conns)
	db.SetConnMaxIdleTime(maxIdleTime)
	s, err := New(db, Config{
		Dialect: d, Prefix: q.Text("prefix"), Linger: o.Linger, OnProblem: o.OnProblem, Now: o.Now,
	})
	if err != nil {
		_ = db.Close()
		return nil, storeurl.Rename(err, "sqlstore", map[fault.Name]string{
			"Config.Prefix": "prefix", "Config.Linger": "linger",
		})
	}
	opened := openedStore{s}
	ready := s.Migrate
	if !migrate {
		ready = s.Ping
	}
	if err := ready(ctx); err != nil {
		_ = opened.Close()
		return nil, err
	}
	return opened, nil
}

// parameters returns those of the driver that a URL may have.
func (d Dialect) parameters() []string {
	switch d {
	case PostgreSQL:
		return []string{"application_name", "host", "search_path", "sslcert", "sslkey", "sslmode", "sslrootcert"}
	case MySQL:
		return []string{"socket", "tls"}
	}
	return nil
}

// source returns the name of the database as the drivers want it. It checks
// only what they don't: they may repeat the rest in an error.
func (d Dialect) source(u *url.URL, q *storeurl.Query, password string) (string, error) {
	switch d {
	case PostgreSQL:
		return postgresSource(u, q, password)
	case MySQL:
		return mysqlSource(u, q, password)
	}
	return sqliteSource(u, password)
}

func postgresSource(u *url.URL, q *storeurl.Query, password string) (string, error) {
	if u.Opaque != "" || strings.Contains(strings.TrimPrefix(u.Path, "/"), "/") {
		return "", errors.New("sqlstore: the URL must have the form postgres://user@host:5432/database")
	}
	socket := q.Text("host")
	if socket != "" && !strings.HasPrefix(socket, "/") {
		return "", errors.New("sqlstore: host must be the directory of a Unix socket; write a server before the path")
	}
	values := url.Values{"connect_timeout": {strconv.Itoa(connectSeconds)}}
	for _, name := range PostgreSQL.parameters() {
		if value := q.Text(name); value != "" {
			values.Set(name, value)
		}
	}
	if socket == "" && !storeurl.IsLocal(u.Hostname()) && !values.Has("sslmode") {
		values.Set("sslmode", "verify-full")
	}
	source := url.URL{Scheme: "postgres", User: u.User, Host: u.Host, Path: u.Path, RawQuery: values.Encode()}
	if password != "" {
		source.User = url.UserPassword(u.User.Username(), password)
	}
	return source.String(), nil
}

// mysqlSource returns the form of go-sql-driver/mysql. The driver looks for the
// last @ and the first colon, so a password may contain both.
func mysqlSource(u *url.URL, q *storeurl.Query, password string) (string, error) {
	name, user := strings.TrimPrefix(u.Path, "/"), u.User.Username()
	if u.Opaque != "" || name == "" || strings.Contains(name, "/") {
		return "", errors.New("sqlstore: the URL must have the form mysql://user@host:3306/database")
	}
	if u.Host == "" && q.Text("socket") == "" {
		return "", errors.New("sqlstore: the URL has no host")
	}
	if strings.ContainsAny(user, ":/") {
		return "", errors.New("sqlstore: the driver takes no user with a colon or a slash in its name")
	}
	address, secure := "unix("+q.Text("socket")+")", q.Text("tls")
	if q.Text("socket") == "" {
		if secure == "" && !storeurl.IsLocal(u.Hostname()) {
			secure = "true"
		}
		address = "tcp(" + storeurl.Addr(u, "3306") + ")"
	}
	source := user + ":" + password + "@" + address + "/" + url.PathEscape(name)
	source += fmt.Sprintf("?timeout=%ds&readTimeout=%ds", connectSeconds, 2*connectSeconds) // Migrate may take longer
	if secure != "" {
		source += "&tls=" + url.QueryEscape(secure)
	}
	return source, nil
}

// sqliteSource also makes the file, because SQLite would let everybody read it.
// The parameter makes each commit wait for the disk; modernc.org/sqlite and
// mattn/go-sqlite3 have the same one.
func sqliteSource(u *url.URL, password string) (string, error) {
	path := u.Path
	if u.Opaque != "" {
		var err error
		if path, err = url.PathUnescape(u.Opaque); err != nil {
			return "", errors.New("sqlstore: the path of the file has a % that escapes nothing; write %25")
		}
	}
	switch {
	case u.Host != "":
		return "", errors.New("sqlstore: the URL must have the form sqlite:sessions.db or " +
			"sqlite:/var/lib/shop/sessions.db, without a host")
	case u.User != nil || password != "":
		return "", errors.New("sqlstore: SQLite has no users and passwords; leave them out")
	case path == "" || strings.Contains(path, ":memory:"):
		return "", errors.New("sqlstore: the URL must name a file, as in sqlite:sessions.db; for sessions in memory " +
			"leave the URL out")
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", fmt.Errorf("sqlstore: %w", err)
	}
	if err := file.Close(); err != nil {
		return "", fmt.Errorf("sqlstore: %w", err)
	}
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(),
		RawQuery: "_synchronous=FULL"}).String(), nil
}
