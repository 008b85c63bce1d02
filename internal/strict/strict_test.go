package strict_test

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/strict"
)

func TestUvarint(t *testing.T) {
	for _, want := range []uint64{0, 1, 127, 128, 1<<32 - 1, 1 << 63, math.MaxUint64} {
		n, rest, ok := strict.Uvarint(string(binary.AppendUvarint(nil, want)) + "rest")
		require.True(t, ok, want)
		require.Equal(t, want, n)
		require.Equal(t, "rest", rest)
	}
	for name, in := range map[string]string{
		"nothing":         "",
		"cut":             "\x80",
		"overlong zero":   "\x80\x00",
		"overlong":        "\x81\x00",
		"65 bits":         strings.Repeat("\xff", 9) + "\x02",
		"eleven bytes":    strings.Repeat("\x80", 10) + "\x01",
		"without an end":  strings.Repeat("\xff", 20),
		"overlong, maxed": strings.Repeat("\xff", 9) + "\x00",
	} {
		_, _, ok := strict.Uvarint(in)
		require.False(t, ok, name)
	}
}

func TestString(t *testing.T) {
	field, rest, ok := strict.String("\x02abc")
	require.True(t, ok)
	require.Equal(t, "ab", field)
	require.Equal(t, "c", rest)
	for _, in := range []string{"", "\x01", "\x82\x00ab", string(binary.AppendUvarint(nil, math.MaxUint64)) + "a"} {
		_, _, ok := strict.String(in)
		require.False(t, ok, "%q", in)
	}
}

// Whatever is read is what encoding/binary writes.
func FuzzUvarint(f *testing.F) {
	f.Add("\x80\x01")
	f.Fuzz(func(t *testing.T, in string) {
		if n, rest, ok := strict.Uvarint(in); ok {
			require.Equal(t, in, string(binary.AppendUvarint(nil, n))+rest)
		}
	})
}

func TestIsBase64URL(t *testing.T) {
	for in, want := range map[string]bool{
		"": true, "azAZ09-_": true,
		"a=": false, "a+": false, "a/": false, "a\n": false, "\r": false, " ": false, "ä": false, "a\x00": false,
	} {
		require.Equal(t, want, strict.IsBase64URL(in), "%q", in)
	}
}
