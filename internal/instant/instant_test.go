package instant_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/instant"
)

func TestOrder(t *testing.T) {
	early, late := time.Unix(1, 0), time.Unix(2, 0)
	require.Equal(t, early, instant.Earliest(late, early, late))
	require.Equal(t, late, instant.Latest(early, late, early))
	require.Equal(t, early, instant.Earliest(early))
}

func TestAhead(t *testing.T) {
	at := func(s float64) time.Time { return time.UnixMilli(int64(1000 * s)) }
	for _, row := range []struct {
		there, sent, received float64
		want                  time.Duration
	}{
		{there: 10, sent: 1, received: 2, want: 8 * time.Second},
		{there: 1, sent: 4, received: 6, want: -3 * time.Second},
		{there: 2, sent: 1, received: 3},
		{there: 1, sent: 1, received: 3},
		{there: 3, sent: 1, received: 3},
		{there: 2, sent: 3, received: 1}, // the clock was set back in between
		{there: 10, sent: 3, received: 1, want: 7 * time.Second},
		{there: 0, sent: 3, received: 1, want: -time.Second},
	} {
		require.Equal(t, row.want, instant.Ahead(at(row.there), at(row.sent), at(row.received)), "%+v", row)
	}
}

func TestMaxSecond(t *testing.T) {
	last := time.Unix(instant.MaxSecond, 0).UTC()
	require.Equal(t, "9999-12-31T23:59:59Z", last.Format(time.RFC3339))
}
