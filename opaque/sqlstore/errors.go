package sqlstore

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"reflect"
	"slices"

	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
)

// What the databases report. PostgreSQL: SQLSTATE, Appendix A of its manual.
// MySQL: the server's error reference. SQLite: result codes, of which the low
// byte is the primary one.
const (
	mysqlTooManyConns = 1040
	mysqlDuplicate    = 1062
	mysqlFull         = 1114
	mysqlNoTable      = 1142 // that the user may use so
	mysqlNoColumn     = 1143 // that the user may use so
	mysqlPacketTooBig = 1153
	mysqlLockTimeout  = 1205
	mysqlDeadlock     = 1213
	mysqlReadOnly     = 1290 // by an option of the server
	mysqlDataTooLong  = 1406
	mysqlReadOnlyMode = 1836

	sqliteBusy     = 5
	sqliteLocked   = 6
	sqliteReadOnly = 8
	sqliteFull     = 13
	sqliteTooBig   = 18

	postgresNoRight      = "42501"
	postgresProgramLimit = "54000"
)

// rolledBack are the SQLSTATEs after which nothing has happened: serialization
// failure, deadlock, lock not available.
func rolledBack() []string { return []string{"40001", "40P01", "55P03"} }

// refused are the SQLSTATEs of a server that takes no write or no connection:
// it is a standby, its disk or memory is full, it has too many clients, it is
// starting.
func refused() []string { return []string{"25006", "53100", "53200", "53300", "57P03"} }

// A notDone is an error before which nothing was sent, or all was rolled back.
type notDone struct{ error }

func (e notDone) Unwrap() error { return e.error }

// isNotDone reports whether err says that nothing has happened. Each statement
// is a transaction of its own, so what the database refuses has no effect.
// [driver.ErrBadConn] is for what was never sent.
func (d Dialect) isNotDone(err error) bool {
	var dial *net.OpError
	if errors.As(err, new(notDone)) || errors.Is(err, driver.ErrBadConn) || errors.As(err, &dial) && dial.Op == "dial" {
		return true
	}
	switch d {
	case PostgreSQL:
		return slices.Contains(refused(), state(err))
	case MySQL:
		return slices.Contains([]int{mysqlTooManyConns, mysqlFull, mysqlReadOnly, mysqlReadOnlyMode}, number(err))
	default:
		code := number(err) & 0xff
		return code == sqliteReadOnly || code == sqliteFull
	}
}

// isDuplicate reports whether err says that a key is in use.
func (d Dialect) isDuplicate(err error) bool { return d == MySQL && number(err) == mysqlDuplicate }

// isDenied reports whether err says that the user lacks a right.
func (d Dialect) isDenied(err error) bool {
	switch d {
	case PostgreSQL:
		return state(err) == postgresNoRight
	case MySQL:
		return number(err) == mysqlNoTable || number(err) == mysqlNoColumn
	default:
		return false
	}
}

// isTooLarge reports whether err says that an item is beyond a limit.
func (d Dialect) isTooLarge(err error) bool {
	switch d {
	case PostgreSQL:
		return state(err) == postgresProgramLimit
	case MySQL:
		return number(err) == mysqlPacketTooBig || number(err) == mysqlDataTooLong
	default:
		return number(err)&0xff == sqliteTooBig
	}
}

// isRolledBack reports whether err says that the statement had no effect and
// may succeed when it is sent again.
func (d Dialect) isRolledBack(err error) bool {
	switch d {
	case PostgreSQL:
		return slices.Contains(rolledBack(), state(err))
	case MySQL:
		return number(err) == mysqlDeadlock || number(err) == mysqlLockTimeout
	default:
		code := number(err) & 0xff
		return code == sqliteBusy || code == sqliteLocked
	}
}

// state returns the SQLSTATE in err's chain, or "". The errors of pgx and
// lib/pq have this method.
func state(err error) string {
	var e interface{ SQLState() string }
	if errors.As(err, &e) {
		return e.SQLState()
	}
	return ""
}

// number returns the number in err's chain, or 0. modernc.org/sqlite has the
// method Code, go-sql-driver/mysql the field Number, and mattn/go-sqlite3 the
// field ExtendedCode. Fields are read by reflection, because importing a driver
// would link it into every application.
func number(err error) int {
	for ; err != nil; err = errors.Unwrap(err) {
		if e, ok := err.(interface{ Code() int }); ok {
			return e.Code()
		}
		v := reflect.Indirect(reflect.ValueOf(err))
		if v.Kind() != reflect.Struct {
			continue
		}
		for _, name := range []string{"Number", "ExtendedCode"} {
			switch f := v.FieldByName(name); {
			case f.IsValid() && f.CanInt():
				return int(f.Int())
			case f.IsValid() && f.CanUint():
				return int(f.Uint())
			}
		}
	}
	return 0
}

// unavailable returns the error for a statement that failed with err. The text
// of a database's error may contain the key or the data, so only its code is
// repeated.
func (d Dialect) unavailable(op string, err error) error {
	reason := error(session.Unavailable)
	if d.isNotDone(err) {
		reason = opaque.ErrNotDone
	}
	return fmt.Errorf("sqlstore: %s: %w: %w", op, safe{d.describe(err), contextError(err)}, reason)
}

func (d Dialect) describe(err error) string {
	for e := (notDone{}); errors.As(err, &e); {
		err = e.error
	}
	var dial *net.OpError
	switch code := number(err); {
	case contextError(err) != nil:
		return contextError(err).Error()
	case state(err) != "":
		return fmt.Sprintf("%v reports SQLSTATE %s", d, state(err))
	case code != 0:
		return fmt.Sprintf("%v reports error %d", d, code)
	case errors.As(err, &dial):
		return dial.Error()
	default:
		return fmt.Sprintf("the driver reports a %T", err)
	}
}

// safe is an error with a text that contains no data.
type safe struct {
	text  string
	cause error // may be nil
}

func (e safe) Error() string { return e.text }
func (e safe) Unwrap() error { return e.cause }

// contextError returns the error of a context in err's chain, or nil.
func contextError(err error) error {
	for _, of := range []error{context.DeadlineExceeded, context.Canceled} {
		if errors.Is(err, of) {
			return of
		}
	}
	return nil
}
