package session

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"
)

// maxNameLength bounds the name of a value, in bytes.
const maxNameLength = 256

// maxDepth bounds the nesting of a value. The token gate allows much more, so
// a value that is accepted here never fails there.
const maxDepth = 100

// encode returns v as JSON text. It encodes as encoding/json does, except that
// it refuses what that would alter or let through: invalid UTF-8, and duplicate
// names in a json.RawMessage or from a MarshalJSON method.
func encode(name string, v any) (string, error) {
	if err := checkName(name); err != nil {
		return "", err
	}
	if text, ok := encodeSimple(v); ok {
		return text, nil
	}
	data, err := jsonv2.Marshal(v, jsonv1.DefaultOptionsV1(),
		jsontext.AllowInvalidUTF8(false), jsontext.AllowDuplicateNames(false),
		jsontext.EscapeForHTML(false), jsontext.EscapeForJS(false))
	if err != nil {
		return "", fmt.Errorf("session: value %q of type %T can't be kept as JSON: %s: %w", name, v, whyNotEncoded(v, err),
			BadValue)
	}
	if why := losesValue(reflect.ValueOf(v)); why != "" {
		return "", fmt.Errorf("session: value %q of type %T can't be kept as JSON: %s: %w", name, v, why, BadValue)
	}
	if depth(data) > maxDepth {
		return "", fmt.Errorf("session: value %q of type %T is nested deeper than %d: %w", name, v, maxDepth, BadValue)
	}
	return string(data), nil
}

// encodeSimple encodes as encode does, without reflection, the values that most
// sessions have. ok is false for all others.
func encodeSimple(v any) (text string, ok bool) {
	switch v := v.(type) {
	case bool:
		return strconv.FormatBool(v), true
	case int:
		return strconv.Itoa(v), true
	case string:
		if isSimple(v) {
			return `"` + v + `"`, true
		}
	}
	return "", false
}

// decodeSimple reads what encodeSimple writes, into a pointer. ok is false for
// everything else.
func decodeSimple(text string, into any) (ok bool) {
	switch into := into.(type) {
	case *bool:
		*into = text == "true"
		return *into || text == "false"
	case *int:
		n, err := strconv.Atoi(text)
		*into = n
		digits := strings.TrimPrefix(text, "-")
		return err == nil && (digits[0] > '0' || text == "0") // JSON has no leading zeros, and no plus
	case *string:
		if len(text) < 2 || text[0] != '"' || text[len(text)-1] != '"' {
			return false
		}
		inner := text[1 : len(text)-1]
		*into = strings.Clone(inner) // a part would keep all of the session in memory
		return isSimple(inner)
	}
	return false
}

// isSimple reports whether a JSON string has the characters of s as they are.
func isSimple(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

func checkName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("session: a value needs a name: %w", BadValue)
	case len(name) > maxNameLength:
		return fmt.Errorf("session: name of a value is longer than %d bytes: %w", maxNameLength, BadValue)
	case !utf8.ValidString(name):
		return fmt.Errorf("session: name %q of a value is not UTF-8: %w", name, BadValue)
	}
	return nil
}

// depth returns how deep valid JSON text is nested.
func depth(text []byte) int {
	deepest, open, quoted := 0, 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case strings.IndexByte("[{", c) >= 0:
			open++
			deepest = max(deepest, open)
		case strings.IndexByte("]}", c) >= 0:
			open--
		}
	}
	return deepest
}
