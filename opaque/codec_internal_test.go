package opaque

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
	"github.com/stretchr/testify/require"
)

// FuzzDecodeRecord: whatever is in a store, it is refused, or it is the one
// encoding of a record.
func FuzzDecodeRecord(f *testing.F) {
	at := time.Unix(1_700_000_000, 0)
	rec := &session.Record{ID: "id", Generation: 2, Subject: "alice",
		CreatedAt: at, AuthenticatedAt: at, Deadline: at.Add(time.Hour),
		Values: session.NewValues(map[string]string{"a": "1", "b": `"x"`})}
	good := encodeRecord(nil, rec)
	f.Add(good)
	f.Add(good[:len(good)-3])
	rec.Tags, rec.AMR = []session.LoginTag{{1}}, []string{"pwd", "otp"}
	f.Add(encodeRecord(nil, rec))
	rec.Tags = nil
	f.Add(encodeRecord(nil, rec))
	f.Add([]byte{})
	f.Add([]byte{layout, 0, 0x81, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		rec, err := decodeRecord(data, Item{Version: 1, IdleDeadline: at, Deadline: at})
		if err != nil {
			return
		}
		require.Equal(t, data, encodeRecord(nil, rec))
	})
}

// Each number in a record has one spelling.
func TestOverlongVarint(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	good := encodeRecord(nil, &session.Record{ID: "id", Lineage: "lineage", Generation: 200, Subject: "alice",
		CreatedAt:       at,
		AuthenticatedAt: at, Deadline: at, Values: session.NewValues(map[string]string{"a": "1"})})
	decode := func(data []byte) error {
		_, err := decodeRecord(data, Item{Version: 1, IdleDeadline: at, Deadline: at})
		return err
	}
	require.NoError(t, decode(good))
	// A byte above 0x7f after the first two begins a number, or goes on with it;
	// one below ends it. Spelt with a byte more, the number is the same.
	refused := 0
	for i := 2; i < len(good); i++ {
		longer := slices.Insert(slices.Clone(good), i+1, 0)
		longer[i] |= 0x80
		require.Error(t, decode(longer), "byte %d", i)
		refused++
	}
	require.Positive(t, refused)
	generation := []byte{layout, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	rest := good[4:] // behind the generation, which has two bytes
	require.NoError(t, decode(slices.Concat(generation, []byte{1}, rest)))
	require.Error(t, decode(slices.Concat(generation, []byte{2}, rest)), "more than 64 bits")
	unknown := slices.Clone(good)
	unknown[1] |= 8
	require.Error(t, decode(unknown), "a flag that means nothing")
	require.Error(t, decode(slices.Concat([]byte{layout, 0, 0xc8, 0x81, 0}, rest)), "the generation in three bytes")
}

// A record without tags and methods is what it was before there were any: those
// that a store holds open on.
func TestOldRecord(t *testing.T) {
	old := "\x01\x01\x02\x80\xc4\x9f\xd5\x0c\xa0\xfc\x9f\xd5\x0c\x80\xa0\xab\xfe\xf9\x62\x00\x02id\x01l\x05alice" +
		"\x01a\x011"
	at := time.Unix(1_700_000_000, 0)
	want := &session.Record{ID: "id", Lineage: "l", Version: 1, Generation: 2, Subject: "alice", Persistent: true,
		CreatedAt: at, AuthenticatedAt: at, Deadline: at.Add(time.Hour), IdleDeadline: at, SeenAt: at,
		Values: session.NewValues(map[string]string{"a": "1"})}
	require.Equal(t, []byte(old), encodeRecord(nil, want))
	got, err := decodeRecord([]byte(old), Item{Version: 1, SeenAt: at, IdleDeadline: at})
	require.NoError(t, err)
	require.Equal(t, want, got)

	want.AMR = []string{"pwd", "otp"}
	text := encodeRecord(nil, want)
	got, err = decodeRecord(text, Item{Version: 1, SeenAt: at, IdleDeadline: at})
	require.NoError(t, err)
	require.Equal(t, want, got)
	for _, methods := range []string{"\x00", "\x03\x03pwd\x03otp", "\xff\xff\xff\xff\x0f\x03pwd\x03otp"} {
		bad := strings.Replace(string(text), "\x02\x03pwd\x03otp", methods, 1)
		require.NotEqual(t, string(text), bad)
		_, err = decodeRecord([]byte(bad), Item{Version: 1})
		require.Error(t, err, "%q", methods)
	}
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
