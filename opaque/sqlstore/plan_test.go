package sqlstore_test

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/opaque/sqlstore"
)

// The clean-up never reads the whole table: each of its statements goes by the
// primary key, or by the index on the deadline.
func (d database) plans(t *testing.T) {
	db := d.open(t)
	require.NoError(t, d.store(t, db, sqlstore.Config{Prefix: "plan_"}).Close())
	d.populate(t, db)
	now := time.Now().Unix()
	byKey := []any{now}
	for i := range 500 {
		byKey = append(byKey, fmt.Sprint("k", 40*i))
	}
	findDead, removeDead, findIdle, removeIdle := sqlstore.Cleaning(d.dialect, "plan_")
	for _, row := range []struct {
		name, query string
		args        []any
	}{
		{"find by deadline", findDead, []any{now}},
		{"remove by deadline", removeDead, byKey},
		{"find by idle deadline", findIdle, []any{"k15000"}},
		{"remove by idle deadline", removeIdle, byKey},
	} {
		t.Run(row.name, func(t *testing.T) { d.usesIndex(t, db, "plan_sessions", row.query, row.args) })
	}
	since, removeEnded := sqlstore.Logging(d.dialect, "plan_")
	before := []any{now, now}
	if d.dialect == sqlstore.MySQL {
		before = before[:1]
	}
	t.Run("remove from the log", func(t *testing.T) { d.usesIndex(t, db, "plan_ended", removeEnded, before) })
	t.Run("read the log", func(t *testing.T) { d.usesIndex(t, db, "plan_ended", since, []any{22_000}) })
	removeEntries, findSubjects, removeSubjects := sqlstore.Indexing(d.dialect, "plan_")
	t.Run("remove entries", func(t *testing.T) { d.usesIndex(t, db, "plan_entries", removeEntries, before) })
	t.Run("find subjects", func(t *testing.T) { d.usesIndex(t, db, "plan_subjects", findSubjects, []any{"k15000"}) })
	if d.dialect != sqlstore.PostgreSQL { // which reads so few short rows as a whole
		t.Run("remove subjects", func(t *testing.T) { d.usesIndex(t, db, "plan_subjects", removeSubjects, byKey) })
	}
	if d.dialect == sqlstore.PostgreSQL {
		t.Run("read a new log", func(t *testing.T) { d.readsInOrder(t, db, since) })
	}
}

// A new instance reads the log by its index, and never sorts all of it for each
// page, also when PostgreSQL has no statistics about the table.
func (d database) readsInOrder(t *testing.T, db *sql.DB, since string) {
	execute(t, db, "CREATE TABLE new_ended (LIKE plan_ended INCLUDING ALL) WITH (autovacuum_enabled = off)")
	execute(t, db, "INSERT INTO new_ended SELECT * FROM plan_ended")
	since = strings.ReplaceAll(since, "plan_ended", "new_ended")
	plan := func(setting string) string {
		tx, err := db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		defer func() { _ = tx.Rollback() }()
		_, err = tx.ExecContext(t.Context(), setting)
		require.NoError(t, err)
		rows, err := tx.QueryContext(t.Context(), "EXPLAIN "+strings.ReplaceAll(since, "$1", "0"))
		require.NoError(t, err)
		defer func() { _ = rows.Close() }()
		return asText(t, rows)
	}
	require.Contains(t, plan("SET LOCAL enable_sort = on"), "Sort Key", "the setting makes the difference")
	require.NotContains(t, plan(sqlstore.NeverSort), "Sort Key")
	require.Contains(t, plan(sqlstore.NeverSort), "Index Scan using")
}

// populate makes 22,500 rows of a usual size, of which one in twenty has
// expired. PostgreSQL rightly reads a table of a few pages as a whole.
func (d database) populate(t *testing.T, db *sql.DB) {
	t.Helper()
	exec := func(statement string) {
		t.Helper()
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	later := time.Now().Add(time.Hour).Unix()
	exec(fmt.Sprintf("INSERT INTO plan_sessions (k, version, seen, idle, dead, data)"+
		" WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 149)"+
		" SELECT concat('k', 150 * a.i + b.i), 1, 1, %[1]d, CASE WHEN b.i %% 20 = 0 THEN 1000 ELSE %[1]d END, '%s'"+
		" FROM n a CROSS JOIN n b", later, strings.Repeat("x", 300)))
	exec("INSERT INTO plan_ended (k, v, until, seq)" +
		" WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 149)" +
		" SELECT " + d.binary("concat('k', 150 * a.i + b.i)") + ", 1," +
		fmt.Sprintf(" CASE WHEN b.i %% 20 = 0 THEN 1000 ELSE %d END, 150 * a.i + b.i FROM n a CROSS JOIN n b", later))
	exec("INSERT INTO plan_entries (h, id, ks, counts, seen, token, until, marked, details)" +
		" SELECT k, 'id', k, 1, 1, 1, dead, 0, " + d.binary("'"+strings.Repeat("x", 100)+"'") + " FROM plan_sessions")
	exec("INSERT INTO plan_subjects (h, instant, until) SELECT k, 1, dead FROM plan_sessions")
	for _, table := range []string{"plan_sessions", "plan_ended", "plan_entries", "plan_subjects"} {
		switch d.dialect {
		case sqlstore.PostgreSQL:
			exec("ANALYZE " + table)
		case sqlstore.MySQL:
			exec("ANALYZE TABLE " + table)
		}
	}
}

func (d database) binary(text string) string {
	if d.dialect == sqlstore.PostgreSQL {
		return "convert_to(" + text + ", 'UTF8')"
	}
	return text
}

// usesIndex expects each plan that the database may choose to use an index.
func (d database) usesIndex(t *testing.T, db *sql.DB, table, query string, args []any) {
	conn, err := db.Conn(t.Context())
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	explain := func(query string, args ...any) string {
		rows, err := conn.QueryContext(t.Context(), query, args...)
		require.NoError(t, err)
		defer func() { _ = rows.Close() }()
		return asText(t, rows)
	}
	switch d.dialect {
	case sqlstore.SQLite:
		plan := explain("EXPLAIN QUERY PLAN "+query, args...)
		require.Contains(t, plan, "SEARCH "+table+" USING")
		require.NotContains(t, plan, "SCAN")
	case sqlstore.MySQL:
		plan := explain("EXPLAIN "+query, args...)
		require.Contains(t, plan, table+" range ") // the others are ALL, and index for all of an index
	default:
		literals := strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", args), "[]interface {}{"), "}")
		literals = strings.ReplaceAll(literals, `"`, "'")
		for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
			for _, statement := range []string{"SET plan_cache_mode = " + mode, "PREPARE statement AS " + query} {
				_, err := conn.ExecContext(t.Context(), statement)
				require.NoError(t, err)
			}
			plan := explain("EXPLAIN EXECUTE statement (" + literals + ")")
			require.Regexp(t, `Index (Only )?Scan`, plan, mode)
			require.NotContains(t, plan, "Seq Scan", mode)
			_, err = conn.ExecContext(t.Context(), "DEALLOCATE statement")
			require.NoError(t, err)
		}
	}
}

// asText returns rows as text, with a space between the columns.
func asText(t *testing.T, rows *sql.Rows) string {
	t.Helper()
	columns, err := rows.Columns()
	require.NoError(t, err)
	values := make([]sql.NullString, len(columns))
	into := make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	var b strings.Builder
	for rows.Next() {
		require.NoError(t, rows.Scan(into...))
		for _, v := range values {
			b.WriteString(v.String + " ")
		}
		b.WriteString("\n")
	}
	require.NoError(t, rows.Err())
	return b.String()
}
