package apptest

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/cloakroom-go/cloakroom/session"
)

type person struct {
	Name string   `json:"name"`
	Tags []string `json:"tags,omitempty"`
}

func everyKind(t *testing.T, _ *World, b *Browser) {
	texts := map[string]string{
		"null": `null`, "true": `true`, "false": `false`, "zero": `0`, "negative": `-17`, "big": `9007199254740993`,
		"biggest": `18446744073709551615`, "fraction": `0.1`, "small": `1e-9`, "empty": `""`,
		"text":  `"straße 👋 <b> & \\ \" \n"`,
		"array": `[1,[2,[3,{}]],null]`, "object": `{"b":1,"a":{"c":[true]}}`, "name with \"quotes\" and ü": `1`,
	}
	b.Do(func(s *session.Session) {
		for name, text := range texts {
			assert.NoError(t, session.Key[any](name).Set(s, json.RawMessage(text)))
		}
		assert.NoError(t, session.Key[any]("person").Set(s, person{Name: "Ada", Tags: []string{"x", "y"}}))
		assert.NoError(t, session.Key[any]("time").Set(s, time.Date(2026, 1, 1, 0, 0, 0, 5, time.UTC)))
		assert.NoError(t, session.Key[any]("int64").Set(s, int64(math.MaxInt64)))
		assert.NoError(t, session.Key[any]("bytes").Set(s, []byte{0, 255}))
	})
	b.Do(func(s *session.Session) {
		assert.Equal(t, len(texts)+4, len(s.Keys()))
		for name, text := range texts {
			got, ok, err := session.Key[json.RawMessage](name).Lookup(s)
			assert.NoError(t, err)
			assert.True(t, ok)
			assert.Equal(t, text, string(got), name)
		}
		p, ok, err := session.Key[person]("person").Lookup(s)
		assert.NoError(t, err)
		assert.True(t, ok)
		assert.Equal(t, person{Name: "Ada", Tags: []string{"x", "y"}}, p)
		assert.Equal(t, time.Date(2026, 1, 1, 0, 0, 0, 5, time.UTC), session.Key[time.Time]("time").Get(s))
		assert.Equal(t, int64(math.MaxInt64), session.Key[int64]("int64").Get(s))
		assert.Equal(t, []byte{0, 255}, session.Key[[]byte]("bytes").Get(s))
		assert.Equal(t, uint64(math.MaxUint64), session.Key[uint64]("biggest").Get(s))
	})
}

func deleteAndClear(t *testing.T, _ *World, b *Browser) {
	b.Do(func(s *session.Session) {
		for _, name := range []string{"a", "b", "c"} {
			assert.NoError(t, session.Key[any](name).Set(s, name))
		}
		assert.NoError(t, session.Key[any]("b").Delete(s))
		assert.Equal(t, []string{"a", "c"}, s.Keys())
	})
	b.Do(func(s *session.Session) {
		assert.Equal(t, []string{"a", "c"}, s.Keys())
		assert.NoError(t, session.Key[any]("a").Delete(s))
	})
	var id string
	b.Do(func(s *session.Session) {
		assert.Equal(t, []string{"c"}, s.Keys())
		assert.NoError(t, s.Clear())
		id = s.ID()
	})
	b.Do(func(s *session.Session) {
		assert.Zero(t, len(s.Keys()))
		assert.Equal(t, id, s.ID(), "clearing the values doesn't end the session")
	})
}

func flash(t *testing.T, _ *World, b *Browser) {
	const message session.Key[string] = "flash"
	b.Do(func(s *session.Session) { assert.NoError(t, message.Set(s, "saved")) })
	b.Do(func(s *session.Session) {
		got, ok, err := message.Take(s)
		assert.NoError(t, err)
		assert.True(t, ok)
		assert.Equal(t, "saved", got)
		_, ok, _ = message.Take(s)
		assert.False(t, ok)
	})
	b.Do(func(s *session.Session) {
		_, ok, err := message.Take(s)
		assert.NoError(t, err)
		assert.False(t, ok)
	})
}

func badValues(t *testing.T, _ *World, b *Browser) {
	cycle := map[string]any{}
	cycle["self"] = cycle
	tests := []struct {
		name  string
		value any
	}{
		{"function", func() {}},
		{"channel", make(chan int)},
		{"not a number", math.NaN()},
		{"cycle", cycle},
		{"invalid UTF-8", "a\xffb"},
		{"repeated name", json.RawMessage(`{"a":1,"a":2}`)},
		{"lone surrogate", json.RawMessage(`"\ud800"`)},
		{"not JSON", json.RawMessage(`{`)},
		{"two values", json.RawMessage(`1 2`)},
		{"deep", json.RawMessage(strings.Repeat("[", 101) + strings.Repeat("]", 101))},
	}
	b.Do(func(s *session.Session) {
		for _, tt := range tests {
			err := session.Key[any]("x").Set(s, tt.value)
			assert.ErrorIs(t, err, session.BadValue, tt.name)
			assert.False(t, s.Has("x"), tt.name)
		}
		assert.ErrorIs(t, session.Key[any]("").Set(s, 1), session.BadValue)
		assert.ErrorIs(t, session.Key[any]("a\xff").Set(s, 1), session.BadValue)
		assert.ErrorIs(t, session.Key[any](strings.Repeat("n", 257)).Set(s, 1), session.BadValue)
		deep := json.RawMessage(strings.Repeat("[", 100) + strings.Repeat("]", 100))
		assert.NoError(t, session.Key[any]("deep enough").Set(s, deep))
	})
	b.Do(func(s *session.Session) { assert.Equal(t, []string{"deep enough"}, s.Keys()) })
}

func wrongType(t *testing.T, _ *World, b *Browser) {
	b.Do(func(s *session.Session) { assert.NoError(t, session.Key[any]("visits").Set(s, "many")) })
	b.Do(func(s *session.Session) {
		assert.Zero(t, Visits.Get(s))
		_, ok, err := Visits.Lookup(s)
		assert.True(t, ok)
		assert.ErrorIs(t, err, session.BadValue)
		assert.NotContains(t, err.Error(), "many")
		_, err = Visits.Update(s, func(n int) int { return n + 1 })
		assert.ErrorIs(t, err, session.BadValue)
		assert.Equal(t, "many", session.Key[string]("visits").Get(s))
	})
}
