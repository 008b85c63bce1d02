package opaque_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/opaque"
)

// memorySoak is how many operations a test does.
func memorySoak(n int) int {
	if os.Getenv("CLOAKROOM_SOAK") == "1" {
		return 200 * n
	}
	return n
}

// TestMemoryAgainstAModel does random things while time passes, and compares
// with a store that looks at everything at every second.
func TestMemoryAgainstAModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const linger = 20 * time.Second
		var log memoryLog
		s := newMemory(t, opaque.MemoryConfig{Linger: linger, OnExpire: log.add})
		model, expected := map[string]opaque.Item{}, map[string]opaque.Item{}
		var keys int
		for range memorySoak(5000) {
			now := time.Now()
			key := fmt.Sprint(rand.IntN(keys + 1))
			item, known := model[key]
			lives := known && now.Before(item.OverAt())
			idle := time.Duration(1+rand.IntN(120)) * time.Second
			switch rand.IntN(6) {
			case 0, 1:
				keys++
				key, item = fmt.Sprint(keys), memoryItem(1, now, idle)
				require.NoError(t, s.Create(t.Context(), key, item))
				model[key] = item
			case 2:
				item = memoryItem(item.Version+1, now, idle)
				ok, err := s.Swap(t.Context(), key, item.Version-1, item)
				require.NoError(t, err)
				require.Equal(t, lives, ok)
				if lives {
					model[key] = item
				}
			case 3:
				ok, err := s.Touch(t.Context(), key, now, now.Add(idle))
				require.NoError(t, err)
				require.Equal(t, lives, ok)
				if lives {
					item.SeenAt = now.UTC()
					if item.IdleDeadline.Before(now.Add(idle)) {
						item.IdleDeadline = now.UTC().Add(idle)
					}
					model[key] = item
				}
			case 4:
				require.NoError(t, s.Delete(t.Context(), key))
				delete(model, key)
			case 5:
				time.Sleep(time.Duration(rand.IntN(5)) * time.Second)
			}
			synctest.Wait()
			for key, item := range model {
				if !time.Now().Before(item.OverAt().Add(linger)) {
					expected[key] = item
					delete(model, key)
				}
			}
			require.Equal(t, len(model), s.Len())
		}
		for key, want := range model {
			got, ok, err := s.Get(t.Context(), key)
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, want, got)
		}
		require.Equal(t, expected, log.items)
		require.Empty(t, log.twice)
	})
}

// TestMemoryUnderLoad lets all operations meet the remover.
func TestMemoryUnderLoad(t *testing.T) {
	var second atomic.Int64
	second.Store(1_800_000_000)
	now := func() time.Time { return time.Unix(second.Load(), 0) }
	var expired atomic.Int64
	s := newMemory(t, opaque.MemoryConfig{
		Linger:   time.Second,
		Now:      now,
		OnExpire: func(string, opaque.Item) { expired.Add(1) },
	})
	var created, deleted atomic.Int64
	var group sync.WaitGroup
	ctx := context.Background()
	for worker := range 4 {
		group.Go(func() {
			for i := range memorySoak(3000) {
				key := fmt.Sprint(worker, i)
				if err := s.Create(ctx, key, memoryItem(1, now(), time.Duration(1+rand.IntN(20))*time.Second)); err != nil {
					t.Error(err)
				}
				created.Add(1)
				other := fmt.Sprint(rand.IntN(4), rand.IntN(i+1))
				if item, ok, _ := s.Get(ctx, other); ok {
					item.Version++
					_, _ = s.Swap(ctx, other, item.Version-1, item)
					_, _ = s.Touch(ctx, other, now(), now().Add(10*time.Second))
				}
				if i%5 == 0 {
					before := key
					if _, ok, _ := s.Get(ctx, before); ok {
						if err := s.Delete(ctx, before); err != nil {
							t.Error(err)
						}
						deleted.Add(1)
					}
				}
				if i%50 == 0 {
					second.Add(1)
				}
			}
		})
	}
	group.Wait()
	second.Add(3600 + 2)
	require.Eventually(t, func() bool {
		_, err := s.Touch(ctx, "", now(), now())
		return err == nil && s.Len() == 0
	}, 30*time.Second, time.Millisecond)
	require.Zero(t, s.Bytes())
	require.NoError(t, s.Close())
	require.LessOrEqual(t, expired.Load(), created.Load())
	require.GreaterOrEqual(t, expired.Load(), created.Load()-deleted.Load(), "each session was deleted or has expired")
}
