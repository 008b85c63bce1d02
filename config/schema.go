package config

import (
	"encoding"
	"reflect"
	"slices"
	"strings"
)

// A leaf is a field that holds a value, found at a dotted path of a document.
type leaf struct {
	path string // session.idle_timeout
	env  string // CLOAKROOM_SESSION_IDLE_TIMEOUT
	kind reflect.Kind
}

// leaves returns every leaf of Config, in the order of its fields.
func leaves() []leaf { return leavesOf(reflect.TypeFor[Config](), "") }

func leavesOf(t reflect.Type, prefix string) []leaf {
	var all []leaf
	for f := range t.Fields() {
		if !f.IsExported() {
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case f.Type.Kind() == reflect.Struct:
			all = append(all, leavesOf(f.Type, prefix+name+".")...)
		default:
			all = append(all, leaf{prefix + name, envName(prefix+name, f.Tag.Get("env")), kindOf(f.Type)})
		}
	}
	return all
}

func envName(path, tag string) string {
	if tag != "" {
		return envPrefix + tag
	}
	return envPrefix + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

// kindOf returns the kind of value that a document gives for a field of type t.
func kindOf(t reflect.Type) reflect.Kind {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return reflect.String
	}
	return t.Kind()
}

// closest returns the name among known that name is most likely a slip of, or
// "" if there is none: one letter may differ, and one more for each four of what
// follows the sections and words that both begin with.
func closest(name string, known []string) string {
	best, least := "", len(name)
	for _, k := range known {
		own := name[max(shared(name, k), strings.LastIndex(name, ".")+1):]
		if d := distance(name, k); d < least && d <= 1+len(own)/4 {
			best, least = k, d
		}
	}
	return best
}

// shared returns the length of the whole words that a and b both begin with.
func shared(a, b string) (length int) {
	for i := 0; i < min(len(a), len(b)) && a[i] == b[i]; i++ {
		if a[i] == '_' || a[i] == '.' {
			length = i + 1
		}
	}
	return length
}

// distance returns how many bytes must be inserted, deleted or replaced to make
// b of a (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		above := slices.Clone(row)
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(row[j]+1, above[j+1]+1, above[j]+cost)
		}
	}
	return row[len(b)]
}
