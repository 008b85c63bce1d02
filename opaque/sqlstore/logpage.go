package sqlstore

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/revocation"
)

// page returns the entries of the next rows whose Until has not passed, the
// number of rows, and that of the last one.
func (s *Store) page(ctx context.Context, from int64) (entries []revocation.Entry, n int, last int64, err error) {
	p, done, err := s.inOrder(ctx)
	if err != nil {
		return nil, 0, 0, err
	}
	defer done()
	rows, err := p.QueryContext(ctx, from)
	if err != nil {
		return nil, 0, 0, err
	}
	defer func() { _ = rows.Close() }()
	now := s.cfg.Now().Unix()
	var keys texts
	var key sql.RawBytes
	var v, until int64
	for ; rows.Next(); n++ {
		if err := rows.Scan(&key, &v, &until, &last); err != nil {
			return nil, 0, 0, err
		}
		if n == cap(entries) && n >= 64 {
			entries = slices.Grow(entries, pageRows-len(entries)) // at once: an instance starts
		}
		if until > now {
			entries = append(entries, revocation.Entry{Key: keys.keep(key), Value: v, Until: time.Unix(until, 0)})
		}
	}
	return entries, n, last, rows.Err()
}

// inOrder returns the statement that reads rows in the order of their numbers,
// and a function to call when they have been read. PostgreSQL knows little
// about a table that is new or changes fast. It then reads and sorts the whole
// table for each page, which takes twenty times as long as the index.
func (s *Store) inOrder(ctx context.Context) (p *sql.Stmt, done func(), err error) {
	p, err = s.since.prepared(ctx)
	if err != nil || s.cfg.Dialect != PostgreSQL {
		return p, func() {}, err
	}
	tx, err := s.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, nil, err
	}
	done = func() { _ = tx.Rollback() } // nothing has changed
	if _, err := tx.ExecContext(ctx, neverSort); err != nil {
		done()
		return nil, nil, err
	}
	return tx.StmtContext(ctx, p), done, nil
}

// neverSort holds until the end of the transaction.
const neverSort = "SET LOCAL enable_sort = off"

// Texts keeps strings in few pieces of memory.
type texts struct{ piece strings.Builder }

const maxPieceBytes = 64 << 10

// keep returns raw as a string.
func (t *texts) keep(raw []byte) string {
	if have := t.piece.Cap(); have-t.piece.Len() < len(raw) {
		t.piece.Reset() // what was returned stays as it is
		t.piece.Grow(max(len(raw), min(2*have, maxPieceBytes)))
	}
	t.piece.Write(raw)
	all := t.piece.String()
	return all[len(all)-len(raw):]
}
