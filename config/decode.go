package config

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"

	"github.com/cloakroom-go/cloakroom/internal/fault"
)

// maxDocument is the size of the largest document, in bytes.
const maxDocument = 1 << 20 // 1 MiB

// Load reads the YAML or JSON document at path, as [Parse] does. If others than
// the owner and the group of the file can use it, it refuses a password in it.
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
	if err == nil {
		err = cfg.checkPasswordIn(f)
	}
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
// document gives the defaults. Parse reports all mistakes at once, each with
// its field; it then returns the zero Config.
//
// A document may lack settings that [FromEnv] adds later, but it must not
// contradict itself.
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

// parseTree reads a document into maps, lists and plain values. The YAML
// decoder refuses repeated names.
func parseTree(data []byte) (map[string]any, error) {
	switch {
	case len(data) > maxDocument:
		return nil, fmt.Errorf("config: the document is longer than %v", Size(maxDocument))
	case !utf8.Valid(data):
		return nil, errors.New("config: the document is not UTF-8; save it in that encoding")
	}
	root, err := parseYAML(data)
	if err != nil {
		return nil, err
	}
	return asTree(root)
}

// parseYAML reads one document, of whatever kind.
func parseYAML(data []byte) (any, error) {
	var root, second any
	dec := yaml.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&root); err != nil && !errors.Is(err, io.EOF) {
		return nil, syntaxError(err)
	}
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, errors.New(`config: there is a second document behind "---"; keep one`)
	}
	return root, nil
}

// asTree returns the fields of a document that was decoded without a type of
// ours.
func asTree(root any) (map[string]any, error) {
	switch root := plain(root).(type) {
	case nil:
		return nil, nil
	case map[string]any:
		return root, nil
	}
	return nil, errors.New(`config: the document must be a mapping, like "mode: stateless"`)
}

// syntaxError says on one line where the document is wrong.
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

// A labeler returns the name of a field as the reader of an error wrote it.
type labeler func(path string) string

func fieldLabel(path string) string { return fmt.Sprintf("field %q", path) }

// decode sets the fields of cfg that tree names, and reports every mistake,
// also those of the resulting Config.
func decode(tree map[string]any, cfg *Config, label labeler) error {
	d := decoder{label: label}
	d.section(reflect.ValueOf(cfg).Elem(), tree, "")
	return d.check(*cfg)
}

// A decoder sets fields and collects mistakes.
type decoder struct {
	label  labeler
	names  []error // about fields that don't exist or have no value
	values []error // about values that don't fit their fields
}

// check returns the mistakes that were collected, and those of the result.
func (d *decoder) check(result Config) error {
	return errors.Join(slices.Concat(d.names, d.values, result.validate(d.label))...)
}

// section sets the fields of a struct whose names begin with prefix. A field
// that tree lacks keeps its value.
func (d *decoder) section(to reflect.Value, tree map[string]any, prefix string) {
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		path, value := prefix+name, tree[name]
		field := fieldNamed(to, name)
		fields, isMapping := value.(map[string]any)
		switch {
		case !field.IsValid():
			d.names = append(d.names, unknownField(path))
		case field.Kind() == reflect.Struct && isMapping:
			d.section(field, fields, path+".")
		default:
			d.set(field, path, value)
		}
	}
}

// set sets the field at path.
func (d *decoder) set(field reflect.Value, path string, value any) {
	if value == nil || value == "" {
		const advice = "is empty; give it a value, or leave it out for its default"
		d.names = append(d.names, fmt.Errorf("config: %s %s", d.label(path), advice))
		return
	}
	if list, ok := value.([]any); ok && isListOfMappings(field.Type()) {
		d.mappings(field, path, list)
		return
	}
	if err := assign(field, value); err != nil {
		d.values = append(d.values, fmt.Errorf("config: %s: %w", d.label(path), err))
	}
}

// mappings makes a new list of structs: the one that the field had may belong
// to another Config. After a mistake it is empty, so that nothing is said to be
// missing that could not be read.
func (d *decoder) mappings(field reflect.Value, path string, list []any) {
	field.Set(reflect.MakeSlice(field.Type(), len(list), len(list)))
	before := len(d.names) + len(d.values)
	for i, value := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		if fields, ok := value.(map[string]any); ok {
			d.section(field.Index(i), fields, at+".")
			continue
		}
		d.values = append(d.values, fmt.Errorf("config: %s: %w", d.label(at), wantsUnsaid("a mapping of fields", "", value)))
	}
	if len(d.names)+len(d.values) > before {
		field.SetZero()
	}
}

// assign stores value in a field. A value is never converted from one kind to
// another: a typo must not become a setting. The exception is a type that reads
// itself from text. It also gets numbers, and then asks for their unit.
func assign(to reflect.Value, value any) error {
	if to.Kind() == reflect.Pointer {
		to.Set(reflect.New(to.Type().Elem()))
		to = to.Elem()
	}
	if t, ok := to.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return assignText(t, value)
	}
	switch to.Kind() {
	case reflect.String:
		if text, ok := value.(string); ok {
			to.SetString(text)
			return nil
		}
		return wantsUnsaid("a text", "; put it in quotes", value)
	case reflect.Bool:
		if b, ok := value.(bool); ok {
			to.SetBool(b)
			return nil
		}
		if value == "true" || value == "false" {
			return errors.New("must be true or false without quotes")
		}
		return wants("true or false", value)
	case reflect.Int:
		if n, ok := value.(int64); ok && !to.OverflowInt(n) {
			to.SetInt(n)
			return nil
		}
		return wants("a whole number", value)
	case reflect.Slice:
		return assignList(to, value)
	}
	return wantsUnsaid("a mapping of fields", "", value)
}

func assignText(to encoding.TextUnmarshaler, value any) error {
	switch value.(type) {
	case string, int64, uint64, float64:
		return to.UnmarshalText(fmt.Append(nil, value))
	}
	return wants("a text with a unit", value)
}

// assignList makes a new list: the one that the field had may belong to another
// Config.
func assignList(to reflect.Value, value any) error {
	list, ok := value.([]any)
	if !ok && isListOfMappings(to.Type()) {
		return wantsUnsaid("a list of mappings", "", value)
	}
	if !ok {
		return wantsUnsaid("a list of texts", "", value)
	}
	texts := make([]string, len(list))
	for i := range list {
		if texts[i], ok = list[i].(string); !ok {
			return errors.New("must be a list of texts; put each in quotes")
		}
	}
	to.Set(reflect.ValueOf(texts))
	return nil
}

// wantsUnsaid does not repeat a number or a text: it may be a secret that was
// written into the wrong field.
func wantsUnsaid(kind, advice string, value any) error {
	switch value.(type) {
	case map[string]any, []any:
		return wants(kind, value)
	}
	return errors.New("must be " + kind + advice)
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
