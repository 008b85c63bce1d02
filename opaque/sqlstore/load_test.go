//go:build unix

package sqlstore_test

import (
	"database/sql"
	"encoding/binary"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/opaque/sqlstore"
)

func TestLoadSoak(t *testing.T) {
	require.NoError(t, mysql.SetLogger(quiet{}))
	lite, postgres, maria := sqlite(t), startPostgres(t), startMariaDB(t)
	for name, backend := range map[string]apptest.Backend{
		"SQLite":     {Open: lite.opens(func(t testing.TB, _ string) *sql.DB { return lite.open(t) })},
		"PostgreSQL": {Addr: postgres.addr, Open: postgres.opens(postgres.openAt), Record: isPostgresRow},
		"MariaDB":    {Addr: maria.addr, Open: maria.opens(maria.openAt), Record: isMariaDBRow},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they wait most of the time
			apptest.Load(t, backend)
		})
	}
}

func (d database) opens(
	openAt func(t testing.TB, addr string) *sql.DB,
) func(t testing.TB, addr string, now func() time.Time) opaque.Store {
	return func(t testing.TB, addr string, now func() time.Time) opaque.Store {
		db := openAt(t, addr)
		if d.dialect != sqlstore.SQLite {
			connect(t, db, 4)
		}
		return d.store(t, db, sqlstore.Config{Now: now})
	}
}

// connect opens as many connections as a store may have. A new one costs
// PostgreSQL much computing, so that requests which need one at the same time
// could run out of time, and give theirs up for others to begin anew.
func connect(t testing.TB, db *sql.DB, conns int) {
	t.Helper()
	db.SetMaxOpenConns(conns)
	for range conns {
		c, err := db.Conn(t.Context())
		require.NoError(t, err)
		defer func() { require.NoError(t, c.Close()) }()
	}
}

// isMariaDBRow reports whether an answer is that to a prepared SELECT that
// found a row: packets of which the last but one is a row, and the last one the
// end.
// (MariaDB's documentation, Client/Server Protocol.)
func isMariaDBRow(answer []byte) bool {
	var packets [][]byte
	for len(answer) >= 4 {
		length := 4 + int(answer[0]) + int(answer[1])<<8 + int(answer[2])<<16
		if length > len(answer) {
			return false
		}
		packets = append(packets, answer[4:length])
		answer = answer[length:]
	}
	n := len(packets)
	return len(answer) == 0 && n >= 3 && packets[n-1][0] == 0xfe && packets[n-2][0] == 0 && len(packets[n-2]) > 100
}

// isPostgresRow reports whether an answer is that to a prepared SELECT that
// found a row, from BindComplete to ReadyForQuery, so that a connection which
// gets another one's goes on.
// (PostgreSQL's documentation, Frontend/Backend Protocol, Message Formats.)
func isPostgresRow(answer []byte) bool {
	var kinds string
	for len(answer) >= 5 {
		length := 1 + int(binary.BigEndian.Uint32(answer[1:]))
		if length > len(answer) || answer[0] == 'D' && length < 100 {
			return false
		}
		kinds += string(answer[:1])
		answer = answer[length:]
	}
	return len(answer) == 0 && (kinds == "2DCZ" || kinds == "2TDCZ")
}
