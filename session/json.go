package session

import (
	"fmt"
	"reflect"
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
