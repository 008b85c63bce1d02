package opaque_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
)

func newMemory(t testing.TB, cfg opaque.MemoryConfig) *opaque.MemoryStore {
	t.Helper()
	s, err := opaque.NewMemoryStore(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// memoryItem is over after idle without a touch, and after an hour at last.
func memoryItem(version uint64, now time.Time, idle time.Duration) opaque.Item {
	return opaque.Item{
		Version:      version,
		SeenAt:       now.UTC(),
		IdleDeadline: now.UTC().Add(idle),
		Deadline:     now.UTC().Add(time.Hour),
		Data:         []byte("data"),
	}
}

// memoryLog keeps what OnExpire was called with.
type memoryLog struct {
	mu    sync.Mutex
	items map[string]opaque.Item
	twice []string
}

func (l *memoryLog) add(key string, item opaque.Item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.items[key]; ok {
		l.twice = append(l.twice, key)
	}
	if l.items == nil {
		l.items = map[string]opaque.Item{}
	}
	l.items[key] = item
}

func (l *memoryLog) get(key string) (opaque.Item, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	item, ok := l.items[key]
	return item, ok
}

func (l *memoryLog) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.items)
}

func exists(t testing.TB, s opaque.Store, key string) bool {
	t.Helper()
	_, ok, err := s.Get(t.Context(), key)
	require.NoError(t, err)
	return ok
}

func TestMemoryConfigReportsEveryMistake(t *testing.T) {
	s, err := opaque.NewMemoryStore(opaque.MemoryConfig{MaxSessions: -1, MaxBytes: -1})
	require.Nil(t, s)
	require.ErrorContains(t, err, "MaxSessions")
	require.ErrorContains(t, err, "MaxBytes")
	for _, percent := range []int{-1, 101} {
		_, err := opaque.NewMemoryStore(opaque.MemoryConfig{AnonymousPercent: percent})
		require.ErrorContains(t, err, "AnonymousPercent")
	}
}

func TestClosedMemoryStoreRefuses(t *testing.T) {
	var zero opaque.MemoryStore
	closed := newMemory(t, opaque.MemoryConfig{})
	require.NoError(t, closed.Close())
	for _, s := range []*opaque.MemoryStore{&zero, closed} {
		ctx, item := t.Context(), memoryItem(1, time.Now(), time.Minute)
		_, _, getErr := s.Get(ctx, "a")
		_, swapErr := s.Swap(ctx, "a", 0, item)
		_, touchErr := s.Touch(ctx, "a", time.Now(), time.Now())
		for _, err := range []error{getErr, s.Create(ctx, "a", item), swapErr, touchErr, s.Delete(ctx, "a")} {
			require.ErrorIs(t, err, session.Unavailable)
		}
		require.Zero(t, s.Len())
		require.NoError(t, s.Close())
	}
}

func TestMemoryLimitOfSessions(t *testing.T) {
	s := newMemory(t, opaque.MemoryConfig{MaxSessions: 3})
	item := memoryItem(1, time.Now(), time.Minute)
	for i := range 3 {
		require.NoError(t, s.Create(t.Context(), fmt.Sprint(i), item))
	}
	err := s.Create(t.Context(), "3", item)
	require.ErrorIs(t, err, session.Unavailable)
	require.ErrorContains(t, err, "raise MaxSessions")
	bytes := s.Bytes()
	for i := range 3 {
		require.True(t, exists(t, s, fmt.Sprint(i)), "a session that lives is never dropped to make room")
	}
	ok, err := s.Swap(t.Context(), "0", 1, memoryItem(2, time.Now(), time.Minute))
	require.NoError(t, err)
	require.True(t, ok, "saves go on in a full store")
	require.Equal(t, bytes, s.Bytes())
	require.NoError(t, s.Delete(t.Context(), "0"))
	require.NoError(t, s.Create(t.Context(), "3", item))
	require.Equal(t, 3, s.Len())
}

func TestMemoryLimitOfBytes(t *testing.T) {
	s := newMemory(t, opaque.MemoryConfig{MaxBytes: 2000})
	small, large := memoryItem(1, time.Now(), time.Minute), memoryItem(2, time.Now(), time.Minute)
	large.Data = make([]byte, 2000)
	require.NoError(t, s.Create(t.Context(), "a", small))
	before := s.Bytes()

	ok, err := s.Swap(t.Context(), "a", 1, large)
	require.False(t, ok)
	require.ErrorIs(t, err, session.Unavailable)
	require.ErrorContains(t, err, "raise MaxBytes")
	require.ErrorIs(t, s.Create(t.Context(), "b", large), session.Unavailable)
	require.Equal(t, before, s.Bytes())
	item, _, err := s.Get(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, uint64(1), item.Version, "what was there stays")

	large.Data = make([]byte, 1000)
	ok, err = s.Swap(t.Context(), "a", 1, large)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, before+1000-int64(len(small.Data)), s.Bytes())
	require.NoError(t, s.Delete(t.Context(), "a"))
	require.Zero(t, s.Bytes())
}

func TestMemoryLimitUnderRace(t *testing.T) {
	s := newMemory(t, opaque.MemoryConfig{MaxSessions: 100})
	item := memoryItem(1, time.Now(), time.Minute)
	var created atomic.Int64
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for j := range 50 {
				if s.Create(context.Background(), fmt.Sprint(i, j), item) == nil {
					created.Add(1)
				}
			}
		})
	}
	group.Wait()
	require.EqualValues(t, 100, created.Load())
	require.Equal(t, 100, s.Len())
}

func TestMemoryItemLingersAndExpiresOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log memoryLog
		s := newMemory(t, opaque.MemoryConfig{Linger: 5 * time.Minute, OnExpire: log.add})
		start := time.Now()
		item := memoryItem(1, start, 10*time.Minute)
		require.NoError(t, s.Create(t.Context(), "a", item))

		time.Sleep(10*time.Minute - time.Second)
		synctest.Wait()
		ok, err := s.Touch(t.Context(), "a", start.Add(time.Second), item.IdleDeadline)
		require.NoError(t, err)
		require.True(t, ok, "it lives until the last second")

		time.Sleep(time.Second)
		synctest.Wait()
		got, found, err := s.Get(t.Context(), "a")
		require.NoError(t, err)
		require.True(t, found, "who comes back late is told")
		ok, err = s.Touch(t.Context(), "a", time.Now(), time.Now().Add(time.Hour))
		require.NoError(t, err)
		require.False(t, ok)
		ok, err = s.Swap(t.Context(), "a", 1, memoryItem(2, time.Now(), time.Hour))
		require.NoError(t, err)
		require.False(t, ok)

		time.Sleep(5*time.Minute - time.Second)
		synctest.Wait()
		require.True(t, exists(t, s, "a"))
		require.Zero(t, log.len())

		time.Sleep(time.Second)
		synctest.Wait()
		require.False(t, exists(t, s, "a"))
		expired, called := log.get("a")
		require.True(t, called)
		require.Equal(t, got, expired)
		require.Zero(t, s.Len())
		require.Zero(t, s.Bytes())

		time.Sleep(time.Hour)
		synctest.Wait()
		require.Empty(t, log.twice)
	})
}

func TestMemoryExpiryFollowsTheItem(t *testing.T) {
	touch := func(t *testing.T, s *opaque.MemoryStore, key string, now time.Time) {
		_, err := s.Touch(t.Context(), key, now, now.Add(30*time.Minute))
		require.NoError(t, err)
	}
	swap := func(idle time.Duration) func(*testing.T, *opaque.MemoryStore, string, time.Time) {
		return func(t *testing.T, s *opaque.MemoryStore, key string, now time.Time) {
			_, err := s.Swap(t.Context(), key, 1, memoryItem(2, now, idle))
			require.NoError(t, err)
		}
	}
	remove := func(t *testing.T, s *opaque.MemoryStore, key string, _ time.Time) {
		require.NoError(t, s.Delete(t.Context(), key))
	}
	nothing := func(*testing.T, *opaque.MemoryStore, string, time.Time) {}
	tests := []struct {
		name  string
		do    func(*testing.T, *opaque.MemoryStore, string, time.Time)
		after time.Duration // is removed and reported; 0 for never
	}{
		{"untouched", nothing, 10 * time.Minute},
		{"touched", touch, 30 * time.Minute},
		{"saved for longer", swap(20 * time.Minute), 20 * time.Minute},
		{"saved for shorter", swap(time.Minute), time.Minute},
		{"saved past the deadline", swap(3 * time.Hour), time.Hour},
		{"deleted", remove, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log memoryLog
				s := newMemory(t, opaque.MemoryConfig{Linger: -1, OnExpire: log.add})
				start := time.Now()
				for i := range 20 { // neighbours in every part of the queue
					require.NoError(t, s.Create(t.Context(), fmt.Sprint(i), memoryItem(1, start, time.Duration(i)*3*time.Minute)))
				}
				require.NoError(t, s.Create(t.Context(), "a", memoryItem(1, start, 10*time.Minute)))
				tt.do(t, s, "a", start)
				for minute := range 61 {
					synctest.Wait()
					_, called := log.get("a")
					due := tt.after != 0 && time.Duration(minute)*time.Minute >= tt.after
					require.Equal(t, due, called, "minute %d", minute)
					require.Equal(t, tt.after != 0 && !due, exists(t, s, "a"), "minute %d", minute)
					time.Sleep(time.Minute)
				}
				synctest.Wait()
				require.Zero(t, s.Len())
				require.Empty(t, log.twice)
			})
		})
	}
}

// The remover sleeps until the first item is due; an earlier one must wake it.
func TestMemoryRemoverWakesForEarlierItems(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemory(t, opaque.MemoryConfig{Linger: -1})
		for _, seconds := range []int{50, 40, 30, 20, 10} {
			synctest.Wait()
			require.NoError(t,
				s.Create(t.Context(), fmt.Sprint(seconds), memoryItem(1, time.Now(), time.Duration(seconds)*time.Second)))
		}
		for left := 4; left >= 0; left-- {
			time.Sleep(10 * time.Second)
			synctest.Wait()
			require.Equal(t, left, s.Len())
		}
	})
}

func TestMemoryClockOfATest(t *testing.T) {
	var now, removed atomic.Int64
	now.Store(1_800_000_000)
	gone := make(chan string, 1)
	s := newMemory(t, opaque.MemoryConfig{
		Linger:   -1,
		Now:      func() time.Time { return time.Unix(now.Load(), 999_999_999) },
		OnExpire: func(key string, _ opaque.Item) { removed.Add(1); gone <- key },
	})
	require.NoError(t, s.Create(t.Context(), "a", memoryItem(1, time.Unix(now.Load(), 0), 10*time.Minute)))
	now.Add(599)
	ok, err := s.Touch(t.Context(), "b", time.Now(), time.Now())
	require.NoError(t, err)
	require.False(t, ok)
	require.True(t, exists(t, s, "a"))
	now.Add(1)
	ok, err = s.Touch(t.Context(), "a", time.Unix(now.Load(), 0), time.Unix(now.Load()+600, 0))
	require.NoError(t, err)
	require.False(t, ok, "over at the deadline itself")
	require.Equal(t, "a", <-gone, "any write wakes the remover when the clock has moved")
}

func TestMemoryClockThatIsSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ahead atomic.Int64
		s := newMemory(t,
			opaque.MemoryConfig{Linger: -1, Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
		require.NoError(t, s.Create(t.Context(), "a", memoryItem(1, time.Now(), 50*time.Minute)))
		ahead.Store(int64(time.Hour))
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Zero(t, s.Len(), "noticed within a minute, without any request")
	})
}

func TestMemoryOnExpireMayUseTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s *opaque.MemoryStore
		var calls int
		s = newMemory(t, opaque.MemoryConfig{Linger: -1, OnExpire: func(key string, item opaque.Item) {
			calls++
			require.False(t, exists(t, s, key))
			require.NoError(t, s.Delete(t.Context(), key))
			if item.Version < 3 {
				require.NoError(t, s.Create(t.Context(), key, memoryItem(item.Version+1, time.Now(), time.Minute)))
			}
		}})
		require.NoError(t, s.Create(t.Context(), "a", memoryItem(1, time.Now(), time.Minute)))
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		require.Equal(t, 3, calls)
		require.Zero(t, s.Len())
	})
}

func TestMemoryCloseWaitsForOnExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		s := newMemory(t, opaque.MemoryConfig{Linger: -1, OnExpire: func(string, opaque.Item) {
			time.Sleep(time.Minute)
			calls.Add(1)
		}})
		for i := range 100 {
			require.NoError(t, s.Create(t.Context(), fmt.Sprint(i), memoryItem(1, time.Now(), time.Second)))
		}
		time.Sleep(30 * time.Second)
		require.Zero(t, calls.Load())
		require.NoError(t, s.Close())
		require.EqualValues(t, 1, calls.Load(), "the running call has ended, and no other began")
	})
}

// A flood of credentials that nobody issued costs no memory.
func TestMemoryLookUpAllocatesNothing(t *testing.T) {
	s := newMemory(t, opaque.MemoryConfig{})
	known, unknown := strings.Repeat("a", 43), strings.Repeat("b", 43)
	require.NoError(t, s.Create(t.Context(), known, memoryItem(1, time.Now(), time.Minute)))
	ctx := t.Context()
	now := time.Now()
	var bad int
	allocs := testing.AllocsPerRun(1000, func() {
		_, one, _ := s.Get(ctx, known)
		_, other, _ := s.Get(ctx, unknown)
		touched, _ := s.Touch(ctx, known, now, now)
		if !one || other || !touched {
			bad++
		}
	})
	require.Zero(t, allocs)
	require.Zero(t, bad)
	require.Equal(t, 1, s.Len())
}
