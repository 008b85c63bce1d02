package revocation

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"strconv"
)

// The journal is text. The first line names the format; each further line holds
// entries that were written at once, behind a CRC-32C of them in hexadecimal:
//
//	{"cloakroom":"revocations","version":2}
//	6a0f3a51 s7GlYk2mLZ0c5Yc1mXg3vJw,4,1790000000 uq2tq9wmLZ0c5Yc1mXg3vJw,7,1789990000123,1790000000
//
// Each write is one line, so a crash can damage only the last line. An entry is
// a letter, a key in base64url if there is one, and decimal numbers:
//
//	s key,below,until        a session; below is 0 if all of it ended
//	a key,below,until        the same, and nobody was logged in
//	u key,tag,instant,until  a subject
//	t key,instant,until      a tag of logins
//	e instant,until          everything
const (
	header = `{"cloakroom":"revocations","version":2}` + "\n"

	sumLength   = 8
	lineEntries = 64 // of a file that is written anew
)

// A kind is what an entry is about, and its letter in the journal.
type kind byte

const (
	ofSession kind = 's' // a session in which somebody was logged in
	ofNobody  kind = 'a' // a session in which nobody was
	ofSubject kind = 'u'
	ofTag     kind = 't'
	ofAll     kind = 'e'

	// ofChange is only in the log that instances share: what has become of a
	// session that goes on, for those who watch it.
	ofChange kind = 'w'
)

// An entry is one thing that ended.
type entry struct {
	kind    kind
	key     key    // of the session, subject or tag
	below   uint32 // generation below which the session's tokens have ended
	tag     uint32 // of a subject: its place in the filter
	instant int64  // milliseconds since 1970
	until   uint32 // unix second

	// Of a session that the caller ends, and not in the journal: the generation
	// that the caller knows, and how long an entry for another one would live.
	generation, longest uint32

	// For the log that instances share: the subject of a session, and the last
	// millisecond from which on a token counts that e ends.
	subject key
	from    int64
}

func (s *slot) entry() entry {
	e := entry{kind: ofSession, key: s.key, below: s.generation(), until: s.until, generation: everything}
	if s.below&anonymous != 0 {
		e.kind = ofNobody
	}
	return e
}

func (e *entry) append(b []byte) []byte {
	b = append(b, byte(e.kind))
	if e.kind != ofAll {
		b = append(base64.RawURLEncoding.AppendEncode(b, e.key[:]), ',')
	}
	switch e.kind {
	case ofSession, ofNobody:
		b = append(strconv.AppendUint(b, uint64(e.below%everything), 10), ',')
	case ofSubject:
		b = append(strconv.AppendUint(b, uint64(e.tag), 10), ',')
		fallthrough
	case ofTag, ofAll:
		b = append(strconv.AppendInt(b, e.instant, 10), ',')
	}
	return strconv.AppendUint(b, uint64(e.until), 10)
}

// A writer makes lines of entries.
type writer struct {
	lines []byte // what is complete
	begun int    // where the last line begins
	n     int    // entries of the last line
}

func (w *writer) add(e entry) {
	if w.n == 0 {
		w.begun = len(w.lines)
		w.lines = append(w.lines, "00000000"...)
	}
	w.lines = e.append(append(w.lines, ' '))
	w.n++
}

// end completes the last line, if there is one.
func (w *writer) end() {
	if w.n == 0 {
		return
	}
	sum := w.lines[w.begun : w.begun+sumLength]
	copy(sum, checksum(w.lines[w.begun+sumLength:]))
	w.lines = append(w.lines, '\n')
	w.n = 0
}

func checksum(raw []byte) []byte {
	sum := crc32.Checksum(raw, crc32.MakeTable(crc32.Castagnoli))
	return hex.AppendEncode(nil, []byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
}

// parseJournal calls f with each entry of a journal. torn reports that the last
// line was cut short by a crash, and is left out.
func parseJournal(data []byte, f func(entry)) (n int, torn bool, err error) {
	rest, ok := bytes.CutPrefix(data, []byte(header))
	if !ok {
		return 0, false, headless(data)
	}
	for number := 2; len(rest) > 0; number++ {
		one, after, complete := bytes.Cut(rest, []byte("\n"))
		if !complete {
			return n, true, nil
		}
		more, err := parseLine(one, f)
		if err != nil && len(after) == 0 && bytes.IndexByte(one, 0) >= 0 {
			return n, true, nil // blocks of the last line never reached the disk
		}
		if err != nil {
			return 0, false, fmt.Errorf("line %d is damaged (%w): %s", number, err, remedy)
		}
		n, rest = n+more, after
	}
	return n, false, nil
}

const remedy = "restore the file from a backup; or end every session: remove the file and change the keys"

// headless returns the error for a file that does not begin like a journal. A
// journal gets its first line before it gets its name, so a crash never leaves
// one without it.
func headless(data []byte) error {
	line, _, _ := bytes.Cut(data, []byte("\n"))
	_, err := parseLine(line, func(entry) {})
	switch {
	case len(data) == 0:
		return fmt.Errorf("it is empty, so what has ended would be forgotten: %s", remedy)
	case err == nil, bytes.HasPrefix([]byte(header), data), bytes.IndexByte(line, 0) >= 0:
		return fmt.Errorf("line 1 is not what a journal begins with, so what has ended would be forgotten: %s", remedy)
	}
	return errors.New("line 1: not a journal of revocations, or of another version: check the path")
}

// parseLine calls f with the entries of a line only if all of it is right.
func parseLine(b []byte, f func(entry)) (n int, err error) {
	if len(b) <= sumLength || b[sumLength] != ' ' || !bytes.Equal(checksum(b[sumLength:]), b[:sumLength]) {
		return 0, errors.New("its checksum is wrong")
	}
	var some [lineEntries]entry
	entries := some[:0]
	for field := range bytes.SplitSeq(b[sumLength+1:], []byte(" ")) {
		e, ok := parseEntry(field)
		if !ok {
			return 0, errors.New("it has an entry of an unknown form")
		}
		entries = append(entries, e)
	}
	for _, e := range entries {
		f(e)
	}
	return len(entries), nil
}

func parseEntry(b []byte) (e entry, ok bool) {
	if len(b) == 0 {
		return e, false
	}
	e.kind = kind(b[0])
	p := parser{rest: b[1:], ok: true}
	switch e.kind {
	case ofSession, ofNobody:
		p.key(&e.key)
		e.generation = everything
		if e.below = uint32(p.number(everything - 1)); e.below == 0 {
			e.below = everything
		}
	case ofSubject:
		p.key(&e.key)
		e.tag = uint32(p.number(math.MaxUint32))
		e.instant = p.number(math.MaxInt64)
	case ofTag:
		p.key(&e.key)
		e.instant = p.number(math.MaxInt64)
	case ofAll:
		e.instant = p.number(math.MaxInt64)
	default:
		return e, false
	}
	e.until = uint32(p.number(math.MaxUint32))
	return e, p.ok && p.rest == nil
}

// A parser cuts the fields off an entry one by one. ok is false after the first
// field that is wrong or missing.
type parser struct {
	rest []byte // nil behind the last field
	ok   bool
}

func (p *parser) field() []byte {
	one, rest, more := bytes.Cut(p.rest, []byte(","))
	if p.rest = nil; more {
		p.rest = rest
	}
	return one
}

func (p *parser) key(k *key) {
	f := p.field()
	if len(f) != idLength {
		p.ok = false
		return
	}
	n, err := base64.RawURLEncoding.Strict().Decode(k[:], f)
	p.ok = p.ok && err == nil && n == len(k)
}

func (p *parser) number(most int64) int64 {
	f := p.field()
	var n int64
	for _, digit := range f {
		if digit < '0' || digit > '9' || n > (most-int64(digit-'0'))/10 {
			p.ok = false
			return 0
		}
		n = 10*n + int64(digit-'0')
	}
	p.ok = p.ok && len(f) > 0
	return n
}
