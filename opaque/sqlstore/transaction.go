package sqlstore

import (
	"context"
	"database/sql"
	"errors"
)

// change lets work read and write what the index has of a subject, while nobody
// else can enter or mark a session of it. It begins anew if the database, or
// errChanged, says that nothing has happened. Until the commit nothing has
// happened after any other error, either.
func (s *Store) change(
	ctx context.Context, op, subject string, instant int64, work func(context.Context, *sql.Tx) error,
) error {
	if err := s.ready(ctx, op); err != nil {
		return err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	leave, err := s.takeTurn(ctx)
	if err == nil {
		defer leave()
		err = s.prepareIndex(ctx)
	}
	if err == nil {
		err = s.retry(ctx, func() error { return s.transact(ctx, subject, instant, work) })
	}
	var refused refusal
	if errors.As(err, &refused) {
		return refused.error
	}
	return s.failedOn(ctx, op, err)
}

// prepareIndex prepares what a transaction executes: it could wait for ever for
// a second connection.
func (s *Store) prepareIndex(ctx context.Context) error {
	x := &s.index
	for _, st := range []*statement{&x.lock, &x.state, &x.put, &x.change, &x.markOne, &x.markAll, &x.list} {
		if _, err := st.prepared(ctx); err != nil {
			return notDone{err}
		}
	}
	return nil
}

func (s *Store) transact(
	ctx context.Context, subject string, instant int64, work func(context.Context, *sql.Tx) error,
) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return notDone{err}
	}
	committing := false
	defer func() {
		if !committing {
			_ = s.end(ctx, tx.Rollback)
		}
	}()
	until := s.cfg.Now().Add(subjectFor).Unix()
	if _, err := s.index.lock.in(ctx, tx).ExecContext(ctx, subject, instant, until); err != nil {
		return notDone{err}
	}
	if err := work(ctx, tx); err != nil {
		return notDone{err}
	}
	if err := ctx.Err(); err != nil {
		return notDone{err}
	}
	committing = true
	err = s.end(ctx, tx.Commit)
	if errors.Is(err, sql.ErrTxDone) { // rolled back, since ctx is done
		return notDone{err}
	}
	return err
}

// end calls what ends a transaction. go-sql-driver/mysql does that without a
// time limit, so the caller stops waiting when ctx is done.
func (s *Store) end(ctx context.Context, end func() error) error {
	if s.cfg.Dialect != MySQL {
		return end()
	}
	done := make(chan error, 1)
	go func() { done <- end() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// in returns the statement for a transaction. It is prepared.
func (st *statement) in(ctx context.Context, tx *sql.Tx) *sql.Stmt {
	return tx.StmtContext(ctx, st.ready.Load())
}
