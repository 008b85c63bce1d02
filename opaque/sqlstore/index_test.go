package sqlstore_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/devices"
	"github.com/cloakroom-go/cloakroom/devices/indextest"
	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/internal/itemtest"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/opaque/sqlstore"
	"github.com/cloakroom-go/cloakroom/session"
)

func (d database) index(t *testing.T) {
	leavesNothing(t)
	db := d.open(t)
	db.SetMaxOpenConns(16) // of the 100 that PostgreSQL allows
	indextest.Run(t, func(t *testing.T, now func() time.Time) devices.Index {
		return d.store(t, db, sqlstore.Config{Prefix: "index_", Now: now})
	})
}

// No session survives the end of all of its subject.
func (d database) indexRace(t *testing.T) {
	leavesNothing(t)
	db := d.open(t)
	db.SetMaxOpenConns(16)
	apptest.RaceIndex(t, func(t testing.TB) (opaque.Store, devices.Index) {
		s := d.store(t, db, sqlstore.Config{Prefix: "race_"})
		return s, s
	})
}

// entry returns that of a session which lives for an hour.
func entry(id string, keys ...string) devices.Entry {
	now := time.Now().Truncate(time.Second)
	return devices.Entry{ID: id, Keys: keys, CountsFrom: now, SeenAt: now, Until: now.Add(time.Hour)}
}

// An entry that has no place in a row changes nothing.
func (d database) badEntries(t *testing.T) {
	s := d.store(t, d.open(t), sqlstore.Config{})
	subject := itemtest.Key()
	for name, change := range map[string]func(e *devices.Entry){
		"no ID":         func(e *devices.Entry) { e.ID = "" },
		"long ID":       func(e *devices.Entry) { e.ID = strings.Repeat("x", 65) },
		"no keys":       func(e *devices.Entry) { e.Keys = nil },
		"empty key":     func(e *devices.Entry) { e.Keys = []string{""} },
		"long key":      func(e *devices.Entry) { e.Keys = []string{strings.Repeat("x", 65)} },
		"two in one":    func(e *devices.Entry) { e.Keys = []string{"one\ntwo"} },
		"large details": func(e *devices.Entry) { e.Details = make([]byte, 513) },
	} {
		e := entry("id", "key")
		change(&e)
		require.ErrorIs(t, s.Enter(t.Context(), subject, e, "", 1), session.BadValue, name)
	}
	all, err := s.List(t.Context(), subject)
	require.NoError(t, err)
	require.Empty(t, all)
}

// Somebody else's transaction holds a subject. Logins of it wait up to their
// deadline, also where the server gives up earlier (1205); a list doesn't wait.
func (d database) lockedSubject(t *testing.T) {
	leavesNothing(t)
	s := d.store(t, d.open(t), sqlstore.Config{})
	subject := itemtest.Key()
	require.NoError(t, s.Enter(t.Context(), subject, entry("a", "key"), "", 9))
	conn, err := d.openPatient(t).Conn(t.Context())
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	exec := func(statement string) {
		_, err := conn.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
	}
	exec("BEGIN")
	exec("UPDATE cloakroom_subjects SET until = until + 1")
	err = s.Enter(within(t, 150*time.Millisecond), subject, entry("b", "key"), "", 9)
	require.ErrorIs(t, err, opaque.ErrNotDone)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	all, err := s.List(within(t, 5*time.Second), subject)
	require.NoError(t, err)
	require.Len(t, all, 1)
	entered := make(chan error)
	go func() { entered <- s.Enter(within(t, 20*time.Second), subject, entry("c", "key"), "", 9) }()
	select {
	case err := <-entered:
		require.Fail(t, "the login did not wait", "%v", err)
	case <-time.After(1200 * time.Millisecond): // the server of the tests waits for a second
	}
	exec("ROLLBACK")
	require.NoError(t, <-entered)
}

// Headers finds the items under any number of keys.
func (d database) headers(t *testing.T) {
	s := d.store(t, d.open(t), sqlstore.Config{})
	item := itemtest.New(1<<63+5, "data")
	var there []string
	for range 9 {
		there = append(there, itemtest.Key())
		require.NoError(t, s.Create(t.Context(), there[len(there)-1], item))
	}
	for _, n := range []int{0, 1, 2, 3, 31, 32, 33, 512, 513, 1100} {
		keys := make([]string, n)
		want := make([]opaque.Item, n)
		for i := range keys {
			keys[i] = itemtest.Key()
			if i%3 == 2 {
				keys[i], want[i] = there[i%len(there)], item
				want[i].Data = nil
			}
		}
		got, err := s.Headers(t.Context(), keys)
		require.NoError(t, err)
		require.Equal(t, want, got, "%d keys", n)
	}
}

// A thousand subjects leave nothing behind when their sessions are over, or
// have ended.
func (d database) forgets(t *testing.T) {
	const subjects, callers = 1000, 4
	cfg := sqlstore.Config{Prefix: "forgets_"}
	db := d.open(t)
	s := d.store(t, db, cfg)
	var all sync.WaitGroup
	for caller := range callers {
		all.Go(func() {
			for i := caller; i < subjects; i += callers {
				subject := itemtest.Key()
				err := s.Enter(t.Context(), subject, entry("a", "key"), "", 1)
				if err == nil && i%3 == 1 {
					err = s.Leave(t.Context(), subject, "a")
				}
				if err == nil && i%3 == 2 {
					_, err = s.Mark(t.Context(), subject, "", time.Now())
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	before, stays := entry("b", "key"), entry("stays", "key")
	stays.Until = stays.Until.Add(24 * time.Hour)
	stays.CountsFrom = stays.CountsFrom.Add(time.Minute)
	alive := itemtest.Key()
	_, err := s.Mark(t.Context(), alive, "", time.Now())
	require.NoError(t, err)
	require.NoError(t, s.Enter(t.Context(), alive, stays, "", 1))

	left := func(table string) (n int) {
		require.NoError(t, db.QueryRowContext(t.Context(), "SELECT count(*) FROM forgets_"+table).Scan(&n))
		return n
	}
	require.Equal(t, subjects+1, left("subjects"))
	later := d.newStore(t, db, ahead(cfg, 2*time.Hour))
	require.NoError(t, later.CleanUp(t.Context()))
	require.Equal(t, 1, left("subjects"))
	require.Equal(t, 1, left("entries"))
	before.Until = stays.Until
	err = later.Enter(t.Context(), alive, before, "", 9)
	require.ErrorIs(t, err, session.Ended, "the instant is still there")
}

// Fifty logins at once of a subject that may have five sessions leave five, and
// more if nothing locks the subject's row.
func (s *server) limitNeedsTheLock(t *testing.T) {
	db := s.open(t)
	db.SetMaxOpenConns(16)
	store, unlocked := s.store(t, db, sqlstore.Config{}), s.newStore(t, db, sqlstore.Config{})
	unlocked.LockNothing()
	for range 3 {
		require.Equal(t, 5, loginsAtOnce(t, store, store))
	}
	for most, tries := 0, 0; most <= 5; tries++ {
		require.Less(t, tries, 50, "the test has not shown anything")
		most = loginsAtOnce(t, store, unlocked)
	}
}

// loginsAtOnce returns how many sessions a subject has, of whom the first store
// enters one, and then the second one fifty at once.
func loginsAtOnce(t *testing.T, first, then *sqlstore.Store) int {
	t.Helper()
	const limit = 5
	subject := itemtest.Key()
	require.NoError(t, first.Enter(t.Context(), subject, entry("first", "key"), "", limit))
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			err := then.Enter(t.Context(), subject, entry(fmt.Sprint(i), "key"), "", limit)
			if err != nil && session.ReasonOf(err) != session.TooMany {
				t.Error(err)
			}
		})
	}
	all.Wait()
	list, err := first.List(t.Context(), subject)
	require.NoError(t, err)
	return len(list)
}
