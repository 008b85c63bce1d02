package stored_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/stored"
	"github.com/cloakroom-go/cloakroom/opaque"
)

func TestRoundTrip(t *testing.T) {
	for _, data := range []string{"", "x", "\x00\xff data"} {
		want := opaque.Item{
			Version: math.MaxUint64, SeenAt: time.Unix(-1, 0), IdleDeadline: time.Unix(1<<40, 0), Deadline: time.Unix(0, 0),
			Data: []byte(data),
		}
		b := stored.Encode(want)
		require.Len(t, b, stored.HeaderSize+len(data))
		got, ok := stored.Decode(b)
		require.True(t, ok)
		require.Equal(t, want, got)
	}
}

// The form must not change: sessions that are stored would be lost.
func TestForm(t *testing.T) {
	b := stored.Encode(opaque.Item{
		Version: 1, SeenAt: time.Unix(2, 0), IdleDeadline: time.Unix(3, 0), Deadline: time.Unix(256, 0), Data: []byte("!"),
	})
	const zeros = "\x00\x00\x00\x00\x00\x00"
	require.Equal(t, zeros+"\x00\x01"+zeros+"\x00\x02"+zeros+"\x00\x03"+zeros+"\x01\x00!", string(b))
}

func TestDecodeRefuses(t *testing.T) {
	good := stored.Encode(opaque.Item{Version: 1})
	for name, b := range map[string][]byte{
		"empty":     nil,
		"too short": good[:stored.HeaderSize-1],
		"version 0": make([]byte, stored.HeaderSize),
	} {
		_, ok := stored.Decode(b)
		require.False(t, ok, name)
	}
}
