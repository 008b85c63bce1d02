package config

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-viper/mapstructure/v2"
	"github.com/goccy/go-yaml"

	"github.com/cloakroom-go/cloakroom/internal/fault"
)

// maxDocument is the size of the largest document, in bytes.
const maxDocument = 1 << 20 // 1 MiB

// Load reads the YAML or JSON document at path, as [Parse] does.
func Load(path string) (Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return Config{}, fmt.Errorf("config: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxDocument+1))
	if err != nil {
		return Config{}, fmt.Errorf("config: %w", err)
	}
	cfg, err := Parse(data)
	if err != nil {
		var errs []error
		for _, err := range mistakes(err) {
			errs = append(errs, fmt.Errorf("config: %s: %w", path, fault.Inner(err)))
		}
		return Config{}, errors.Join(errs...)
	}
	return cfg, nil
}

// Parse reads one YAML or JSON document, at most 1 MiB of UTF-8. An empty
// document gives the defaults. All mistakes are reported at once, each with its
// field, and then the Config is the zero one.
//
// A document must hold by itself: it may lack what [FromEnv] is going to add,
// but not contradict itself.
func Parse(data []byte) (Config, error) {
	tree, err := parseTree(data)
	if err != nil {
		return Config{}, err
	}
	var cfg Config
	if err := decode(tree, &cfg, fieldLabel); err != nil {
		return Config{}, err
	}
	return cfg, nil
}

// parseTree reads a document into maps, lists and plain values. Repeated names
// are refused, by the YAML decoder.
func parseTree(data []byte) (map[string]any, error) {
	switch {
	case len(data) > maxDocument:
		return nil, fmt.Errorf("config: the document is longer than %v", Size(maxDocument))
	case !utf8.Valid(data):
		return nil, errors.New("config: the document is not UTF-8; save it in that encoding")
	}
	var root, second any
	dec := yaml.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&root); err != nil && !errors.Is(err, io.EOF) {
		return nil, syntaxError(err)
	}
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, errors.New(`config: there is a second document behind "---"; keep one`)
	}
	return asTree(root)
}

// asTree returns a document whose decoder knows no types of ours.
func asTree(root any) (map[string]any, error) {
	switch root := plain(root).(type) {
	case nil:
		return nil, nil
	case map[string]any:
		return root, nil
	}
	return nil, errors.New(`config: the document must be a mapping, like "mode: stateless"`)
}

// syntaxError says where the document is wrong, on one line.
func syntaxError(err error) error {
	var syntax yaml.Error
	if !errors.As(err, &syntax) || syntax.GetToken() == nil {
		return fmt.Errorf("config: %w", err)
	}
	at, message := syntax.GetToken().Position, syntax.GetMessage()
	if strings.HasPrefix(message, "could not find alias") || strings.HasPrefix(message, "cannot convert") {
		// The library repeats the value, which may be a secret.
		message = "this begins with * or !!, which has a meaning in YAML; put the text in quotes"
	}
	return fmt.Errorf("config: line %d, column %d: %s", at.Line, at.Column, message)
}

// A labeler names a field in an error, as its reader wrote it.
type labeler func(path string) string

func fieldLabel(path string) string { return fmt.Sprintf("field %q", path) }

// decode lays tree over cfg and reports all mistakes, those of the result
// included.
func decode(tree map[string]any, cfg *Config, label labeler) error {
	errs := checkTree(tree, label)
	dec, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result:     cfg,
		TagName:    "yaml",
		ZeroFields: true,                                                 // a list takes the place of the one before
		MatchName:  func(key, field string) bool { return key == field }, // not Mode for mode
		DecodeHook: mapstructure.DecodeHookFuncValue(convert),
	})
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	for _, err := range decodeErrors(dec.Decode(tree)) {
		errs = append(errs, fmt.Errorf("config: %s: %w", label(err.Name()), err.Unwrap()))
	}
	return errors.Join(append(errs, cfg.validate(label)...)...)
}

// checkTree reports fields that don't exist and fields without a value.
func checkTree(tree map[string]any, label labeler) []error {
	var known []string
	for _, l := range leaves() {
		known = append(known, l.path)
		if section, _, nested := strings.Cut(l.path, "."); nested && !slices.Contains(known, section) {
			known = append(known, section)
		}
	}
	return checkFields(tree, "", known, label)
}

func checkFields(tree map[string]any, prefix string, known []string, label labeler) []error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		path, value := prefix+name, tree[name]
		section, isSection := value.(map[string]any)
		isSection = isSection && slices.ContainsFunc(known, func(k string) bool { return strings.HasPrefix(k, path+".") })
		switch {
		case !slices.Contains(known, path):
			errs = append(errs, unknownField(path, known))
		case value == nil || value == "":
			errs = append(errs, fmt.Errorf("config: %s is empty; give it a value, or leave it out for its default", label(path)))
		case isSection:
			errs = append(errs, checkFields(section, path+".", known, label)...)
		}
	}
	return errs
}

func unknownField(path string, known []string) error {
	return unknownName(fieldLabel(path), path, closest(path, known), strconv.Quote)
}

// convert is called by the decoder for each value, with the field that it is
// for. Values are never converted from one kind to another, except texts into
// types that read themselves; those also get numbers, to ask for the unit.
func convert(from, to reflect.Value) (any, error) {
	value := from.Interface()
	if value == "" {
		return to.Interface(), nil // checkTree has reported it
	}
	if t, ok := reflect.New(to.Type()).Interface().(encoding.TextUnmarshaler); ok {
		switch value.(type) {
		case string, int64, uint64, float64:
			err := t.UnmarshalText([]byte(fmt.Sprint(value)))
			return reflect.ValueOf(t).Elem().Interface(), err
		}
		return nil, wants("a text with a unit", value)
	}
	ok, kind := true, ""
	switch to.Kind() {
	case reflect.String:
		_, ok = value.(string)
		kind = "a text; put it in quotes"
	case reflect.Bool:
		_, ok = value.(bool)
		kind = "true or false"
		if value == "true" || value == "false" {
			return nil, errors.New("must be true or false without quotes")
		}
	case reflect.Int:
		ok = isInt(value, to)
		kind = "a whole number"
	case reflect.Slice:
		var list []any
		list, ok = value.([]any)
		kind = "a list of texts"
		if slices.ContainsFunc(list, func(v any) bool { _, isText := v.(string); return !isText }) {
			return nil, errors.New("must be a list of texts; put each in quotes")
		}
	case reflect.Struct:
		_, ok = value.(map[string]any)
		kind = "a mapping of fields"
	}
	switch {
	case ok:
		return value, nil
	case to.Kind() == reflect.String && reflect.ValueOf(value).Kind() < reflect.Array:
		return nil, fmt.Errorf("must be %s", kind) // not what it is: that may be a secret of digits
	}
	return nil, wants(kind, value)
}

// isInt reports whether value is an integer that to can hold.
func isInt(value any, to reflect.Value) bool {
	switch v := value.(type) {
	case int64:
		return !to.OverflowInt(v)
	case uint64:
		return v <= math.MaxInt64 && !to.OverflowInt(int64(v))
	}
	return false
}

func wants(kind string, value any) error {
	switch value.(type) {
	case map[string]any:
		return fmt.Errorf("must be %s, not a mapping", kind)
	case []any:
		return fmt.Errorf("must be %s, not a list", kind)
	}
	return fmt.Errorf("must be %s, not %v", kind, value)
}

// decodeErrors returns the mistakes that err consists of.
func decodeErrors(err error) []*mapstructure.DecodeError {
	switch e := err.(type) {
	case nil:
		return nil
	case *mapstructure.DecodeError:
		return []*mapstructure.DecodeError{e}
	case interface{ Unwrap() []error }:
		var all []*mapstructure.DecodeError
		for _, err := range e.Unwrap() {
			all = append(all, decodeErrors(err)...)
		}
		return all
	}
	return decodeErrors(errors.Unwrap(err))
}
