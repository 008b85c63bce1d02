package sqlstore

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/devices"
	"github.com/cloakroom-go/cloakroom/session"
)

// The index has a row for each session of a subject, and one for the subject.
// Enter and Mark are transactions that begin with an upsert of the subject's
// row, which locks it until the commit: so what one of them reads holds until
// it has written. Extend and Leave are single statements on one session, and
// take no part in that lock. Therefore Enter changes a session only if its keys
// are still those that it has read, and begins anew otherwise.
//
// The row of a subject also has the instant of the last Mark. Each hour the
// clean-up removes the rows of subjects that have no sessions any more.

const (
	// subjectFor is how long the row of a subject is kept after an Enter or Mark.
	// A login that began before a Mark is long over by then.
	subjectFor = time.Hour

	// noInstant is that of a subject of which not all sessions were ended.
	noInstant = math.MinInt64

	// maxIndexKey bounds the keys and the ID of an entry, in bytes.
	maxIndexKey = 64

	keySeparator = "\n"
)

// index are the statements of a [devices.Index].
type index struct {
	lock, state, put, change         statement // Enter; Mark has lock, too
	markOne, markAll, list           statement
	extend, isFar                    statement
	leave, keys, keepKeys, leaveKeys statement
}

// errChanged says that a session has other keys than those that were read.
var errChanged = errors.New("the entry has changed meanwhile")

// A refusal is an error that says why a transaction was not to be done.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

// An entryRow is an entry as the table has it.
type entryRow struct {
	id, keys                           string
	counts, seen, token, until, marked int64
	details                            []byte
}

func entryRowOf(e devices.Entry) entryRow {
	return entryRow{
		id: e.ID, keys: strings.Join(e.Keys, keySeparator), counts: e.CountsFrom.UnixMilli(), seen: e.SeenAt.Unix(),
		token: e.TokenUntil.Unix(), until: e.Until.Unix(), details: append([]byte{}, e.Details...), // nil would be NULL
	}
}

func (r *entryRow) entry() devices.Entry {
	return devices.Entry{
		ID: r.id, Keys: strings.Split(r.keys, keySeparator), CountsFrom: time.UnixMilli(r.counts),
		SeenAt: time.Unix(r.seen, 0), TokenUntil: time.Unix(r.token, 0), Until: time.Unix(r.until, 0),
		Marked: r.marked != 0, Details: r.details,
	}
}

func (r *entryRow) columns() []any {
	return []any{&r.id, &r.keys, &r.counts, &r.seen, &r.token, &r.until, &r.marked, &r.details}
}

// adds reports whether r has something that old lacks.
func (r *entryRow) adds(old entryRow) bool {
	return r.keys != old.keys || r.counts > old.counts || r.seen > old.seen || r.token > old.token ||
		r.until > old.until || !bytes.Equal(r.details, old.details)
}

// Enter implements [devices.Index].
func (s *Store) Enter(ctx context.Context, subject string, e devices.Entry, replaces string, limit int) error {
	if err := acceptableEntry(e); err != nil {
		return err
	}
	return s.change(ctx, "enter", subject, noInstant, func(ctx context.Context, tx *sql.Tx) error {
		return s.enterIn(ctx, tx, subject, e, replaces, limit)
	})
}

// acceptableEntry returns an error if e has no place in a row.
func acceptableEntry(e devices.Entry) error {
	bad := e.ID == "" || len(e.ID) > maxIndexKey || len(e.Keys) == 0 || len(e.Details) > devices.MaxDetails
	for _, key := range e.Keys {
		bad = bad || key == "" || len(key) > maxIndexKey || strings.Contains(key, keySeparator)
	}
	if bad {
		return fmt.Errorf("sqlstore: enter: the entry is beyond the limits of a devices.Entry: %w", session.BadValue)
	}
	return nil
}

func (s *Store) enterIn(
	ctx context.Context, tx *sql.Tx, subject string, e devices.Entry, replaces string, limit int,
) error {
	now := s.cfg.Now().Unix()
	var instant int64
	var others int
	var old entryRow
	into := append([]any{&instant, &others}, old.columns()...)
	err := s.index.state.in(ctx, tx).QueryRowContext(ctx, now, e.ID, now, subject).Scan(into...)
	known := old.until != 0
	switch {
	case err != nil:
		return err
	case e.CountsFrom.UnixMilli() <= instant:
		return refusal{fmt.Errorf("sqlstore: enter: all sessions of the subject were ended: %w", session.Ended)}
	case old.marked != 0:
		return refusal{fmt.Errorf("sqlstore: enter: the session was ended: %w", session.Ended)}
	case !known && others >= limit:
		return refusal{fmt.Errorf("sqlstore: enter: the subject has %d sessions: %w", others, session.TooMany)}
	}
	if known {
		e.Keys = joined(old.entry().Keys, e.Keys, replaces)
	}
	if len(e.Keys) > devices.MaxKeys {
		return refusal{fmt.Errorf("sqlstore: enter: the session is being renewed too often at once: %w", session.Conflict)}
	}
	r := entryRowOf(e)
	if !known {
		_, err := s.index.put.in(ctx, tx).ExecContext(ctx,
			subject, r.id, r.keys, r.counts, r.seen, r.token, r.until, r.details)
		return err
	}
	if !r.adds(old) {
		return nil // MySQL would report that no row has changed
	}
	return s.changeIn(ctx, tx, subject, r, old.keys)
}

// joined returns the keys of an entry, from the one that is replaced, and those
// that are new.
func joined(old, add []string, replaces string) []string {
	if i := slices.Index(old, replaces); i >= 0 {
		old = old[i:]
	}
	for _, key := range add {
		if !slices.Contains(old, key) {
			old = append(old, key)
		}
	}
	return old
}

func (s *Store) changeIn(ctx context.Context, tx *sql.Tx, subject string, r entryRow, oldKeys string) error {
	result, err := s.index.change.in(ctx, tx).ExecContext(ctx,
		r.keys, r.counts, r.seen, r.token, r.until, r.details, subject, r.id, oldKeys)
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n == 1 {
		return err
	}
	return errChanged
}

// Mark implements [devices.Index].
func (s *Store) Mark(ctx context.Context, subject, id string, until time.Time) (marked []devices.Entry, err error) {
	mark, of, instant := &s.index.markOne, any(id), int64(noInstant)
	if id == "" {
		instant = until.UnixMilli()
		mark, of = &s.index.markAll, instant
	}
	err = s.change(ctx, "mark", subject, instant, func(ctx context.Context, tx *sql.Tx) error {
		if _, err := mark.in(ctx, tx).ExecContext(ctx, subject, s.cfg.Now().Unix(), of); err != nil {
			return err
		}
		all, err := s.list(ctx, s.index.list.in(ctx, tx), subject)
		marked = slices.DeleteFunc(all, func(e devices.Entry) bool { return !e.Marked || id != "" && e.ID != id })
		return err
	})
	if err != nil {
		return nil, err
	}
	return marked, nil
}

// List implements [devices.Index].
func (s *Store) List(ctx context.Context, subject string) (all []devices.Entry, err error) {
	if err := s.ready(ctx, "list"); err != nil {
		return nil, err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	query := s.forRead(ctx)
	list, err := s.index.list.prepared(query)
	if err == nil {
		err = s.retry(ctx, func() error {
			all, err = s.list(query, list, subject)
			return err
		})
	}
	return all, s.failedOn(ctx, "list", err)
}

func (s *Store) list(ctx context.Context, list *sql.Stmt, subject string) (all []devices.Entry, err error) {
	rows, err := list.QueryContext(ctx, subject, s.cfg.Now().Unix())
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var r entryRow
		if err := rows.Scan(r.columns()...); err != nil {
			return nil, err
		}
		all = append(all, r.entry())
	}
	return all, rows.Err()
}

// Extend implements [devices.Index].
func (s *Store) Extend(ctx context.Context, subject, id string, seenAt, tokenUntil time.Time) (ok bool, err error) {
	if err := s.ready(ctx, "extend"); err != nil {
		return false, err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	seen, token, now := seenAt.Unix(), tokenUntil.Unix(), s.cfg.Now().Unix()
	n, err := s.write(ctx, func() (sql.Result, error) {
		return s.index.extend.exec(ctx, seen, token, subject, id, now)
	})
	if err == nil && n == 0 && s.cfg.Dialect == MySQL { // it counts the rows that it has changed
		err = s.index.isFar.row(ctx, []any{&n}, subject, id, now, seen, token)
	}
	return err == nil && n == 1, s.failedOn(ctx, "extend", err)
}

// Leave implements [devices.Index].
func (s *Store) Leave(ctx context.Context, subject, id string, keys ...string) error {
	if err := s.ready(ctx, "leave"); err != nil {
		return err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	left := false
	for !left {
		var err error
		if len(keys) == 0 {
			left = true
			_, err = s.write(ctx, func() (sql.Result, error) { return s.index.leave.exec(ctx, subject, id) })
		} else {
			left, err = s.leaveKeys(ctx, subject, id, keys)
		}
		if err != nil {
			return s.failedOn(ctx, "leave", err)
		}
	}
	return nil
}

// leaveKeys takes keys out of an entry, if no others have come or gone between
// its two statements.
func (s *Store) leaveKeys(ctx context.Context, subject, id string, keys []string) (left bool, err error) {
	var old string
	err = s.retry(ctx, func() error { return s.index.keys.row(ctx, []any{&old}, subject, id) })
	if errors.Is(err, sql.ErrNoRows) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	all := strings.Split(old, keySeparator)
	kept := slices.DeleteFunc(slices.Clone(all), func(key string) bool { return slices.Contains(keys, key) })
	if len(kept) == len(all) {
		return true, nil
	}
	n, err := s.write(ctx, func() (sql.Result, error) {
		if len(kept) == 0 {
			return s.index.leaveKeys.exec(ctx, subject, id, old)
		}
		return s.index.keepKeys.exec(ctx, strings.Join(kept, keySeparator), subject, id, old)
	})
	return n == 1, err
}
