package opaque_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// anonymousItem is an item of a session without a subject, ownedItem of one
// with.
func anonymousItem() opaque.Item {
	item := ownedItem()
	item.Anonymous = true
	return item
}

func ownedItem() opaque.Item { return memoryItem(1, time.Now(), time.Minute) }

// fill creates items until one is refused, and returns how many there are.
func fill(t *testing.T, s *opaque.MemoryStore, prefix string, item opaque.Item) int {
	t.Helper()
	for i := range 10_000 {
		if err := s.Create(t.Context(), fmt.Sprint(prefix, i), item); err != nil {
			require.ErrorIs(t, err, session.Unavailable)
			return i
		}
	}
	t.Fatal("the store is never full")
	return 0
}

func TestMemoryLeavesRoomForSubjects(t *testing.T) {
	tests := []struct {
		name             string
		config           opaque.MemoryConfig
		anonymous, owned int
	}{
		{"three quarters", opaque.MemoryConfig{MaxSessions: 100}, 75, 25},
		{"a tenth", opaque.MemoryConfig{MaxSessions: 100, AnonymousPercent: 10}, 10, 90},
		{"no limit of their own", opaque.MemoryConfig{MaxSessions: 100, AnonymousPercent: 100}, 100, 0},
		{"one at least", opaque.MemoryConfig{MaxSessions: 2, AnonymousPercent: 1}, 1, 1},
		{"bytes", opaque.MemoryConfig{MaxBytes: 100 * 200}, 75, 25},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newMemory(t, tt.config)
			anonymous, owned := anonymousItem(), ownedItem()
			anonymous.Data, owned.Data = make([]byte, 76), make([]byte, 76) // 200 bytes with a key of 4
			for range 2 {                                                   // what is deleted makes room again
				name := func(i int) string { return fmt.Sprintf("a%03d", i) }
				for i := range tt.anonymous {
					require.NoError(t, s.Create(t.Context(), name(i), anonymous), i)
				}
				err := s.Create(t.Context(), "more", anonymous)
				require.ErrorIs(t, err, session.Unavailable)
				if tt.owned > 0 {
					require.ErrorContains(t, err, "AnonymousPercent")
				}
				for i := range tt.owned {
					require.NoError(t, s.Create(t.Context(), fmt.Sprintf("b%03d", i), owned), i)
				}
				require.ErrorIs(t, s.Create(t.Context(), "more", owned), session.Unavailable)
				for i := range 1000 {
					require.NoError(t, s.Delete(t.Context(), name(i)))
					require.NoError(t, s.Delete(t.Context(), fmt.Sprintf("b%03d", i)))
				}
				require.Zero(t, s.Len())
				require.Zero(t, s.Bytes())
			}
		})
	}
}

// An anonymous session grows only within the part of its kind.
func TestMemoryAnonymousSessionsGrowWithinTheirPart(t *testing.T) {
	s := newMemory(t, opaque.MemoryConfig{MaxBytes: 10_000})
	require.NoError(t, s.Create(t.Context(), "a", anonymousItem()))
	require.NoError(t, s.Create(t.Context(), "b", ownedItem()))
	large := memoryItem(2, time.Now(), time.Minute)
	large.Data = make([]byte, 8_000)
	ok, err := s.Swap(t.Context(), "a", 1, large)
	require.ErrorIs(t, err, session.Unavailable)
	require.False(t, ok)
	ok, err = s.Swap(t.Context(), "b", 1, large)
	require.NoError(t, err)
	require.True(t, ok)
}

// A session and what is left of it after a renewal have one place together.
func TestMemoryRenewalNeedsNoPlace(t *testing.T) {
	s := newMemory(t, opaque.MemoryConfig{MaxSessions: 20, MaxBytes: 1 << 20})
	anonymous := fill(t, s, "a", anonymousItem())
	owned := fill(t, s, "b", ownedItem())
	require.Equal(t, []int{15, 5}, []int{anonymous, owned})
	renew := func(old, next string) error {
		item := ownedItem()
		item.Instead = old
		if err := s.Create(t.Context(), next, item); err != nil {
			return err
		}
		marker := memoryItem(2, time.Now(), time.Minute)
		ok, err := s.Swap(t.Context(), old, 1, marker)
		require.True(t, ok)
		return err
	}
	for i := range anonymous {
		require.NoError(t, renew(fmt.Sprint("a", i), fmt.Sprint("x", i)))
	}
	assert.ErrorIs(t, s.Create(t.Context(), "more", ownedItem()), session.Unavailable, "places are taken over, not added")
	assert.ErrorIs(t, renew("a0", "y"), session.Unavailable, "each has one place to give")
	assert.ErrorIs(t, renew("none", "y"), session.Unavailable)

	// Whoever renews in a loop comes to an end, and so does the room for markers.
	last := "x0"
	for i := 0; ; i++ {
		next := fmt.Sprint("z", i)
		if renew(last, next) != nil {
			break
		}
		last = next
		require.Less(t, i, 20)
	}
	assert.Equal(t, 40, s.Len(), "at most twice as many items as places")

	for _, prefix := range []string{"a", "b", "x", "z"} {
		for i := range 100 {
			require.NoError(t, s.Delete(t.Context(), fmt.Sprint(prefix, i)))
		}
	}
	require.Zero(t, s.Len())
	require.Zero(t, s.Bytes())
	assert.Equal(t, 20, fill(t, s, "c", ownedItem()), "every place came back")
	for i := range 20 {
		require.NoError(t, s.Delete(t.Context(), fmt.Sprint("c", i)))
	}
	assert.Equal(t, 15, fill(t, s, "d", anonymousItem()), "those of sessions without a subject, too")
}

// Without an account nobody piles up items by renewing.
func TestMemoryRenewalOfNobodyNeedsAPlace(t *testing.T) {
	s := newMemory(t, opaque.MemoryConfig{MaxSessions: 20})
	fill(t, s, "a", anonymousItem())
	item := anonymousItem()
	item.Instead = "a0"
	assert.ErrorIs(t, s.Create(t.Context(), "b", item), session.Unavailable)
}

// What is refused because the store is full takes nothing from the part of the
// sessions without a subject.
func TestMemoryRefusalsTakeNoRoom(t *testing.T) {
	for name, config := range map[string]opaque.MemoryConfig{
		"places": {MaxSessions: 20}, "bytes": {MaxBytes: 20 * (124 + int64(len(ownedItem().Data)))}, // with a key of 4
	} {
		s := newMemory(t, config)
		key := func(kind string, i int) string { return fmt.Sprintf("%s%03d", kind, i) }
		for i := range 20 {
			require.NoError(t, s.Create(t.Context(), key("b", i), ownedItem()), name)
		}
		for range 100 {
			require.ErrorIs(t, s.Create(t.Context(), key("a", 0), anonymousItem()), session.Unavailable, name)
		}
		for i := range 20 {
			require.NoError(t, s.Delete(t.Context(), key("b", i)))
		}
		for i := range 15 {
			require.NoError(t, s.Create(t.Context(), key("a", i), anonymousItem()), name)
		}
		require.ErrorIs(t, s.Create(t.Context(), key("a", 15), anonymousItem()), session.Unavailable, name)
	}
}

// A renewal that can't be kept gives the place back.
func TestMemoryFailedRenewal(t *testing.T) {
	s := newMemory(t, opaque.MemoryConfig{MaxSessions: 2, MaxBytes: 10_000})
	require.NoError(t, s.Create(t.Context(), "a", anonymousItem()))
	require.NoError(t, s.Create(t.Context(), "b", ownedItem()))
	item := ownedItem()
	item.Instead, item.Data = "a", make([]byte, 20_000)
	require.ErrorIs(t, s.Create(t.Context(), "c", item), session.Unavailable)
	item.Data = nil
	require.ErrorIs(t, s.Create(t.Context(), "b", item), session.Conflict)
	require.ErrorIs(t, s.Create(t.Context(), "c", ownedItem()), session.Unavailable)
	require.NoError(t, s.Create(t.Context(), "c", item), "a still has a place to give")
}

// The place that it gives back is one of a session without a subject.
func TestMemoryFailedRenewalOfNobody(t *testing.T) {
	s := newMemory(t, opaque.MemoryConfig{MaxSessions: 20, MaxBytes: 10_000})
	anonymous := fill(t, s, "a", anonymousItem())
	item := ownedItem()
	item.Instead, item.Data = "a0", make([]byte, 20_000)
	require.ErrorIs(t, s.Create(t.Context(), "b", item), session.Unavailable)
	require.ErrorIs(t, s.Create(t.Context(), "c", anonymousItem()), session.Unavailable)
	require.Equal(t, anonymous, s.Len())
}

// Renewals go on where all bytes are taken, up to a sixteenth beyond.
func TestMemoryRenewalBeyondTheBytes(t *testing.T) {
	s := newMemory(t, opaque.MemoryConfig{MaxBytes: 16_000})
	owned := fill(t, s, "a", ownedItem())
	item := ownedItem()
	renewed := 0
	for i := range owned {
		item.Instead = fmt.Sprint("a", i)
		if s.Create(t.Context(), fmt.Sprint("b", i), item) != nil {
			break
		}
		renewed++
	}
	assert.Positive(t, renewed)
	assert.Greater(t, s.Bytes(), int64(16_000))
	assert.LessOrEqual(t, s.Bytes(), int64(17_000))

	// What the last of them leaves needs a few bytes more than it had.
	require.NoError(t, s.Delete(t.Context(), fmt.Sprint("b", renewed-1)))
	marker := memoryItem(2, time.Now(), time.Minute)
	marker.Data = append(marker.Data, make([]byte, 40)...)
	ok, err := s.Swap(t.Context(), "a0", 1, marker)
	assert.True(t, ok, err)
	_, err = s.Swap(t.Context(), fmt.Sprint("a", owned-1), 1, marker)
	assert.ErrorIs(t, err, session.Unavailable, "it was not renewed")
}
