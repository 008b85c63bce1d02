package revocation_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/revocation"
)

func BenchmarkCheck(b *testing.B) {
	empty := revocation.NewVolatile(revocation.Config{})
	sessions, both := revocation.NewVolatile(revocation.Config{}), revocation.NewVolatile(revocation.Config{})
	for i := range 100_000 {
		require.NoError(b, sessions.EndSession(b.Context(), until(fmt.Sprintf("session %d", i), 0, time.Time{})))
		require.NoError(b, both.EndSession(b.Context(), until(fmt.Sprintf("session %d", i), 0, time.Time{})))
	}
	for i := range 1000 {
		require.NoError(b, both.EndSubject(b.Context(), fmt.Sprint(i)))
	}
	rows := []struct {
		name string
		list *revocation.List
		at   time.Time
	}{
		{"empty", empty, start},
		{"100000_sessions", sessions, start},
		{"and_1000_subjects", both, time.Now().Add(time.Hour)},
		{"and_1000_subjects_older_login", both, start},
	}
	for _, row := range rows {
		b.Run(row.name, func(b *testing.B) {
			rec := login("alice@example.org", row.at)
			rec.ID = "mLZ0c5Yc1mXg3vJbq2tq9w"
			b.ReportAllocs()
			for b.Loop() {
				if err := row.list.Check(rec); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Concurrent logouts share a sync: the time of one falls with their number.
func BenchmarkEndSession(b *testing.B) {
	for _, callers := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("%d_at_once", callers), func(b *testing.B) {
			path := journalPath(b)
			l, err := revocation.Open(revocation.Config{Path: path, Lifetime: lifetime})
			require.NoError(b, err)
			var n atomic.Int64
			b.SetParallelism(callers)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := l.EndSession(context.Background(), until(fmt.Sprint(n.Add(1)), 0, time.Time{})); err != nil {
						b.Error(err)
					}
				}
			})
			b.StopTimer()
			require.NoError(b, l.Close())
			data, err := os.ReadFile(path)
			require.NoError(b, err)
			b.ReportMetric(float64(n.Load())/float64(bytes.Count(data, []byte("\n"))-1), "sessions/sync")
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	const n = 100_000
	path := journalPath(b)
	var data bytes.Buffer
	one := journalPath(b)
	l, err := revocation.Open(revocation.Config{Path: one, Lifetime: lifetime})
	require.NoError(b, err)
	require.NoError(b, l.EndSession(b.Context(), until("mLZ0c5Yc1mXg3vJbq2tq9w", 0, time.Time{})))
	require.NoError(b, l.Close())
	text, err := os.ReadFile(one)
	require.NoError(b, err)
	first, line, _ := bytes.Cut(text, []byte("\n"))
	data.Write(append(first, '\n'))
	for range n / 100 { // the same session again and again: the reading is what counts
		data.Write(line)
	}
	require.NoError(b, os.WriteFile(path, data.Bytes(), 0o600))
	for b.Loop() {
		l, err := revocation.Open(revocation.Config{Path: path, Lifetime: lifetime})
		require.NoError(b, err)
		require.NoError(b, l.Close())
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(n/100), "ns/entry")
}
