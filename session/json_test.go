package session_test

import (
	"encoding/json"
	"math"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/session"
)

// textOf returns the JSON text that Set keeps.
func textOf[T any](t *testing.T, v T) string {
	t.Helper()
	s, _ := begin(nil, &moment{start})
	require.NoError(t, session.Key[T]("a").Set(s, v))
	return string(session.Key[json.RawMessage]("a").Get(s))
}

// Strings, numbers and truth values, which are encoded by a shorter way, have
// the same text as in a list, which isn't.
func TestSimpleValues(t *testing.T) {
	texts := []string{"", "Alice Example", `"quoted"`, `back\slash`, "<&>", "日本語", "\u2028", "\U0001f511", "null", "1"}
	for c := range rune(0x180) {
		texts = append(texts, string(c), "a"+string(c)+"b")
	}
	for _, v := range texts {
		require.Equal(t, textOf(t, [1]string{v}), "["+textOf(t, v)+"]", "%q", v)
		s, _ := begin(nil, &moment{start})
		require.NoError(t, session.Key[string]("a").Set(s, v))
		require.Equal(t, v, session.Key[string]("a").Get(s))
	}
	for _, v := range []int{0, 1, -1, 10, math.MaxInt/1024 + 1, math.MaxInt/1024 + 2, math.MaxInt, math.MinInt} {
		require.Equal(t, textOf(t, [1]int{v}), "["+textOf(t, v)+"]")
		s, _ := begin(nil, &moment{start})
		require.NoError(t, session.Key[int]("a").Set(s, v))
		require.Equal(t, v, session.Key[int]("a").Get(s))
	}
	for _, v := range []bool{true, false} {
		require.Equal(t, textOf(t, [1]bool{v}), "["+textOf(t, v)+"]")
	}
}

// What another type has left there is read as encoding/json reads it.
func TestSimpleValuesOfOtherTypes(t *testing.T) {
	for _, text := range []string{
		"null", "true", "false", "0", "-0", "1.0", "1e2", "-1", "12", "1E400", "9223372036854775807", "9223372036854775808",
		`""`, `"a"`, `"\u0041"`, `"\n"`, `"é"`, `"1"`, "[]", "{}", `["a"]`,
	} {
		sameAsJSON[int](t, text)
		sameAsJSON[string](t, text)
		sameAsJSON[bool](t, text)
	}
}

func sameAsJSON[T any](t *testing.T, text string) {
	t.Helper()
	s, _ := begin(nil, &moment{start})
	require.NoError(t, session.Key[json.RawMessage]("a").Set(s, json.RawMessage(text)), strconv.Quote(text))
	var want, zero T
	wantErr := json.Unmarshal([]byte(text), &want)
	if wantErr != nil {
		want = zero
	}
	got, _, err := session.Key[T]("a").Lookup(s)
	require.Equal(t, wantErr == nil, err == nil, "%s as %T: %v", text, got, err)
	require.Equal(t, want, got, "%s as %T", text, got)
}
