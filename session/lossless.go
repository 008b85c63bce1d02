package session

import (
	"encoding"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"
)

// whyNotEncoded names the cause of err, which the encoder has returned for v.
// The library's own text may quote the value.
func whyNotEncoded(v any, err error) string {
	var unsupported *jsonv1.UnsupportedTypeError
	var method *jsonv1.MarshalerError
	switch {
	case encodes(v, jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(false)):
		return "a string in it is not valid UTF-8"
	case encodes(v, jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)):
		return "an object in it has a name twice"
	case errors.As(err, &unsupported) && unsupported.Type != nil:
		return "type " + unsupported.Type.String() + " has no form in JSON"
	case errors.As(err, new(*jsonv1.UnsupportedValueError)):
		return "it leads to itself, or has a number that is infinite or not a number, or a map whose keys have no form " +
			"in JSON"
	case errors.As(err, &method) && method.Type != nil:
		return "the method by which " + method.Type.String() + " encodes itself has failed"
	}
	return "its JSON is not valid"
}

func encodes(v any, allow ...jsonv2.Options) bool {
	_, err := jsonv2.Marshal(v, append([]jsonv2.Options{jsonv1.DefaultOptionsV1()}, allow...)...)
	return err == nil
}

// losesValue says why v, which the encoder has accepted, would not come back;
// "" if nothing is lost that a type keeps in exported fields. The encoder
// writes {} for a struct without any.
func losesValue(v reflect.Value) string {
	if !v.IsValid() || plain(v.Kind()) || encodesItself(v.Type()) {
		return ""
	}
	if v.Type().Implements(reflect.TypeFor[error]()) {
		return "an error can't be decoded again; keep its text"
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return losesValue(v.Elem())
	case reflect.Struct:
		return structLosesValue(v)
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if plain(v.Type().Elem().Kind()) {
				break
			}
			if why := losesValue(v.Index(i)); why != "" {
				return why
			}
		}
	case reflect.Map:
		if plain(v.Type().Elem().Kind()) {
			return ""
		}
		for _, value := range v.Seq2() {
			if why := losesValue(value); why != "" {
				return why
			}
		}
	}
	return ""
}

func structLosesValue(v reflect.Value) string {
	fields := reflect.VisibleFields(v.Type())
	kept := slices.DeleteFunc(slices.Clone(fields), func(f reflect.StructField) bool {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		embedded := f.Anonymous && name == "" // its fields are those of v
		return !f.IsExported() || f.Tag.Get("json") == "-" || embedded && !encodesItself(f.Type)
	})
	switch {
	case len(kept) > 0 || len(fields) == 0:
	case encodesItself(reflect.PointerTo(v.Type())):
		return v.Type().String() + " encodes itself only through a pointer; it needs a pointer"
	default:
		return v.Type().String() + " has no exported fields, so JSON would keep nothing of it"
	}
	for _, f := range kept {
		field, err := v.FieldByIndexErr(f.Index) // an error: in an embedded pointer that is nil
		if err != nil || plain(field.Kind()) {
			continue
		}
		if why := losesValue(field); why != "" {
			return "field " + f.Name + ": " + why
		}
	}
	return ""
}

// plain reports whether values of a kind are kept whole: they hold no others.
func plain(k reflect.Kind) bool { return k < reflect.Array || k == reflect.String }

// encodesItself reports whether a type has a method that the encoder calls.
func encodesItself(t reflect.Type) bool {
	return t.Implements(reflect.TypeFor[json.Marshaler]()) || t.Implements(reflect.TypeFor[encoding.TextMarshaler]()) ||
		t.Implements(reflect.TypeFor[jsonv2.MarshalerTo]()) || t.Implements(reflect.TypeFor[encoding.TextAppender]())
}
