package config

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// A leaf is a field of [Config], or of one of its parts, that holds a value.
type leaf struct {
	path  string // session.idle_timeout
	env   string // CLOAKROOM_SESSION_IDLE_TIMEOUT
	index []int  // for reflect.Value.FieldByIndex
}

// leaves returns every leaf of Config, in the order of its fields.
func leaves() []leaf { return leavesOf(reflect.TypeFor[Config](), "", nil) }

// leafThat returns the first leaf that is one, or an empty leaf.
func leafThat(is func(leaf) bool) leaf {
	all := leaves()
	if i := slices.IndexFunc(all, is); i >= 0 {
		return all[i]
	}
	return leaf{}
}

// leavesOf returns the leaves of the part of Config that is of type t. Their
// paths begin with prefix, and their indices with index.
func leavesOf(t reflect.Type, prefix string, index []int) (all []leaf) {
	for f := range t.Fields() {
		name := nameOf(f)
		at := append(slices.Clone(index), f.Index...)
		switch {
		case name == "":
		case f.Type.Kind() == reflect.Struct:
			all = append(all, leavesOf(f.Type, prefix+name+".", at)...)
		default:
			path := prefix + name
			all = append(all, leaf{path: path, env: envName(path, f.Tag.Get("env")), index: at})
		}
	}
	return all
}

// nameOf returns the name of a field in a document, "" for padding.
func nameOf(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	return name
}

// fieldNamed returns the field that a document calls name. If there is none,
// the result is not valid.
func fieldNamed(section reflect.Value, name string) reflect.Value {
	for f, field := range section.Fields() {
		if name != "" && nameOf(f) == name {
			return field
		}
	}
	return reflect.Value{}
}

// isListOfMappings reports whether a document has a list of mappings for a
// field of type t.
func isListOfMappings(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct
}

// listOf returns the path of the list that the field at path is in an element
// of, and the rest of path: "services.clients" and "[0].id". For other fields
// the rest is "".
func listOf(path string) (list, rest string) {
	i := max(0, strings.IndexByte(path, '['))
	if i == 0 {
		return path, ""
	}
	return path[:i], path[i:]
}

// unknownField refuses a field that does not exist.
func unknownField(path string) error {
	var known []string
	for _, l := range leaves() {
		known = append(known, l.path)
		if section, _, nested := strings.Cut(l.path, "."); nested && !slices.Contains(known, section) {
			known = append(known, section)
		}
	}
	if list, rest := listOf(path); rest != "" {
		return unknownElement(path, list)
	}
	if slices.Contains(known, path) { // at the top of the document
		section, name, _ := strings.Cut(path, ".")
		return fmt.Errorf("config: %s is one name with a dot; write %s: {%s: …}", fieldLabel(path), section, name)
	}
	return unknownName(fieldLabel(path), path, closest(path, known), strconv.Quote)
}

// unknownElement refuses a field that the elements of a list don't have.
func unknownElement(path, list string) error {
	field := reflect.TypeFor[Config]().FieldByIndex(leafThat(func(l leaf) bool { return l.path == list }).index)
	at := path[:strings.LastIndexByte(path, '.')+1]
	var known []string
	for f := range field.Type.Elem().Fields() {
		known = append(known, at+nameOf(f))
	}
	like := closest(path, known)
	if path == at+"secret" && slices.Contains(known, path+"_file") {
		like = path + "_file"
	}
	return unknownName(fieldLabel(path), path, like, strconv.Quote)
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

// closest returns the known name that name is most likely a typo of, or "". One
// letter may differ, and one more for each four letters that follow the
// sections and words that both names begin with.
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

// distance returns how many bytes must be inserted, deleted or replaced to turn
// a into b (Levenshtein).
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
