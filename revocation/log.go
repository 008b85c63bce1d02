package revocation

import (
	"context"
	"encoding/binary"
	"time"
)

// A Log is what the lists of several instances share: each list appends what
// has ended here, and reads what the others have appended. The stores
// redisstore.Store and sqlstore.Store are Logs. Package logtest has the tests
// that every other one must pass. Methods may be called concurrently.
//
// Entries with one key are one entry: the one with the greatest value counts,
// until the latest Until of all. So it does no harm if a Log returns an entry
// twice, late, in another order, or after a greater one.
type Log interface {
	// Append makes entries durable. It may be called again with the same ones. An
	// error leaves open which of them the log has.
	Append(ctx context.Context, entries []Entry) error

	// Read returns what was appended since pos. If there is nothing yet, it waits
	// for at most wait. An empty pos means everything whose Until has not passed.
	// The list passes on the Next of the last Reading, and the context ends some
	// time after wait.
	Read(ctx context.Context, pos string, wait time.Duration) (Reading, error)
}

// A Reading is the result of [Log.Read].
type Reading struct {
	Entries []Entry // in any order
	Next    string  // the position behind these entries

	// Complete says that nothing is missing that was appended before the call of
	// Read. It is false if there is more to read at once.
	Complete bool

	// Lost says that the log has forgotten entries, or the position: it was
	// emptied, or goes on without its last entries after a failover. The list
	// then appends everything that it knows, and reads from the beginning.
	Lost bool

	// ClockOffset is the smallest amount by which the clock of the log's server
	// must be ahead of the caller's; it is negative if the server is behind. A
	// request is sent at s and answered at r, and the server reads its clock, t,
	// in between. If t is after r, ClockOffset is t-r. If t is before s, it is
	// t-s. Otherwise it is 0, because a slow answer explains the difference. It is
	// also 0 if the log has no clock of its own.
	ClockOffset time.Duration
}

// An Entry is something that has ended, in the form in which a [Log] keeps it.
type Entry struct {
	Key   string    // binary, at most 40 bytes: what has ended
	Value int64     // up to where it has ended; the greatest counts
	Until time.Time // whole seconds; then nothing is left that the entry would end
}

// shared returns e as the log keeps it. Key is the kind and the rest of what
// identifies e. The key of a session has the hash of its subject, if that is
// known, and its value the second from which on no token that it ends counts:
// lists drop such entries when they are covered by an end of the subject.
//
//	s id, subject   generation << 33 | second
//	a id            generation << 33 | generation that the caller knew
//	u hash, tag     milliseconds
//	t hash          milliseconds
//	e               milliseconds
//	w id, subject, generation   milliseconds
func (e *entry) shared() Entry {
	b := make([]byte, 1, 1+2*len(e.key))
	b[0] = byte(e.kind)
	out := Entry{Value: e.instant, Until: time.Unix(int64(e.until), 0)}
	switch e.kind {
	case ofSession:
		b = append(b, e.key[:]...)
		if e.subject != (key{}) {
			b = append(b, e.subject[:]...)
		}
		out.Value = int64(e.below)<<secondBits | min((max(e.from, 0)+999)/1000, 1<<secondBits-1)
	case ofNobody:
		b, out.Value = append(b, e.key[:]...), int64(e.below)<<secondBits|int64(e.generation)
	case ofTag:
		b = append(b, e.key[:]...)
	case ofSubject:
		b = binary.BigEndian.AppendUint32(append(b, e.key[:]...), e.tag)
	case ofChange:
		b = binary.BigEndian.AppendUint32(append(append(b, e.key[:]...), e.subject[:]...), e.below)
	}
	out.Key = string(b)
	return out
}

// secondBits is enough for a second until the year 2242.
const secondBits = 33

// fromShared returns what a log has, and false for what this version does not
// know.
func fromShared(in Entry) (e entry, ok bool) {
	if in.Key == "" || in.Value < 0 {
		return e, false
	}
	e.kind, e.until, e.generation = kind(in.Key[0]), second(in.Until), everything
	rest := in.Key[1:]
	n := copy(e.key[:], rest)
	rest = rest[n:]
	switch e.kind {
	case ofSession:
		e.below, e.from = uint32(in.Value>>secondBits), in.Value&(1<<secondBits-1)*1000
		ok = n == len(e.key) && (rest == "" || len(rest) == len(e.subject))
		copy(e.subject[:], rest)
	case ofNobody:
		e.below, e.generation = uint32(in.Value>>secondBits), uint32(min(in.Value&(1<<secondBits-1), everything))
		ok = n == len(e.key) && rest == ""
	case ofSubject:
		if ok = n == len(e.key) && len(rest) == 4; ok {
			e.tag, e.instant = binary.BigEndian.Uint32([]byte(rest)), in.Value
		}
	case ofChange:
		if ok = n == len(e.key) && len(rest) == len(e.subject)+4; ok {
			e.below, e.instant = binary.BigEndian.Uint32([]byte(rest[copy(e.subject[:], rest):])), in.Value
		}
	case ofTag:
		ok, e.instant = n == len(e.key) && rest == "", in.Value
	case ofAll:
		ok, e.instant = in.Key == string(ofAll), in.Value
	}
	return e, ok && e.below <= everything
}
