package revocation

import (
	"fmt"
	"sync"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

const (
	defaultEntries = 2_000_000
	minEntries     = 10_000
	anonymousShare = 4  // one in so many entries may be anonymous
	fullPercent    = 90 // of MaxEntries; the rest is for sessions that exist already

	// pruneEvery is how often a list that seems full looks for expired entries, in
	// seconds: each time it reads the whole table.
	pruneEvery = 60
)

// Room returns nil if there is room for the ends of new sessions. When the list
// is 90 % full it returns an error that wraps [session.Unavailable]. Call it
// before a stateless session without a subject begins. Sessions that exist need
// no room to go on, log in and end.
func (l *List) Room() error {
	if err := l.ready(); err != nil {
		return err
	}
	if l.nearlyFull() && l.isFull(l.now()) {
		return fmt.Errorf("revocation: the list is nearly full, so no anonymous session can begin: %w", session.Unavailable)
	}
	return nil
}

// isOverfull reports whether the list has to refuse what it hears.
func (l *List) isOverfull() bool { return l.Len() >= l.maxEntries*mostHeard }

func (l *List) nearlyFull() bool { return l.Len() >= l.maxEntries/100*fullPercent }

// isFull reports whether the list is nearly full without expired entries. It
// reports to the operator when that begins.
func (l *List) isFull(now time.Time) bool {
	if !l.nearlyFull() {
		if l.full.Load() {
			l.full.Store(false)
		}
		return false
	}
	last, seconds := l.prunedAt.Load(), now.Unix()
	if seconds >= last+pruneEvery && l.prunedAt.CompareAndSwap(last, seconds) {
		l.prune(second(now))
	}
	full := l.nearlyFull()
	if full && l.full.CompareAndSwap(false, true) {
		l.reports.tell(fmt.Errorf("revocation: the list holds %d entries, %d %% of MaxEntries: "+
			"new stateless sessions of visitors who have not logged in are refused until there is room; "+
			"raise MaxEntries (55 bytes of memory each), or find out who logs out so often", l.Len(), fullPercent))
	}
	return full
}

// prune drops all expired entries.
func (l *List) prune(now uint32) {
	l.sessions.prune(now)
	for _, t := range [...]*instants{&l.subjects, &l.tagged, &l.all} {
		t.drop(now)
	}
}

// from returns the millisecond after which no token counts that an entry for
// rec ends.
func (l *List) from(rec *session.Record, below uint32, now time.Time) int64 {
	from := millis(rec.CountsFrom())
	if below == everything && rec.Generation < everything-1 {
		from = max(from, millis(now)) // a login that the caller did not know may count from later
	}
	return from
}

// covers returns the latest member.from, in milliseconds, whose entry an end of
// the subject up to reach makes superfluous. It is earlier than reach, because
// an instance that has not yet heard of the end of a session may log somebody
// in to it, or keep it in EndOthers. The session then counts from later than
// the entry says. If there is no limit to how late that can be, no entry is
// superfluous.
func (l *List) covers(reach int64) int64 {
	if !l.short {
		return never
	}
	return reach - (l.made + 2*l.skew).Milliseconds()
}

// bound keeps the entries of rec's subject within their limit. Beyond it, one
// end of the subject's older sessions replaces the entries of these sessions.
// bound reports whether that has ended rec, although it was only renewed.
func (l *List) bound(rec *session.Record, r raised, now time.Time) (ended bool) {
	subject := hashOf(rec.Subject)
	m := member{slot: r.slot, prior: r.prior, from: l.from(rec, r.generation(), now)}
	last := m.from
	if r.generation() != everything {
		last--
	}
	if !r.fresh {
		l.crowds.update(subject, m)
		return false
	}
	covered, reach := l.crowds.add(subject, m, last, second(now), l.until(now))
	if len(covered) == 0 {
		return false
	}
	e := l.endOf(rec.Subject, now)
	e.instant = reach - l.skew.Milliseconds()
	l.apply(e, second(now))
	for _, m := range covered {
		l.sessions.remove(m.slot, m.prior)
	}
	return reach > last && r.generation() != everything
}

// reports calls a function of the application, each time in a goroutine of its
// own: logouts must not wait for a slow one.
type reports struct {
	f func(error) // may be nil

	mu     sync.Mutex // guards closed; no report begins after it was set
	closed bool
	group  sync.WaitGroup
}

func (r *reports) tell(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.f != nil && !r.closed {
		r.group.Go(func() { r.f(err) })
	}
}

func (r *reports) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.group.Wait()
}
