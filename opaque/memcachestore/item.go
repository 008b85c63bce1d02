package memcachestore

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/cloakroom-go/cloakroom/opaque"
)

// headerSize is the length of what stands in front of an item's data: version,
// SeenAt, IdleDeadline and Deadline, 8 bytes each, big endian. Instants are in
// seconds since 1970.
const headerSize = 4 * 8

func encode(item opaque.Item) []byte {
	b := make([]byte, 0, headerSize+len(item.Data))
	b = binary.BigEndian.AppendUint64(b, item.Version)
	for _, at := range []time.Time{item.SeenAt, item.IdleDeadline, item.Deadline} {
		b = binary.BigEndian.AppendUint64(b, uint64(at.Unix()))
	}
	return append(b, item.Data...)
}

// decode keeps b as the item's data.
func decode(b []byte) (opaque.Item, error) {
	if len(b) < headerSize {
		return opaque.Item{}, errWrongAnswer
	}
	at := func(field int) time.Time { return time.Unix(int64(binary.BigEndian.Uint64(b[8*field:])), 0) }
	item := opaque.Item{
		Version:      binary.BigEndian.Uint64(b),
		SeenAt:       at(1),
		IdleDeadline: at(2),
		Deadline:     at(3),
		Data:         b[headerSize:],
	}
	if item.Version == 0 {
		return opaque.Item{}, errWrongAnswer
	}
	return item, nil
}

const (
	// linger is how long, in seconds, the server keeps an expired item: so that a
	// visitor who comes back late can be told, and so that instances whose clocks
	// differ by less than this agree about items that still live on one of them.
	linger = 2 * 60

	// month is the longest duration, in seconds, that Memcached takes for one;
	// what is larger is a date (protocol.txt, "Expiration times").
	month = 30 * 24 * 60 * 60
)

// expiration returns when the server may remove the item, in the form of the
// protocol: seconds from now, a date in seconds since 1970, negative for at
// once, or 0 for never. It prefers seconds from now, for which the server's
// clock need not be right. Dates end in 2038; a later item stays until the
// server needs its memory.
func expiration(item opaque.Item, now time.Time) int32 {
	end := item.OverAt().Unix() + linger
	left := end - now.Unix()
	switch {
	case left <= 0:
		return -1
	case left <= month:
		return int32(left)
	case end <= math.MaxInt32:
		return int32(end)
	}
	return 0
}
