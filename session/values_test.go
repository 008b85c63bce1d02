package session_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/cloakroom-go/cloakroom/session"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestValues(t *testing.T) {
	var v session.Values
	want := map[string]string{}
	check := func() {
		t.Helper()
		assert.Equal(t, want, maps.Collect(v.All()))
		assert.Equal(t, len(want), v.Len())
		assert.Equal(t, session.NewValues(want), v, "whatever the order of the changes")
		parsed, ok := session.ParseValues(v.Encoded())
		assert.True(t, ok)
		assert.Equal(t, v, parsed)
		for name, text := range want {
			got, ok := v.Get(name)
			assert.True(t, ok)
			assert.Equal(t, text, got)
		}
	}
	for _, name := range []string{"m", "a", "z", "b", "a", strings.Repeat("n", 300)} {
		want[name] = strings.Repeat(name, 3)
		before := v
		kept := before.Encoded()
		v = v.With(name, want[name])
		assert.Equal(t, kept, before.Encoded(), "a change makes new Values")
		check()
	}
	for _, name := range []string{"a", "absent", "z", "m", "b", strings.Repeat("n", 300)} {
		delete(want, name)
		v = v.Without(name)
		check()
	}
	assert.Empty(t, v.Encoded())
}

func TestParseValuesRefuses(t *testing.T) {
	tests := []struct{ name, in string }{
		{"cut in a length", "\x80"},
		{"cut in a name", "\x05ab"},
		{"no value", "\x01a"},
		{"cut in a value", "\x01a\x05b"},
		{"not sorted", "\x01b\x00\x01a\x00"},
		{"repeated", "\x01a\x00\x01a\x00"},
		{"long spelling of a length", "\x81\x00a\x00"},
		{"huge length", "\xff\xff\xff\xff\x0f"},
		{"overlong length", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"},
	}
	for _, tt := range tests {
		_, ok := session.ParseValues(tt.in)
		assert.False(t, ok, tt.name)
	}
}

func FuzzParseValues(f *testing.F) {
	f.Add("")
	f.Add(session.NewValues(map[string]string{"a": "1", "bc": `"x"`}).Encoded())
	f.Add("\x01a\x05b")
	f.Fuzz(func(t *testing.T, in string) {
		v, ok := session.ParseValues(in)
		if !ok {
			return
		}
		require.Equal(t, in, v.Encoded())
		again := session.NewValues(maps.Collect(v.All()))
		require.Equal(t, v, again, "one set of values has one encoding")
	})
}
