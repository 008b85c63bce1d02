// Package stored has the form in which a store that keeps bytes keeps an
// opaque.Item.
package stored

import (
	"encoding/binary"
	"time"

	"github.com/cloakroom-go/cloakroom/opaque"
)

// HeaderSize is the length in bytes of what stands in front of an item's data:
// version, SeenAt, IdleDeadline and Deadline, 8 bytes each, big endian.
// Instants are signed Unix seconds.
const HeaderSize = 4 * 8

// Encode returns the header and a copy of the data.
func Encode(it opaque.Item) []byte {
	b := make([]byte, 0, HeaderSize+len(it.Data))
	b = binary.BigEndian.AppendUint64(b, it.Version)
	for _, at := range []time.Time{it.SeenAt, it.IdleDeadline, it.Deadline} {
		b = binary.BigEndian.AppendUint64(b, uint64(at.Unix()))
	}
	return append(b, it.Data...)
}

// Decode returns the item, whose data is part of b. It is not ok if Encode
// can't have made b of a valid item: something else writes under the same key.
func Decode(b []byte) (it opaque.Item, ok bool) {
	if len(b) < HeaderSize {
		return opaque.Item{}, false
	}
	at := func(field int) time.Time { return time.Unix(int64(binary.BigEndian.Uint64(b[8*field:])), 0) }
	it = opaque.Item{
		Version:      binary.BigEndian.Uint64(b),
		SeenAt:       at(1),
		IdleDeadline: at(2),
		Deadline:     at(3),
		Data:         b[HeaderSize:],
	}
	return it, it.Version > 0
}
