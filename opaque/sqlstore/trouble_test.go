//go:build unix

package sqlstore_test

import (
	"context"
	"database/sql"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/itemtest"
	"github.com/cloakroom-go/cloakroom/opaque/sqlstore"
	"github.com/cloakroom-go/cloakroom/session"
)

const (
	patience = 300 * time.Millisecond // of a request in trouble
	tooLate  = 3 * time.Second        // also on a busy machine
)

// trouble is what can happen to a server, besides what storetest does.
func (s *server) trouble(t *testing.T) {
	for name, test := range map[string]func(*testing.T){
		"killed connections": s.killedConnections,
		"stopped":            s.stopped,
		"restart":            func(inner *testing.T) { s.restart(inner, t) },
	} {
		t.Run(name, func(t *testing.T) {
			s.leavesNothing(t)
			test(t)
		})
	}
}

// leavesNothing expects that no connection to the server is left over, either.
func (s *server) leavesNothing(t *testing.T) {
	t.Helper()
	leavesNothing(t)
	before := s.countOthers(t)
	t.Cleanup(func() {
		// A driver may still be telling the server that nobody waits.
		require.Eventually(t, func() bool { return s.countOthers(t) <= before }, 20*time.Second, 10*time.Millisecond,
			"connections are left over")
	})
}

// numbers returns what a query finds in its only column.
func numbers(t *testing.T, db *sql.DB, query string) (found []int) {
	t.Helper()
	rows, err := db.QueryContext(context.Background(), query) // also when the test ends
	require.NoError(t, err)
	defer func() { require.NoError(t, rows.Close()) }()
	for rows.Next() {
		var n int
		require.NoError(t, rows.Scan(&n))
		found = append(found, n)
	}
	require.NoError(t, rows.Err())
	return found
}

func (s *server) countOthers(t *testing.T) int {
	t.Helper()
	db := s.open(t)
	defer func() { require.NoError(t, db.Close()) }()
	return len(numbers(t, db, s.others))
}

// connecting returns the time of some new connections, which on a busy machine
// is long.
func (s *server) connecting(t *testing.T) time.Duration {
	t.Helper()
	start := time.Now()
	for range 4 {
		db := s.open(t)
		require.NoError(t, db.PingContext(t.Context()))
		require.NoError(t, db.Close())
	}
	return time.Since(start)
}

// recovers expects a session to be found within a second, and to be of a
// version.
func recovers(t *testing.T, store *sqlstore.Store, busy time.Duration, key string, version uint64) {
	t.Helper()
	ctx := within(t, time.Second+busy)
	for {
		item, ok, err := store.Get(ctx, key)
		if err == nil {
			require.True(t, ok)
			require.Equal(t, version, item.Version)
			return
		}
		require.ErrorIs(t, err, session.Unavailable)
		require.NoError(t, ctx.Err(), "no recovery: %v", err)
	}
}

// denied expects a call to fail in time.
func denied(t *testing.T, call func(ctx context.Context) error) {
	t.Helper()
	start := time.Now()
	require.ErrorIs(t, call(within(t, patience)), session.Unavailable)
	require.Less(t, time.Since(start), tooLate)
}

// An administrator ends every connection: idle ones, and one that waits for a
// row.
func (s *server) killedConnections(t *testing.T) {
	busy := s.connecting(t)
	admin := s.open(t)
	admin.SetMaxOpenConns(1)
	store := s.store(t, s.open(t), sqlstore.Config{})
	key := itemtest.Key()
	require.NoError(t, store.Create(t.Context(), key, itemtest.New(1, "data")))
	ofStore := numbers(t, admin, s.others)
	holder, err := s.open(t).BeginTx(t.Context(), nil)
	require.NoError(t, err)
	_, err = holder.ExecContext(t.Context(), s.lock)
	require.NoError(t, err)
	swapped := make(chan error)
	go func() {
		_, err := store.Swap(within(t, 30*time.Second), key, 1, itemtest.New(2, "data"))
		swapped <- err
	}()
	// InnoDB renews innodb_trx only if nobody has read it for 0.1 s.
	isWaiting := func() bool { return numbers(t, admin, s.waiting)[0] == 1 }
	require.Eventually(t, isWaiting, 10*time.Second, 150*time.Millisecond)
	for _, id := range ofStore {
		_, err := admin.ExecContext(t.Context(), s.kill(id))
		require.NoError(t, err)
	}
	require.ErrorIs(t, <-swapped, session.Unavailable)
	require.NoError(t, holder.Rollback())
	recovers(t, store, busy, key, 1)
}

// A server that stands still holds its connections open. It may still carry out
// a write that it was sent meanwhile.
func (s *server) stopped(t *testing.T) {
	busy := s.connecting(t)
	store := s.store(t, s.open(t), sqlstore.Config{})
	kept, written := itemtest.Key(), itemtest.Key()
	for _, key := range []string{kept, written} {
		require.NoError(t, store.Create(t.Context(), key, itemtest.New(1, "data")))
		_, err := store.Swap(t.Context(), key, 1, itemtest.New(2, "data"))
		require.NoError(t, err)
	}
	goOn := s.pause(t)
	denied(t, func(ctx context.Context) error { _, _, err := store.Get(ctx, kept); return err })
	denied(t, func(ctx context.Context) error {
		_, err := store.Swap(ctx, written, 2, itemtest.New(3, "data"))
		return err
	})
	denied(t, func(ctx context.Context) error { return store.Delete(ctx, itemtest.Key()) })
	goOn()
	recovers(t, store, busy, kept, 2)
	item, ok, err := store.Get(t.Context(), written)
	require.NoError(t, err)
	require.True(t, ok)
	require.LessOrEqual(t, item.Version, uint64(3))
}

// pause stops the server and its children: PostgreSQL has a process for each
// connection. The server is stopped first, so that it makes no more of them.
func (s *server) pause(t *testing.T) (goOn func()) {
	t.Helper()
	db := s.open(t)
	db.SetMaxOpenConns(1)
	require.NoError(t, db.PingContext(t.Context()))
	s.process.Pause()
	var children []int
	if s.dialect == sqlstore.PostgreSQL {
		children = numbers(t, db, "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
		require.NoError(t, db.Close())
	}
	signal := func(number syscall.Signal) {
		for _, pid := range children {
			_ = syscall.Kill(pid, number)
		}
	}
	signal(syscall.SIGSTOP)
	t.Cleanup(func() { signal(syscall.SIGCONT); s.process.Continue() })
	return func() { signal(syscall.SIGCONT); s.process.Continue() }
}

func (s *server) restart(t, parent *testing.T) {
	busy := s.connecting(t)
	store := s.store(t, s.open(t), sqlstore.Config{})
	key := itemtest.Key()
	require.NoError(t, store.Create(t.Context(), key, itemtest.New(1, "data")))
	s.process.Stop()
	denied(t, func(ctx context.Context) error { _, _, err := store.Get(ctx, key); return err })
	s.process = s.start(parent)
	recovers(t, store, busy, key, 1)
}
