package session

import (
	"encoding/binary"
	"iter"
	"sort"
	"strings"

	"github.com/cloakroom-go/cloakroom/internal/strict"
)

// Values is an immutable set of named values in JSON. It is one string, sorted
// by name, that is searched without being decoded, so opening a session decodes
// nothing.
//
// The layout is, for each entry: the length of the name, the name, the length
// of the value, the value; lengths as unsigned varints.
type Values struct {
	encoded string
	count   int
}

// ParseValues reads what [Values.Encoded] returned. It checks the whole layout,
// so that a damaged record is refused and never half read.
func ParseValues(encoded string) (Values, bool) {
	v := Values{encoded: encoded}
	previous, rest := "", encoded
	for rest != "" {
		name, _, tail, ok := cutEntry(rest)
		if !ok || (v.count > 0 && name <= previous) {
			return Values{}, false
		}
		previous, rest = name, tail
		v.count++
	}
	return v, true
}

// Encoded returns the binary layout of v.
func (v Values) Encoded() string { return v.encoded }

// Len returns the number of values.
func (v Values) Len() int { return v.count }

// Get returns the JSON text of the value called name.
func (v Values) Get(name string) (json string, ok bool) {
	for n, value := range v.All() {
		if n == name {
			return value, true
		}
	}
	return "", false
}

// All yields the names and their JSON texts, sorted by name.
func (v Values) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for rest := v.encoded; rest != ""; {
			name, value, tail, ok := cutEntry(rest)
			if !ok || !yield(name, value) {
				return
			}
			rest = tail
		}
	}
}

// with returns a copy of v in which name has the given JSON text.
func (v Values) with(name, json string) Values {
	before, after, had := v.around(name)
	var b strings.Builder
	b.Grow(len(v.encoded) + len(name) + len(json) + 2*binary.MaxVarintLen32)
	b.WriteString(before)
	appendEntry(&b, name, json)
	b.WriteString(after)
	next := Values{encoded: b.String(), count: v.count}
	if !had {
		next.count++
	}
	return next
}

// without returns a copy of v that lacks name.
func (v Values) without(name string) Values {
	before, after, had := v.around(name)
	if !had {
		return v
	}
	return Values{encoded: before + after, count: v.count - 1}
}

// around returns what is encoded before and after the entry called name, or
// before and after its place if v has none.
func (v Values) around(name string) (before, after string, has bool) {
	for rest := v.encoded; rest != ""; {
		n, _, tail, _ := cutEntry(rest)
		if n >= name {
			before = v.encoded[:len(v.encoded)-len(rest)]
			if n == name {
				return before, tail, true
			}
			return before, rest, false
		}
		rest = tail
	}
	return v.encoded, "", false
}

// NewValues makes Values of names and JSON texts. The texts are not checked:
// [Key.Set] and package token do that.
func NewValues(texts map[string]string) Values {
	names := make([]string, 0, len(texts))
	size := 0
	for name, text := range texts {
		names = append(names, name)
		size += len(name) + len(text) + 2*binary.MaxVarintLen16
	}
	sort.Strings(names)
	var b strings.Builder
	b.Grow(size)
	for _, name := range names {
		appendEntry(&b, name, texts[name])
	}
	return Values{encoded: b.String(), count: len(names)}
}

func appendEntry(b *strings.Builder, name, value string) {
	var length [binary.MaxVarintLen64]byte
	for _, s := range [2]string{name, value} {
		b.Write(binary.AppendUvarint(length[:0], uint64(len(s))))
		b.WriteString(s)
	}
}

// cutEntry takes an entry off the front of s.
func cutEntry(s string) (name, value, rest string, ok bool) {
	if name, s, ok = strict.String(s); !ok {
		return "", "", "", false
	}
	value, s, ok = strict.String(s)
	return name, value, s, ok
}
