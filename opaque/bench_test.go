package opaque_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/internal/itemtest"
	"github.com/cloakroom-go/cloakroom/opaque"
)

const million = 1_000_000

func memoryKeys(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = itemtest.Key()
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
	// Visitors come in no order, and each save makes its data.
	visitor := func(i int) string { return keys[i*7919%n] }
	item := func(version int) opaque.Item {
		item := memoryItem(uint64(version), now, 30*time.Minute)
		item.Data = make([]byte, 100)
		return item
	}
	rows := []struct {
		name string
		do   func(i int) error
	}{
		{"get", func(i int) error { _, _, err := s.Get(ctx, visitor(i)); return err }},
		{"get_unknown", func(i int) error { _, _, err := s.Get(ctx, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"); return err }},
		{"touch", func(i int) error {
			_, err := s.Touch(ctx, visitor(i), now.Add(time.Duration(i)), now.Add(40*time.Minute))
			return err
		}},
		{"swap", func(i int) error {
			version := i/n + 1
			_, err := s.Swap(ctx, visitor(i), uint64(version), item(version+1))
			return err
		}},
		{"create_and_delete", func(i int) error {
			if err := s.Create(ctx, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", item(1)); err != nil {
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
				if _, _, err := s.Get(ctx, visitor(i)); err != nil {
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
		before := apptest.Heap()
		s := newMemory(b, opaque.MemoryConfig{})
		fillMemory(b, s, million, func(int) time.Duration { return 30 * time.Minute })
		b.ReportMetric(float64(apptest.Heap()-before)/million, "B/session")
		b.ReportMetric(float64(s.Bytes())/million, "counted-B/session")
		require.NoError(b, s.Close())
	}
}

// BenchmarkMemoryStoreStall reports how long a look-up takes at worst while
// 500,000 of 1,000,000 sessions expire at one second and others are created,
// saved and touched. In the control nothing expires, but a goroutine is as busy
// as the remover: what it shows is the scheduler, the collector and the
// machine's other work.
func BenchmarkMemoryStoreStall(b *testing.B) {
	for b.Loop() {
		control, expiring, took := stall(b, million)
		for name, w := range map[string]*waits{"control": control, "expiring": expiring} {
			b.ReportMetric(ms(w.max), name+"-max-ms")
			b.ReportMetric(ms(w.part(0.9999)), name+"-p99.99-ms")
			b.ReportMetric(ms(w.part(0.99999)), name+"-p99.999-ms")
		}
		b.ReportMetric(took.Seconds(), "s-to-expire")
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
