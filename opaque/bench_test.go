package opaque_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/opaque"
)

const million = 1_000_000

func memoryKeys(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		var b [32]byte
		rand.Read(b[:])
		keys[i] = base64.RawURLEncoding.EncodeToString(b[:])
	}
	return keys
}

func BenchmarkMemoryStore(b *testing.B) {
	for _, n := range []int{1000, 100_000, million} {
		b.Run(fmt.Sprintf("%d_sessions", n), func(b *testing.B) { benchmarkMemory(b, n) })
	}
}

func benchmarkMemory(b *testing.B, n int) {
	ctx, now := context.Background(), time.Now()
	keys := memoryKeys(n)
	s := newMemory(b, opaque.MemoryConfig{MaxSessions: 100 * million, MaxBytes: 1 << 40})
	for _, key := range keys {
		require.NoError(b, s.Create(ctx, key, memoryItem(1, now, 30*time.Minute)))
	}
	item := memoryItem(2, now, 30*time.Minute)
	item.Data = make([]byte, 100)
	rows := []struct {
		name string
		do   func(i int) error
	}{
		{"get", func(i int) error { _, _, err := s.Get(ctx, keys[i%n]); return err }},
		{"get_unknown", func(i int) error { _, _, err := s.Get(ctx, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"); return err }},
		{"touch", func(i int) error {
			_, err := s.Touch(ctx, keys[i%n], now.Add(time.Duration(i)), now.Add(40*time.Minute))
			return err
		}},
		{"swap", func(i int) error {
			next := item
			next.Version = uint64(i/n + 2)
			_, err := s.Swap(ctx, keys[i%n], next.Version-1, next)
			return err
		}},
		{"create_and_delete", func(i int) error {
			if err := s.Create(ctx, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", item); err != nil {
				return err
			}
			return s.Delete(ctx, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
		}},
	}
	for _, row := range rows {
		b.Run(row.name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if err := row.do(i); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("get_parallel", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				if _, _, err := s.Get(ctx, keys[i%n]); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

// BenchmarkMemoryStoreMillion reports what one of a million sessions takes, key
// and 100 bytes of data included.
func BenchmarkMemoryStoreMillion(b *testing.B) {
	for b.Loop() {
		before := heap()
		s := newMemory(b, opaque.MemoryConfig{})
		fillMemory(b, s, million, func(int) time.Duration { return 30 * time.Minute })
		b.ReportMetric(float64(heap()-before)/million, "B/session")
		b.ReportMetric(float64(s.Bytes())/million, "counted-B/session")
		require.NoError(b, s.Close())
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// fillMemory creates n sessions and returns a key of every hundredth.
func fillMemory(b *testing.B, s *opaque.MemoryStore, n int, idle func(i int) time.Duration) (keys []string) {
	now := time.Now()
	for i := range n {
		var raw [32]byte
		rand.Read(raw[:])
		key := base64.RawURLEncoding.EncodeToString(raw[:])
		item := memoryItem(1, now, idle(i))
		item.Data = make([]byte, 100)
		require.NoError(b, s.Create(b.Context(), key, item))
		if i%100 == 0 {
			keys = append(keys, key)
		}
	}
	return keys
}

// BenchmarkMemoryStoreStall reports how long a look-up takes at worst while
// 500,000 of 1,000,000 sessions expire at one second and others are created,
// saved and touched. In the control nothing expires, but a goroutine is as busy
// as the remover: what it shows is the scheduler, the collector and the
// machine's other work.
func BenchmarkMemoryStoreStall(b *testing.B) {
	for b.Loop() {
		var ahead atomic.Int64
		var expired atomic.Int64
		s := newMemory(b, opaque.MemoryConfig{
			MaxSessions: 2 * million,
			Linger:      -1,
			Now:         func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
			OnExpire:    func(string, opaque.Item) { expired.Add(1) },
		})
		keys := fillMemory(b, s, million, func(i int) time.Duration { return time.Duration(30+i%2*15) * time.Minute })
		runtime.GC()
		stop := load(b, s)

		idle := busy()
		report(b, "control", lookUps(b, s, keys, time.Now().Add(time.Second).Before))
		idle()
		begin := time.Now()
		ahead.Store(int64(40 * time.Minute))
		waits := lookUps(b, s, keys, func(time.Time) bool { return expired.Load() >= million/2 })
		report(b, "expiring", waits)
		b.ReportMetric(time.Since(begin).Seconds(), "s-to-expire")
		stop()
		require.NoError(b, s.Close())
	}
}

// lookUps looks up keys, one after the other, until it is told that it is over.
func lookUps(b *testing.B, s *opaque.MemoryStore, keys []string, over func(time.Time) bool) (waits []time.Duration) {
	ctx := context.Background()
	for i := 0; ; i++ {
		begin := time.Now()
		if over(begin) {
			return waits
		}
		if _, _, err := s.Get(ctx, keys[i%len(keys)]); err != nil {
			b.Fatal(err)
		}
		waits = append(waits, time.Since(begin))
		runtime.Gosched() // as a server does between requests
	}
}

// busy keeps a processor busy, and yields it every 40 µs, until it is stopped.
func busy() (stop func()) {
	var done atomic.Bool
	var group sync.WaitGroup
	group.Go(func() {
		for !done.Load() {
			for begin := time.Now(); time.Since(begin) < 40*time.Microsecond; {
			}
			runtime.Gosched()
		}
	})
	return func() {
		done.Store(true)
		group.Wait()
	}
}

func report(b *testing.B, name string, waits []time.Duration) {
	slices.Sort(waits)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(ms(waits[len(waits)-1]), name+"-max-ms")
	b.ReportMetric(ms(waits[len(waits)*9999/10000]), name+"-p99.99-ms")
}

// load creates, saves, touches and deletes, until it is stopped: some 10,000
// operations a second.
func load(b *testing.B, s *opaque.MemoryStore) (stop func()) {
	var done atomic.Bool
	var group sync.WaitGroup
	group.Go(func() {
		ctx := context.Background()
		for i := 0; !done.Load(); i++ {
			key, now := fmt.Sprintf("%043d", i), time.Now()
			item := memoryItem(1, now, 3*time.Hour)
			item.Deadline = item.IdleDeadline
			if err := s.Create(ctx, key, item); err != nil {
				b.Error(err)
			}
			item.Version = 2
			_, swapErr := s.Swap(ctx, key, 1, item)
			_, touchErr := s.Touch(ctx, key, now, now.Add(4*time.Hour))
			if swapErr != nil || touchErr != nil || i%2 == 0 && s.Delete(ctx, key) != nil {
				b.Error("the load failed")
			}
			time.Sleep(300 * time.Microsecond)
		}
	})
	return func() {
		done.Store(true)
		group.Wait()
	}
}
