package sqlstore

import (
	"errors"
	"fmt"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
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
		name                            string
		dialect                         Dialect
		err                             error
		duplicate, tooLarge, rolledBack bool
		text                            string
	}{
		{"nil", MySQL, nil, false, false, false, ""},
		{"foreign", MySQL, errors.New("secret"), false, false, false, "the driver reports a *errors.errorString"},
		{"MySQL duplicate", MySQL, &mysql.MySQLError{Number: 1062, Message: "secret"}, true, false, false, "MySQL reports error 1062"},
		{"MySQL packet", MySQL, &mysql.MySQLError{Number: 1153, Message: "secret"}, false, true, false, "MySQL reports error 1153"},
		{"MySQL data", MySQL, &mysql.MySQLError{Number: 1406, Message: "secret"}, false, true, false, "MySQL reports error 1406"},
		{"MySQL deadlock", MySQL, &mysql.MySQLError{Number: 1213, Message: "secret"}, false, false, true, "MySQL reports error 1213"},
		{"MySQL lock", MySQL, &mysql.MySQLError{Number: 1205, Message: "secret"}, false, false, true, "MySQL reports error 1205"},
		{"PostgreSQL deadlock", PostgreSQL, &pgconn.PgError{Code: "40P01", Message: "secret"}, false, false, true, "PostgreSQL reports SQLSTATE 40P01"},
		{"PostgreSQL limit", PostgreSQL, &pgconn.PgError{Code: "54000", Message: "secret"}, false, true, false, "PostgreSQL reports SQLSTATE 54000"},
		{"PostgreSQL disk", PostgreSQL, &pgconn.PgError{Code: "53100", Message: "secret"}, false, false, false, "PostgreSQL reports SQLSTATE 53100"},
		{"SQLite busy", SQLite, mattnError{5, 5}, false, false, true, "SQLite reports error 5"},
		{"SQLite busy snapshot", SQLite, mattnError{5, 517}, false, false, true, "SQLite reports error 517"},
		{"SQLite too big", SQLite, mattnError{18, 18}, false, true, false, "SQLite reports error 18"},
		{"SQLite full", SQLite, mattnError{13, 13}, false, false, false, "SQLite reports error 13"},
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
			text := row.dialect.unavailable("get", err).Error()
			require.NotContains(t, text, "secret")
			if row.name != "foreign" {
				require.Contains(t, text, row.text)
			}
		})
	}
}
