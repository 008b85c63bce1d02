package revocation_test

import (
	"context"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/revocation"
)

// A longLog has so many ends of sessions, each of a subject of its own, and
// makes them when they are read.
type longLog int

func (l longLog) Append(context.Context, []revocation.Entry) error { return nil }

func (l longLog) Read(ctx context.Context, pos string, wait time.Duration) (revocation.Reading, error) {
	from, _ := strconv.Atoi(pos)
	if from == int(l) {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
		return revocation.Reading{Next: pos, Complete: true}, ctx.Err()
	}
	to := min(from+1000, int(l))
	return revocation.Reading{Entries: endsOf(from, to), Next: strconv.Itoa(to), Complete: to == int(l)}, nil
}

// A list that starts knows a million entries within 1.5 seconds, if the machine
// does nothing else, and keeps them in 64 MB.
func TestColdStartSoak(t *testing.T) {
	entries := longLog(20_000)
	if os.Getenv("CLOAKROOM_SOAK") == "1" {
		entries = 1_000_000
	}
	var start, end runtime.MemStats
	before, begun := heap(), time.Now()
	runtime.ReadMemStats(&start)
	l := shared(t, entries)
	require.Eventually(t, func() bool { return l.Fresh() == nil }, time.Minute, time.Millisecond)
	took := time.Since(begun)
	runtime.ReadMemStats(&end)
	bytes := int64(heap()) - int64(before)
	require.Equal(t, int(entries), l.Len())
	// One of them is the key, which the log makes.
	allocations := float64(end.Mallocs-start.Mallocs) / float64(entries)
	t.Logf("%d entries: %v, %d bytes and %.2f allocations each", entries, took, bytes/int64(entries), allocations)
	require.Less(t, allocations, 1.5)
	if entries == 1_000_000 {
		require.Less(t, took, 5*time.Second) // on a machine that is busy
		require.Less(t, bytes, int64(64<<20))
	}
	runtime.KeepAlive(l)
}
