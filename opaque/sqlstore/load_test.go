//go:build unix

package sqlstore_test

import (
	"database/sql"
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
	lite, postgres, maria := sqlite(t), startPostgres(t), startMariaDB(t, "")
	for name, backend := range map[string]apptest.Backend{
		"SQLite":  {Open: lite.opens(func(t testing.TB, _ string) *sql.DB { return lite.open(t) })},
		"MariaDB": {Addr: maria.addr, Open: maria.opens(maria.openAt), Record: isMariaDBRow},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they wait most of the time
			apptest.Load(t, backend)
		})
	}
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		backend := apptest.Backend{Addr: postgres.addr, Open: postgres.opens(postgres.openAt)}
		t.Run("interleavings", func(t *testing.T) {
			apptest.Interleavings(t, func(t testing.TB, now func() time.Time) opaque.Store {
				return backend.Open(t, backend.Addr, now)
			})
		})
		t.Run("errors", func(t *testing.T) { apptest.Errors(t, backend) })
	})
}

func (d database) opens(
	openAt func(t testing.TB, addr string) *sql.DB,
) func(t testing.TB, addr string, now func() time.Time) opaque.Store {
	return func(t testing.TB, addr string, now func() time.Time) opaque.Store {
		db := openAt(t, addr)
		if d.dialect != sqlstore.SQLite {
			db.SetMaxOpenConns(16) // of the 100 that PostgreSQL allows
		}
		return d.store(t, db, sqlstore.Config{Now: now})
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
