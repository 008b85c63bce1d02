package apptest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/cloakroom-go/cloakroom/revocation"
)

// A Fault is what a feed does wrong, so that tests can show that they notice.
type Fault int

// The faults of a feed.
const (
	NoFault  Fault = iota
	Drops          // some entries never reach a list
	SeqAbove       // a list reads what is above the last position, though entries below it come later
)

// A feed is what the lists of a play share. Its schedule decides when an entry
// becomes durable, and when, how often and in which order each list hears of
// it.
type feed struct {
	s     *scheduler
	now   func() time.Time
	fault Fault

	mu      sync.Mutex // guards the rest
	entries []revocation.Entry
	readers []*feedReader
}

// A feedReader is the Log of one instance.
type feedReader struct {
	f     *feed
	i     int
	real  revocation.Log // or nil
	turns chan *turn     // lets the list read
	last  *turn          // what it reads; used by its goroutine alone

	now   func() time.Time
	heard map[string]int64     // by key, the greatest value; guarded by f.mu
	since map[string]time.Time // by topic, when the list heard of it last; guarded by f.mu
	given map[int]bool         // by index in f.entries; used by the schedule alone
	lost  map[int]bool         // of those, what it never gets
	upTo  int                  // the greatest index that was given, plus 1
}

// A turn lets a list read once.
type turn struct {
	reading revocation.Reading // if the log is in memory
	says    []revocation.Entry // what the list knows after that, unless the log has a fault
	taken   chan struct{}      // closed when the list has taken it in
}

func newFeed(s *scheduler, now func() time.Time, fault Fault) *feed {
	return &feed{s: s, now: now, fault: fault}
}

// reader makes the Log of one more instance. If real is nil, it is in memory.
func (f *feed) reader(real revocation.Log) *feedReader {
	r := &feedReader{
		f: f, real: real, i: len(f.readers), turns: make(chan *turn), now: f.now, heard: make(map[string]int64),
		since: make(map[string]time.Time), given: make(map[int]bool), lost: make(map[int]bool),
	}
	f.readers = append(f.readers, r)
	return r
}

// Append stops before it makes the entries durable. The time that passes there
// counts towards no deadline, and so it is with reading.
func (r *feedReader) Append(ctx context.Context, entries []revocation.Entry) error {
	r.f.s.stepAside(1000 + r.i)
	if r.real != nil {
		if err := r.f.s.call(func() error { return r.real.Append(context.WithoutCancel(ctx), entries) }); err != nil {
			return err
		}
	}
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	r.f.entries = append(r.f.entries, entries...)
	return nil
}

// Read waits for its turn, except for the first time.
func (r *feedReader) Read(ctx context.Context, pos string, wait time.Duration) (revocation.Reading, error) {
	if wait == 0 {
		return r.all(ctx, pos)
	}
	if r.last != nil { // the list has taken in what it got
		r.note(r.last.says)
		close(r.last.taken)
		r.last = nil
	}
	if pos == "" {
		r.last = &turn{taken: make(chan struct{})}
		return r.first(ctx, wait)
	}
	select {
	case r.last = <-r.turns:
	case <-ctx.Done():
		return revocation.Reading{}, ctx.Err()
	}
	if r.real == nil {
		return r.last.reading, nil
	}
	return r.ask(ctx, pos, 0) // a server may wait much longer than it was asked to
}

func (r *feedReader) first(ctx context.Context, wait time.Duration) (revocation.Reading, error) {
	if r.real != nil {
		return r.ask(ctx, "", wait)
	}
	return revocation.Reading{Next: "0", Complete: true}, nil
}

// ask reads the real log.
func (r *feedReader) ask(ctx context.Context, pos string, wait time.Duration) (got revocation.Reading, err error) {
	err = r.f.s.call(func() error {
		got, err = r.real.Read(context.WithoutCancel(ctx), pos, wait)
		return err
	})
	if err == nil && !got.Lost {
		r.last.says = got.Entries
	}
	return got, err
}

// all returns everything: a list asks for that before it ends many sessions.
func (r *feedReader) all(ctx context.Context, pos string) (got revocation.Reading, err error) {
	r.f.s.step(ctx)
	if r.real != nil {
		err = r.f.s.call(func() error {
			got, err = r.real.Read(context.WithoutCancel(ctx), pos, 0)
			return err
		})
		return got, err
	}
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	got = revocation.Reading{Next: pos, Complete: true}
	for k, e := range r.f.entries {
		if !r.lost[k] && (r.f.fault != SeqAbove || k >= r.upTo) {
			got.Entries = append(got.Entries, e)
		}
	}
	return got, nil
}

func (r *feedReader) note(entries []revocation.Entry) {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	for _, e := range entries {
		if known, ok := r.heard[e.Key]; !ok || e.Value > known {
			r.heard[e.Key], r.since[topicOf(e)] = e.Value, r.now()
		}
	}
}

// heardAt returns when instance i heard of the last entry about a topic.
func (f *feed) heardAt(i int, topic string) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.readers[i].since[topic]
}

// length returns how many entries are durable.
func (f *feed) length() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.entries)
}

// hasHeard reports whether the list of instance i has heard of every entry
// before the n-th that is about one of the topics.
func (f *feed) hasHeard(i, n int, topics ...string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.entries[:n] {
		if slices.Contains(topics, topicOf(e)) && f.readers[i].heard[e.Key] < e.Value {
			return false
		}
	}
	return true
}

// topicOf returns what an entry is about, see revocation.Entry; "" for what
// ends nothing.
func topicOf(e revocation.Entry) string {
	switch e.Key[0] {
	case 'e':
		return everyone
	case 'u':
		return "subject " + e.Key[1:17]
	case 's', 'a':
		return e.Key[1:17]
	}
	return ""
}

const everyone = "everyone"

func aboutSubject(subject string) string {
	sum := sha256.Sum256([]byte(subject))
	return "subject " + string(sum[:16])
}

func aboutSession(id string) string {
	raw, err := base64.RawURLEncoding.DecodeString(id)
	if err != nil || len(raw) != 16 {
		panic(fmt.Sprintf("apptest: the ID %q has another form than those of package session", id))
	}
	return string(raw)
}

// deliver lets the list of r hear some of the entries, and returns when it has
// taken them in.
func (r *feedReader) deliver() {
	if r.real != nil {
		r.let(revocation.Reading{}, nil)
		return
	}
	pending := r.pending()
	var chosen []int
	switch how := r.f.s.random.IntN(8); {
	case len(pending) == 0 || how == 0: // nothing new; perhaps something old
	case how < 5:
		chosen = []int{pending[r.f.s.random.IntN(len(pending))]}
	default:
		chosen = pending
		r.f.s.random.Shuffle(len(chosen), func(i, j int) { chosen[i], chosen[j] = chosen[j], chosen[i] })
	}
	if n := r.f.length(); n > 0 && r.f.s.random.IntN(3) == 0 {
		if old := r.f.s.random.IntN(n); r.given[old] {
			chosen = append(chosen, old)
		}
	}
	r.give(chosen)
}

// pending returns the entries that the list has not heard, without those that a
// feed with a fault never gives it.
func (r *feedReader) pending() (pending []int) {
	from := 0
	if r.f.fault == SeqAbove {
		from = r.upTo
	}
	for k := from; k < r.f.length(); k++ {
		if !r.given[k] {
			pending = append(pending, k)
		}
	}
	return pending
}

func (r *feedReader) give(chosen []int) {
	var got revocation.Reading
	var says []revocation.Entry
	r.f.mu.Lock()
	for _, k := range chosen {
		if _, given := r.given[k]; !given && r.f.fault == Drops {
			r.lost[k] = r.f.s.random.IntN(2) == 0
		}
		r.given[k], r.upTo = true, max(r.upTo, k+1)
		if !r.lost[k] {
			got.Entries = append(got.Entries, r.f.entries[k])
		}
		says = append(says, r.f.entries[k])
	}
	got.Next = strconv.Itoa(1 + r.upTo)
	got.Complete = len(r.given) == len(r.f.entries)
	r.f.mu.Unlock()
	r.let(got, says)
}

// let lets the list read once, and returns when it has taken that in. With a
// real log it reads that.
func (r *feedReader) let(got revocation.Reading, says []revocation.Entry) {
	t := &turn{got, says, make(chan struct{})}
	r.turns <- t
	<-t.taken
}

// ready waits until the list has read what the log has.
func (r *feedReader) ready(list *revocation.List) {
	r.let(revocation.Reading{Next: "0", Complete: true}, nil)
	for list.Fresh() != nil {
		r.let(revocation.Reading{Next: "0", Complete: true}, nil)
	}
}

// repeat lets the list hear everything once more, in another order.
func (r *feedReader) repeat() {
	if r.real != nil {
		return
	}
	var all []int
	for k := range r.f.length() {
		if r.given[k] {
			all = append(all, k)
		}
	}
	slices.Reverse(all)
	r.give(all)
}

// deliverAll lets the list hear everything. A feed that skips what is below its
// position claims that it has done so.
func (r *feedReader) deliverAll() {
	if r.real != nil {
		begun := time.Now()
		for n := 0; !r.knowsAll() && (n < 100 || time.Since(begun) < 10*time.Second); n++ {
			r.let(revocation.Reading{}, nil)
		}
		return
	}
	r.give(r.pending())
	if r.f.fault == SeqAbove {
		r.f.mu.Lock()
		all := slices.Clone(r.f.entries)
		r.f.mu.Unlock()
		r.note(all)
	}
}

func (r *feedReader) knowsAll() bool {
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	return !slices.ContainsFunc(r.f.entries, func(e revocation.Entry) bool { return r.heard[e.Key] < e.Value })
}
