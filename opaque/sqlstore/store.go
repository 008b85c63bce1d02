package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"sync/atomic"
	"time"

	"github.com/cloakroom-go/cloakroom/devices"
	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

// Config configures a [Store].
type Config struct {
	_ [0]func() // no unkeyed literals, no comparison

	Dialect Dialect // required

	// Prefix begins the names of the tables: small letters, digits and
	// underscores, at most 32, and no digit first. "" means "cloakroom_".
	Prefix string

	// Linger is how long an expired session stays in the database, so that a
	// visitor who comes back late is told that it has expired. The clocks of the
	// instances may differ by as much. 0 means 2 minutes.
	Linger time.Duration

	// OnProblem, if not nil, is called when expired sessions could not be
	// removed. It is tried again about once a minute. Calls come from one
	// goroutine.
	OnProblem func(error)

	// Now is the clock. If nil, time.Now.
	Now func() time.Time
}

const (
	defaultPrefix = "cloakroom_"
	defaultLinger = 2 * time.Minute

	// defaultTimeout is for contexts without a deadline.
	defaultTimeout = 5 * time.Second

	// maxData is how much data an item may have, in bytes. The databases' own
	// limits are higher by default: MariaDB takes 16 MiB in one packet.
	maxData = 8 << 20

	// Between two tries of a statement that was rolled back.
	minPause, maxPause = time.Millisecond, 50 * time.Millisecond
)

// A Store is an [opaque.Store], a [revocation.Log] and a [devices.Index] in a
// SQL database. An item of more than 8 MiB is too large. The zero Store is
// closed: all its operations fail.
type Store struct {
	db   *sql.DB
	cfg  Config
	q    queries
	open atomic.Bool

	// writer holds one token, and who writes to SQLite takes it. A channel, and
	// not a mutex, so that the wait ends with the context. nil elsewhere.
	writer chan struct{}

	get, create, swap, touch, look, remove statement
	headers                                [maxHeaders]statement
	tip, since                             statement // of the log
	index                                  index

	appended  marks
	permitted atomic.Bool // the user has all rights

	wake chan struct{}      // asks the clean-up to begin now
	stop context.CancelFunc // ends the clean-up
	done chan struct{}      // closed when it has ended
}

var (
	_ opaque.Store   = (*Store)(nil)
	_ revocation.Log = (*Store)(nil)
	_ devices.Index  = (*Store)(nil)
	_ devices.Store  = (*Store)(nil)
)

// New returns a store on db, which stays the caller's: Close doesn't close it.
// New doesn't wait for the database. It starts a goroutine that removes expired
// sessions, until Close. It reports every mistake in cfg at once.
func New(db *sql.DB, cfg Config) (*Store, error) {
	bad := fault.In("sqlstore: Config")
	if db == nil {
		bad.Add(errors.New("sqlstore: New needs a database"))
	}
	bad.If(cfg.Dialect == 0 || cfg.Dialect >= dialectsEnd, "Dialect", "is required: PostgreSQL, MySQL or SQLite")
	bad.If(cfg.Prefix != "" && !regexp.MustCompile(`^[a-z_][a-z0-9_]{0,31}$`).MatchString(cfg.Prefix), "Prefix",
		"is %q: must have 1 to 32 small letters, digits and underscores, and no digit first", cfg.Prefix)
	bad.If(cfg.Linger < 0, "Linger", "is %v: must not be negative", cfg.Linger)
	if err := bad.Err(); err != nil {
		return nil, err
	}
	s := &Store{db: db, cfg: cfg.withDefaults(), wake: make(chan struct{}, 1), done: make(chan struct{})}
	s.prepare()
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.open.Store(true)
	go s.clean(ctx)
	return s, nil
}

func (c Config) withDefaults() Config {
	if c.Prefix == "" {
		c.Prefix = defaultPrefix
	}
	if c.Linger == 0 {
		c.Linger = defaultLinger
	}
	if c.OnProblem == nil {
		c.OnProblem = func(error) {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

func (s *Store) prepare() {
	if s.cfg.Dialect == SQLite {
		s.writer = make(chan struct{}, 1)
	}
	s.q = newQueries(s.cfg.Dialect, s.cfg.Prefix)
	for st, query := range s.statements() {
		st.db, st.query = s.db, query
	}
}

// statements returns those that are kept prepared from their first use on.
func (s *Store) statements() map[*statement]string {
	all := map[*statement]string{
		&s.get: s.q.get, &s.create: s.q.create, &s.swap: s.q.swap,
		&s.touch: s.q.touch, &s.look: s.q.look, &s.remove: s.q.remove,
		&s.tip: s.q.tip, &s.since: s.q.since,
	}
	for i := range s.headers {
		all[&s.headers[i]] = s.q.headers(1 << i)
	}
	maps.Copy(all, s.index.statements(s.cfg.Dialect, s.cfg.Prefix))
	return all
}

// Close ends the clean-up, and waits for it. Operations fail from then on. It
// doesn't close the database. The error is always nil.
func (s *Store) Close() error {
	if !s.open.Swap(false) {
		return nil
	}
	s.stop()
	<-s.done
	for st := range s.statements() {
		st.close()
	}
	return nil
}

// Ping returns an error that wraps [session.Unavailable] if the database can't
// be reached, if Migrate has not run since the program was updated, or if the
// database's user lacks a right that the store needs.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.ready(ctx, "ping"); err != nil {
		return err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	if err := s.checkVersion(ctx, "ping"); err != nil {
		return err
	}
	return s.checkRights(ctx, "ping")
}

// checkVersion returns an error if the tables are not up to date.
func (s *Store) checkVersion(ctx context.Context, op string) error {
	var version int
	err := s.db.QueryRowContext(ctx, s.q.version).Scan(&version)
	if s.cfg.Dialect.isDenied(err) {
		if lacks := s.checkRights(ctx, op); lacks != nil {
			return lacks
		}
	}
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return s.cfg.Dialect.unavailable(op, err)
	}
	if version < schemaVersion {
		return fmt.Errorf("sqlstore: %s: the tables are of version %d, want %d; call Migrate: %w",
			op, version, schemaVersion, session.Unavailable)
	}
	return nil
}

// Get implements [opaque.Store]. It returns an expired item until the clean-up
// removes it, which is at least Linger later.
func (s *Store) Get(ctx context.Context, key string) (item opaque.Item, ok bool, err error) {
	if err := s.ready(ctx, "get"); err != nil {
		return opaque.Item{}, false, err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	query := s.forRead(ctx)
	var r row
	err = s.retry(ctx, func() error {
		return s.get.row(query, []any{&r.version, &r.seen, &r.idle, &r.dead, &r.data}, key)
	})
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return opaque.Item{}, false, nil
	case err != nil:
		return opaque.Item{}, false, s.cfg.Dialect.unavailable("get", err)
	}
	return r.item(), true, nil
}

// Create implements [opaque.Store].
func (s *Store) Create(ctx context.Context, key string, item opaque.Item) error {
	if err := s.acceptable(ctx, "create", item, 0); err != nil {
		return err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	r := rowOf(item)
	n, err := s.write(ctx, func() (sql.Result, error) {
		return s.create.exec(ctx, key, r.version, r.seen, r.idle, r.dead, r.data)
	})
	if s.cfg.Dialect.isDuplicate(err) || err == nil && n == 0 {
		return fmt.Errorf("sqlstore: create: the key is in use: %w", session.Conflict)
	}
	return s.failed("create", err)
}

// Swap implements [opaque.Store].
func (s *Store) Swap(ctx context.Context, key string, version uint64, item opaque.Item) (ok bool, err error) {
	if err := s.acceptable(ctx, "swap", item, version); err != nil {
		return false, err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	r, now := rowOf(item), s.cfg.Now().Unix()
	n, err := s.write(ctx, func() (sql.Result, error) {
		return s.swap.exec(ctx, r.version, r.seen, r.idle, r.dead, r.data, key, signed(version), now, now)
	})
	return err == nil && n == 1, s.failed("swap", err)
}

// Touch implements [opaque.Store].
func (s *Store) Touch(ctx context.Context, key string, seenAt, idleDeadline time.Time) (ok bool, err error) {
	if err := s.ready(ctx, "touch"); err != nil {
		return false, err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	seen, idle, now := seenAt.Unix(), idleDeadline.Unix(), s.cfg.Now().Unix()
	for {
		n, err := s.write(ctx, func() (sql.Result, error) { return s.touch.exec(ctx, seen, idle, key, now, now) })
		if err != nil || n == 1 || s.cfg.Dialect != MySQL {
			return err == nil && n == 1, s.failed("touch", err)
		}
		ok, again, err := s.unchanged(ctx, key, seen, idle, now)
		if err != nil || !again {
			return ok, s.failed("touch", err)
		}
	}
}

// unchanged tells why MySQL, which counts the rows that it changed, has changed
// none. If there was something to change when it looked, again is true.
func (s *Store) unchanged(ctx context.Context, key string, seen, idle, now int64) (ok, again bool, err error) {
	var r row
	err = s.look.row(ctx, []any{&r.seen, &r.idle, &r.dead}, key)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return false, false, nil
	case err != nil:
		return false, false, err
	case min(r.idle, r.dead) <= now:
		return false, false, nil
	}
	ok = r.seen >= seen && r.idle >= min(idle, r.dead)
	return ok, !ok, nil
}

// Delete implements [opaque.Store].
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := s.ready(ctx, "delete"); err != nil {
		return err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	_, err := s.write(ctx, func() (sql.Result, error) { return s.remove.exec(ctx, key) })
	return s.failed("delete", err)
}

// ready returns an error if op can't begin.
func (s *Store) ready(ctx context.Context, op string) error {
	if !s.open.Load() {
		return fmt.Errorf("sqlstore: %s: the store is closed: %w", op, opaque.ErrNotDone)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("sqlstore: %s: %w: %w", op, err, opaque.ErrNotDone)
	}
	return nil
}

// acceptable is ready for an item that replaces a version.
func (s *Store) acceptable(ctx context.Context, op string, item opaque.Item, replaces uint64) error {
	if err := s.ready(ctx, op); err != nil {
		return err
	}
	if len(item.Data) > maxData {
		return fmt.Errorf("sqlstore: %s: the data has %d bytes, at most %d: %w",
			op, len(item.Data), maxData, session.TooLarge)
	}
	return item.Validate(replaces)
}

// failed returns the error for a write that ended with err, nil for nil.
func (s *Store) failed(op string, err error) error {
	switch {
	case err == nil:
		return nil
	case s.cfg.Dialect.isTooLarge(err):
		return fmt.Errorf("sqlstore: %s: the item is beyond a limit of the database: %w", op, session.TooLarge)
	}
	return s.cfg.Dialect.unavailable(op, err)
}

// write executes a statement that changes at most some rows, and returns how
// many.
func (s *Store) write(ctx context.Context, exec func() (sql.Result, error)) (rows int64, err error) {
	leave, err := s.takeTurn(ctx)
	if err != nil {
		return 0, err
	}
	defer leave()
	err = s.retry(ctx, func() error {
		result, err := exec()
		if err == nil {
			rows, err = result.RowsAffected()
		}
		return err
	})
	return rows, err
}

// takeTurn waits for the turn of a writer. SQLite has one at a time, and its
// own way of waiting lets some of them starve.
func (s *Store) takeTurn(ctx context.Context) (leave func(), err error) {
	if s.writer == nil {
		return func() {}, nil
	}
	select {
	case s.writer <- struct{}{}:
		return func() { <-s.writer }, nil
	case <-ctx.Done():
		return nil, notDone{ctx.Err()}
	}
}

// forRead returns the context for the statement of a read. One that can end
// makes database/sql and the driver start a goroutine each, which takes SQLite
// as long as the read. Its reads wait for nobody in WAL, so that they need no
// deadline, unless there are only so many connections: the wait for one has to
// end.
func (s *Store) forRead(ctx context.Context) context.Context {
	if s.cfg.Dialect == SQLite && s.db.Stats().MaxOpenConnections == 0 {
		return context.WithoutCancel(ctx)
	}
	return ctx
}

// retry calls try again as long as the database says that it rolled the
// statement back, and ctx is not done.
func (s *Store) retry(ctx context.Context, try func() error) error {
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		err := try()
		if !s.cfg.Dialect.isRolledBack(err) && !errors.Is(err, errChanged) {
			return err
		}
		timer := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return notDone{ctx.Err()}
		}
	}
}

// lingering returns the second before which a row must have expired to be
// removed.
func (s *Store) lingering() int64 { return s.cfg.Now().Add(-s.cfg.Linger).Unix() }

// bounded gives ctx a deadline if it has none.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, defaultTimeout)
}

func remaining(ctx context.Context) time.Duration {
	deadline, _ := ctx.Deadline()
	return max(time.Until(deadline), 0)
}
