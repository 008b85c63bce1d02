package span_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/span"
)

func TestFormatAndParse(t *testing.T) {
	for _, tt := range []struct {
		in   time.Duration
		want string
	}{
		{0, "0s"},
		{1500 * time.Millisecond, "1.5s"},
		{90 * time.Second, "1m30s"},
		{time.Minute, "1m"},
		{time.Hour, "1h"},
		{time.Hour + time.Second, "1h0m1s"},
		{63*time.Minute + 30*time.Second, "1h3m30s"},
		{30 * span.Day, "30d"},
		{25*time.Hour + 2*time.Minute, "1d1h2m"},
		{10 * time.Minute, "10m"},
		{10 * time.Hour, "10h"},
		{math.MaxInt64, "106751d23h47m16.854775807s"},
	} {
		t.Run(tt.want, func(t *testing.T) {
			require.Equal(t, tt.want, span.Format(tt.in))
			back, err := span.Parse(tt.want)
			require.NoError(t, err)
			require.Equal(t, tt.in, back)
		})
	}
	require.Equal(t, "-1d", span.Format(-span.Day))
	require.NotPanics(t, func() { span.Format(math.MinInt64) })
}

func TestParseRefuses(t *testing.T) {
	for _, in := range []string{"", "5", "1.5", "d", "1.5d", "-1d", "-3h", "1d-3h", "1h1d", "1w", "106752d", "106751d24h",
		"1e3", " 1h", "0x10", "NaN", "Inf"} {
		t.Run(in, func(t *testing.T) {
			_, err := span.Parse(in)
			require.Error(t, err)
		})
	}
}
