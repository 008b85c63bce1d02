package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"sync/atomic"
	"time"

	"github.com/cloakroom-go/cloakroom/opaque"
)

// A row is an item as the table has it.
type row struct {
	version, seen, idle, dead int64
	data                      []byte
}

func rowOf(item opaque.Item) row {
	r := row{
		version: signed(item.Version),
		seen:    item.SeenAt.Unix(),
		idle:    item.IdleDeadline.Unix(),
		dead:    item.Deadline.Unix(),
		data:    item.Data,
	}
	if r.data == nil {
		r.data = []byte{} // nil would be NULL
	}
	return r
}

func (r row) item() opaque.Item {
	return opaque.Item{
		Version:      uint64(r.version) ^ 1<<63,
		SeenAt:       time.Unix(r.seen, 0),
		IdleDeadline: time.Unix(r.idle, 0),
		Deadline:     time.Unix(r.dead, 0),
		Data:         r.data,
	}
}

// signed moves all 64 bits of a version into a signed column, in their order.
func signed(version uint64) int64 { return int64(version ^ 1<<63) }

// A statement is prepared at its first use, within the time of that call. From
// then on database/sql prepares it on each connection that it uses.
type statement struct {
	db    *sql.DB
	query string
	ready atomic.Pointer[sql.Stmt]
}

func (st *statement) prepared(ctx context.Context) (*sql.Stmt, error) {
	if p := st.ready.Load(); p != nil {
		return p, nil
	}
	p, err := st.db.PrepareContext(ctx, st.query)
	if err != nil {
		return nil, err
	}
	if !st.ready.CompareAndSwap(nil, p) { // another call was faster
		_ = p.Close()
	}
	return st.ready.Load(), nil
}

// exec executes a statement about one key. Its error is a notDone if the
// statement never had a connection, because all were in use or none could be
// made.
func (st *statement) exec(ctx context.Context, args ...any) (sql.Result, error) {
	p, err := st.prepared(ctx)
	if err != nil {
		return nil, notDone{err}
	}
	connected := false
	for i, arg := range args {
		if text, ok := arg.(string); ok {
			args[i] = lateText{text, &connected}
		}
	}
	result, err := p.ExecContext(ctx, args...)
	if err != nil && !connected {
		err = notDone{err}
	}
	return result, err
}

// A lateText is an argument that database/sql and the drivers convert after
// they have got a connection, and before they send anything.
type lateText struct {
	text      string
	connected *bool
}

// Value implements [driver.Valuer].
func (l lateText) Value() (driver.Value, error) {
	*l.connected = true
	return l.text, nil
}

// row reads the one row that there may be, otherwise it returns
// [sql.ErrNoRows].
func (st *statement) row(ctx context.Context, into []any, args ...any) error {
	p, err := st.prepared(ctx)
	if err != nil {
		return err
	}
	return p.QueryRowContext(ctx, args...).Scan(into...)
}

// close has no error: one only says that a connection is broken already.
func (st *statement) close() {
	if p := st.ready.Load(); p != nil {
		_ = p.Close()
	}
}
