//go:build unix

package sqlstore_test

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/itemtest"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/opaque/sqlstore"
)

// BenchmarkGet has the store beside the same prepared SELECT, with a deadline
// and without one, for 1 and 8 goroutines. Compare within one run:
//
//	go test -run - -bench Get -count 5 ./...
func BenchmarkGet(b *testing.B) {
	onEach(b, database.benchmarkGet)
}

// BenchmarkSize has the bytes that a session takes in each database, with its
// share of the indexes. Its record of 132 bytes is that of a visitor who is
// logged in and has three small values.
func BenchmarkSize(b *testing.B) { onEach(b, database.benchmarkSize) }

func onEach(b *testing.B, run func(d database, b *testing.B)) {
	b.Helper()
	require.NoError(b, mysql.SetLogger(quiet{}))
	for _, d := range []database{sqlite(b), startPostgres(b).database, startMariaDB(b).database} {
		b.Run(d.dialect.String(), func(b *testing.B) { run(d, b) })
	}
}

func (d database) benchmarkSize(b *testing.B) {
	const sessions = 20_000
	db := d.open(b)
	s := d.store(b, db, sqlstore.Config{})
	if d.dialect == sqlstore.SQLite { // don't wait for the disk
		db.SetMaxOpenConns(1)
		_, err := db.ExecContext(b.Context(), "PRAGMA synchronous = OFF")
		require.NoError(b, err)
	}
	size := func() (bytes float64) {
		for _, statement := range map[sqlstore.Dialect][]string{
			sqlstore.PostgreSQL: {"SELECT pg_total_relation_size('cloakroom_sessions')"},
			sqlstore.MySQL: {
				"ANALYZE TABLE cloakroom_sessions",
				"SELECT data_length + index_length FROM information_schema.tables WHERE table_name = 'cloakroom_sessions'",
			},
			sqlstore.SQLite: {"SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"},
		}[d.dialect] {
			row := db.QueryRowContext(b.Context(), statement)
			if strings.HasPrefix(statement, "SELECT") {
				require.NoError(b, row.Scan(&bytes))
			}
		}
		return bytes
	}
	for b.Loop() {
		before := size()
		inParallel(b, 8, sessions, func(ctx context.Context) error { return s.Create(ctx, itemtest.Key(), sized(132)) })
		b.ReportMetric((size()-before)/sessions, "B/session")
	}
}

func sized(bytes int) opaque.Item {
	item := itemtest.New(1, "data")
	item.Data = make([]byte, bytes)
	return item
}

func (d database) benchmarkGet(b *testing.B) {
	db := d.open(b)
	s := d.store(b, db, sqlstore.Config{})
	key := itemtest.Key()
	require.NoError(b, s.Create(b.Context(), key, sized(200)))
	query := "SELECT version, seen, idle, dead, data FROM cloakroom_sessions WHERE k = ?"
	if d.dialect == sqlstore.PostgreSQL {
		query = strings.ReplaceAll(query, "?", "$1")
	}
	bare, err := db.PrepareContext(b.Context(), query)
	require.NoError(b, err)
	sel := func(ctx context.Context) error {
		var version, seen, idle, dead int64
		var data []byte
		return bare.QueryRowContext(ctx, key).Scan(&version, &seen, &idle, &dead, &data)
	}
	forms := []form{
		{"bare", sel},
		{"bare-no-deadline", func(ctx context.Context) error { return sel(context.WithoutCancel(ctx)) }},
		{"store", func(ctx context.Context) error { _, _, err := s.Get(ctx, key); return err }},
	}
	for _, n := range []int{1, 8} {
		b.Run(strconv.Itoa(n), func(b *testing.B) { compare(b, n, forms) })
	}
}

// A form is one way to do the same.
type form struct {
	name string
	do   func(ctx context.Context) error
}

// compare lets the forms take turns, so that a busy machine slows all of them
// down alike, and reports the median time of each in ns. Rounds are b.N.
func compare(b *testing.B, n int, forms []form) {
	b.Helper()
	const calls = 64
	times := make([][]float64, len(forms))
	for range b.N {
		for i, f := range forms {
			start := time.Now()
			inParallel(b, n, calls, f.do)
			times[i] = append(times[i], float64(time.Since(start).Nanoseconds())/calls)
		}
	}
	b.ReportMetric(0, "ns/op") // means nothing here
	for i, f := range forms {
		slices.Sort(times[i])
		b.ReportMetric(times[i][len(times[i])/2], f.name+"-ns")
	}
}

// inParallel makes some calls from n goroutines, each with a deadline.
func inParallel(b *testing.B, n, calls int, do func(ctx context.Context) error) {
	b.Helper()
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			for range calls / n {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				if err := do(ctx); err != nil {
					b.Error(err)
				}
				cancel()
			}
		})
	}
	all.Wait()
}
