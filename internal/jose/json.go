package jose

import (
	"bytes"
	"errors"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// maxInt is 2^53-1, the largest integer that every JSON library reads exactly
// (RFC 8259, Section 6).
const maxInt = 1<<53 - 1

// Object reads data, which must be one strict JSON object and nothing else, and
// calls member for each of its members in order. The name is unescaped; value
// is the raw JSON of the member, without white space around it, and shares
// data's memory. Object stops at the first error of member and returns it as it
// is.
//
// The whole of data is checked before the first call: repeated names at any
// depth, invalid UTF-8, lone surrogates and data after the object are refused.
func Object(data []byte, member func(name string, value []byte) error) error {
	// An attacker can nest arrays as deep as data is long: the checker stops
	// at 10,000 levels and takes linear time.
	if !jsontext.Value(data).IsValid() {
		return errors.New("jose: not strict JSON: syntax, a repeated name, invalid Unicode or trailing data")
	}
	p := scanner{data: data}
	if p.next() != '{' {
		return errors.New("jose: not a JSON object")
	}
	p.pos++
	names := string(data) // one allocation for all names
	for p.next() != '}' {
		if p.data[p.pos] == ',' {
			p.pos++
			p.next()
		}
		start, end := p.value()
		name := names[start+1 : end-1]
		if bytes.IndexByte(data[start:end], '\\') >= 0 {
			unquoted, err := jsontext.AppendUnquote(nil, data[start:end])
			if err != nil {
				return errors.New("jose: invalid member name")
			}
			name = string(unquoted)
		}
		p.next() // the colon
		p.pos++
		p.next()
		start, end = p.value()
		if err := member(name, data[start:end:end]); err != nil {
			return err
		}
	}
	return nil
}

// scanner finds where values begin and end in JSON that is known to be valid.
type scanner struct {
	data []byte
	pos  int
}

// next skips white space and returns the byte after it.
func (p *scanner) next() byte {
	for {
		switch c := p.data[p.pos]; c {
		case ' ', '\t', '\n', '\r':
			p.pos++
		default:
			return c
		}
	}
}

// value skips the value that begins at pos, and returns its bounds.
func (p *scanner) value() (start, end int) {
	start = p.pos
	for depth := 0; ; {
		switch p.data[p.pos] {
		case '"':
			p.string()
		case '{', '[':
			depth++
			p.pos++
		case '}', ']':
			depth--
			p.pos++
		case ',', ':', ' ', '\t', '\n', '\r':
			p.pos++ // depth > 0
		default:
			p.literal()
		}
		if depth == 0 {
			return start, p.pos
		}
	}
}

func (p *scanner) string() {
	for p.pos++; p.data[p.pos] != '"'; p.pos++ {
		if p.data[p.pos] == '\\' {
			p.pos++
		}
	}
	p.pos++
}

// literal skips a number, true, false or null.
func (p *scanner) literal() {
	for ; p.pos < len(p.data); p.pos++ {
		switch p.data[p.pos] {
		case ',', '}', ']', ' ', '\t', '\n', '\r':
			return
		}
	}
}

var errNotString = errors.New("jose: not a JSON string")

// String reads a JSON string. Anything else, null included, is an error.
func String(value []byte) (string, error) {
	if len(value) < 2 || value[0] != '"' || value[len(value)-1] != '"' {
		return "", errNotString
	}
	inner := value[1 : len(value)-1]
	if plain(inner) {
		return string(inner), nil
	}
	s, err := jsontext.AppendUnquote(nil, value)
	if err != nil {
		return "", errNotString
	}
	return string(s), nil
}

// plain reports whether b, between quotes, stands for itself.
func plain(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// Int reads an integer of at most 2^53-1 in magnitude, written in digits
// alone: no fraction, exponent, plus sign, leading zero or negative zero.
func Int(value []byte) (int64, error) {
	if len(value) == 0 || len(value) > len("-9007199254740991") {
		return 0, errors.New("jose: not an integer within 2^53-1")
	}
	n, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil || n > maxInt || n < -maxInt {
		return 0, errors.New("jose: not an integer within 2^53-1")
	}
	// One spelling: what ParseInt takes beyond JSON, and -0, do not survive this.
	var spelling [20]byte
	if !bytes.Equal(strconv.AppendInt(spelling[:0], n, 10), value) {
		return 0, errors.New("jose: integer in an unusual spelling")
	}
	return n, nil
}

// Number reads a number between 0 and 2^53-1, which may have a fraction and an
// exponent, in at most 32 characters. value must be JSON, as [Object] has found
// it.
func Number(value []byte) (float64, error) {
	if len(value) == 0 || len(value) > 32 || value[0] < '0' || value[0] > '9' {
		return 0, errors.New("jose: not a number of at most 32 characters, or negative")
	}
	f, err := strconv.ParseFloat(string(value), 64)
	if err != nil || f > maxInt {
		return 0, errors.New("jose: not a number within 2^53-1")
	}
	return f, nil
}

// Bool reads true or false.
func Bool(value []byte) (bool, error) {
	switch string(value) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, errors.New("jose: not a JSON boolean")
}

// Strings reads a JSON array of strings.
func Strings(value []byte) ([]string, error) {
	list := []string{}
	err := Array(value, func(element []byte) error {
		s, err := String(element)
		list = append(list, s)
		return err
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// Texts reads a JSON string, or an array of them, such as aud (RFC 7519,
// Section 4.1.3).
func Texts(value []byte) ([]string, error) {
	if len(value) > 0 && value[0] == '[' {
		return Strings(value)
	}
	s, err := String(value)
	return []string{s}, err
}

// Array reads one strict JSON array and calls element for each of its elements,
// as Object does.
func Array(data []byte, element func(value []byte) error) error {
	if !jsontext.Value(data).IsValid() {
		return errors.New("jose: not strict JSON: syntax, a repeated name, invalid Unicode or trailing data")
	}
	p := scanner{data: data}
	if p.next() != '[' {
		return errors.New("jose: not a JSON array")
	}
	p.pos++
	for p.next() != ']' {
		if p.data[p.pos] == ',' {
			p.pos++
			p.next()
		}
		start, end := p.value()
		if err := element(data[start:end:end]); err != nil {
			return err
		}
	}
	return nil
}
