package memcachestore

import (
	"math"
	"time"

	"github.com/cloakroom-go/cloakroom/opaque"
)

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
