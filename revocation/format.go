package revocation

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
)

// The journal is text. The first line names the format; each further line holds
// what was written at once, and a CRC-32C of it:
//
//	{"cloakroom":"revocations","version":1}
//	{"sum":"6a0f3a51","entries":[{"session":"7GlY…","below":4,"until":1790000000}]}
//
// One line for one write means that a crash can damage the last line alone.
const (
	header = `{"cloakroom":"revocations","version":1}` + "\n"

	sumPrefix     = `{"sum":"`
	entriesPrefix = `","entries":`
	lineEnd       = `}` + "\n"
	sumLength     = 8
)

// An entry is one thing that ended: a session if Session is set, a subject if
// Subject is, else everything.
type entry struct {
	Session string  `json:"session,omitempty"`
	Below   *uint64 `json:"below,omitempty"`   // generation; absent for the whole session
	Subject []byte  `json:"subject,omitempty"` // SHA-256, base64
	Tag     uint32  `json:"tag,omitempty"`     // of Subject: its place in the filter
	Instant int64   `json:"instant,omitempty"` // milliseconds since 1970
	Until   int64   `json:"until"`             // seconds since 1970

	below uint64 // Below, or everything
}

// line returns entries as a line of the journal.
func line(entries []entry) ([]byte, error) {
	for i := range entries {
		if e := &entries[i]; e.Session != "" && e.below != everything {
			e.Below = &e.below
		}
	}
	raw, err := json.Marshal(entries)
	if err != nil {
		return nil, fmt.Errorf("revocation: encode entries: %w", err)
	}
	return fmt.Appendf(nil, "%s%s%s%s%s", sumPrefix, sum(raw), entriesPrefix, raw, lineEnd), nil
}

func sum(raw []byte) string {
	return fmt.Sprintf("%08x", crc32.Checksum(raw, crc32.MakeTable(crc32.Castagnoli)))
}

// parseJournal returns the entries of a journal. torn reports that the last line
// was cut short by a crash, and is left out.
func parseJournal(data []byte) (entries []entry, torn bool, err error) {
	if len(data) < len(header) && bytes.HasPrefix([]byte(header), data) {
		return nil, true, nil
	}
	rest, ok := bytes.CutPrefix(data, []byte(header))
	if !ok {
		return nil, false, errors.New("line 1: not a journal of revocations, or of a later version: check the path")
	}
	for number := 2; len(rest) > 0; number++ {
		one, after, complete := bytes.Cut(rest, []byte("\n"))
		more, err := parseLine(one)
		if err != nil || !complete {
			if len(after) == 0 && cut(one, complete) {
				return entries, true, nil
			}
			return nil, false, fmt.Errorf("line %d is damaged (%w): restore the file from a backup; or end every session: remove the file and change the keys", number, err)
		}
		entries, rest = append(entries, more...), after
	}
	return entries, false, nil
}

// cut reports whether a last line looks as a crash leaves it: without its end, or
// with blocks that never reached the disk.
func cut(last []byte, complete bool) bool {
	return !complete || bytes.IndexByte(last, 0) >= 0
}

func parseLine(b []byte) ([]entry, error) {
	rest, ok := bytes.CutPrefix(b, []byte(sumPrefix))
	if !ok || len(rest) < sumLength {
		return nil, errors.New("it doesn't begin as it should")
	}
	want, rest := rest[:sumLength], rest[sumLength:]
	rest, begun := bytes.CutPrefix(rest, []byte(entriesPrefix))
	raw, finished := bytes.CutSuffix(rest, []byte(lineEnd[:1]))
	if !begun || !finished || sum(raw) != string(want) {
		return nil, errors.New("its checksum is wrong")
	}
	return parseEntries(raw)
}

func parseEntries(raw []byte) ([]entry, error) {
	var entries []entry
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&entries); err != nil {
		return nil, fmt.Errorf("its entries can't be read: %w", err)
	}
	for i := range entries {
		if err := entries[i].complete(); err != nil {
			return nil, err
		}
	}
	return entries, nil
}

// complete fills in what isn't written, and checks what is.
func (e *entry) complete() error {
	switch {
	case e.Session != "" && e.Subject == nil && e.Below == nil:
		e.below = everything
	case e.Session != "" && e.Subject == nil:
		e.below = *e.Below
	case e.Session != "" || e.Below != nil || e.Subject != nil && len(e.Subject) != sha256.Size:
		return errors.New("an entry is about more than one thing, or about none")
	}
	return nil
}
