package sqlstore_test

import (
	"bytes"
	"context"
	"database/sql"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/itemtest"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/opaque/sqlstore"
	"github.com/cloakroom-go/cloakroom/opaque/storetest"
	"github.com/cloakroom-go/cloakroom/session"
)

// A database is one that the tests run against.
type database struct {
	dialect sqlstore.Dialect
	open    func(t testing.TB) *sql.DB // a pool of its own, to the same database
	lock    string                     // a statement that begins to write to all rows, in a transaction

	// For a server: its address, and a pool to it, or to a proxy in front of it.
	addr   string
	openAt func(t testing.TB, addr string) *sql.DB
}

// suite is what holds for each database.
func (d database) suite(t *testing.T) {
	t.Run("contract", d.contract)
	t.Run("migrate at once", d.migrateAtOnce)
	t.Run("schema", d.schema)
	t.Run("no tables", d.noTables)
	t.Run("clean-up", d.cleanUp)
	t.Run("plans of the clean-up", d.plans)
	t.Run("one cleans up", d.oneCleansUp)
	t.Run("clean-up among requests", d.cleanUpAmongRequests)
	t.Run("size", d.size)
	t.Run("no data in errors", d.noDataInErrors)
	t.Run("exhausted pool", d.exhaustedPool)
	t.Run("locked row", d.lockedRow)
	t.Run("closed", d.closed)
	t.Run("index", d.index)
	t.Run("index race", d.indexRace)
	t.Run("bad entries", d.badEntries)
	t.Run("locked subject", d.lockedSubject)
	t.Run("headers", d.headers)
	t.Run("forgets", d.forgets)
	t.Run("upgrade", d.upgrade)
	t.Run("log", d.log)
	t.Run("several instances", d.severalInstances)
}

// leavesNothing expects that every goroutine that the test starts from here on
// has ended when the test has cleaned up.
func leavesNothing(t *testing.T) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		require.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+1 }, // the one that asks
			20*time.Second, 10*time.Millisecond, "goroutines are left over")
	})
}

func (d database) contract(t *testing.T) {
	leavesNothing(t)
	direct := d.store(t, d.open(t), sqlstore.Config{})
	if d.addr == "" {
		storetest.Run(t, func(*testing.T) opaque.Store { return direct })
		return
	}
	storetest.RunRemote(t, d.addr, func(t *testing.T, addr string) opaque.Store {
		if addr == d.addr {
			return direct
		}
		return d.store(t, d.openAt(t, addr), sqlstore.Config{})
	})
}

// store returns a store whose tables exist.
func (d database) store(t testing.TB, db *sql.DB, cfg sqlstore.Config) *sqlstore.Store {
	t.Helper()
	s := d.newStore(t, db, cfg)
	require.NoError(t, s.Migrate(t.Context()))
	return s
}

func (d database) newStore(t testing.TB, db *sql.DB, cfg sqlstore.Config) *sqlstore.Store {
	t.Helper()
	cfg.Dialect = d.dialect
	s, err := sqlstore.New(db, cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func (d database) migrateAtOnce(t *testing.T) {
	var all sync.WaitGroup
	errs := make([]error, 6)
	for i := range errs {
		s := d.newStore(t, d.open(t), sqlstore.Config{Prefix: "at_once_"})
		all.Go(func() { errs[i] = s.Migrate(within(t, time.Minute)) })
	}
	all.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	s := d.newStore(t, d.open(t), sqlstore.Config{Prefix: "at_once_"})
	require.NoError(t, s.Migrate(t.Context()))
	require.NoError(t, s.Ping(t.Context()))
	require.NoError(t, s.Create(t.Context(), itemtest.Key(), itemtest.New(1, "data")))
}

// What Schema prints is enough, and Migrate has nothing left to do.
func (d database) schema(t *testing.T) {
	db := d.open(t)
	s := d.newStore(t, db, sqlstore.Config{Prefix: "by_hand_"})
	for _, statement := range strings.Split(strings.TrimSuffix(s.Schema(), ";\n"), ";\n") {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	require.NoError(t, s.Ping(t.Context()))
	require.NoError(t, s.Create(t.Context(), itemtest.Key(), itemtest.New(1, "data")))
	require.NoError(t, s.Migrate(t.Context()))
}

func (d database) noTables(t *testing.T) {
	s := d.newStore(t, d.open(t), sqlstore.Config{Prefix: "missing_"})
	require.ErrorIs(t, s.Ping(t.Context()), session.Unavailable)
	_, _, err := s.Get(t.Context(), itemtest.Key())
	require.ErrorIs(t, err, session.Unavailable)
	require.NoError(t, s.Migrate(t.Context()))
	require.NoError(t, s.Create(t.Context(), itemtest.Key(), itemtest.New(1, "data")))
}

// Rows are removed once Linger has passed, by either deadline, over more than
// one batch. All others stay.
func (d database) cleanUp(t *testing.T) {
	db := d.open(t)
	cfg := sqlstore.Config{
		Prefix: "clean_", Linger: 10 * time.Minute, OnProblem: func(err error) { t.Error(err) },
	}
	s := d.store(t, db, cfg)
	stays := map[string]opaque.Item{}
	for name, over := range map[string]time.Duration{"alive": -time.Hour, "lingers": 30 * time.Second} {
		item := itemtest.New(1, "data")
		item.IdleDeadline = item.SeenAt.Add(-over)
		stays[name] = item
		require.NoError(t, s.Create(t.Context(), name, item))
	}
	require.NoError(t, s.Close())
	d.fill(t, db, "clean_sessions", 1100)
	s = d.store(t, d.open(t), ahead(cfg, 5*time.Minute)) // when nobody has the claim any more
	left := func() (n int) {
		require.NoError(t, db.QueryRowContext(t.Context(), "SELECT count(*) FROM clean_sessions").Scan(&n))
		return n
	}
	require.Eventually(t, func() bool { return left() == len(stays) }, time.Minute, 20*time.Millisecond)
	for name, want := range stays {
		got, ok, err := s.Get(t.Context(), name)
		require.NoError(t, err)
		require.True(t, ok, name)
		require.Equal(t, want.IdleDeadline.Unix(), got.IdleDeadline.Unix())
	}
}

// fill makes n rows that have expired, every other one by its idle deadline.
func (d database) fill(t *testing.T, db *sql.DB, table string, n int) {
	t.Helper()
	over, later := time.Now().Add(-time.Hour).Unix(), time.Now().Add(time.Hour).Unix()
	parameters := "(?, 1, 0, ?, ?, ?)"
	if d.dialect == sqlstore.PostgreSQL {
		parameters = "($1, 1, 0, $2, $3, $4)"
	}
	tx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	for i := range n {
		idle, dead := later, over
		if i%2 == 0 {
			idle, dead = over, later
		}
		query := "INSERT INTO " + table + " (k, version, seen, idle, dead, data) VALUES " + parameters
		_, err := tx.ExecContext(t.Context(), query, itemtest.Key(), idle, dead, []byte("x"))
		require.NoError(t, err)
	}
	require.NoError(t, tx.Commit())
}

// ahead returns cfg with a clock that is ahead.
func ahead(cfg sqlstore.Config, by time.Duration) sqlstore.Config {
	cfg.Now = func() time.Time { return time.Now().Add(by) }
	return cfg
}

// While one instance holds the claim, others leave the rows alone. When it is
// over, the next one takes it.
func (d database) oneCleansUp(t *testing.T) {
	db := d.open(t)
	cfg := sqlstore.Config{Prefix: "claim_"}
	require.NoError(t, d.store(t, db, cfg).Close())
	d.fill(t, db, "claim_sessions", 10)
	left := func() (n int) {
		require.NoError(t, db.QueryRowContext(t.Context(), "SELECT count(*) FROM claim_sessions").Scan(&n))
		return n
	}
	first := d.newStore(t, db, ahead(cfg, 5*time.Minute))
	second := d.newStore(t, d.open(t), ahead(cfg, 5*time.Minute))
	later := d.newStore(t, d.open(t), ahead(cfg, 10*time.Minute))
	require.NoError(t, first.CleanUp(t.Context()))
	require.Zero(t, left())
	d.fill(t, db, "claim_sessions", 10)
	require.ErrorIs(t, second.CleanUp(t.Context()), sqlstore.ErrLost)
	require.Equal(t, 10, left())
	require.NoError(t, later.CleanUp(t.Context()))
	require.Zero(t, left())
}

// Requests go on while rows are removed: none fails, and none of theirs is
// lost.
func (d database) cleanUpAmongRequests(t *testing.T) {
	cfg := sqlstore.Config{Prefix: "among_"}
	db := d.open(t)
	require.NoError(t, d.store(t, db, cfg).Close())
	d.fill(t, db, "among_sessions", 2000)
	s := d.newStore(t, db, cfg)
	var cleaning, requests sync.WaitGroup
	done := make(chan struct{})
	for range 4 {
		requests.Go(func() {
			key, version := itemtest.Key(), uint64(1)
			err := s.Create(within(t, 5*time.Second), key, itemtest.New(version, "data"))
			for ok := true; err == nil; version++ {
				select {
				case <-done:
					return
				default:
				}
				if ok, err = s.Swap(within(t, 5*time.Second), key, version, itemtest.New(version+1, "data")); !ok && err == nil {
					err = session.Conflict
				}
			}
			t.Error(err)
		})
	}
	cleaner := d.newStore(t, d.open(t), ahead(cfg, 5*time.Minute))
	cleaning.Go(func() {
		defer close(done)
		if err := cleaner.CleanUp(t.Context()); err != nil {
			t.Error(err)
		}
	})
	cleaning.Wait()
	requests.Wait()
	var left int
	require.NoError(t, db.QueryRowContext(t.Context(), "SELECT count(*) FROM among_sessions").Scan(&left))
	require.Equal(t, 4, left)
}

func (d database) size(t *testing.T) {
	s := d.store(t, d.open(t), sqlstore.Config{})
	key, item := itemtest.Key(), itemtest.New(1, "data")
	require.NoError(t, s.Create(t.Context(), key, item))
	large := itemtest.New(2, "data")
	large.Data = bytes.Repeat([]byte("x"), 8<<20+1)
	_, err := s.Swap(t.Context(), key, 1, large)
	require.ErrorIs(t, err, session.TooLarge)
	require.ErrorIs(t, s.Create(t.Context(), itemtest.Key(), large), session.TooLarge)
	got, ok, err := s.Get(t.Context(), key)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, item.Data, got.Data)
	large.Data = large.Data[1:]
	ok, err = s.Swap(t.Context(), key, 1, large)
	require.NoError(t, err)
	require.True(t, ok)
}

func (d database) noDataInErrors(t *testing.T) {
	s := d.store(t, d.open(t), sqlstore.Config{})
	key, item := itemtest.Key(), itemtest.New(1, "data")
	item.Data = []byte("a secret value")
	require.NoError(t, s.Create(t.Context(), key, item))
	err := s.Create(t.Context(), key, item)
	require.ErrorIs(t, err, session.Conflict)
	require.NotContains(t, err.Error(), key)
	done, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range []error{err, s.Create(done, key, item), s.Delete(done, key)} {
		require.NotContains(t, err.Error(), key)
		require.NotContains(t, err.Error(), "secret")
	}
}

// A request that gets no connection is denied in time, and the next one works.
func (d database) exhaustedPool(t *testing.T) {
	leavesNothing(t)
	db := d.open(t)
	db.SetMaxOpenConns(1)
	s := d.store(t, db, sqlstore.Config{})
	key := itemtest.Key()
	require.NoError(t, s.Create(t.Context(), key, itemtest.New(1, "data")))
	taken, err := db.Conn(t.Context())
	require.NoError(t, err)

	start := time.Now()
	_, _, err = s.Get(within(t, 100*time.Millisecond), key)
	require.ErrorIs(t, err, session.Unavailable)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = s.Swap(within(t, 100*time.Millisecond), key, 1, itemtest.New(2, "data"))
	require.ErrorIs(t, err, opaque.ErrNotDone)
	err = s.Create(within(t, 100*time.Millisecond), itemtest.Key(), itemtest.New(1, "data"))
	require.ErrorIs(t, err, opaque.ErrNotDone)
	require.Less(t, time.Since(start), 5*time.Second)

	require.NoError(t, taken.Close())
	ok, err := s.Swap(within(t, time.Second), key, 1, itemtest.New(2, "data"))
	require.NoError(t, err)
	require.True(t, ok)
}

// Somebody else's transaction holds the row. A write waits for it up to its
// deadline, reads don't wait.
func (d database) lockedRow(t *testing.T) {
	leavesNothing(t)
	db := d.open(t)
	s := d.store(t, db, sqlstore.Config{})
	key := itemtest.Key()
	require.NoError(t, s.Create(t.Context(), key, itemtest.New(1, "data")))
	conn, err := d.open(t).Conn(t.Context())
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	exec := func(statement string) {
		_, err := conn.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	exec("BEGIN")
	exec(d.lock)

	start := time.Now()
	_, err = s.Swap(within(t, 150*time.Millisecond), key, 1, itemtest.New(2, "data"))
	require.ErrorIs(t, err, session.Unavailable)
	require.Less(t, time.Since(start), 5*time.Second)
	item, ok, err := s.Get(within(t, 5*time.Second), key)
	require.NoError(t, err)
	require.True(t, ok)
	require.EqualValues(t, 1, item.Version)

	swapped := make(chan error)
	go func() {
		_, err := s.Swap(within(t, 10*time.Second), key, 1, itemtest.New(2, "data"))
		swapped <- err
	}()
	select {
	case err := <-swapped:
		require.Fail(t, "the swap did not wait", "%v", err)
	case <-time.After(100 * time.Millisecond):
	}
	// The next one waits no longer because another one waits already.
	_, err = s.Touch(within(t, 50*time.Millisecond), key, time.Now(), time.Now())
	require.ErrorIs(t, err, context.DeadlineExceeded)
	exec("ROLLBACK")
	require.NoError(t, <-swapped)
	// Which of the two it was is open: MariaDB goes on with a statement whose
	// client has left.
	item, ok, err = s.Get(within(t, 5*time.Second), key)
	require.NoError(t, err)
	require.True(t, ok)
	require.EqualValues(t, 2, item.Version)
}

func (d database) closed(t *testing.T) {
	db := d.open(t)
	s := d.store(t, db, sqlstore.Config{})
	key := itemtest.Key()
	require.NoError(t, s.Create(t.Context(), key, itemtest.New(1, "data")))
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	allFail(t, s)
	require.NoError(t, db.PingContext(t.Context()), "the database is the caller's")
}

func allFail(t *testing.T, s *sqlstore.Store) {
	t.Helper()
	errs := itemtest.Errors(t.Context(), s, itemtest.Key())
	errs["Ping"], errs["Migrate"] = s.Ping(t.Context()), s.Migrate(t.Context())
	for method, err := range errs {
		require.ErrorIs(t, err, session.Unavailable, method)
	}
}
