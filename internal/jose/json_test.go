package jose_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/jose"
)

type pair struct{ name, value string }

func members(data string) (list []pair, err error) {
	err = jose.Object([]byte(data), func(name string, value []byte) error {
		list = append(list, pair{name, string(value)})
		return nil
	})
	return list, err
}

func TestObject(t *testing.T) {
	tests := []struct {
		name, in string
		want     []pair
	}{
		{"empty", `{}`, nil},
		{"white space", " \t\r\n{ \n} ", nil},
		{"scalars", `{"a":1,"b":"x","c":true,"d":null,"e":-1.5e3}`, []pair{{"a", "1"}, {"b", `"x"`}, {"c", "true"}, {"d", "null"}, {"e", "-1.5e3"}}},
		{"spaces around", ` { "a" : 1 , "b" : [ 1 , 2 ] } `, []pair{{"a", "1"}, {"b", "[ 1 , 2 ]"}}},
		{"nested", `{"a":{"b":[{"c":"}]"},{}]},"d":[]}`, []pair{{"a", `{"b":[{"c":"}]"},{}]}`}, {"d", "[]"}}},
		{"quotes", `{"a\"b":"\"","c\\":"\\\\"}`, []pair{{`a"b`, `"\""`}, {`c\`, `"\\\\"`}}},
		{"escaped name", `{"\u0065xp":1}`, []pair{{"exp", "1"}}},
		{"surrogate pair", `{"\ud83d\ude00":1}`, []pair{{"😀", "1"}}},
		{"case variants are other names", `{"exp":1,"EXP":2,"Exp":3}`, []pair{{"exp", "1"}, {"EXP", "2"}, {"Exp", "3"}}},
		{"no normalization", "{\"\u00e9\":1,\"e\u0301\":2}", []pair{{"\u00e9", "1"}, {"e\u0301", "2"}}},
		{"empty name", `{"":1}`, []pair{{"", "1"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := members(tt.in)
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
		})
	}
}

// A25 to A28.
func TestObjectRefuses(t *testing.T) {
	tests := []struct{ name, in string }{
		{"nothing", ""}, {"null", "null"}, {"array", "[]"}, {"string", `"x"`}, {"number", "1"}, {"true", "true"},
		{"two objects", "{}{}"}, {"two objects and a space", "{} {}"}, {"trailing bytes", "{}x"}, {"trailing NUL", "{}\x00"}, {"trailing brace", "{}}"},
		{"duplicate", `{"a":1,"a":1}`}, {"duplicate, escaped", `{"exp":1,"\u0065xp":2}`}, {"duplicate, both escaped", `{"\u0065xp":1,"e\u0078p":2}`}, {"duplicate, nested", `{"a":{"b":1,"b":2}}`}, {"duplicate, in an array", `{"a":[{"b":1,"b":2}]}`},
		{"invalid UTF-8", "{\"a\":\"\xff\"}"}, {"invalid UTF-8 name", "{\"\xff\":1}"}, {"overlong", "{\"a\":\"\xc0\x80\"}"}, {"surrogate in UTF-8", "{\"a\":\"\xed\xa0\x80\"}"},
		{"lone high surrogate", `{"a":"\ud800"}`}, {"lone low surrogate", `{"a":"\udc00"}`}, {"swapped surrogates", `{"a":"\udc00\ud800"}`}, {"lone surrogate name", `{"\ud800":1}`},
		{"byte order mark", "\uFEFF{}"}, {"UTF-16", "\xff\xfe{\x00}\x00"}, {"UTF-16 without mark", "{\x00}\x00"}, {"UTF-32", "{\x00\x00\x00}\x00\x00\x00"},
		{"control character", "{\"a\":\"\x01\"}"}, {"line feed in a string", "{\"a\":\"\n\"}"}, {"bad escape", `{"a":"\x41"}`}, {"short escape", `{"a":"\u12"}`},
		{"comment", `{/**/}`}, {"trailing comma", `{"a":1,}`}, {"leading comma", `{,"a":1}`}, {"no colon", `{"a" 1}`}, {"no value", `{"a":}`}, {"number as name", `{1:1}`}, {"bare name", `{a:1}`}, {"single quotes", `{'a':1}`},
		{"leading zero", `{"a":01}`}, {"plus", `{"a":+1}`}, {"hex", `{"a":0x1}`}, {"Infinity", `{"a":Infinity}`}, {"NaN", `{"a":NaN}`}, {"bare point", `{"a":.5}`}, {"open fraction", `{"a":1.}`}, {"upper-case true", `{"a":TRUE}`},
		{"vertical tab", "{\v}"}, {"no-break space", "{\u00a0}"}, {"unclosed", `{"a":1`}, {"unclosed string", `{"a":"`}, {"mismatched", `{"a":[}]`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := members(tt.in)
			require.Error(t, err)
			require.Empty(t, got, "member was called before the whole object had been checked")
		})
	}
}

func TestObjectStopsAtAnError(t *testing.T) {
	stop := errors.New("stop")
	calls := 0
	err := jose.Object([]byte(`{"a":1,"b":2}`), func(string, []byte) error { calls++; return stop })
	require.Equal(t, stop, err)
	require.Equal(t, 1, calls)
}

func TestObjectValueCannotGrowIntoTheNext(t *testing.T) {
	data := []byte(`{"a":1,"b":2}`)
	require.NoError(t, jose.Object(data, func(_ string, value []byte) error {
		_ = append(value, "garbage"...)
		return nil
	}))
	require.Equal(t, `{"a":1,"b":2}`, string(data))
}

func TestString(t *testing.T) {
	tests := []struct {
		in, want string
		ok       bool
	}{
		{`""`, "", true}, {`"x"`, "x", true}, {`"a\"b\\\n\u00e9"`, "a\"b\\\né", true}, {`"é😀"`, "é😀", true}, {`"\ud83d\ude00"`, "😀", true}, {"\"\x7f\"", "\x7f", true}, {`"\u0000"`, "\x00", true},
		{``, "", false}, {`"`, "", false}, {`null`, "", false}, {`1`, "", false}, {`true`, "", false}, {`[]`, "", false}, {`["x"]`, "", false}, {`{}`, "", false}, {`x`, "", false},
		{`"a"b"`, "", false}, {`"a\"`, "", false}, {`"a" "b"`, "", false}, {` "a"`, "", false}, {`"a" `, "", false}, {"\"\xff\"", "", false}, {`"\ud800"`, "", false}, {"\"\n\"", "", false}, {`'a'`, "", false},
	}
	for _, tt := range tests {
		got, err := jose.String([]byte(tt.in))
		require.Equal(t, tt.ok, err == nil, "%q", tt.in)
		require.Equal(t, tt.want, got, "%q", tt.in)
	}
}

// A27: numbers that other libraries read in several ways.
func TestInt(t *testing.T) {
	tests := []struct {
		in   string
		want int64
		ok   bool
	}{
		{"0", 0, true}, {"1", 1, true}, {"-1", -1, true}, {"1790000000", 1790000000, true}, {"253402300800", 253402300800, true}, {"9007199254740991", 1<<53 - 1, true}, {"-9007199254740991", -(1<<53 - 1), true},
		{"9007199254740992", 0, false}, {"9007199254740993", 0, false}, {"-9007199254740992", 0, false}, {"9223372036854775807", 0, false}, {"9223372036854775808", 0, false}, {"18446744073709551616", 0, false},
		{"-0", 0, false}, {"+1", 0, false}, {"01", 0, false}, {"-01", 0, false}, {"1.0", 0, false}, {"1e3", 0, false}, {"1E3", 0, false}, {"1e400", 0, false}, {"1e30", 0, false}, {"1e-1", 0, false}, {"0.5", 0, false},
		{"", 0, false}, {"-", 0, false}, {`"1"`, 0, false}, {"null", 0, false}, {"true", 0, false}, {"[]", 0, false}, {"{}", 0, false}, {"Infinity", 0, false}, {"NaN", 0, false}, {"1_000", 0, false}, {"0x1", 0, false}, {" 1", 0, false}, {"1 ", 0, false},
		{strings.Repeat("1", 1000), 0, false},
	}
	for _, tt := range tests {
		got, err := jose.Int([]byte(tt.in))
		require.Equal(t, tt.ok, err == nil, "%q", tt.in)
		require.Equal(t, tt.want, got, "%q", tt.in)
	}
	require.Less(t, int64(1)<<53-1, int64(math.MaxInt64))
}

func TestBool(t *testing.T) {
	for in, want := range map[string]bool{"true": true, "false": false} {
		got, err := jose.Bool([]byte(in))
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, in := range []string{"", "null", "1", "0", `"true"`, "True", "TRUE", " true", "[]"} {
		_, err := jose.Bool([]byte(in))
		require.Error(t, err, "%q", in)
	}
}

func TestStrings(t *testing.T) {
	tests := []struct {
		in   string
		want []string
		ok   bool
	}{
		{`[]`, []string{}, true}, {`["a"]`, []string{"a"}, true}, {` [ "a" , "b\n" ] `, []string{"a", "b\n"}, true},
		{`"a"`, nil, false}, {`null`, nil, false}, {`[null]`, nil, false}, {`["a",1]`, nil, false}, {`["a",["b"]]`, nil, false}, {`["a",]`, nil, false}, {`["a"]x`, nil, false}, {`[`, nil, false}, {`{}`, nil, false}, {"[\"\xff\"]", nil, false}, {``, nil, false},
	}
	for _, tt := range tests {
		got, err := jose.Strings([]byte(tt.in))
		require.Equal(t, tt.ok, err == nil, "%q", tt.in)
		require.Equal(t, tt.want, got, "%q", tt.in)
	}
}

func TestBytes(t *testing.T) {
	got, err := jose.Bytes("AAEC")
	require.NoError(t, err)
	require.Equal(t, []byte{0, 1, 2}, got)
	for _, in := range []string{"A", "AB=", "AB==", "AA\n", "A A", "+A", "/A", "AB"} {
		_, err := jose.Bytes(in)
		require.Error(t, err, "%q", in)
	}
}
