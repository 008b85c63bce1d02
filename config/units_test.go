package config_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
)

func TestDuration(t *testing.T) {
	for _, row := range []struct {
		in, canonical string
		want          time.Duration
	}{
		{"90s", "1m30s", 90 * time.Second},
		{"20m", "20m", 20 * time.Minute},
		{"12h", "12h", 12 * time.Hour},
		{"1h30m", "1h30m", 90 * time.Minute},
		{"1h0m5s", "1h0m5s", time.Hour + 5*time.Second},
		{"30d", "30d", 30 * 24 * time.Hour},
		{"24h", "1d", 24 * time.Hour},
		{"1d12h", "1d12h", 36 * time.Hour},
		{"250ms", "250ms", 250 * time.Millisecond},
		{"1.5h", "1h30m", 90 * time.Minute},
		{"106751d", "106751d", 106751 * 24 * time.Hour},
	} {
		t.Run(row.in, func(t *testing.T) {
			var d config.Duration
			require.NoError(t, d.UnmarshalText([]byte(row.in)))
			require.Equal(t, row.want, time.Duration(d))
			text, err := d.MarshalText()
			require.NoError(t, err)
			require.Equal(t, row.canonical, string(text))

			var again config.Duration
			require.NoError(t, again.UnmarshalText(text))
			require.Equal(t, d, again)
		})
	}
}

func TestDurationRefused(t *testing.T) {
	for _, row := range []struct{ in, want string }{
		{"20", `"20" has no unit; write 20s, 20m, 20h or 20d`},
		{"0", `"0" is zero; leave the field out for its default`},
		{"1.5", `"1.5" has no unit; write 1.5s, 1.5m or 1.5h`},
		{"0s", `"0s" is zero; leave the field out for its default`},
		{"0d", `"0d" is zero`},
		{"", `"" is not a duration; write it like 90s, 20m, 12h or 30d`},
		{"d", `"d" is not a duration`},
		{"-5m", `"-5m" is not a duration`},
		{"1d-5m", `"1d-5m" is not a duration`},
		{"1.5d", `"1.5d" is not a duration`},
		{"+1d", `"+1d" is not a duration`},
		{"5 m", `"5 m" is not a duration`},
		{"5m ", `"5m " is not a duration`},
		{"5min", `"5min" is not a duration`},
		{"1h1d", `"1h1d" is not a duration`},
		{"1d1d", `"1d1d" is not a duration`},
		{"106752d", `"106752d" is not a duration`},
		{"106751d24h", `"106751d24h" is not a duration`},
		{"99999999999999999999d", `is not a duration`},
		{"300000h1000000h1500000h", `is not a duration`},
		{"Inf", `"Inf" is not a duration`},
	} {
		t.Run(row.in, func(t *testing.T) {
			d := config.Duration(time.Second)
			require.ErrorContains(t, d.UnmarshalText([]byte(row.in)), row.want)
			require.Equal(t, config.Duration(time.Second), d, "a refused text changes nothing")
		})
	}
}

func TestSize(t *testing.T) {
	for _, row := range []struct {
		in, canonical string
		want          int64
	}{
		{"64MiB", "64MiB", 64 << 20},
		{"512KiB", "512KiB", 512 << 10},
		{"2GiB", "2GiB", 2 << 30},
		{"1024KiB", "1MiB", 1 << 20},
		{"4096B", "4KiB", 4096},
		{"4097B", "4097B", 4097},
		{"9223372036854775807B", "9223372036854775807B", math.MaxInt64},
	} {
		t.Run(row.in, func(t *testing.T) {
			var s config.Size
			require.NoError(t, s.UnmarshalText([]byte(row.in)))
			require.Equal(t, row.want, int64(s))
			text, err := s.MarshalText()
			require.NoError(t, err)
			require.Equal(t, row.canonical, string(text))
		})
	}
}

func TestSizeRefused(t *testing.T) {
	for _, row := range []struct{ in, want string }{
		{"64", `"64" has no unit; write 64KiB, 64MiB or 64GiB`},
		{"0MiB", `"0MiB" is zero; leave the field out for its default`},
		{"64MB", `"64MB" is not a size; write it like 512KiB, 64MiB or 2GiB`},
		{"64mib", `"64mib" is not a size`},
		{"64 MiB", `"64 MiB" is not a size`},
		{"1.5GiB", `"1.5GiB" is not a size`},
		{"-1MiB", `"-1MiB" is not a size`},
		{"MiB", `"MiB" is not a size`},
		{"", `"" is not a size`},
		{"8589934592GiB", `is not a size`},
		{"9223372036854775808B", `is not a size`},
	} {
		t.Run(row.in, func(t *testing.T) {
			s := config.Size(7)
			require.ErrorContains(t, s.UnmarshalText([]byte(row.in)), row.want)
			require.Equal(t, config.Size(7), s, "a refused text changes nothing")
		})
	}
	require.Equal(t, "0B", config.Size(0).String())
	_, err := config.Size(-1).MarshalText()
	require.Error(t, err)
}

func FuzzDuration(f *testing.F) {
	for _, seed := range []string{"20m", "30d", "1d12h", "20", "-1s", "106751d", "9h9", "d"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		var d, again config.Duration
		if d.UnmarshalText([]byte(in)) != nil {
			return
		}
		require.Positive(t, d)
		require.NoError(t, again.UnmarshalText([]byte(d.String())))
		require.Equal(t, d, again)
	})
}

func FuzzSize(f *testing.F) {
	for _, seed := range []string{"64MiB", "1B", "64", "8589934591GiB", "KiB"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		var s, again config.Size
		if s.UnmarshalText([]byte(in)) != nil {
			return
		}
		require.Positive(t, s)
		require.NoError(t, again.UnmarshalText([]byte(s.String())))
		require.Equal(t, s, again)
	})
}
