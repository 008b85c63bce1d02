package opaque_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/opaque"
)

// TestMemorySoak fills a store with so many sessions, and lets half of them
// expire at one second. A look-up waits no longer than without that.
func TestMemorySoak(t *testing.T) {
	if os.Getenv("CLOAKROOM_SOAK") != "1" {
		t.Skip("takes some minutes and 5 GB of memory: CLOAKROOM_SOAK=1 runs it")
	}
	for _, n := range []int{million, 10 * million} {
		control, expiring, took := stall(t, n)
		t.Logf("%d look-ups without expiry: p99.999 %v, worst %v", control.n, control.part(0.99999), control.max)
		t.Logf("%d look-ups while %d sessions expire, for %v: p99.999 %v, worst %v",
			expiring.n, n/2, took, expiring.part(0.99999), expiring.max)
		require.Less(t, expiring.part(0.99999), 2*control.part(0.99999)+time.Millisecond)
	}
}

// stall fills a store with n sessions, reports what one takes and what a
// garbage collection costs, and returns how long look-ups took before half of
// the sessions expired, and meanwhile.
func stall(t testing.TB, n int) (control, expiring *waits, took time.Duration) {
	var ahead, expired atomic.Int64
	s := newMemory(t, opaque.MemoryConfig{
		MaxSessions: 2 * n,
		MaxBytes:    1 << 40,
		Linger:      -1,
		Now:         func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
		OnExpire:    func(string, opaque.Item) { expired.Add(1) },
	})
	before, empty := apptest.Heap(), apptest.Collection()
	keys := fillMemory(t, s, n, func(i int) time.Duration { return time.Duration(30+i%2*15) * time.Minute })
	t.Logf("%d sessions: %d bytes each; a garbage collection takes %v, and %v without them",
		n, (apptest.Heap()-before)/int64(n), apptest.Collection(), empty)
	stop := load(t, s)

	idle := busy()
	control = lookUps(t, s, keys, func(w *waits) bool { return w.n >= million })
	idle()
	begin := time.Now()
	ahead.Store(int64(40 * time.Minute))
	expiring = lookUps(t, s, keys, func(*waits) bool { return expired.Load() >= int64(n/2) })
	took = time.Since(begin)
	stop()
	require.NoError(t, s.Close())
	return control, expiring, took
}

// fillMemory creates n sessions and returns a key of every hundredth.
func fillMemory(t testing.TB, s *opaque.MemoryStore, n int, idle func(i int) time.Duration) (keys []string) {
	now := time.Now()
	for i := range n {
		var raw [32]byte
		rand.Read(raw[:])
		key := base64.RawURLEncoding.EncodeToString(raw[:])
		item := memoryItem(1, now, idle(i))
		item.Data = make([]byte, 100)
		require.NoError(t, s.Create(t.Context(), key, item))
		if i%100 == 0 {
			keys = append(keys, key)
		}
	}
	return keys
}

// waits counts by microseconds how long look-ups took.
type waits struct {
	counts [1_000_000]int
	n      int
	max    time.Duration
}

func (w *waits) add(d time.Duration) {
	w.counts[min(int(d.Microseconds()), len(w.counts)-1)]++
	w.n++
	w.max = max(w.max, d)
}

// part returns how long that part of the look-ups took at most.
func (w *waits) part(p float64) time.Duration {
	left := w.n - int(p*float64(w.n))
	for us := len(w.counts) - 1; us > 0; us-- {
		if left -= w.counts[us]; left < 0 {
			return time.Duration(us+1) * time.Microsecond
		}
	}
	return time.Microsecond
}

// lookUps looks up keys, one after the other, until it is told that it is over.
func lookUps(t testing.TB, s *opaque.MemoryStore, keys []string, over func(*waits) bool) *waits {
	ctx, w := context.Background(), new(waits)
	for i := 0; !over(w); i++ {
		begin := time.Now()
		if _, _, err := s.Get(ctx, keys[i%len(keys)]); err != nil {
			t.Fatal(err)
		}
		w.add(time.Since(begin))
		runtime.Gosched() // as a server does between requests
	}
	return w
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

// load creates, saves, touches and deletes, until it is stopped: some 10,000
// operations a second.
func load(t testing.TB, s *opaque.MemoryStore) (stop func()) {
	var done atomic.Bool
	var group sync.WaitGroup
	group.Go(func() {
		ctx := context.Background()
		for i := 0; !done.Load(); i++ {
			key, now := fmt.Sprintf("%043d", i), time.Now()
			item := memoryItem(1, now, 3*time.Hour)
			item.Deadline = item.IdleDeadline
			if err := s.Create(ctx, key, item); err != nil {
				t.Error(err)
			}
			item.Version = 2
			_, swapErr := s.Swap(ctx, key, 1, item)
			_, touchErr := s.Touch(ctx, key, now, now.Add(4*time.Hour))
			if swapErr != nil || touchErr != nil || i%2 == 0 && s.Delete(ctx, key) != nil {
				t.Error("the load failed")
			}
			time.Sleep(300 * time.Microsecond)
		}
	})
	return func() {
		done.Store(true)
		group.Wait()
	}
}
