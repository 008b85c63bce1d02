//go:build unix

package sqlstore_test

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/internal/instancetest"
	"github.com/cloakroom-go/cloakroom/opaque/sqlstore"
	"github.com/cloakroom-go/cloakroom/revocation"
)

// each calls f with each database, in soak tests.
func each(t *testing.T, f func(t *testing.T, d database)) {
	t.Helper()
	if os.Getenv("CLOAKROOM_SOAK") != "1" {
		t.Skip("set CLOAKROOM_SOAK=1")
	}
	t.Run("SQLite", func(t *testing.T) { f(t, sqlite(t)) })
	t.Run("PostgreSQL", func(t *testing.T) { f(t, startPostgres(t).database) })
	t.Run("MariaDB", func(t *testing.T) { f(t, startMariaDB(t).database) })
}

// An instance starts with a million entries in the log.
func TestColdStartSoak(t *testing.T) {
	each(t, func(t *testing.T, d database) { d.coldStart(t, 1_000_000) })
}

// A flood of ends stays within the bounds of the lists, and of the table. It
// has a tenth of the ends of that over Redis, because each waits for the disk.
func TestFloodThroughTheLog(t *testing.T) {
	each(t, func(t *testing.T, d database) {
		db := d.open(t)
		var clock func() time.Time
		var ahead time.Duration // of who cleans up, so that nobody else's claim holds
		f := apptest.Flood{
			Ends: apptest.FloodSize(150_000),
			Open: func(now func() time.Time) revocation.Log {
				clock = now
				return d.store(t, db, sqlstore.Config{Now: now})
			},
			Length: func() (n int) {
				row := db.QueryRowContext(t.Context(), "SELECT count(*) FROM cloakroom_ended WHERE seq > 0")
				require.NoError(t, row.Scan(&n))
				return n
			},
			Clean: func() {
				ahead += 10 * time.Minute
				by := ahead
				cleaner := d.newStore(t, db, sqlstore.Config{Now: func() time.Time { return clock().Add(by) }})
				require.NoError(t, cleaner.CleanUp(within(t, time.Minute)))
			},
		}
		f.Run(t)
	})
}

func (d database) coldStart(t *testing.T, n int) {
	s := d.store(t, d.open(t), sqlstore.Config{})
	until := time.Now().Add(time.Hour)
	begun := time.Now()
	for left := n; left > 0; {
		entries := make([]revocation.Entry, min(left, 20_000))
		for i := range entries {
			key := make([]byte, 33) // of a session with a subject
			_, _ = rand.Read(key)
			key[0] = 's'
			entries[i] = revocation.Entry{Key: string(key), Value: 1 << 33, Until: until}
		}
		require.NoError(t, s.Append(within(t, time.Minute), entries))
		left -= len(entries)
	}
	t.Logf("%v for %d entries to append, 20,000 at once", time.Since(begun), n)

	before := apptest.Heap()
	begun = time.Now()
	l, err := revocation.Open(revocation.Config{Log: s, Lifetime: time.Hour})
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	var peak int64
	for l.Fresh() != nil {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		peak = max(peak, int64(m.HeapAlloc)-before)
		require.Less(t, time.Since(begun), time.Minute)
		<-time.After(20 * time.Millisecond)
	}
	t.Logf("%v until fresh; %d MB while reading, %d MB then", time.Since(begun), peak>>20, (apptest.Heap()-before)>>20)
	require.Equal(t, n, l.Len())
}

// Another instance refuses a token half a second after the answer to the logout
// at the latest: so often it looks for what has ended.
func TestLogoutLatencySoak(t *testing.T) {
	if os.Getenv("CLOAKROOM_SOAK") != "1" {
		t.Skip("set CLOAKROOM_SOAK=1")
	}
	postgres, mariaDB := startPostgres(t), startMariaDB(t)
	for dialect, at := range map[sqlstore.Dialect]string{
		sqlstore.SQLite:     "sqlite:" + filepath.Join(t.TempDir(), "sessions.db"),
		sqlstore.PostgreSQL: "postgres://app@" + postgres.addr + "/postgres?sslmode=disable",
		sqlstore.MySQL:      "mysql://root@" + mariaDB.addr + "/app",
	} {
		t.Run(dialect.String(), func(t *testing.T) {
			apps := instancetest.Start(t, opener(dialect), at, config.Stateless, 2)
			a, b := apps[0], apps[1]
			const n = 320
			took := apptest.MeasureLogout(t, a.Middleware, b.Middleware, n, 500*time.Millisecond)
			apptest.Account(t, "%d logouts, in force on another instance over %v: %v", n, dialect, took)
			require.Less(t, took.P99, time.Second) // half of it if nothing else runs
		})
	}
}
