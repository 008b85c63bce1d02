package recent_test

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/recent"
)

func has(m *recent.Map[int], key string) bool {
	_, ok := m.Get(key)
	return ok
}

// A value stays for at least the period after it was put last, wherever the
// turn of the two maps falls, and for less than two.
func TestPeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := recent.Map[int]{Period: time.Second}
		require.False(t, has(&m, "a"))
		for range 20 {
			time.Sleep(330 * time.Millisecond) // of the bubble's clock
			m.Put("a", 1, 0)
			time.Sleep(time.Second - 1)
			require.True(t, has(&m, "a"))
			time.Sleep(time.Second + 1)
			require.False(t, has(&m, "a"))
		}
		m.Put("a", 1, 0)
		for range 9 {
			time.Sleep(300 * time.Millisecond)
			m.Put("b", 2, 0)
			has(&m, "a")
		}
		require.True(t, has(&m, "b"))
		require.False(t, has(&m, "a"), "neither its neighbours nor reading prolong it")
		time.Sleep(time.Hour)
		require.False(t, has(&m, "b"))
	})
}

func TestPutAndDelete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := recent.Map[int]{Period: time.Second}
		m.Delete("a")
		m.Put("a", 1, 0)
		time.Sleep(1100 * time.Millisecond)
		m.Put("a", 2, 0) // the old value is in the other map
		got, ok := m.Get("a")
		require.True(t, ok)
		require.Equal(t, 2, got)
		m.Delete("a")
		require.False(t, has(&m, "a"))
	})
}

// What was put last is kept, up to half of the bound, and never more than the
// bound.
func TestMaxBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := recent.Map[int]{Period: time.Hour, MaxBytes: 100}
		for i := range 100 {
			m.Put(strconv.Itoa(i), i, 10)
			kept := 0
			for j := range 100 {
				if has(&m, strconv.Itoa(j)) {
					kept++
				}
			}
			require.LessOrEqual(t, kept, 10)
			for j := max(0, i-5); j < i; j++ {
				require.True(t, has(&m, strconv.Itoa(j)), "%d, after %d", j, i)
			}
		}
		m.Put("large", 1, 51)
		require.False(t, has(&m, "large"))
		require.True(t, has(&m, "99"))
	})
}

func TestZero(t *testing.T) {
	var m recent.Map[int]
	m.Put("a", 1, 0)
	require.False(t, has(&m, "a"))
	m.Delete("a")
}
