// Package revocation keeps a list of the sessions that ended before they
// expired: single sessions, tokens from before a login, all sessions of a
// subject, and all sessions from before an instant. The signature of a token is
// good until the token expires, so code that accepts tokens must ask
// [List.Check] first.
//
// Use [Open] in production: the list survives a restart, in a journal file
// beside the keys. [NewVolatile] is for tests, and for applications in which
// tokens may be valid again after a restart although they were logged out.
//
// A list belongs to one process, and answers from its memory. Instances of one
// application tell each other what has ended through a [Log], which a store on
// a server brings along. Services that verify service tokens ask a [Handler] of
// the application: [NewRemote] does that for Go. The journal belongs to one
// process, too: a second one that opens it waits for Config.Wait, and is then
// refused. Entries hold the IDs of sessions and the SHA-256 of subjects, never
// a token's text, since one token can be spelled in several ways. An entry
// lives until the deadline of its session, and not only as long as the token
// that was presented: another instance that does not know the entry yet makes
// newer tokens.
//
// The list is bounded, so that bots can't fill the memory or the disk:
//
//   - Ends of sessions in which nobody logged in may take a quarter of
//     Config.MaxEntries. Beyond it the oldest of these ends are forgotten. With
//     a token from before, such an anonymous session can be opened again until
//     its deadline.
//   - When the list holds more than 64 ends of sessions of one subject, it
//     replaces the older half of them by one entry, which ends all sessions
//     that the subject began before the middle one of these, on all devices.
//     Sessions that began later go on, so somebody who often logs in and out
//     notices nothing, and neither does a monitoring probe.
//   - Other ends of a subject's sessions are never forgotten. When they fill 90
//     % of MaxEntries, the list reports it, and [List.Room] refuses new
//     sessions without a subject. Ends are always possible.
//
// With a [Log], each instance appends at most a quarter of its MaxEntries of
// anonymous ends within the time that one of them lives. The others end only on
// their own instance. A list takes entries of other instances until it has
// twice MaxEntries. Then it reports it, and goes stale rather than forget an
// end. Whoever can write to the Log can end every session, make lists stale,
// and have the end of a single session forgotten, so guard the Log like the
// store of sessions.
package revocation

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/session"
)

// Config configures a [List].
type Config struct {
	_ [0]func() // no unkeyed literals, no comparison

	// Path is the journal file. Its directory must exist; the file is created,
	// with mode 0600, and so is a lock file beside it. Open requires it, or a Log;
	// NewVolatile ignores both.
	Path string

	// Wait is how long Open waits for another process to Close the journal. 0
	// means 10 seconds.
	Wait time.Duration

	// Log is what the instances of the application share, so that what ends on
	// one of them has ended on all. If nil, each instance has a list of its own. A
	// list with a Log needs no Path: a new process reads the Log.
	Log Log

	// MaxStaleness is how long a list may go without a complete read of the Log.
	// After that, [List.Fresh] refuses tokens until the Log can be read again. 0
	// means 5 minutes; at least 2 seconds. Give it the same value on all
	// instances, and IdleTimeout too: each remembers an end for as long as an
	// instance with its own settings could still make tokens of the session.
	MaxStaleness time.Duration

	// InsecureServeStale lets Fresh refuse nothing. As long as the Log can't be
	// read, tokens that have ended on other instances are accepted here. Set it on
	// all instances or on none, for the reason that MaxStaleness gives.
	InsecureServeStale bool

	// Lifetime is the longest lifetime that any session has: the
	// RememberedLifetime that session.Policy.WithDefaults returns, or Lifetime if
	// the application never calls session.Session.Remember. If you shorten it,
	// keep the old value here until the old sessions have ended. The end of all
	// sessions of a subject, or of everybody, is remembered that long; the end of
	// one session until the session's deadline. Required by Open. With
	// [NewVolatile], 0 means as long as the list lives.
	Lifetime time.Duration

	// SingleInstance says that no other process makes tokens for these sessions.
	// Then no token is made after the end of its session, and the end is
	// remembered only for the session's idle timeout, or until its deadline if
	// that is sooner. If it is set although another process makes tokens, a token
	// that the other one makes after the end opens the session again.
	SingleInstance bool

	// IdleTimeout is the longest idle timeout that any session has, as Lifetime is
	// the longest lifetime. With SingleInstance, the end of all sessions of a
	// subject, or of everybody, is remembered that long, and with a Log for
	// MaxStaleness and a minute longer. 0 means Lifetime.
	IdleTimeout time.Duration

	// MaxEntries bounds the list, see the package's documentation. An entry takes
	// at most 55 bytes of memory. 0 means 2,000,000; at least 10,000.
	MaxEntries int

	// Skew is how much the clocks of the instances that log users in may differ.
	// When all sessions of a subject are ended, sessions that began up to Skew
	// later end too, except those that began after their instance had heard of the
	// end. 0 means that there is one clock. With a Log whose server has a clock,
	// OnProblem hears of one that differs from it by more than half of Skew.
	Skew time.Duration

	// OnProblem gets what an operator should know:
	//
	//   - The journal can't be written: once in each outage. New ends are in force
	//     all the same, and the list tries again; but after a restart before it
	//     succeeds, these ends would be forgotten.
	//   - Another program has cut, replaced or otherwise changed the journal. The
	//     list notices it with the next end, and writes the journal anew.
	//   - The Log can't be read, or can't be written: once in each outage.
	//   - The clock differs from that of the Log's server: once, until they have
	//     agreed for a minute.
	//   - The list is 90 % full: each time it becomes so.
	//
	// OnProblem is called in a goroutine of its own, with no lock held. Close
	// waits for it, so it must not call Close. If nil, only the callers of the
	// methods that end something see an outage, by the error.
	OnProblem func(error)

	// EndKept, if set, ends the sessions of a subject where they are kept, if they
	// count from until or earlier (see session.Record.CountsFrom): then that is so
	// at once, also on instances that can't read the Log. EndSubject and EndOthers
	// call it when the end is in force here, and return its error. It is the
	// method EndUntil of *devices.Registry.
	EndKept func(ctx context.Context, subject string, until time.Time) error

	// OnEnd is called when many sessions were ended: by EndSubject, EndOthers,
	// EndTag, EndTagUntil or EndAll. err is the error that the caller gets; the
	// sessions have ended even if it is not nil. OnEnd is called on the caller's
	// goroutine, with no lock held.
	OnEnd func(ctx context.Context, of Ending, err error)

	// Now is the clock. If nil, time.Now.
	Now func() time.Time
}

// An Ending says which sessions were ended: those of a subject, those with a
// tag, or all if both are "".
type Ending struct {
	Subject string // "" for all
	TagKind string // of the tag; its value may be confidential
}

// A List holds the sessions that ended early. Its methods may be called
// concurrently. The zero List fails every call with [session.Unavailable].
//
// When a method that ends sessions returns, they have ended for Check, even if
// it returns an error that wraps [session.Unavailable]. That error means that
// the journal or the Log could not be written in time, so that a restart could
// forget the end, or other instances don't know it yet. The list keeps trying
// to write it. The context only bounds the wait for that. EndSubject and EndAll
// also return it if the Log can't be read.
type List struct {
	lifetime   time.Duration // of entries about more than one session; 0 is for ever
	short      bool          // tokens are made only for so long after an end:
	made       time.Duration // that long
	skew       time.Duration
	maxEntries int
	now        func() time.Time
	ownClock   bool     // now is time.Now, so that sleeping moves it
	journal    *journal // nil without a file
	feed       *feed    // nil without a log
	out        outlets  // both, and recent
	recent     *recent
	reports    *reports
	endKeptBy  func(ctx context.Context, subject string, until time.Time) error // may be nil
	onEnd      func(ctx context.Context, of Ending, err error)                  // may be nil

	sessions table
	subjects instants // by SHA-256
	tagged   instants // by session.LoginTag
	all      instants // under the zero key
	tags     *filter  // of subjects; it saves most look-ups the SHA-256
	crowds   *crowds
	watchers watchers

	prunedAt atomic.Int64 // unix second
	full     atomic.Bool  // the list is nearly full, and the operator was told
}

// Open reads the journal and locks it for this process. The caller must Close
// the list. Open reports every mistake in cfg at once. It refuses a journal
// that another process has open, that others may read or write, that is empty
// or that is damaged. A last line that a crash has cut is no damage: the call
// that wrote it never returned. If there is no file, as in a new deployment,
// Open makes one.
//
// If the old and the new process of one host overlap in a deployment, the new
// one waits in Open until the old one has shut its server down and called
// Close. So it knows everything that was ended there.
func Open(cfg Config) (*List, error) { return openStepwise(cfg, func(string) error { return nil }) }

func openStepwise(cfg Config, step func(name string) error) (*List, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	l := newList(cfg)
	if cfg.Path != "" {
		if err := l.openJournal(cfg, step); err != nil {
			return nil, err
		}
	}
	if cfg.Log != nil {
		l.openFeed(cfg)
	}
	return l, nil
}

func (c Config) validate() error {
	bad := fault.In("revocation: Config")
	dir, err := os.Stat(filepath.Dir(c.Path))
	bad.If(c.Path == "" && c.Log == nil, "Path", "is required: name a file beside the keys, or use NewVolatile")
	bad.If(c.MaxStaleness != 0 && c.MaxStaleness < minStaleness, "MaxStaleness",
		"is %v: give at least %v, or 0 for the default", c.MaxStaleness, minStaleness)
	bad.If(c.Path != "" && (err != nil || !dir.IsDir()), "Path",
		"%q is in a directory that doesn't exist: create it", c.Path)
	bad.If(c.Lifetime <= 0, "Lifetime", "is %v: give the longest lifetime that a session has", c.Lifetime)
	const negative = "is %v: must not be negative"
	bad.If(c.Wait < 0, "Wait", negative, c.Wait)
	bad.If(c.IdleTimeout < 0, "IdleTimeout", negative, c.IdleTimeout)
	bad.If(c.Skew < 0, "Skew", negative, c.Skew)
	bad.If(c.MaxEntries != 0 && c.MaxEntries < minEntries, "MaxEntries",
		"is %d: give at least %d, or 0 for the default", c.MaxEntries, minEntries)
	return bad.Err()
}

// NewVolatile returns a list that ends with the process. It needs no Close.
func NewVolatile(cfg Config) *List {
	cfg.Log = nil
	return newList(cfg)
}

func newList(cfg Config) *List {
	entries := cfg.MaxEntries
	if entries < minEntries {
		entries = defaultEntries
	}
	l := &List{
		lifetime:   max(cfg.Lifetime, 0),
		skew:       max(cfg.Skew, 0),
		maxEntries: entries,
		now:        cfg.Now,
		reports:    &reports{f: cfg.OnProblem},
		endKeptBy:  cfg.EndKept,
		onEnd:      cfg.OnEnd,
		sessions:   newTable(entries / anonymousShare),
		tags:       new(filter),
		crowds:     newCrowds(entries),
	}
	l.made, l.short = cfg.madeFor()
	if idle := cfg.IdleTimeout; l.short && idle > 0 && (l.lifetime == 0 || l.made+idle < l.lifetime) {
		l.lifetime = l.made + idle
	}
	if l.now == nil {
		l.now, l.ownClock = time.Now, true
	}
	l.recent = &recent{list: l}
	l.out.recent = l.recent
	l.watchers.now = l.now
	for _, t := range []*instants{&l.subjects, &l.tagged, &l.all} {
		t.newest.Store(never)
		t.clock = func() int64 { return millis(l.now()) }
	}
	return l
}

// EndSession ends the session of rec: all its tokens, of every generation. rec
// is the newest record that the caller knows. It succeeds if the session has
// ended already.
func (l *List) EndSession(ctx context.Context, rec *session.Record) error {
	_, err := l.endSession(ctx, rec, everything, always)
	return err
}

// EndBelow ends the tokens of rec's generation and of earlier ones, as after a
// login or a renewal. ok is true for the first call with this generation. It is
// false, and nothing has changed, if that generation, a later one or the whole
// session has ended already. ok is valid with an error too. An error that wraps
// [session.Ended] means that the session has ended as one of too many of its
// subject.
func (l *List) EndBelow(ctx context.Context, rec *session.Record) (ok bool, err error) {
	if rec.Generation >= everything-1 {
		return false, fmt.Errorf("revocation: generation %d: no generation can follow it: %w",
			rec.Generation, session.BadValue)
	}
	return l.endSession(ctx, rec, uint32(rec.Generation)+1, ifFirst)
}

func (l *List) endSession(ctx context.Context, rec *session.Record, below uint32, when condition) (bool, error) {
	if rec.ID == "" {
		return false, fmt.Errorf("revocation: the record has no ID: %w", session.BadValue)
	}
	if err := l.ready(); err != nil {
		return false, err
	}
	now := l.now()
	e := entry{
		kind:       ofSession,
		key:        keyOf(rec.ID),
		below:      below,
		until:      l.untilOver(rec, now),
		generation: uint32(min(rec.Generation, everything)),
		longest:    l.until(now),
	}
	if rec.Subject == "" {
		e.kind = ofNobody
	} else if l.feed != nil {
		e.subject, e.from = hashOf(rec.Subject), l.from(rec, below, now)
	}
	r := l.raiseSession(e, when, second(now), l.out)
	if rec.Subject != "" && (r.first || r.fresh) && l.bound(rec, r, now) {
		return false, ended("too many sessions of its subject have ended")
	}
	l.isFull(now)
	return r.first, r.wait(ctx)
}

// apply puts e in force.
func (l *List) apply(e entry, now uint32) {
	switch e.kind {
	case ofSubject, ofTag, ofAll:
		l.raise(e, nil, now, l.out)
	default:
		l.raiseSession(e, always, now, l.out)
	}
}

// raiseSession puts e in force, and tells those who watch the session.
func (l *List) raiseSession(e entry, when condition, now uint32, out outlets) raised {
	r := l.sessions.raise(e, when, now, out)
	if r.generation() == everything {
		l.watchers.endSession(e.key)
	}
	return r
}

// hear puts in force what has ended on another instance. e.longest is until of
// the present.
func (l *List) hear(e entry, now uint32) {
	out := outlets{journal: l.out.journal, recent: l.recent}
	switch e.kind {
	case ofSession, ofNobody:
		switch r := l.raiseSession(e, always, now, out); {
		case r.fresh && e.subject != (key{}):
			l.crowds.note(e.subject, member{slot: r.slot, prior: r.prior, from: e.from}, now, e.longest)
		case e.below < r.generation(): // it is about somebody else, and comes late
			l.sessions.keep(e.key)
		}
	case ofChange:
		l.hearChange(e)
	case ofSubject, ofTag, ofAll:
		e.instant = min(e.instant, millis(l.now().Add(maxAhead)))
		l.raise(e, nil, now, out)
		reach := e.instant + l.skew.Milliseconds()
		for _, m := range l.crowds.covered(e.key, reach, l.covers(reach), e.until) {
			l.sessions.remove(m.slot, m.prior)
		}
	}
}

// Check returns an error that wraps [session.Ended] if rec has ended early,
// with a [session.SupersededError] if only this generation of the session has
// ended. It only looks into memory, for about 100 ns. It does not check
// deadlines: once they have passed, an entry may be gone.
func (l *List) Check(rec *session.Record) error {
	if err := l.ready(); err != nil {
		return err
	}
	from, skew := rec.CountsFrom().UnixMilli(), l.skew.Milliseconds()
	if from <= l.all.newest.Load()+skew {
		return ended("all sessions that began until then were ended")
	}
	if below := l.sessions.get(rec.ID); below == everything {
		return ended("the session was logged out")
	} else if rec.Generation < uint64(below) {
		return fmt.Errorf("revocation: the session was renewed: %w", &session.SupersededError{})
	}
	if from <= l.subjects.newest.Load()+skew && from <= l.subjectEnded(rec.Subject)+skew {
		return ended("all sessions of its subject were ended")
	}
	if from <= l.tagged.newest.Load()+skew && from <= l.tagsEnded(rec.Tags)+skew {
		return ended("all sessions with one of its tags were ended")
	}
	return nil
}

func ended(why string) error {
	return fmt.Errorf("revocation: %s: %w", why, session.Ended)
}

// Len returns how many entries the list keeps, including some that have
// expired: those are removed step by step, when others are added.
func (l *List) Len() int {
	return int(l.sessions.count.Load() + l.subjects.count.Load() + l.tagged.count.Load() + l.all.count.Load())
}

// Close writes the remaining entries and unlocks the journal for another
// process. Check still works afterwards. A session that is ended later has
// ended only in memory, and the method returns an error. Close of a volatile
// list does nothing, and neither does a second Close.
func (l *List) Close() error {
	var err error
	if l.feed != nil {
		err = l.feed.close()
	}
	if l.journal != nil {
		err = errors.Join(err, l.journal.close())
	}
	if l.reports != nil { // not the zero List
		l.reports.close()
	}
	return err
}

func (l *List) ready() error {
	if l.now == nil {
		return fmt.Errorf("revocation: the zero List: use Open or NewVolatile: %w", session.Unavailable)
	}
	return nil
}
