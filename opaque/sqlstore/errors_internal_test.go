package sqlstore

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
)

// errorNo and mattnError have the form of the errors of mattn/go-sqlite3, which
// needs a C compiler.
type errorNo int

type mattnError struct {
	Code         errorNo
	ExtendedCode errorNo
}

func (mattnError) Error() string { return "secret" }

func TestDriverErrors(t *testing.T) {
	for _, row := range []struct {
		name                                     string
		dialect                                  Dialect
		err                                      error
		duplicate, tooLarge, rolledBack, notDone bool
		text                                     string
	}{
		{"nil", MySQL, nil, false, false, false, false, ""},
		{"foreign", MySQL, errors.New("secret"), false, false, false, false, "the driver reports a *errors.errorString"},
		{"MySQL duplicate", MySQL, &mysql.MySQLError{Number: 1062, Message: "secret"}, true, false, false, false, "MySQL reports error 1062"},
		{"MySQL packet", MySQL, &mysql.MySQLError{Number: 1153, Message: "secret"}, false, true, false, false, "MySQL reports error 1153"},
		{"MySQL data", MySQL, &mysql.MySQLError{Number: 1406, Message: "secret"}, false, true, false, false, "MySQL reports error 1406"},
		{"MySQL deadlock", MySQL, &mysql.MySQLError{Number: 1213, Message: "secret"}, false, false, true, false, "MySQL reports error 1213"},
		{"MySQL lock", MySQL, &mysql.MySQLError{Number: 1205, Message: "secret"}, false, false, true, false, "MySQL reports error 1205"},
		{"PostgreSQL deadlock", PostgreSQL, &pgconn.PgError{Code: "40P01", Message: "secret"}, false, false, true, false, "PostgreSQL reports SQLSTATE 40P01"},
		{"PostgreSQL limit", PostgreSQL, &pgconn.PgError{Code: "54000", Message: "secret"}, false, true, false, false, "PostgreSQL reports SQLSTATE 54000"},
		{"PostgreSQL disk", PostgreSQL, &pgconn.PgError{Code: "53100", Message: "secret"}, false, false, false, true, "PostgreSQL reports SQLSTATE 53100"},
		{"PostgreSQL standby", PostgreSQL, &pgconn.PgError{Code: "25006", Message: "secret"}, false, false, false, true, "SQLSTATE 25006"},
		{"PostgreSQL shutdown", PostgreSQL, &pgconn.PgError{Code: "57P01", Message: "secret"}, false, false, false, false, "SQLSTATE 57P01"},
		{"MySQL read only", MySQL, &mysql.MySQLError{Number: 1290, Message: "secret"}, false, false, false, true, "MySQL reports error 1290"},
		{"no connection", MySQL, &net.OpError{Op: "dial", Err: errors.New("refused")}, false, false, false, true, "dial"},
		{"broken connection", MySQL, &net.OpError{Op: "read", Err: errors.New("reset")}, false, false, false, false, "read"},
		{"never sent", PostgreSQL, driver.ErrBadConn, false, false, false, true, ""},
		{"SQLite busy", SQLite, mattnError{5, 5}, false, false, true, false, "SQLite reports error 5"},
		{"SQLite busy snapshot", SQLite, mattnError{5, 517}, false, false, true, false, "SQLite reports error 517"},
		{"SQLite too big", SQLite, mattnError{18, 18}, false, true, false, false, "SQLite reports error 18"},
		{"SQLite full", SQLite, mattnError{13, 13}, false, false, false, true, "SQLite reports error 13"},
	} {
		t.Run(row.name, func(t *testing.T) {
			err := row.err
			if err != nil {
				err = fmt.Errorf("wrapped: %w", err)
			}
			require.Equal(t, row.duplicate, row.dialect.isDuplicate(err))
			require.Equal(t, row.tooLarge, row.dialect.isTooLarge(err))
			require.Equal(t, row.rolledBack, row.dialect.isRolledBack(err))
			if err == nil {
				return
			}
			unavailable := row.dialect.unavailable("get", err)
			require.ErrorIs(t, unavailable, session.Unavailable)
			require.Equal(t, row.notDone, errors.Is(unavailable, opaque.ErrNotDone))
			text := unavailable.Error()
			require.NotContains(t, text, "secret")
			if row.name != "foreign" {
				require.Contains(t, text, row.text)
			}
		})
	}
}
