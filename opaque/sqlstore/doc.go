// Package sqlstore keeps sessions in a SQL database: PostgreSQL 13 and later,
// MySQL 8 and later, MariaDB 10.6 and later, or SQLite.
//
// Open the database with a driver of your choice, call [New], and
// [Store.Migrate] once before the first session:
//
//	db, err := sql.Open("pgx", url)
//	…
//	store, err := sqlstore.New(db, sqlstore.Config{Dialect: sqlstore.PostgreSQL})
//	…
//	err = store.Migrate(ctx)
//
// Or let [Opener] do it, if the configuration of the application names the
// database by its URL.
//
// The application may also run the statements of [Store.Schema] with a role of
// its own. The store itself then needs only SELECT, INSERT, UPDATE and DELETE
// on the five tables.
//
// Every operation on a session is one statement on one row, so no transaction
// spans two round trips. Each ends by the deadline of its context, or after 5
// seconds if there is none. The store repeats a write only if the database says
// that it rolled the first one back (a deadlock, or a SQLite file that is
// busy).
//
// A Store is also the [devices.Index] of which sessions a subject has. It has
// tables of its own, which are empty as long as the application doesn't list
// devices. Enter, at a login or a renewal, is a transaction of three statements
// that locks the subject's row. If an instance stands still in the middle of
// one, logins of that subject on other instances fail until the server closes
// its connection (in PostgreSQL, idle_in_transaction_session_timeout says when;
// in MariaDB, idle_write_transaction_timeout). Nobody else waits for it.
//
// A Store is also the log by which the instances of an application tell each
// other what has ended: a [revocation.Log]. Package config uses it without
// being told. Read looks for something new every half second, with one small
// query. Appends wait for each other. In PostgreSQL an Append is one statement.
// In MySQL it is a transaction: if an instance stands still in the middle of
// one, the Appends of the others fail until the server closes its connection
// (in MariaDB, idle_write_transaction_timeout says when). Reads go on.
//
// Set MaxIdleConns of the pool as high as MaxOpenConns. Go's default of 2
// closes most connections after each use under load, and each new one has to
// prepare the statements again.
//
// Also set the driver's own time limit for new connections: connect_timeout for
// PostgreSQL, timeout and readTimeout for go-sql-driver/mysql. If there is a
// MaxOpenConns, Go makes connections for requests that wait in a goroutine that
// knows no deadline. Without a limit, one server that accepts a connection and
// doesn't answer stops that goroutine, and the store stays unavailable.
//
// # Drivers
//
// The errors of these drivers are known: jackc/pgx, lib/pq,
// go-sql-driver/mysql, modernc.org/sqlite and mattn/go-sqlite3. With another
// driver for MySQL, a key that is in use is reported as [session.Unavailable].
// The tests use pgx, go-sql-driver/mysql and modernc.org/sqlite. Behind
// PgBouncer, prepared statements need its session pooling or version 1.21.
//
// # SQLite
//
// A file serves one machine. Migrate switches it to WAL, in which readers don't
// wait for the writer. Writes of one Store wait in a queue, because SQLite lets
// some of them starve. Leave synchronous at FULL: with NORMAL, a power cut may
// undo the last logouts. A database in memory (":memory:") is not supported,
// because each connection would have its own.
//
// Set no MaxOpenConns: without it, a read doesn't have to watch its deadline,
// and takes half the time. It may then wait as long as busy_timeout says, but
// only while another process repairs the file after a crash.
package sqlstore
