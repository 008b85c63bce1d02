package sqlstore

import "fmt"

// indexTables returns the statements that make the tables of the index. The
// columns: h is the SHA-256 of the subject, id the public ID of the session. ks
// are the session's keys, a line each. instant and counts are in milliseconds
// since 1970, the other times in seconds: counts, seen, token and until are
// CountsFrom, SeenAt, TokenUntil and Until of a devices.Entry. The row of a
// subject is kept at least until its own until.
//
// What changes with each activity and login has no index: see migrations.
func (d Dialect) indexTables(prefix string) []string {
	text, data, keys := "text", "blob", "text"
	key, end := "", "\n) WITHOUT ROWID" // so that the entries of a subject lie side by side
	switch d {
	case PostgreSQL:
		text, data, keys = `text COLLATE "C"`, "bytea", `text COLLATE "C"`
		end = "\n) WITH (fillfactor = 80)"
	case MySQL:
		text, data, keys = "varbinary(64)", "varbinary(512)", "varbinary(2100)"
		key, end = ",\n  KEY until (until)", "\n) ENGINE = InnoDB"
	}
	subjects, entries := prefix+"subjects", prefix+"entries"
	tables := []string{
		fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s (\n  h %s NOT NULL PRIMARY KEY,\n"+
			"  instant bigint NOT NULL,\n  until bigint NOT NULL%s", subjects, text, end),
		fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s (\n  h %s NOT NULL,\n  id %[2]s NOT NULL,\n  ks %s NOT NULL,\n"+
			"  counts bigint NOT NULL,\n  seen bigint NOT NULL,\n  token bigint NOT NULL,\n  until bigint NOT NULL,\n"+
			"  marked bigint NOT NULL,\n  details %s NOT NULL,\n  PRIMARY KEY (h, id)%s%s", entries, text, keys, data, key, end),
	}
	if d == MySQL {
		return tables
	}
	return append(tables, "CREATE INDEX IF NOT EXISTS "+entries+"_until ON "+entries+" (until)")
}

// statements returns those of the index, for tables whose names begin with
// prefix.
func (x *index) statements(d Dialect, prefix string) map[*statement]string {
	text := d.template(prefix)
	const (
		columns = "id, ks, counts, seen, token, until, marked, details"
		alive   = " WHERE h = ? AND until > ?"
		one     = " WHERE h = ? AND id = ?"
		open    = one + " AND marked = 0 AND until > ?"
	)
	return map[*statement]string{
		&x.lock: text("INSERT INTO {subjects} (h, instant, until) VALUES (?, ?, ?)" +
			d.onDuplicate("h", "{subjects}", "{greatest}", "instant", "until")),
		&x.state: text("SELECT s.instant, (SELECT count(*) FROM {entries} a WHERE a.h = s.h AND a.until > ?)," +
			" COALESCE(e.id, ''), COALESCE(e.ks, ''), COALESCE(e.counts, 0), COALESCE(e.seen, 0), COALESCE(e.token, 0)," +
			" COALESCE(e.until, 0), COALESCE(e.marked, 0), COALESCE(e.details, '')" +
			" FROM {subjects} s LEFT JOIN {entries} e ON e.h = s.h AND e.id = ? AND e.until > ? WHERE s.h = ?"),
		&x.put: text("INSERT INTO {entries} (h, id, ks, counts, seen, token, until, marked, details)" +
			" VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?)" + d.onDuplicate("h, id", "{entries}", "",
			"ks", "counts", "seen", "token", "until", "marked", "details")), // over one whose until has passed
		&x.change: text("UPDATE {entries} SET ks = ?, counts = {greatest}(counts, ?), seen = {greatest}(seen, ?)," +
			" token = {greatest}(token, ?), until = {greatest}(until, ?), details = ?" + one + " AND ks = ?"),
		&x.markOne: text("UPDATE {entries} SET marked = 1" + alive + " AND id = ? AND marked = 0"),
		&x.markAll: text("UPDATE {entries} SET marked = 1" + alive + " AND counts <= ? AND marked = 0"),
		&x.list:    text("SELECT " + columns + " FROM {entries}" + alive),
		&x.extend: text("UPDATE {entries} SET seen = {greatest}(seen, ?), token = {greatest}(token, ?)" +
			open),
		&x.isFar:     text("SELECT count(*) FROM {entries}" + open + " AND seen >= ? AND token >= ?"),
		&x.leave:     text("DELETE FROM {entries}" + one),
		&x.keys:      text("SELECT ks FROM {entries}" + one),
		&x.keepKeys:  text("UPDATE {entries} SET ks = ?" + one + " AND ks = ?"),
		&x.leaveKeys: text("DELETE FROM {entries}" + one + " AND ks = ?"),
	}
}

// onDuplicate makes an insert change the row that is there: each column becomes
// the new value, or what function returns of both.
func (d Dialect) onDuplicate(key, table, function string, columns ...string) string {
	query := " ON CONFLICT (" + key + ") DO UPDATE SET "
	if d == MySQL {
		query = " ON DUPLICATE KEY UPDATE "
	}
	for i, column := range columns {
		added, old := "excluded."+column, table+"."+column
		if d == MySQL {
			added, old = "VALUES("+column+")", column
		}
		if function != "" {
			added = function + "(" + old + ", " + added + ")"
		}
		if i > 0 {
			query += ", "
		}
		query += column + " = " + added
	}
	return query
}
