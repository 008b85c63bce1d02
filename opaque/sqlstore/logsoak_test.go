//go:build unix

package sqlstore_test

import (
	"crypto/rand"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/opaque/sqlstore"
	"github.com/cloakroom-go/cloakroom/revocation"
)

// An instance starts with a million entries in the log.
func TestColdStartSoak(t *testing.T) {
	if os.Getenv("CLOAKROOM_SOAK") != "1" {
		t.Skip("set CLOAKROOM_SOAK=1")
	}
	for name, start := range map[string]func(t testing.TB) database{
		"SQLite":     sqlite,
		"PostgreSQL": func(t testing.TB) database { return startPostgres(t).database },
		"MariaDB":    func(t testing.TB) database { return startMariaDB(t).database },
	} {
		t.Run(name, func(t *testing.T) { start(t).coldStart(t, 1_000_000) })
	}
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

	heap := func() int {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	before := heap()
	begun = time.Now()
	l, err := revocation.Open(revocation.Config{Log: s, Lifetime: time.Hour})
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	var peak int
	for l.Fresh() != nil {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		peak = max(peak, int(m.HeapAlloc)-before)
		require.Less(t, time.Since(begun), time.Minute)
		<-time.After(20 * time.Millisecond)
	}
	t.Logf("%v until fresh; %d MB while reading, %d MB then", time.Since(begun), peak>>20, (heap()-before)>>20)
	require.Equal(t, n, l.Len())
}
