package revocation_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

// ids are of the form that session makes.
func ids(n int) func() string {
	random := rand.NewChaCha8([32]byte{byte(n)})
	return func() string {
		var raw [16]byte
		random.Read(raw[:])
		return base64.RawURLEncoding.EncodeToString(raw[:])
	}
}

// endMany ends n sessions, each of a subject of its own.
func endMany(tb testing.TB, l *revocation.List, n int) {
	tb.Helper()
	id := ids(n)
	rec := &session.Record{Generation: 3, Deadline: time.Now().Add(lifetime)}
	for i := range n {
		rec.ID, rec.Subject = id(), strconv.Itoa(i)
		if ok, err := l.EndBelow(tb.Context(), rec); !ok || err != nil {
			tb.Fatal(ok, err)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	sessions, both := revocation.NewVolatile(revocation.Config{}), revocation.NewVolatile(revocation.Config{})
	endMany(b, sessions, 1_000_000)
	endMany(b, both, 100_000)
	for i := range 1000 {
		require.NoError(b, both.EndSubject(b.Context(), fmt.Sprint(i)))
	}
	rows := []struct {
		name string
		list *revocation.List
		at   time.Time
	}{
		{"empty", revocation.NewVolatile(revocation.Config{}), start},
		{"1000000_sessions", sessions, start},
		{"100000_sessions_1000_subjects", both, time.Now().Add(time.Hour)},
		{"100000_sessions_1000_subjects_older_login", both, start},
	}
	for _, row := range rows {
		b.Run(row.name, func(b *testing.B) {
			rec, id := login("alice@example.org", row.at), ids(7)
			var some [1 << 16]string // their slots are not in the processor's cache
			for i := range some {
				some[i] = id()
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				rec.ID = some[i%len(some)]
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

// The time to open a journal of a million sessions, and what they take.
func BenchmarkOpen(b *testing.B) {
	const n = 1_000_000
	cfg := revocation.Config{Path: journalPath(b), Lifetime: lifetime}
	writeJournal(b, cfg.Path, n)
	info, err := os.Stat(cfg.Path)
	require.NoError(b, err)
	before, entries := heap(), 0
	for b.Loop() {
		l, err := revocation.Open(cfg)
		require.NoError(b, err)
		entries = l.Len()
		b.StopTimer()
		b.ReportMetric(float64(heap()-before)/float64(entries), "B/entry")
		require.NoError(b, l.Close())
		b.StartTimer()
	}
	b.ReportMetric(float64(info.Size())/float64(entries), "B/entry-on-disk")
}

// writeJournal makes a journal of n sessions with subjects.
func writeJournal(tb testing.TB, path string, n int) {
	tb.Helper()
	data := bytes.NewBufferString(`{"cloakroom":"revocations","version":2}` + "\n")
	id, until := ids(n), time.Now().Add(lifetime).Unix()
	for i := 0; i < n; {
		var line []byte
		for range min(64, n-i) {
			line = fmt.Appendf(line, " s%s,4,%d", id(), until)
			i++
		}
		fmt.Fprintf(data, "%08x%s\n", crc32.Checksum(line, crc32.MakeTable(crc32.Castagnoli)), line)
	}
	require.NoError(tb, os.WriteFile(path, data.Bytes(), 0o600))
}

// heap is what is in use, once everything else was collected.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// What the log adds to each request with a token.
func BenchmarkFresh(b *testing.B) {
	l, err := revocation.Open(revocation.Config{Log: longLog(100_000), Lifetime: time.Hour})
	require.NoError(b, err)
	defer l.Close()
	require.Eventually(b, func() bool { return l.Fresh() == nil }, 10*time.Second, time.Millisecond)
	rec := login("alice@example.org", start)
	b.ReportAllocs()
	for b.Loop() {
		if err := l.Fresh(); err != nil {
			b.Fatal(err)
		}
		if err := l.Check(rec); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkServices measures what services cost an application, and what it
// costs a service to hear of everything: the answer to one that knows
// everything, and all answers to one that knows nothing.
func BenchmarkServices(b *testing.B) {
	for _, ends := range []int{1000, 1_000_000} {
		l, ring := revocation.NewVolatile(revocation.Config{}), newRing(b, keys.ES256)
		endMany(b, l, ends)
		h := handler(b, l, ring)
		before := heap()
		get(b, h, "")
		kept := heap() - before
		to := &line{to: []http.Handler{h}}
		b.Run(fmt.Sprintf("all/%d", ends), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				before := heap()
				sent := int64(0)
				to.change = func(w *http.Response) *http.Response { sent += w.ContentLength; return w }
				b.StartTimer()
				r := remote(b, to, ring)
				for r.Fresh() != nil {
					time.Sleep(time.Millisecond)
				}
				b.StopTimer()
				b.ReportMetric(float64(r.Stats().Fetches), "answers")
				b.ReportMetric(float64(sent)/float64(ends), "B/end")
				b.ReportMetric(float64(heap()-before)/float64(ends), "B/end-there")
				b.ReportMetric(float64(kept)/float64(ends), "B/end-here")
				require.Equal(b, ends, r.Stats().Entries)
				require.NoError(b, r.Close())
				b.StartTimer()
			}
		})
		b.Run(fmt.Sprintf("nothing/%d", ends), func(b *testing.B) {
			to.change = nil
			r := remote(b, to, ring, func(c *revocation.RemoteConfig) { c.Interval = minimal })
			for first := uint64(0); first == 0 || r.Stats().Fetches == first; {
				if time.Sleep(time.Millisecond); first == 0 && r.Fresh() == nil {
					first = r.Stats().Fetches
				}
			}
			require.NoError(b, r.Close())
			query := "?" + to.asked[len(to.asked)-1]
			for b.Loop() {
				get(b, h, query)
			}
		})
	}
}
