package sqlstore_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/itemtest"
	"github.com/cloakroom-go/cloakroom/opaque/sqlstore"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/revocation/logtest"
	"github.com/cloakroom-go/cloakroom/session"
)

// log is what holds for the log of each database.
func (d database) log(t *testing.T) {
	t.Run("contract", d.logContract)
	t.Run("order", d.logOrder)
	t.Run("lost commits", d.lostCommits)
	t.Run("first version", d.firstVersion)
	t.Run("clean-up", d.logCleanUp)
	t.Run("clean-up among appends", d.cleanUpAmongAppends)
	t.Run("locked counter", d.lockedCounter)
	t.Run("in force", d.inForce)
	t.Run("large", d.largeAppend)
}

// newLog makes a log of its own, and returns its prefix and a function that
// opens it once more.
func (d database) newLog(t *testing.T) (prefix string, open func() *sqlstore.Store) {
	t.Helper()
	prefix = "l" + strings.ToLower(rand.Text()[:10]) + "_"
	cfg := sqlstore.Config{Prefix: prefix}
	d.store(t, d.open(t), cfg)
	return prefix, func() *sqlstore.Store { return d.newStore(t, d.open(t), cfg) }
}

func (d database) logContract(t *testing.T) {
	leavesNothing(t)
	logtest.Run(t, func(t *testing.T) func() revocation.Log {
		_, open := d.newLog(t)
		return func() revocation.Log { return open() }
	})
	logtest.RunLost(t, func(t *testing.T) (func() revocation.Log, func()) {
		prefix, open := d.newLog(t)
		return func() revocation.Log { return open() }, func() { d.restore(t, prefix, nil, 0) }
	})
	if d.dialect == sqlstore.SQLite {
		return // has the clock of this process
	}
	logtest.RunClock(t, func(t *testing.T, now func() time.Time) revocation.Log {
		return d.store(t, d.open(t), sqlstore.Config{Prefix: "l" + strings.ToLower(rand.Text()[:10]) + "_", Now: now})
	})
}

func execute(t testing.TB, db *sql.DB, statement string, args ...any) {
	t.Helper()
	_, err := db.ExecContext(context.Background(), statement, args...)
	require.NoError(t, err, statement)
}

// restore puts the log back to some rows and a value of the counter.
func (d database) restore(t *testing.T, prefix string, rows [][]any, counter int64) {
	t.Helper()
	db := d.open(t)
	tx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	exec := func(statement string, args ...any) {
		_, err := tx.ExecContext(t.Context(), statement, args...)
		require.NoError(t, err)
	}
	exec(fmt.Sprintf("UPDATE %smeta SET value = %d WHERE name = 'ended'", prefix, counter))
	exec("DELETE FROM " + prefix + "ended")
	for _, row := range rows {
		exec(raw{dialect: d.dialect}.query("INSERT INTO "+prefix+"ended (k, v, until, seq) VALUES (?, ?, ?, ?)"), row...)
	}
	require.NoError(t, tx.Commit())
}

// dump returns what restore takes.
func (d database) dump(t *testing.T, prefix string) (all [][]any, counter int64) {
	t.Helper()
	db := d.open(t)
	row := db.QueryRowContext(t.Context(), "SELECT value FROM "+prefix+"meta WHERE name = 'ended'")
	require.NoError(t, row.Scan(&counter))
	rows, err := db.QueryContext(t.Context(), "SELECT k, v, until, seq FROM "+prefix+"ended")
	require.NoError(t, err)
	defer func() { require.NoError(t, rows.Close()) }()
	for rows.Next() {
		var k []byte
		var v, until, seq int64
		require.NoError(t, rows.Scan(&k, &v, &until, &seq))
		all = append(all, []any{k, v, until, seq})
	}
	require.NoError(t, rows.Err())
	return all, counter
}

func ended(key string) revocation.Entry {
	return revocation.Entry{Key: key, Value: 1, Until: time.Now().Add(time.Hour)}
}

// The database goes on without its last commits, and others append before a
// reader looks, so that the counter is above the reader's position again.
func (d database) lostCommits(t *testing.T) {
	prefix, open := d.newLog(t)
	a, b := open(), open()
	require.NoError(t, a.Append(t.Context(), []revocation.Entry{ended("kept")}))
	rows, counter := d.dump(t, prefix)
	kept, err := b.Read(t.Context(), "", 0)
	require.NoError(t, err)
	require.NoError(t, a.Append(t.Context(), []revocation.Entry{ended("lost"), ended("lost too")}))
	before, err := b.Read(t.Context(), kept.Next, 0)
	require.NoError(t, err)
	require.Len(t, before.Entries, 2)
	_, err = a.Read(t.Context(), kept.Next, 0) // another reader, which is not seen again
	require.NoError(t, err)
	_, old := d.dump(t, prefix)

	d.restore(t, prefix, rows, counter)
	for now := counter; now <= old; _, now = d.dump(t, prefix) {
		require.NoError(t, a.Append(t.Context(), []revocation.Entry{ended("new")}))
	}
	r, err := b.Read(t.Context(), before.Next, time.Minute)
	require.NoError(t, err)
	require.Equal(t, revocation.Reading{Lost: true}, r)
	r, err = b.Read(t.Context(), kept.Next, 0)
	require.NoError(t, err)
	require.False(t, r.Lost, "nothing is lost for one who has seen less")
	require.Len(t, r.Entries, 1)
	r, err = a.Read(t.Context(), kept.Next, 0)
	require.NoError(t, err)
	require.True(t, r.Lost, "nor has it what was appended here, and not read yet")
	r, err = a.Read(t.Context(), kept.Next, 0)
	require.NoError(t, err)
	require.True(t, r.Lost, "each reader hears of it")
	r, err = a.Read(t.Context(), "", 0)
	require.NoError(t, err)
	require.False(t, r.Lost)
	r, err = a.Read(t.Context(), r.Next, 0)
	require.NoError(t, err)
	require.False(t, r.Lost, "once")
	r, err = b.Read(t.Context(), "no position", 0)
	require.NoError(t, err)
	require.True(t, r.Lost)
}

// The tables of the first version have no log. Migrate adds it, and leaves the
// sessions alone.
func (d database) firstVersion(t *testing.T) {
	db := d.open(t)
	prefix := "first_"
	s := d.newStore(t, db, sqlstore.Config{Prefix: prefix})
	first, _, _ := strings.Cut(s.Schema(), "CREATE TABLE IF NOT EXISTS "+prefix+"ended")
	for _, statement := range strings.Split(strings.TrimSuffix(first, ";\n"), ";\n") {
		execute(t, db, statement)
	}
	key := itemtest.Key()
	require.NoError(t, s.Create(t.Context(), key, itemtest.New(1, "data")))
	_, readErr := s.Read(t.Context(), "", time.Minute)
	for _, err := range []error{s.Ping(t.Context()), s.Append(t.Context(), []revocation.Entry{ended("x")}), readErr} {
		require.ErrorContains(t, err, "the tables are of version 1, want 3; call Migrate")
		require.ErrorIs(t, err, session.Unavailable)
	}
	require.NoError(t, s.Migrate(t.Context()))
	require.NoError(t, s.Migrate(t.Context()))
	require.NoError(t, s.Ping(t.Context()))
	require.NoError(t, s.Append(t.Context(), []revocation.Entry{ended("x")}))
	r, err := s.Read(t.Context(), "", 0)
	require.NoError(t, err)
	require.Len(t, r.Entries, 1)
	item, ok, err := s.Get(t.Context(), key)
	require.NoError(t, err)
	require.True(t, ok)
	require.EqualValues(t, 1, item.Version)
}

// What is over is not read, and is removed once Linger has passed, as are old
// links. What lives stays.
func (d database) logCleanUp(t *testing.T) {
	prefix, open := d.newLog(t)
	s, db := open(), d.open(t)
	var over []revocation.Entry
	for i := range 700 {
		over = append(over, revocation.Entry{Key: fmt.Sprint(i), Until: time.Now().Add(-time.Minute)})
	}
	require.NoError(t, s.Append(t.Context(), append(over, ended("lives"))))
	r, err := s.Read(t.Context(), "", 0)
	require.NoError(t, err)
	require.Len(t, r.Entries, 1)
	_, err = s.Read(t.Context(), r.Next, 0) // has passed what the store has appended
	require.NoError(t, err)
	left := func() (n int) {
		require.NoError(t, db.QueryRowContext(t.Context(), "SELECT count(*) FROM "+prefix+"ended").Scan(&n))
		return n
	}
	require.Greater(t, left(), 701, "they linger, and there are links")
	cleaner := d.newStore(t, db, ahead(sqlstore.Config{Prefix: prefix}, 5*time.Minute))
	require.NoError(t, cleaner.CleanUp(t.Context()))
	require.Less(t, left(), 10, "the links stay for a while")
	cleaner = d.newStore(t, db, ahead(sqlstore.Config{Prefix: prefix}, 15*time.Minute))
	require.NoError(t, cleaner.CleanUp(t.Context()))
	require.Equal(t, 1, left())
	r, err = s.Read(t.Context(), r.Next, 0)
	require.NoError(t, err)
	require.False(t, r.Lost, "the current position needs no link")
}

// Appends go on while rows are removed, and none fails.
func (d database) cleanUpAmongAppends(t *testing.T) {
	prefix, open := d.newLog(t)
	s := open()
	batch := func(n int, until time.Time) (entries []revocation.Entry) {
		for range n {
			entries = append(entries, revocation.Entry{Key: rand.Text(), Until: until})
		}
		return entries
	}
	over := batch(1200, time.Now().Add(-time.Hour))
	require.NoError(t, s.Append(within(t, 20*time.Second), over))
	var appenders sync.WaitGroup
	done := make(chan struct{})
	for i := range 4 {
		log := open()
		appenders.Go(func() {
			for j := 0; ; j++ {
				select {
				case <-done:
					return
				default:
				}
				entries := append(batch(4, time.Now().Add(time.Hour)), ended(over[(4*j+i)%len(over)].Key))
				if err := log.Append(within(t, 20*time.Second), entries); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	cleaner := d.newStore(t, d.open(t), ahead(sqlstore.Config{Prefix: prefix}, 5*time.Minute))
	require.NoError(t, cleaner.CleanUp(t.Context()))
	close(done)
	appenders.Wait()
}

// An instance stands still while it has the counter. Appends of others wait up
// to their deadline, and succeed when the counter is free. Reads don't wait.
func (d database) lockedCounter(t *testing.T) {
	leavesNothing(t)
	prefix, open := d.newLog(t)
	s := open()
	entries := []revocation.Entry{ended("x")}
	require.NoError(t, s.Append(t.Context(), entries))
	conn, err := d.open(t).Conn(t.Context())
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	exec := func(statement string) {
		_, err := conn.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	exec("BEGIN")
	exec("UPDATE " + prefix + "meta SET value = value + 1 WHERE name = 'ended'")
	start := time.Now()
	err = s.Append(within(t, 150*time.Millisecond), entries)
	require.ErrorIs(t, err, session.Unavailable)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Less(t, time.Since(start), 5*time.Second)
	r, err := s.Read(within(t, 5*time.Second), "", 0)
	require.NoError(t, err)
	require.True(t, r.Complete)
	require.Len(t, r.Entries, 1)
	appended := make(chan error)
	go func() { appended <- s.Append(within(t, 20*time.Second), []revocation.Entry{ended("y")}) }()
	select {
	case err := <-appended:
		require.Fail(t, "the append did not wait", "%v", err)
	case <-time.After(1300 * time.Millisecond): // MariaDB's own limit here is a second
	}
	exec("ROLLBACK")
	require.NoError(t, <-appended)
	r, err = s.Read(within(t, 5*time.Second), r.Next, 0)
	require.NoError(t, err)
	require.Contains(t, r.Entries, revocation.Entry{Key: "y", Value: 1, Until: r.Entries[0].Until})
}

// All of it arrives, in readings that have a limit.
func (d database) largeAppend(t *testing.T) {
	_, open := d.newLog(t)
	s := open()
	entries := make([]revocation.Entry, 10_050)
	for i := range entries {
		entries[i] = ended(fmt.Sprint(i))
	}
	require.NoError(t, s.Append(within(t, 20*time.Second), entries))
	r, err := s.Read(t.Context(), "", 0)
	require.NoError(t, err)
	require.False(t, r.Complete)
	require.Len(t, r.Entries, 10_000)
	require.NoError(t, s.Append(t.Context(), []revocation.Entry{{Key: "0", Value: 2, Until: entries[0].Until}}))
	rest, err := s.Read(t.Context(), r.Next, 0)
	require.NoError(t, err)
	require.True(t, rest.Complete)
	require.GreaterOrEqual(t, len(rest.Entries), 50)
	require.Contains(t, rest.Entries, revocation.Entry{Key: "0", Value: 2, Until: time.Unix(entries[0].Until.Unix(), 0)})
	require.NoError(t, s.Append(t.Context(), entries[:100]))
	again, err := s.Read(t.Context(), rest.Next, 0)
	require.NoError(t, err)
	require.Empty(t, again.Entries, "what changes nothing is not read again")
	require.ErrorIs(t, s.Append(t.Context(), []revocation.Entry{ended("")}), session.BadValue)
	require.ErrorIs(t, s.Append(t.Context(), []revocation.Entry{ended(strings.Repeat("x", 41))}), session.BadValue)
}

// What has ended on one list has ended on another one after at most the time
// that a Read waits, and that of the statements.
func (d database) inForce(t *testing.T) {
	leavesNothing(t)
	_, open := d.newLog(t)
	list := func() *revocation.List {
		l, err := revocation.Open(revocation.Config{Log: open(), Lifetime: time.Hour})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, l.Close()) })
		require.Eventually(t, func() bool { return l.Fresh() == nil }, 10*time.Second, time.Millisecond)
		return l
	}
	a, b := list(), list()
	var times []time.Duration
	for i := range 5 {
		now := time.Now()
		rec := &session.Record{ID: fmt.Sprint(i), Subject: "alice", CreatedAt: now, AuthenticatedAt: now, SeenAt: now,
			IdleDeadline: now.Add(time.Hour), Deadline: now.Add(time.Hour)}
		require.NoError(t, b.Check(rec))
		require.NoError(t, a.EndSession(t.Context(), rec))
		told := time.Now()
		require.Eventually(t, func() bool { return b.Check(rec) != nil }, 10*time.Second, time.Millisecond)
		times = append(times, time.Since(told))
	}
	t.Logf("in force after %v", times)
	require.Less(t, slices.Max(times), 3*time.Second, "half a second, on a machine that is not busy")
}
