package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// schemaVersion is how many migrations there are.
const schemaVersion = 3

// migrations returns the statements of each migration. The last statement of
// each records its number. MySQL commits every statement by itself, so each can
// be repeated.
//
// The columns: k is compared byte by byte. The version has its top bit flipped,
// so that 64 bits keep their order in a signed column. Times are seconds since
// 1970: seen is the last activity, idle the idle deadline, dead the deadline.
// Only dead has an index, since activity moves the others: PostgreSQL can then
// update a row within its page (a HOT update), for which fillfactor leaves
// room.
func (d Dialect) migrations(prefix string) [][]string {
	sessions, meta := prefix+"sessions", prefix+"meta"
	const times = "  seen bigint NOT NULL,\n  idle bigint NOT NULL,\n  dead bigint NOT NULL,\n"
	table := func(key, data, end string) string {
		return "CREATE TABLE IF NOT EXISTS " + sessions + " (\n  k " + key + " PRIMARY KEY,\n" +
			"  version bigint NOT NULL,\n" + times + "  data " + data + " NOT NULL" + end
	}
	values := func(name, end string) string {
		return "CREATE TABLE IF NOT EXISTS " + meta + " (\n  name " + name + " PRIMARY KEY,\n" +
			"  value bigint NOT NULL\n)" + end
	}
	index := "CREATE INDEX IF NOT EXISTS " + sessions + "_dead ON " + sessions + " (dead)"
	insert := "INSERT INTO " + meta + " (name, value) VALUES ('%s', %d) ON CONFLICT (name) DO NOTHING"

	var first []string
	switch d {
	case PostgreSQL:
		first = []string{values("text", ""), table(`text COLLATE "C"`, "bytea", "\n) WITH (fillfactor = 80)"), index}
	case MySQL:
		insert = "INSERT IGNORE INTO " + meta + " (name, value) VALUES ('%s', %d)"
		const engine = " ENGINE = InnoDB"
		first = []string{
			values("varchar(64) CHARACTER SET ascii COLLATE ascii_bin", engine),
			table("varbinary(64)", "mediumblob", ",\n  KEY dead (dead)\n)"+engine),
		}
	default:
		first = []string{values("text NOT NULL", ""), table("text NOT NULL", "blob", "\n)"), index}
	}
	return [][]string{
		append(first, fmt.Sprintf(insert, "cleaner", 0), fmt.Sprintf(insert, "schema", 1)),
		append(d.logTable(prefix), fmt.Sprintf(insert, "ended", 0),
			"UPDATE "+meta+" SET value = 2 WHERE name = 'schema' AND value < 2"),
		append(d.indexTables(prefix), "UPDATE "+meta+" SET value = 3 WHERE name = 'schema' AND value < 3"),
	}
}

// logTable returns the statements that make the table of the log. The columns:
// k is what has ended, in binary, v up to where, until the second in which that
// is over, and seq the number of the row's last change. In MySQL the index on
// it has all columns, because the rows are far apart there: it keeps them in
// the order of k, which is random.
func (d Dialect) logTable(prefix string) []string {
	ended := prefix + "ended"
	table := func(key, end string) string {
		return "CREATE TABLE IF NOT EXISTS " + ended + " (\n  k " + key + " PRIMARY KEY,\n" +
			"  v bigint NOT NULL,\n  until bigint NOT NULL,\n  seq bigint NOT NULL" + end
	}
	index := func(column string) string {
		return "CREATE INDEX IF NOT EXISTS " + ended + "_" + column + " ON " + ended + " (" + column + ")"
	}
	switch d {
	case PostgreSQL:
		return []string{table("bytea", "\n)"), index("seq"), index("until")}
	case MySQL:
		return []string{table("varbinary(64)", ",\n  KEY seq (seq, v, until),\n  KEY until (until)\n) ENGINE = InnoDB")}
	default:
		return []string{table("blob NOT NULL", "\n)"), index("seq"), index("until")}
	}
}

// Schema returns the statements that make the tables, for administrators who
// don't let the application do it. Migrate executes the same ones.
func (s *Store) Schema() string {
	var b strings.Builder
	for _, migration := range s.cfg.Dialect.migrations(s.cfg.Prefix) {
		for _, statement := range migration {
			b.WriteString(statement + ";\n")
		}
	}
	return b.String()
}

// Migrate makes the tables, or brings those of an older version up to date. It
// does nothing if they are up to date. Several instances may call it at once:
// one does the work, and the others wait. It fails if the database's user lacks
// a right that the store needs, and names it. Its errors wrap
// [session.Unavailable].
func (s *Store) Migrate(ctx context.Context) error {
	if err := s.ready(ctx, "migrate"); err != nil {
		return err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	err := s.migrate(ctx)
	denied := s.cfg.Dialect.isDenied(err)
	if err == nil || denied {
		if lacks := s.checkRights(ctx, "migrate"); lacks != nil {
			return lacks
		}
	}
	if denied {
		err = fmt.Errorf("%w: let an administrator run the statements of Schema", err)
	}
	if err != nil {
		// This error is about tables, and contains no session.
		return fmt.Errorf("sqlstore: migrate: %w: %w", err, session.Unavailable)
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return nil
}

func (s *Store) migrate(ctx context.Context) error {
	leave, err := s.takeTurn(ctx)
	if err != nil {
		return err
	}
	defer leave()
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := s.checkFile(ctx, conn); err != nil {
		return err
	}
	unlock, err := s.lock(ctx, conn)
	if err != nil {
		return err
	}
	return unlock(s.applyMigrations(ctx, conn))
}

func (s *Store) applyMigrations(ctx context.Context, conn *sql.Conn) error {
	version, err := s.schemaOn(ctx, conn)
	if err != nil {
		return err
	}
	all := s.cfg.Dialect.migrations(s.cfg.Prefix)
	for _, migration := range all[min(version, len(all)):] {
		for _, statement := range migration {
			if _, err := conn.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
	}
	return nil
}

// schemaOn returns the version of the tables, 0 if there are none. Asking for a
// table that doesn't exist would abort the transaction in PostgreSQL, so it
// first asks whether it does. The only error is that the user may not read it.
func (s *Store) schemaOn(ctx context.Context, conn *sql.Conn) (version int, err error) {
	query := "SELECT count(*) FROM information_schema.tables WHERE table_name = ? AND table_schema = "
	switch s.cfg.Dialect {
	case PostgreSQL:
		query += "current_schema()"
	case MySQL:
		query += "DATABASE()"
	default:
		query = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?"
	}
	var tables int
	err = conn.QueryRowContext(ctx, s.cfg.Dialect.numbered(query), s.cfg.Prefix+"meta").Scan(&tables)
	if err != nil || tables == 0 {
		return 0, nil
	}
	err = conn.QueryRowContext(ctx, s.q.version).Scan(&version)
	switch {
	case s.cfg.Dialect.isDenied(err):
		return 0, err
	case err != nil:
		return 0, nil // a migration that was cut off in MySQL, and is repeated
	}
	return version, nil
}

// checkFile switches a SQLite file to WAL, which it then stays in.
func (s *Store) checkFile(ctx context.Context, conn *sql.Conn) error {
	if s.cfg.Dialect != SQLite {
		return nil
	}
	var mode string
	err := s.retry(ctx, func() error { return conn.QueryRowContext(ctx, "PRAGMA journal_mode = WAL").Scan(&mode) })
	if err == nil && mode != "wal" {
		err = fmt.Errorf("the journal mode is %q, want wal: the database must be a file on a local disk", mode)
	}
	return err
}

// lock lets one instance migrate at a time. The function that it returns ends
// this, takes the error of the work, and returns the error of the whole.
func (s *Store) lock(ctx context.Context, conn *sql.Conn) (unlock func(error) error, err error) {
	name := s.cfg.Prefix + "migrate"
	var begin []string
	commit, rollback := "COMMIT", "ROLLBACK"
	switch s.cfg.Dialect {
	case PostgreSQL:
		begin = []string{"BEGIN", "SELECT pg_advisory_xact_lock(hashtext('" + name + "'))"}
	case MySQL:
		return s.lockByName(ctx, conn, name)
	default:
		begin = []string{"BEGIN IMMEDIATE"}
	}
	end := func(work error) error { return finish(ctx, conn, work, commit, rollback) }
	for _, statement := range begin {
		err := s.retry(ctx, func() error { _, err := conn.ExecContext(ctx, statement); return err })
		if err != nil {
			return nil, end(err)
		}
	}
	return end, nil
}

// lockByName uses a named lock, because MySQL commits after each statement that
// makes a table.
func (s *Store) lockByName(ctx context.Context, conn *sql.Conn, name string) (func(error) error, error) {
	var got sql.NullInt64
	seconds := strconv.Itoa(int(remaining(ctx)/time.Second) + 1)
	err := conn.QueryRowContext(ctx, "SELECT GET_LOCK('"+name+"', "+seconds+")").Scan(&got)
	if err == nil && got.Int64 != 1 {
		err = errors.New("another instance is still migrating")
	}
	if err != nil {
		return nil, err
	}
	release := "DO RELEASE_LOCK('" + name + "')"
	return func(work error) error { return finish(ctx, conn, work, release, release) }, nil
}

// finish ends the work on conn. A connection on which that fails is not used
// again, so that the database lets go of the lock.
func finish(ctx context.Context, conn *sql.Conn, work error, commit, rollback string) error {
	statement := commit
	if work != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), defaultTimeout) // ctx may be done
		defer cancel()
		statement = rollback
	}
	_, err := conn.ExecContext(ctx, statement)
	if err != nil {
		_ = conn.Raw(func(any) error { return driver.ErrBadConn })
	}
	if work != nil {
		return work
	}
	return err
}
