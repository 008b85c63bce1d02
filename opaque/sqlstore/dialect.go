package sqlstore

import (
	"strconv"
	"strings"
)

// A Dialect is the kind of a database.
type Dialect uint8

// The dialects. There is no default.
const (
	PostgreSQL Dialect = iota + 1
	MySQL              // and MariaDB
	SQLite
	dialectsEnd
)

// String returns the name of the database, "none" for zero.
func (d Dialect) String() string {
	if d == 0 || d >= dialectsEnd {
		return "none"
	}
	return [...]string{PostgreSQL: "PostgreSQL", MySQL: "MySQL", SQLite: "SQLite"}[d]
}

// greatest and least return the functions that compare their arguments.
// SQLite's max with two arguments is no aggregate.
func (d Dialect) greatest() string { return d.either("max", "GREATEST") }
func (d Dialect) least() string    { return d.either("min", "LEAST") }

func (d Dialect) either(inSQLite, elsewhere string) string {
	if d == SQLite {
		return inSQLite
	}
	return elsewhere
}

// numbered returns query with placeholders as the database writes them.
func (d Dialect) numbered(query string) string {
	if d != PostgreSQL {
		return query
	}
	parts := strings.Split(query, "?")
	var b strings.Builder
	for i, part := range parts {
		b.WriteString(part)
		if i < len(parts)-1 {
			b.WriteString("$" + strconv.Itoa(i+1))
		}
	}
	return b.String()
}

// queries are the statements of a Store.
type queries struct {
	get, create, swap, touch, look, remove string
	headers                                func(keys int) string

	version, claim, renew                      string // of the table of single values
	findDead, removeDead, findIdle, removeIdle string
	findSubjects, removeSubjects               string
	removeOver                                 []string // from the tables of the log and of the index

	raise, tip, since    string // of the log
	appendAtOnce, upsert func(rows int) string
}

// template returns the function that puts the names of the tables and functions
// into a statement, and numbers its placeholders.
func (d Dialect) template(prefix string) func(query string) string {
	replacer := strings.NewReplacer(
		"{sessions}", prefix+"sessions",
		"{meta}", prefix+"meta",
		"{ended}", prefix+"ended",
		"{subjects}", prefix+"subjects",
		"{entries}", prefix+"entries",
		"{greatest}", d.greatest(),
		"{least}", d.least(),
		"{keys}", repeat("?", batch),
	)
	return func(query string) string { return d.numbered(replacer.Replace(query)) }
}

// newQueries returns the statements for tables whose names begin with prefix.
// "Over" is judged by an instant that the caller sends along: the clocks of the
// application decide, and not the database's.
func newQueries(d Dialect, prefix string) queries {
	text := d.template(prefix)
	create := "INSERT INTO {sessions} (k, version, seen, idle, dead, data) VALUES (?, ?, ?, ?, ?, ?)"
	if d != MySQL {
		create += " ON CONFLICT (k) DO NOTHING" // in MySQL, IGNORE would also cut what is too long
	}
	return queries{
		get:    text("SELECT version, seen, idle, dead, data FROM {sessions} WHERE k = ?"),
		create: text(create),
		swap: text("UPDATE {sessions} SET version = ?, seen = ?, idle = ?, dead = ?, data = ?" +
			" WHERE k = ? AND version = ? AND idle > ? AND dead > ?"),
		touch: text("UPDATE {sessions} SET seen = {greatest}(seen, ?), idle = {greatest}(idle, {least}(?, dead))" +
			" WHERE k = ? AND idle > ? AND dead > ?"),
		look:   text("SELECT seen, idle, dead FROM {sessions} WHERE k = ?"),
		remove: text("DELETE FROM {sessions} WHERE k = ?"),
		headers: func(keys int) string {
			return text("SELECT k, version, seen, idle, dead FROM {sessions} WHERE k IN (" + repeat("?", keys) + ")")
		},

		version: text("SELECT value FROM {meta} WHERE name = 'schema'"),
		claim:   text("UPDATE {meta} SET value = ? WHERE name = 'cleaner' AND value <= ?"),
		renew:   text("UPDATE {meta} SET value = ? WHERE name = 'cleaner' AND value = ?"),

		findDead:     text("SELECT k FROM {sessions} WHERE dead < ? ORDER BY dead LIMIT " + strconv.Itoa(batch)),
		removeDead:   text("DELETE FROM {sessions} WHERE dead < ? AND k IN ({keys})"),
		findIdle:     text("SELECT k, idle FROM {sessions} WHERE k > ? ORDER BY k LIMIT " + strconv.Itoa(batch)),
		removeIdle:   text("DELETE FROM {sessions} WHERE idle < ? AND k IN ({keys})"),
		findSubjects: text("SELECT h, until FROM {subjects} WHERE h > ? ORDER BY h LIMIT " + strconv.Itoa(batch)),
		removeSubjects: text("DELETE FROM {subjects} WHERE until < ? AND h IN ({keys})" +
			" AND NOT EXISTS (SELECT 1 FROM {entries} e WHERE e.h = {subjects}.h)"),
		removeOver: []string{
			text(d.removeOver("{ended}", "k")),
			text(d.removeOver("{entries}", "h, id")),
		},

		raise: text("UPDATE {meta} SET value = " + d.raised() + " WHERE name = 'ended'" + d.returning()),
		tip: text("SELECT value, EXISTS (SELECT 1 FROM {ended} WHERE k = ?), " + d.clock() +
			" FROM {meta} WHERE name = 'ended'"),
		since: text("SELECT k, v, until, seq FROM {ended} WHERE seq > ? ORDER BY seq LIMIT " + strconv.Itoa(pageRows)),
		appendAtOnce: func(rows int) string {
			return text("WITH counter AS (UPDATE {meta} SET value = value + CAST(? AS bigint) WHERE name = 'ended'" +
				" RETURNING value), added AS (INSERT INTO {ended} (k, v, until, seq)" +
				" SELECT r.k, r.v, r.until, counter.value - r.below FROM counter, (VALUES " +
				repeat("(CAST(? AS bytea), CAST(? AS bigint), CAST(? AS bigint), CAST(? AS bigint))", rows) +
				") AS r (k, v, until, below) UNION ALL SELECT decode(repeat('00', " + strconv.Itoa(linkZeros) +
				"), 'hex') || int8send(counter.value - CAST(? AS bigint))," +
				" 0, CAST(? AS bigint), 0 FROM counter" + d.onConflict() + ") SELECT value FROM counter")
		},
		upsert: func(rows int) string {
			return text("INSERT INTO {ended} (k, v, until, seq) VALUES " + repeat("(?, ?, ?, ?)", rows) + d.onConflict())
		},
	}
}

func repeat(text string, n int) string { return text + strings.Repeat(", "+text, n-1) }

// raised is the new value of the counter, and returning makes the database tell
// it: MySQL does so with the result.
func (d Dialect) raised() string {
	if d == MySQL {
		return "LAST_INSERT_ID(value + ?)"
	}
	return "value + ?"
}

func (d Dialect) returning() string {
	if d == MySQL {
		return ""
	}
	return " RETURNING value"
}

// clock is the database's time in microseconds since 1970. SQLite has the
// clock of this process, and 0 says so.
func (d Dialect) clock() string {
	switch d {
	case PostgreSQL:
		return "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)"
	case MySQL:
		return "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))"
	default:
		return "0"
	}
}

// onConflict makes an insert into the log keep the greater of each value. A row
// gets a new number only if that changes something, so that what is appended
// again is not read again. MySQL assigns from left to right.
func (d Dialect) onConflict() string {
	if d == MySQL {
		return " ON DUPLICATE KEY UPDATE seq = IF(VALUES(v) > v OR VALUES(until) > until, VALUES(seq), seq)," +
			" v = GREATEST(v, VALUES(v)), until = GREATEST(until, VALUES(until))"
	}
	return " ON CONFLICT (k) DO UPDATE SET v = {greatest}({ended}.v, excluded.v)," +
		" until = {greatest}({ended}.until, excluded.until), seq = excluded.seq" +
		" WHERE excluded.v > {ended}.v OR excluded.until > {ended}.until"
}

// removeOver returns the statement that removes some of the rows whose until
// has passed, from a table with that primary key.
func (d Dialect) removeOver(table, key string) string {
	some := " ORDER BY until LIMIT " + strconv.Itoa(batch)
	if d == MySQL {
		return "DELETE FROM " + table + " WHERE until < ?" + some
	}
	return "DELETE FROM " + table + " WHERE until < ? AND (" + key + ") IN (SELECT " + key + " FROM " + table +
		" WHERE until < ?" + some + ")"
}
