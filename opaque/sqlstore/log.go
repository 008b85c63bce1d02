package sqlstore

import (
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/instant"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

const (
	// lookEvery is how often Read looks for something new while it waits.
	lookEvery = 500 * time.Millisecond

	// pageRows bounds the entries of one Reading.
	pageRows = 10_000

	// maxPiece is how many rows one statement of Append has at most.
	maxPiece = 512

	// maxEndedKey is how long the keys of entries are. Those of links are longer.
	maxEndedKey = 40

	// linkFor is how long the log knows that a value of the counter was once the
	// current one. A reader that was away for longer, while others appended,
	// starts again from the beginning.
	linkFor = 10 * time.Minute

	// maxSkip is by how much the counter is raised at random. Nine quintillion
	// values last for 500 billion appends.
	maxSkip = 1 << 24

	// maxMarks bounds what waits for a Read. There are some hundred if the disk
	// is fast.
	maxMarks = 10_000
)

// The log is a table with a row for each key, and a counter. Append raises the
// counter, which locks it until the commit, and gives the new numbers to the
// rows that it changes. So commits become visible in the order of the numbers,
// and a reader that has seen a number has seen all below it. With numbers that
// are drawn without that lock, an append that commits late is missed.
//
// A database that goes on without its last commits, after a failover or from a
// backup, gives the same numbers to other rows. So the counter also skips a
// random amount, and Append leaves a link: a row that names the counter's
// previous value. A reader whose value is neither the current one nor has a
// link knows that it has read what the database has lost. The same holds for
// the values that the store itself has appended with: it remembers them until a
// reader has passed them.

// An endedRow is an entry as the table has it.
type endedRow struct {
	key           string
	v, until, seq int64
}

// linkKey is the key of the link to n: zeros, so that it is longer than all
// keys of entries, and n in 8 bytes.
func linkKey(n int64) string {
	return string(binary.BigEndian.AppendUint64(make([]byte, linkZeros), uint64(n)))
}

const linkZeros = maxEndedKey - 7

// endedRows returns the rows for entries, one for each key: PostgreSQL refuses
// a statement that changes a row twice.
func endedRows(entries []revocation.Entry) ([]endedRow, error) {
	rows := make([]endedRow, 0, len(entries))
	at := make(map[string]int, len(entries))
	for _, e := range entries {
		if e.Key == "" || len(e.Key) > maxEndedKey {
			return nil, fmt.Errorf("sqlstore: append: the key of an entry must have 1 to %d bytes: %w",
				maxEndedKey, session.BadValue)
		}
		r := endedRow{key: e.Key, v: e.Value, until: e.Until.Unix()}
		i, ok := at[e.Key]
		if !ok {
			at[e.Key] = len(rows)
			rows = append(rows, r)
			continue
		}
		rows[i].v, rows[i].until = max(rows[i].v, r.v), max(rows[i].until, r.until)
	}
	return rows, nil
}

// Append implements [revocation.Log].
func (s *Store) Append(ctx context.Context, entries []revocation.Entry) error {
	if err := s.ready(ctx, "append"); err != nil {
		return err
	}
	rows, err := endedRows(entries)
	if err != nil || len(rows) == 0 {
		return err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	leave, err := s.takeTurn(ctx)
	if err == nil {
		defer leave()
		err = s.append(ctx, rows)
	}
	return s.failedOn(ctx, "append", err)
}

func (s *Store) append(ctx context.Context, rows []endedRow) error {
	if s.cfg.Dialect != PostgreSQL {
		return s.retry(ctx, func() error { return s.appendTogether(ctx, rows) })
	}
	for len(rows) > 0 {
		some := rows[:piece(len(rows))]
		if err := s.retry(ctx, func() error { return s.appendAtOnce(ctx, some) }); err != nil {
			return err
		}
		rows = rows[len(some):]
	}
	return nil
}

// Marks are the values of the counter that this store has appended with, until
// a reader has passed them.
type marks struct {
	mu     sync.Mutex // guards what follows
	values []int64
	losses int64 // how many values the database has lost
}

func (m *marks) add(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.values = append(m.values, n); len(m.values) > maxMarks {
		m.values = []int64{-1} // which the counter never was: the next Read is Lost
	}
}

func (m *marks) all() []int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.values)
}

// remove removes n, as one that the database has lost or as one that a reader
// has passed.
func (m *marks) remove(n int64, lost bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.Index(m.values, n)
	if i < 0 {
		return
	}
	m.values = slices.Delete(m.values, i, i+1)
	if lost {
		m.losses++
	}
}

func (m *marks) lost() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.losses
}

// piece returns how many of n rows the next statement has: a power of two, so
// that there are few different statements, which the driver keeps prepared.
func piece(n int) int { return 1 << (bits.Len(uint(min(n, maxPiece))) - 1) }

// appendAtOnce is one statement, so that an instance that stands still never
// holds the lock of the counter. It is for PostgreSQL.
func (s *Store) appendAtOnce(ctx context.Context, rows []endedRow) error {
	step := int64(len(rows)) + rand.Int64N(maxSkip)
	args := []any{step}
	for i, r := range rows {
		args = append(args, []byte(r.key), r.v, r.until, i)
	}
	args = append(args, step, s.linkUntil())
	var n int64
	err := s.db.QueryRowContext(ctx, s.q.appendAtOnce(len(rows)), args...).Scan(&n)
	if err == nil {
		s.appended.add(n)
	}
	return err
}

func (s *Store) linkUntil() int64 { return s.cfg.Now().Add(linkFor).Unix() }

// appendTogether is one transaction, of which the first statement takes the
// lock.
func (s *Store) appendTogether(ctx context.Context, rows []endedRow) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // nothing after the commit
	step := int64(len(rows)) + rand.Int64N(maxSkip)
	n, err := s.raiseCounter(ctx, tx, step)
	if err != nil {
		return err
	}
	rows = slices.Clone(rows) // the transaction may be repeated
	for i := range rows {
		rows[i].seq = n - int64(i)
	}
	rows = append(rows, endedRow{key: linkKey(n - step), until: s.linkUntil()}) // which nobody reads: seq is 0
	for len(rows) > 0 {
		some := rows[:piece(len(rows))]
		args := make([]any, 0, 4*len(some))
		for _, r := range some {
			args = append(args, []byte(r.key), r.v, r.until, r.seq)
		}
		if _, err := tx.ExecContext(ctx, s.q.upsert(len(some)), args...); err != nil {
			return err
		}
		rows = rows[len(some):]
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	s.appended.add(n)
	return nil
}

// raiseCounter returns the value of the counter, which nobody else can raise
// until the end of tx.
func (s *Store) raiseCounter(ctx context.Context, tx *sql.Tx, step int64) (n int64, err error) {
	if s.cfg.Dialect == SQLite {
		err = tx.QueryRowContext(ctx, s.q.raise, step).Scan(&n)
		return n, err
	}
	result, err := tx.ExecContext(ctx, s.q.raise, step)
	if err != nil {
		return 0, err
	}
	if changed, err := result.RowsAffected(); err != nil || changed == 0 {
		return 0, sql.ErrNoRows
	}
	return result.LastInsertId()
}

// A position is what a reader has seen of the log: all numbers up to from, when
// the counter was once at tip. from is less than tip only between two pages.
// losses is what the store had lost by then, so that each reader hears of it.
type position struct {
	tip, from, losses int64
	begins            bool // without a position
}

func (p position) String() string { return fmt.Sprintf("%d-%d-%d", p.tip, p.from, p.losses) }

// parsePosition reads what String has written, and "" as the beginning.
func parsePosition(pos string) (p position, ok bool) {
	if pos == "" {
		return position{begins: true}, true
	}
	parts := strings.Split(pos, "-")
	for i, into := range []*int64{&p.tip, &p.from, &p.losses} {
		if i < len(parts) {
			*into, _ = strconv.ParseInt(parts[i], 10, 64)
		}
	}
	return p, p.String() == pos
}

// Read implements [revocation.Log]. While there is nothing new, it looks every
// half second, and once more after wait.
func (s *Store) Read(ctx context.Context, pos string, wait time.Duration) (revocation.Reading, error) {
	if err := s.ready(ctx, "read"); err != nil {
		return revocation.Reading{}, err
	}
	p, ok := parsePosition(pos)
	if !ok {
		return revocation.Reading{Lost: true}, nil
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, wait+defaultTimeout)
		defer cancel()
	}
	r, err := s.readSince(ctx, p)
	for until := time.Now().Add(wait); err == nil && r.Next == pos && time.Now().Before(until); {
		timer := time.NewTimer(min(time.Until(until), lookEvery))
		select {
		case <-timer.C:
			r, err = s.readSince(ctx, p)
		case <-ctx.Done():
			timer.Stop()
			err = ctx.Err()
		}
	}
	return r, s.failedOn(ctx, "read", err)
}

// readSince reads the counter and then the rows, so it sees at least all rows
// up to the counter. It may also see later ones: a row that was changed between
// the two statements has a later number now, and must not be left out.
func (s *Store) readSince(ctx context.Context, p position) (r revocation.Reading, err error) {
	// Between two pages it would take longer than the page, if this store has
	// appended much.
	if !p.begins && p.from == p.tip {
		if err := s.checkMarks(ctx, p); err != nil {
			return r, err
		}
	}
	losses := s.appended.lost()
	c, err := s.counter(ctx, p.tip)
	r.ClockOffset = c.ahead
	tip := c.tip
	switch {
	case err != nil:
		return r, err
	case !c.known, !p.begins && p.losses < losses:
		r.Lost = true
		return r, nil
	case p.from == tip:
		r.Next, r.Complete = position{tip: tip, from: tip, losses: losses}.String(), true
		return r, nil
	}
	var rows int
	var last int64
	err = s.retry(ctx, func() error {
		r.Entries, rows, last, err = s.page(ctx, p.from)
		return err
	})
	if err != nil {
		return revocation.Reading{}, err
	}
	if r.Complete = rows < pageRows; r.Complete {
		last = tip
	}
	r.Next = position{tip: tip, from: min(last, tip), losses: losses}.String()
	return r, nil
}

// A counted is what the database says of the counter.
type counted struct {
	tip   int64
	known bool          // a value that was asked for is one that it has or had
	ahead time.Duration // how far the database's clock is ahead, at least; 0 if it has none
}

// counter returns the counter, and whether n is one of its values.
func (s *Store) counter(ctx context.Context, n int64) (c counted, err error) {
	err = s.retry(ctx, func() error {
		var clock int64
		sent := s.cfg.Now()
		err := s.tip.row(ctx, []any{&c.tip, &c.known, &clock}, []byte(linkKey(n)))
		if err == nil && clock != 0 {
			c.ahead = instant.Ahead(time.UnixMicro(clock), sent, s.cfg.Now())
		}
		return err
	})
	c.known = c.known || n == c.tip || n == 0
	return c, err
}

// checkMarks looks whether the database has lost what this store has appended.
// A mark is needed until a reader has a position behind it: if the database
// loses the mark then, it loses the position, too.
func (s *Store) checkMarks(ctx context.Context, p position) error {
	for _, n := range s.appended.all() {
		c, err := s.counter(ctx, n)
		if err != nil {
			return err
		}
		if !c.known || n <= p.tip && p.from == p.tip {
			s.appended.remove(n, !c.known)
		}
	}
	return nil
}

// failedOn returns the error for what ended with err, nil for nil. It says so
// if the tables are of a version that had no log.
func (s *Store) failedOn(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	if old := s.checkVersion(ctx, op); old != nil && ctx.Err() == nil {
		return old
	}
	return s.cfg.Dialect.unavailable(op, err)
}
