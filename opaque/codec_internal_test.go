package opaque

import (
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
	"github.com/stretchr/testify/require"
)

// FuzzDecodeRecord: whatever is in a store, it is refused, or it is the one
// encoding of a record.
func FuzzDecodeRecord(f *testing.F) {
	at := time.Unix(1_700_000_000, 0)
	rec := &session.Record{ID: "id", Generation: 2, Subject: "alice", CreatedAt: at, AuthenticatedAt: at, Deadline: at.Add(time.Hour),
		Values: session.NewValues(map[string]string{"a": "1", "b": `"x"`})}
	good := encodeRecord(nil, rec)
	f.Add(good)
	f.Add(good[:len(good)-3])
	f.Add([]byte{})
	f.Add([]byte{layout, 0, 0x81, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		rec, err := decodeRecord(data, Item{Version: 1, IdleDeadline: at, Deadline: at})
		if err != nil {
			return
		}
		again, err := decodeRecord(encodeRecord(nil, rec), Item{Version: 1, IdleDeadline: at, Deadline: at})
		require.NoError(t, err)
		require.Equal(t, rec, again)
	})
}

// What is cut off anywhere is refused.
func TestTruncatedRecord(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	good := encodeRecord(nil, &session.Record{ID: "id", Generation: 200, Subject: "alice", CreatedAt: at, Deadline: at,
		Values: session.NewValues(map[string]string{"a": "1"})})
	for n := range good {
		rec, err := decodeRecord(good[:n], Item{Version: 1})
		if err == nil {
			require.Zero(t, rec.Values.Len(), "cut where the values begin, nothing is half read")
			require.Equal(t, "alice", rec.Subject)
		}
	}
}
