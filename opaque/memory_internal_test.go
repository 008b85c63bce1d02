package opaque

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The item that was to be replaced is removed while the new one is being made,
// and can't be kept: its place goes back to the store.
func TestMemoryPlaceOfARemovedItem(t *testing.T) {
	s, err := NewMemoryStore(MemoryConfig{MaxSessions: 1})
	require.NoError(t, err)
	defer s.Close()
	now := time.Now()
	item := Item{Version: 1, SeenAt: now, IdleDeadline: now.Add(time.Minute), Deadline: now.Add(time.Minute)}
	require.NoError(t, s.Create(t.Context(), "a", item))
	item.Instead = "a"
	require.True(t, s.takePlace(item))
	require.NoError(t, s.Delete(t.Context(), "a"))
	s.returnPlace("a")
	item.Instead = ""
	require.NoError(t, s.Create(t.Context(), "b", item))
}
