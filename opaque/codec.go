package opaque

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/strict"
	"github.com/cloakroom-go/cloakroom/session"
)

// An item's data, and what is sealed, begins with a byte that says what it is.
const (
	kindPlain  = 'p' // a record, in an InProcessStore
	kindSealed = 's' // an encrypted record
	kindMarker = 'm' // the encrypted credential of a successor: the session goes on there
	kindEnded  = 'e' // nothing: the session was logged out
	kindTicket = 't' // a ticket, which the client has and no store
)

// layout is the version of the record encoding below.
const layout = 1

var errDamaged = errors.New("opaque: stored record is damaged")

// encodeRecord returns rec as a store keeps it in Item.Data, without the fields
// that Item has itself. Deadline is in both: the one here may be encrypted, so
// that the store can't prolong the session.
//
//	layout, flags               one byte each; flag 1: persistent, 2: there are tags, 4: methods
//	generation                  unsigned varint
//	created, deadline           varints, unix seconds
//	authenticated, since        varints, unix milliseconds; 0 for nobody, and for no Since
//	ID, lineage, subject        each an unsigned varint length and the bytes
//	tags                        with flag 2: length and bytes, 16 for each
//	methods (AMR)               with flag 4: their number, then each as a length and bytes
//	values                      the rest, as session.Values.Encoded
func encodeRecord(dst []byte, rec *session.Record) []byte {
	var flags byte
	if rec.Persistent {
		flags |= flagPersistent
	}
	if len(rec.Tags) > 0 {
		flags |= flagTags
	}
	if len(rec.AMR) > 0 {
		flags |= flagAMR
	}
	dst = append(dst, layout, flags)
	dst = binary.AppendUvarint(dst, rec.Generation)
	dst = binary.AppendVarint(dst, rec.CreatedAt.Unix())
	dst = binary.AppendVarint(dst, rec.Deadline.Unix())
	dst = binary.AppendVarint(dst, unixMilli(rec.AuthenticatedAt))
	dst = binary.AppendVarint(dst, unixMilli(rec.Since))
	dst = appendString(dst, rec.ID)
	dst = appendString(dst, rec.Lineage)
	dst = appendString(dst, rec.Subject)
	if len(rec.Tags) > 0 {
		dst = binary.AppendUvarint(dst, uint64(len(rec.Tags)*tagBytes))
		for _, t := range rec.Tags {
			dst = append(dst, t[:]...)
		}
	}
	if len(rec.AMR) > 0 {
		dst = binary.AppendUvarint(dst, uint64(len(rec.AMR)))
		for _, method := range rec.AMR {
			dst = appendString(dst, method)
		}
	}
	return append(dst, rec.Values.Encoded()...)
}

// decodeRecord reads what encodeRecord wrote. The store may have moved SeenAt
// and IdleDeadline, so they come from item; IdleDeadline is never beyond the
// record's own Deadline.
func decodeRecord(data []byte, item Item) (*session.Record, error) {
	r := reader{rest: string(data), ok: true}
	if r.byte() != layout {
		return nil, errDamaged
	}
	flags := r.byte()
	rec := &session.Record{
		Version:         item.Version,
		Generation:      r.uvarint(),
		CreatedAt:       time.Unix(r.varint(), 0),
		Deadline:        time.Unix(r.varint(), 0),
		AuthenticatedAt: fromUnixMilli(r.varint()),
		Since:           fromUnixMilli(r.varint()),
		ID:              r.string(),
		Lineage:         r.string(),
		Subject:         r.string(),
		SeenAt:          item.SeenAt,
		IdleDeadline:    item.IdleDeadline,
		Persistent:      flags&flagPersistent != 0,
	}
	if flags&flagTags != 0 {
		rec.Tags = r.tags()
	}
	if flags&flagAMR != 0 {
		rec.AMR = r.methods()
	}
	values, ok := session.ParseValues(r.rest)
	if !r.ok || !ok || flags > flagPersistent|flagTags|flagAMR {
		return nil, errDamaged
	}
	rec.Values = values
	if rec.IdleDeadline.After(rec.Deadline) {
		rec.IdleDeadline = rec.Deadline
	}
	return rec, nil
}

const (
	flagPersistent = 1
	flagTags       = 2
	flagAMR        = 4

	tagBytes = len(session.LoginTag{})
)

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func unixMilli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromUnixMilli(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// A reader cuts fields off the front of rest. ok is false after the first
// failure.
type reader struct {
	rest string
	ok   bool
}

func (r *reader) byte() (b byte) {
	if r.rest == "" {
		r.ok = false
		return 0
	}
	b, r.rest = r.rest[0], r.rest[1:]
	return b
}

func (r *reader) uvarint() uint64 {
	n, rest, ok := strict.Uvarint(r.rest)
	r.rest, r.ok = rest, r.ok && ok
	return n
}

func (r *reader) varint() int64 {
	u := r.uvarint()
	return int64(u>>1) ^ -int64(u&1) // zigzag, as binary.AppendVarint
}

func (r *reader) string() string {
	field, rest, ok := strict.String(r.rest)
	r.rest, r.ok = rest, r.ok && ok
	return field
}

func (r *reader) tags() (all []session.LoginTag) {
	b := []byte(r.string())
	r.ok = r.ok && len(b) > 0 && len(b)%tagBytes == 0
	for ; r.ok && len(b) > 0; b = b[tagBytes:] {
		all = append(all, session.LoginTag(b[:tagBytes]))
	}
	return all
}

func (r *reader) methods() (all []string) {
	n := r.uvarint()
	r.ok = r.ok && n > 0
	for ; r.ok && n > 0; n-- {
		all = append(all, r.string())
	}
	return all
}
