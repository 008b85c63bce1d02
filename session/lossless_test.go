package session_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/big"
	"net/netip"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"encoding/json"

	"github.com/cloakroom-go/cloakroom/session"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type hidden struct{ secret string }

type embeds struct {
	hidden
	Name string
}

type untold struct {
	Secret string `json:"-"`
}

type cyclic struct{ Next *cyclic }

// Those encode themselves, each by another method.
type (
	asJSON   struct{ text string }
	asText   struct{ text string }
	streamed struct{ text string }
	appended struct{ text string }
)

func (a asJSON) MarshalJSON() ([]byte, error) { return json.Marshal(a.text) }
func (a asText) MarshalText() ([]byte, error) { return []byte(a.text), nil }
func (a streamed) MarshalJSONTo(e *jsontext.Encoder) error {
	return e.WriteToken(jsontext.String(a.text))
}
func (a appended) AppendText(b []byte) ([]byte, error) { return append(b, a.text...), nil }

type failing struct{}

func (failing) MarshalJSON() ([]byte, error) { return nil, errors.New("hunter2") }

// nested returns a list in a list, and so on.
func nested(depth int) (v any) {
	for range depth {
		v = []any{v}
	}
	return v
}

// What JSON would lose without a word is refused, with its cause and without
// the value; what it keeps is accepted.
func TestSetRefusesWhatJSONLoses(t *testing.T) {
	loop := &cyclic{}
	loop.Next = loop
	tests := []struct {
		name string
		in   any
		want string // "" if it is kept
	}{
		{"no exported fields", hidden{"hunter2"}, "session_test.hidden has no exported fields"},
		{"a pointer to it", &hidden{"hunter2"}, "session_test.hidden has no exported fields"},
		{"in a list", []any{1, hidden{"hunter2"}}, "session_test.hidden has no exported fields"},
		{"in an array", [2]any{1, hidden{"hunter2"}}, "session_test.hidden has no exported fields"},
		{"in a map", map[string]*hidden{"a": {"hunter2"}}, "session_test.hidden has no exported fields"},
		{"in a field", struct{ A, B any }{1, &hidden{"hunter2"}}, "field B: session_test.hidden has no exported fields"},
		{"fields left out", untold{"hunter2"}, "session_test.untold has no exported fields"},
		{"an atomic number", struct{ N *atomic.Int64 }{new(atomic.Int64)}, "field N: atomic.Int64 has no exported fields"},
		{"an error", errors.New("hunter2"), "an error can't be decoded again; keep its text"},
		{"a wrapped error", fmt.Errorf("hunter2: %w", fs.ErrNotExist), "an error can't be decoded again"},
		{"an error with fields", &fs.PathError{Op: "hunter2"}, "an error can't be decoded again"},
		{"an error in a field", struct{ Err error }{errors.New("hunter2")}, "field Err: an error can't be decoded again"},
		{"a number by value", *big.NewInt(7), "big.Int encodes itself only through a pointer; it needs a pointer"},
		{"a function", func() {}, "type func() has no form in JSON"},
		{"a channel in a field", struct{ C chan int }{make(chan int)}, "type chan int has no form in JSON"},
		{"a complex number", complex(1, 2), "type complex128 has no form in JSON"},
		{"a map with other keys", map[[1]int]string{{1}: "hunter2"}, "a map whose keys have no form in JSON"},
		{"not a number", math.NaN(), "a number that is infinite or not a number"},
		{"invalid UTF-8", "hunter2\xff", "a string in it is not valid UTF-8"},
		{"invalid UTF-8 in a field", struct{ A string }{"hunter2\xff"}, "a string in it is not valid UTF-8"},
		{"duplicate names", json.RawMessage(`{"hunter2":1,"hunter2":2}`), "an object in it has a name twice"},
		{"invalid JSON", json.RawMessage(`{"hunter2"`), ""},
		{"a method that fails", failing{}, "session_test.failing encodes itself has failed"},
		{"a value that leads to itself", loop, "leads to itself"},

		{"no fields at all", struct{}{}, ""},
		{"an embedded one beside others", embeds{hidden{"x"}, "y"}, ""},
		{"one of another package, too", struct {
			bytes.Buffer
			Name string
		}{Name: "x"}, ""},
		{"MarshalJSON", asJSON{"x"}, ""},
		{"MarshalText", asText{"x"}, ""},
		{"MarshalJSONTo", streamed{"x"}, ""},
		{"AppendText", appended{"x"}, ""},
		{"a hundred lists", nested(100), ""},
		{"a hundred and one", nested(101), "is nested deeper than 100"},
		{"a date", time.Now(), ""},
		{"a number behind a pointer", big.NewInt(7), ""},
		{"an address", netip.MustParseAddr("::1"), ""},
		{"a URL", url.URL{Host: "example"}, ""},
		{"bytes", []byte("x"), ""},
		{"nil", nil, ""},
		{"a nil pointer", (*embeds)(nil), ""},
		{"a list of structs", []embeds{{Name: "x"}}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, _ := begin(nil, &moment{start})
			err := session.Key[any]("a").Set(s, tt.in)
			if tt.name == "invalid JSON" {
				require.ErrorIs(t, err, session.BadValue)
				require.NotContains(t, err.Error(), "hunter2")
				return
			}
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, session.BadValue)
			assert.ErrorContains(t, err, tt.want)
			assert.NotContains(t, err.Error(), "hunter2")
			assert.False(t, s.Has("a"))
		})
	}
}

// The type of a value has changed: the error says what is kept, and there are
// ways out.
func TestValueOfAnotherType(t *testing.T) {
	const count session.Key[int] = "count"
	before := func() *session.Session {
		s, _ := begin(nil, &moment{start})
		require.NoError(t, session.Key[any]("count").Set(s, "hunter2"))
		return s
	}
	s := before()
	_, ok, err := count.Lookup(s)
	assert.True(t, ok)
	require.ErrorIs(t, err, session.BadValue)
	assert.ErrorContains(t, err, "the value is a JSON string")
	assert.NotContains(t, err.Error(), "hunter2")
	_, err = count.Update(s, func(n int) int { return n + 1 })
	require.ErrorIs(t, err, session.BadValue)
	assert.True(t, s.Has("count"), "Update leaves it")

	n, ok, err := count.Take(s)
	assert.Zero(t, n)
	assert.True(t, ok)
	assert.ErrorIs(t, err, session.BadValue)
	assert.False(t, s.Has("count"), "Take removes it")
	_, ok, err = count.Take(s)
	assert.False(t, ok)
	assert.NoError(t, err)

	s = before()
	require.NoError(t, count.Set(s, 1))
	assert.Equal(t, 1, count.Get(s))
	s = before()
	require.NoError(t, count.Delete(s))
	assert.Zero(t, count.Get(s))

	for _, tt := range []struct {
		in   any
		want string
	}{
		{map[string]int{}, "a JSON object"}, {[]int{}, "a JSON array"}, {"x", "a JSON string"}, {false, "a JSON boolean"}, {1.5, "a JSON number"},
	} {
		require.NoError(t, session.Key[any]("other").Set(s, tt.in))
		_, _, err := session.Key[chan int]("other").Lookup(s)
		require.ErrorContains(t, err, "the value is "+tt.want+", and not one of that type")
	}
}
