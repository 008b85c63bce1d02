package revocation

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/internal/jose"
)

// typEnded is the typ of a document: no token has it.
const typEnded = "cloakroom-ended+jwt"

// maxStale is the greatest staleness that a document can state.
const maxStale = 100 * 365 * 24 * time.Hour

// A document says what has ended lately. It is a signed JWT with these claims:
//
//	iss    of the service tokens
//	iat    when it was made, in seconds
//	stale  for how long the list had not heard of other instances, in milliseconds
//	log    names the order in which the list has heard of its entries
//	after  the document has what matters behind the entry with this number,
//	upto   up to the one with this number
//	more   whether there are more behind that
//	ended  the entries, as the journal has them, with spaces in between
//
// Their instants have the skew of the list added. Their until is when no
// service token is left that they end.
type document struct {
	issuer      string
	issued      time.Time
	stale       time.Duration
	log         string
	after, upto uint64
	more        bool
	ended       []byte
}

func (d *document) encode() []byte {
	b := make([]byte, 0, 256+len(d.issuer)+len(d.ended))
	b, _ = jsontext.AppendQuote(append(b, `{"iss":`...), d.issuer)
	return fmt.Appendf(b, `,"iat":%d,"stale":%d,"log":%q,"after":%d,"upto":%d,"more":%t,"ended":"%s"}`,
		d.issued.Unix(), d.stale.Milliseconds(), d.log, d.after, d.upto, d.more, d.ended)
}

// decodeDocument reads claims whose signature is good.
func decodeDocument(payload []byte) (*document, error) {
	var d document
	var issued, stale, after, upto int64
	var ended string
	text := map[string]*string{"iss": &d.issuer, "log": &d.log, "ended": &ended}
	number := map[string]*int64{"iat": &issued, "stale": &stale, "after": &after, "upto": &upto}
	seen := 0
	err := jose.Object(payload, func(name string, value []byte) (err error) {
		switch to, n := text[name], number[name]; {
		case to != nil:
			*to, err = jose.String(value)
		case n != nil:
			if *n, err = jose.Int(value); *n < 0 {
				err = errors.New("negative")
			}
		case name == "more":
			d.more, err = jose.Bool(value)
		default:
			return nil
		}
		if seen++; err != nil {
			return fmt.Errorf("claim %s: %w", name, fault.Inner(err))
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case seen != len(text)+len(number)+1:
		return nil, errors.New("a claim is missing")
	case stale > maxStale.Milliseconds() || upto < after:
		return nil, errors.New("its numbers can't be right")
	}
	d.issued, d.stale = time.Unix(issued, 0), time.Duration(stale)*time.Millisecond
	d.after, d.upto, d.ended = uint64(after), uint64(upto), []byte(ended)
	return &d, nil
}

// entries reads what has ended. A document with an entry that can't be read is
// useless: something has ended, and nobody knows what.
func (d *document) entries() ([]entry, error) {
	if len(d.ended) == 0 {
		return nil, nil
	}
	all := make([]entry, 0, 1+bytes.Count(d.ended, []byte(" ")))
	for field := range bytes.SplitSeq(d.ended, []byte(" ")) {
		e, ok := parseEntry(field)
		if !ok {
			return nil, errors.New("it has an entry of an unknown form: update this service")
		}
		all = append(all, e)
	}
	return all, nil
}
