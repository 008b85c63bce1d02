package redisstore

import (
	"encoding/binary"
	"time"

	"github.com/valkey-io/valkey-go"

	"github.com/cloakroom-go/cloakroom/devices"
)

// An Entry is a field of its subject's hash, under the session's ID. The value
// has, with integers in big endian:
//
//	byte  0      entryVersion
//	byte  1      1 if the entry is marked, else 0
//	bytes 2-9    CountsFrom, in Unix milliseconds
//	bytes 10-17  SeenAt, in Unix seconds, as those that follow
//	bytes 18-25  TokenUntil
//	bytes 26-33  Until
//	then         each key, after a byte with its length
//	then         a byte 0, and Details up to the end
//
// The field instantField has the instant of the last Mark of the whole subject:
// entryVersion, then in 8 bytes each the instant in Unix milliseconds, and the
// Unix second until which it is kept.
//
// Whatever else is in a field is taken for a marked entry without keys, and
// perhaps without Until. It counts for the limit, its session can't be renewed,
// and a devices.Registry ends it when it next lists the subject's sessions. So
// a new version needs a release that reads it before one that writes it.
const (
	entryVersion    = 1
	entryHeaderSize = 2 + 4*8

	// instantField is no ID: those have at least one byte.
	instantField = ""
)

// headerOf returns the first bytes of the value of e. Redis computes with
// floating-point numbers: they are exact up to 2^53.
func headerOf(e devices.Entry) string {
	b := make([]byte, 0, entryHeaderSize)
	b = append(b, entryVersion, 0)
	b = binary.BigEndian.AppendUint64(b, uint64(e.CountsFrom.UnixMilli()))
	for _, at := range []time.Time{e.SeenAt, e.TokenUntil, e.Until} {
		b = binary.BigEndian.AppendUint64(b, uint64(at.Unix()))
	}
	return valkey.BinaryString(b)
}

// decodeIndexEntry returns the entry of a value.
func decodeIndexEntry(id, value string) devices.Entry {
	if len(value) < entryHeaderSize || value[0] != entryVersion {
		return devices.Entry{ID: id, Marked: true}
	}
	header := []byte(value[:entryHeaderSize])
	number := func(i int) int64 { return int64(binary.BigEndian.Uint64(header[2+8*i:])) }
	at := func(i int) time.Time { return orZero(time.Unix(number(i), 0)) }
	e := devices.Entry{
		ID: id, Marked: value[1] != 0, CountsFrom: orZero(time.UnixMilli(number(0))),
		SeenAt: at(1), TokenUntil: at(2), Until: at(3),
	}
	var ok bool
	if e.Keys, e.Details, ok = splitEntry(value[entryHeaderSize:]); !ok {
		return devices.Entry{ID: id, Marked: true, Until: e.Until}
	}
	return e
}

// splitEntry reads what comes after the header of a value.
func splitEntry(rest string) (keys []string, details []byte, ok bool) {
	for rest != "" {
		n := 1 + int(rest[0])
		switch {
		case n == 1:
			return keys, append(details, rest[1:]...), len(keys) > 0
		case len(rest) < n:
			return nil, nil, false
		}
		keys, rest = append(keys, rest[1:n]), rest[n:]
	}
	return nil, nil, false
}

// orZero returns the zero Time for that instant in any form.
func orZero(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t
}
