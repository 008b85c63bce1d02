package logtest

import (
	"context"
	"time"

	"github.com/cloakroom-go/cloakroom/revocation"
)

// A reader follows a log as a list does, and judges each Reading.
type reader struct {
	p     *probe
	log   revocation.Log
	pos   string
	known map[string]revocation.Entry // the greatest value and the latest end of each key
	owed  int                         // all before this of what was appended is known
}

func (p *probe) reader(log revocation.Log) *reader {
	return &reader{p: p, log: log, known: make(map[string]revocation.Entry)}
}

// read reads once. It returns the zero Reading if something is wrong.
func (r *reader) read(wait time.Duration) revocation.Reading {
	if r.p.failed() {
		return revocation.Reading{}
	}
	before := r.p.all()
	ctx, cancel := context.WithTimeout(r.p.ctx, wait+timeout)
	defer cancel()
	got, err := r.log.Read(ctx, r.pos, wait)
	r.p.expect(err == nil, "Read failed: %w", err)
	r.p.expect(!got.Lost, "Read says that the log has lost entries")
	r.take(got.Entries)
	r.pos = got.Next
	if got.Complete {
		r.p.expect(got.Next != "", "a complete Reading has no position to go on from")
		r.judge(before)
	}
	if r.p.failed() {
		return revocation.Reading{}
	}
	return got
}

// take merges entries into what is known.
func (r *reader) take(entries []revocation.Entry) {
	for _, e := range entries {
		r.p.expect(r.p.wasGiven(e), "Read returned an entry that nobody appended: %s", text(e))
		old := r.known[e.Key]
		e.Value = max(e.Value, old.Value)
		if old.Until.After(e.Until) {
			e.Until = old.Until
		}
		r.known[e.Key] = e
	}
}

// judge expects that what was appended before a complete Reading is known,
// except what is over.
func (r *reader) judge(before []revocation.Entry) {
	now := time.Now()
	for _, e := range before[min(r.owed, len(before)):] {
		got, ok := r.known[e.Key]
		right := ok && got.Value >= e.Value && !got.Until.Before(e.Until)
		r.p.expect(right || !e.Until.After(now), "Read says that nothing is missing, but of %d entries that were "+
			"appended before the call, %s is (known by now: %s)", len(before), text(e), text(got))
	}
	r.owed = len(before)
}

// toEnd reads until nothing is missing.
func (r *reader) toEnd() {
	for begun := time.Now(); !r.p.failed(); {
		got := r.read(0)
		if got.Complete {
			return
		}
		if len(got.Entries) == 0 {
			r.p.pause(time.Millisecond)
		}
		r.p.expect(time.Since(begun) < 3*timeout, "for %v, no Reading has been complete", 3*timeout)
	}
}

// holds expects an entry of exactly this value and end.
func (r *reader) holds(want revocation.Entry, when string) {
	got, ok := r.known[want.Key]
	r.p.expect(ok && got.Value == want.Value && got.Until.Equal(want.Until),
		"%s: the log has %s, want %s", when, text(got), text(want))
}
