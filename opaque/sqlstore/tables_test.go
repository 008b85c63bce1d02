package sqlstore_test

import (
	"database/sql"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/internal/stored"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/opaque/sqlstore"
)

// tables runs the tables of behaviour and attacks.
func (d database) tables(t *testing.T) {
	first, second := d.open(t), d.open(t)
	for _, db := range []*sql.DB{first, second} {
		db.SetMaxOpenConns(16) // of the 100 that PostgreSQL allows
	}
	newStore := func(t testing.TB, now func() time.Time) opaque.Store {
		cfg := sqlstore.Config{Prefix: "tables_", Now: now}
		return apptest.Instances(d.store(t, first, cfg), d.store(t, second, cfg))
	}
	apptest.Run(t, newStore)
	apptest.RunRaw(t, newStore, raw{first, d.dialect})
}

// A raw is what somebody can do who has the database's password.
type raw struct {
	db      *sql.DB
	dialect sqlstore.Dialect
}

// query returns a statement with the dialect's placeholders.
func (r raw) query(statement string) string {
	for n := '1'; r.dialect == sqlstore.PostgreSQL && strings.Contains(statement, "?"); n++ {
		statement = strings.Replace(statement, "?", "$"+string(n), 1)
	}
	return statement
}

func (r raw) Keys(t testing.TB) (keys []string) {
	t.Helper()
	rows, err := r.db.QueryContext(t.Context(), "SELECT k FROM tables_sessions")
	require.NoError(t, err)
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var key string
		require.NoError(t, rows.Scan(&key))
		keys = append(keys, key)
	}
	require.NoError(t, rows.Err())
	return keys
}

func (r raw) Read(t testing.TB, key string) []byte {
	t.Helper()
	rows, err := r.db.QueryContext(t.Context(), r.query("SELECT * FROM tables_sessions WHERE k = ?"), key)
	require.NoError(t, err)
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	require.NoError(t, err)
	require.Equal(t, []string{"k", "version", "seen", "idle", "dead", "data"}, columns)
	if !rows.Next() {
		return nil // it has expired
	}
	var header [4]int64
	var data []byte
	require.NoError(t, rows.Scan(&key, &header[0], &header[1], &header[2], &header[3], &data))
	var value []byte
	for i, n := range header {
		if i == 0 {
			n ^= -1 << 63
		}
		value = binary.BigEndian.AppendUint64(value, uint64(n))
	}
	return append(value, data...)
}

func (r raw) Write(t testing.TB, key string, value []byte) {
	t.Helper()
	args := []any{key}
	for i := range stored.HeaderSize / 8 {
		n := int64(binary.BigEndian.Uint64(value[8*i:]))
		if i == 0 {
			n ^= -1 << 63
		}
		args = append(args, n)
	}
	args = append(args, append([]byte{}, value[stored.HeaderSize:]...))
	_, err := r.db.ExecContext(t.Context(), r.query("DELETE FROM tables_sessions WHERE k = ?"), key)
	require.NoError(t, err)
	_, err = r.db.ExecContext(t.Context(), r.query("INSERT INTO tables_sessions VALUES (?, ?, ?, ?, ?, ?)"), args...)
	require.NoError(t, err)
}
