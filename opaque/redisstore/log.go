package redisstore

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valkey-io/valkey-go"

	"github.com/cloakroom-go/cloakroom/internal/instant"
	"github.com/cloakroom-go/cloakroom/revocation"
)

// The log is one stream, and its own snapshot: an entry is deleted only when it
// is over. The braces keep all keys that belong to it on one server of a
// cluster.
const logKey = "{feed}:log"

// logField is the only field of an entry in the stream. Its value has 8 bytes
// for the entry's value, 8 for the Unix second of Until, both big endian, and
// then the key.
const (
	logField  = "e"
	logHeader = 16
)

// logPage is how many entries one Read returns at most.
const logPage = 4000

var _ revocation.Log = (*Store)(nil)

// Append implements [revocation.Log]. It is one round trip, which also deletes
// entries that have been over for Linger.
func (s *Store) Append(ctx context.Context, entries []revocation.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	sweep := s.log.sweep.Swap(nil) // nil if another Append has it
	replies, err := s.pipeline(ctx, "append", func(ctx context.Context) []valkey.ValkeyResult {
		b, commands := s.client.B(), make(valkey.Commands, 0, len(entries)+2)
		for _, e := range entries {
			commands = append(commands,
				b.Xadd().Key(s.logKey()).Id("*").FieldValue().FieldValue(logField, encodeEntry(e)).Build())
		}
		return s.client.DoMulti(ctx, append(commands, sweep.commands(b, s.logKey(), len(entries))...)...)
	})
	if err == nil {
		var last string
		if last, err = replies[len(entries)-1].ToString(); err == nil {
			s.log.note(mark{id: last, value: encodeEntry(entries[len(entries)-1])})
			err = sweep.hear(replies[len(entries):], s.now().Add(-s.cfg.Linger))
		}
		if err != nil {
			err = s.failure("append", err)
		}
	}
	s.log.sweepOn(sweep, err)
	return err
}

// Read implements [revocation.Log]. It waits on a connection of its own, and
// then reads in one round trip. A server that takes no writes answers with an
// error: a replica, or an old master that has lost its replicas, does not know
// what was appended since. Without min-replicas-to-write, an old master goes on
// taking writes, and is believed until it is gone.
//
// The entry at a position must still be there after the read. Otherwise the
// server has lost entries, or the reader was away until that entry was over:
// either way it can't tell what it has missed.
func (s *Store) Read(ctx context.Context, pos string, wait time.Duration) (revocation.Reading, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, wait+s.cfg.Timeout)
		defer cancel()
	}
	at := parseMark(pos)
	if err := s.awaitNews(ctx, at, wait); err != nil {
		return revocation.Reading{}, err
	}
	return s.readPage(ctx, at)
}

// readPage reads what comes after at, up to one page.
func (s *Store) readPage(ctx context.Context, at mark) (revocation.Reading, error) {
	appended := s.log.lastAppended()
	checked := at.toCheck(appended)
	sent := s.now()
	replies, err := s.pipeline(ctx, readOp, func(ctx context.Context) []valkey.ValkeyResult {
		b := s.client.B()
		commands := valkey.Commands{
			// A write that changes nothing, and is possible when memory is full.
			b.Xdel().Key(s.logKey()).Id("0-1").Build(),
			b.Time().Build(),
			b.Xread().Count(logPage).Streams().Key(s.logKey()).Id(cmp.Or(at.id, beginning)).Build(),
		}
		for _, m := range checked {
			commands = append(commands, b.Xrange().Key(s.logKey()).Start(m.id).End(m.id).Build())
		}
		return s.client.DoMulti(ctx, commands...)
	})
	if err != nil {
		return revocation.Reading{}, err
	}
	received := s.now()
	r, err := s.reading(at, checked, replies[2:])
	if err == nil {
		r.ClockOffset, err = clockOffset(replies[1], sent, received)
	}
	if err != nil {
		return revocation.Reading{}, s.failure(readOp, err)
	}
	if r.Lost {
		s.log.forget(appended)
	}
	return r, nil
}

const readOp = "read the log"

// clockOffset judges the reply to TIME: seconds and microseconds.
func clockOffset(reply valkey.ValkeyResult, sent, received time.Time) (time.Duration, error) {
	at, err := reply.AsIntSlice()
	if err != nil || len(at) != 2 {
		return 0, cmp.Or(err, errors.New("the answer to TIME is none"))
	}
	return instant.Ahead(time.Unix(at[0], 1000*at[1]), sent, received), nil
}

// awaitNews returns when there is an entry after at, or after wait. It does not
// wait where something may be left to read: a new process is ready at once. It
// is a command of its own, because the client panics when a cluster redirects
// several commands of which one waits.
func (s *Store) awaitNews(ctx context.Context, at mark, wait time.Duration) error {
	if at.id == "" || at.isInside || wait < time.Millisecond {
		return nil
	}
	_, err := s.call(ctx, readOp, func(ctx context.Context) valkey.ValkeyResult {
		return s.client.Do(cancelable{ctx}, s.client.B().Xread().Count(1).Block(wait.Milliseconds()).
			Streams().Key(s.logKey()).Id(at.id).Build())
	})
	if valkey.IsValkeyNil(err) {
		return nil
	}
	return err
}

func (s *Store) reading(at mark, checked []mark, replies []valkey.ValkeyResult) (r revocation.Reading, err error) {
	for i, m := range checked {
		found, err := replies[1+i].AsXRangeSlices()
		if err != nil {
			return r, err
		}
		if len(found) != 1 || valueOf(found[0]) != m.value {
			return revocation.Reading{Lost: true}, nil
		}
	}
	pages, err := replies[0].AsXReadSlices()
	if err != nil && !valkey.IsValkeyNil(err) {
		return r, err
	}
	page, now := pages[s.logKey()], s.now()
	r.Entries = slices.Grow(r.Entries, len(page))
	for _, in := range page {
		at = mark{id: in.ID, value: valueOf(in)}
		if e, ok := decodeEntry(at.value); ok && e.Until.After(now) {
			r.Entries = append(r.Entries, e)
		}
	}
	at.isInside = len(page) == logPage
	r.Next, r.Complete = at.String(), !at.isInside
	return r, nil
}

func (s *Store) logKey() string { return s.cfg.Prefix + logKey }

// pipeline is a call of several commands. An error is that of the first one
// that failed.
func (s *Store) pipeline(
	ctx context.Context, op string, do func(ctx context.Context) []valkey.ValkeyResult,
) ([]valkey.ValkeyResult, error) {
	var replies []valkey.ValkeyResult // not a result: do may go on after an error
	_, err := s.call(ctx, op, func(ctx context.Context) valkey.ValkeyResult {
		replies = do(ctx)
		for _, r := range replies {
			if err := r.Error(); err != nil && !valkey.IsValkeyNil(err) {
				return r
			}
		}
		return replies[0]
	})
	if err != nil {
		return nil, err
	}
	return replies, nil
}

// A cancelable context hides its deadline: the client would otherwise wait for
// that also after a cancellation.
type cancelable struct{ context.Context }

func (cancelable) Deadline() (time.Time, bool) { return time.Time{}, false }

// beginning is the position of a log that has had no entry yet.
const beginning = "0-0"

// A mark is a position in the log.
type mark struct {
	id       string // of the entry before it; "" is the beginning
	value    string // of that entry: after a failover another one may get its ID
	isInside bool   // there may be more to read at once
}

const inside = "+"

func parseMark(pos string) (m mark) {
	pos, m.isInside = strings.CutPrefix(pos, inside)
	m.id, m.value, _ = strings.Cut(pos, " ")
	return m
}

func (m mark) String() string {
	text := cmp.Or(m.id, beginning)
	if m.value != "" {
		text += " " + m.value
	}
	if m.isInside {
		text = inside + text
	}
	return text
}

// toCheck returns the entries that show that the log has lost nothing which is
// known here: the one at the position, and the last one that was appended here
// if it has not been read yet.
func (m mark) toCheck(appended mark) (checked []mark) {
	if m.value != "" {
		checked = append(checked, m)
	}
	if m.id != "" && m.before(appended) {
		checked = append(checked, appended)
	}
	return checked
}

// before compares two IDs, which are "milliseconds-number".
func (m mark) before(other mark) bool {
	ms, n := splitID(m.id)
	otherMS, otherN := splitID(other.id)
	return ms < otherMS || ms == otherMS && n < otherN
}

func splitID(id string) (ms, n uint64) {
	first, rest, _ := strings.Cut(id, "-")
	ms, _ = strconv.ParseUint(first, 10, 64)
	n, _ = strconv.ParseUint(rest, 10, 64)
	return ms, n
}

// A logState is what a Store remembers of the log.
type logState struct {
	sweep atomic.Pointer[sweep] // nil while an Append has it

	mu       sync.Mutex // guards appended
	appended mark       // the last entry that this Store appended
}

// sweepOn lets the next Append have the sweep. After an error it begins anew:
// the commands of the old one may still be under way.
func (l *logState) sweepOn(w *sweep, err error) {
	switch {
	case w == nil:
	case err != nil:
		l.sweep.Store(newSweep())
	default:
		l.sweep.Store(w)
	}
}

// note remembers the last entry that was appended.
func (l *logState) note(m mark) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.appended.before(m) {
		l.appended = m
	}
}

func (l *logState) lastAppended() mark {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.appended
}

// forget keeps the next Read from reporting the same loss.
func (l *logState) forget(lost mark) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.appended == lost {
		l.appended = mark{}
	}
}

func valueOf(e valkey.XRangeSlice) string {
	for _, f := range e.FieldValues {
		if f.Field == logField {
			return f.Value
		}
	}
	return ""
}

func encodeEntry(e revocation.Entry) string {
	b := make([]byte, 0, logHeader+len(e.Key))
	b = binary.BigEndian.AppendUint64(b, uint64(e.Value))
	b = binary.BigEndian.AppendUint64(b, uint64(e.Until.Unix()))
	return valkey.BinaryString(append(b, e.Key...))
}

// decodeEntry returns false for what another program has written.
func decodeEntry(value string) (e revocation.Entry, ok bool) {
	if len(value) < logHeader {
		return e, false
	}
	header := []byte(value[:logHeader])
	return revocation.Entry{
		Key:   value[logHeader:],
		Value: int64(binary.BigEndian.Uint64(header)),
		Until: time.Unix(int64(binary.BigEndian.Uint64(header[8:])), 0),
	}, true
}
