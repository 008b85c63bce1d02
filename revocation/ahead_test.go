package revocation_test

import (
	"context"
	"encoding/binary"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/revocation"
)

// A pagedLog has so many ends of sessions, ten a page. Each Read takes a
// second, and now and then one fails, or the log loses the position.
type pagedLog struct {
	entries     int
	fails, lost map[int64]bool // Reads by their number
	reads, busy atomic.Int64
	most        atomic.Int64 // of busy
}

func (l *pagedLog) Append(context.Context, []revocation.Entry) error { return nil }

func (l *pagedLog) Read(ctx context.Context, pos string, _ time.Duration) (revocation.Reading, error) {
	n := l.reads.Add(1)
	l.most.Store(max(l.most.Load(), l.busy.Add(1)))
	defer l.busy.Add(-1)
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return revocation.Reading{}, ctx.Err()
	}
	switch {
	case l.fails[n]:
		return revocation.Reading{}, errors.New("the log is down")
	case l.lost[n]:
		return revocation.Reading{Lost: true}, nil
	}
	from, _ := strconv.Atoi(pos)
	to := min(from+10, l.entries)
	return revocation.Reading{Entries: endsOf(from, to), Next: strconv.Itoa(to), Complete: to == l.entries}, nil
}

// endsOf returns ends of sessions, each of a subject of its own.
func endsOf(from, to int) (ends []revocation.Entry) {
	until := time.Now().Add(time.Hour)
	ends = make([]revocation.Entry, 0, to-from)
	for i := from; i < to; i++ {
		key := make([]byte, 33)
		key[0] = 's'
		binary.BigEndian.PutUint64(key[1:], uint64(i))
		binary.BigEndian.PutUint64(key[17:], uint64(i)*0x9E3779B97F4A7C15)
		ends = append(ends, revocation.Entry{Key: string(key), Value: 1<<62 + 1_790_000_000, Until: until})
	}
	return ends
}

// While a page is put in force, the next one is read. A Read that fails is
// repeated, so no page is missing in the end; staleness counts from the
// beginning of the last Read; and Close waits for a Read that is under way.
func TestReadAhead(t *testing.T) {
	for name, log := range map[string]*pagedLog{
		"all goes well":   {},
		"the first fails": {fails: map[int64]bool{1: true}},
		"some fail":       {fails: map[int64]bool{3: true, 4: true, 7: true}},
		"it is lost":      {lost: map[int64]bool{2: true, 6: true}},
		"both":            {fails: map[int64]bool{2: true, 9: true}, lost: map[int64]bool{5: true}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log.entries = 55
				l := shared(t, log)
				for l.Fresh() != nil {
					time.Sleep(time.Millisecond)
				}
				require.Equal(t, 55, l.Len())
				require.InDelta(t, time.Second, l.Stats().Staleness, float64(2*time.Millisecond))
				require.EqualValues(t, 1, log.most.Load(), "one page at a time")
				require.NoError(t, l.Close())
				require.Zero(t, log.busy.Load())
			})
		})
	}
}
