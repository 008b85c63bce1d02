// Package revocation keeps what ended before its time: single sessions, tokens
// from before a login, all sessions of a subject, and everything from before an
// instant. A signed token stays genuine until it expires, so whoever accepts
// tokens asks [List.Check] first.
//
// Use [Open] in production: the list survives a restart, in a journal file
// beside the keys. [NewVolatile] is for tests, and for applications that accept
// that a restart brings logged-out tokens back.
//
// A list belongs to one process; a second one that opens its journal is refused.
// It knows sessions by ID and subjects by their SHA-256, never a token's text,
// since one token can be spelled in several ways. An entry lives as long as a
// session that it is about could, not as long as the token that was presented:
// an instance that hasn't heard yet goes on minting new ones.
package revocation

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/session"
)

// Config configures a [List].
type Config struct {
	_ [0]func() // no unkeyed literals, no comparison

	// Path is the journal file. Its directory must exist; the file is created, with
	// mode 0600, and so is a lock file beside it. Required by Open, ignored by
	// NewVolatile.
	Path string

	// Lifetime is the longest lifetime that any session has: the RememberedLifetime
	// that session.Policy.WithDefaults returns, or Lifetime if the application never
	// calls session.Session.Remember; when it was shortened, the one before. Entries
	// live that long. Required by Open; with NewVolatile 0 means that entries stay as
	// long as the list.
	Lifetime time.Duration

	// Skew is by how much the clocks of the instances that log users in may differ.
	// When a subject's sessions are ended, those of so much later end too. 0 means
	// that there is one clock.
	Skew time.Duration

	// Report is told, once in each outage, that the journal can't be written and
	// why. What ends is in force all the same, the list goes on trying, and a restart
	// before it succeeds would make it valid again. Report is called in a goroutine
	// of its own, with no lock held. Close waits for it, so it must not call Close.
	// If nil, only those who end something hear of it, by the error that they get.
	Report func(error)

	// Now is the clock. If nil, time.Now.
	Now func() time.Time
}

// A List is what ended early. Its methods may be called concurrently. The zero
// List fails every call with [session.Unavailable].
//
// The methods that end something do so at once: when they return, Check knows, in
// each case. An error says that the entry may not outlive this process, because
// the journal could not be written in time; it wraps [session.Unavailable]. The
// list goes on trying to write it. The context bounds the wait for the disk alone.
type List struct {
	lifetime time.Duration
	skew     int64 // milliseconds
	now      func() time.Time
	ownClock bool     // now is time.Now, so waiting moves it
	journal  *journal // nil for a volatile list

	sessions table // by ID; the value is a generation, everything for the whole session
	subjects table // by SHA-256; the value is an instant in milliseconds
	all      table // one entry under ""; the value is an instant in milliseconds

	// The newest instants, or never, and the subjects' tags: most records need no
	// look into the tables, and no SHA-256.
	subjectsAt, allAt atomic.Int64
	tags              *filter
}

const (
	everything = math.MaxUint64 // no generation is above it
	never      = math.MinInt64 / 2

	// maxID bounds what one entry can take.
	maxID = 256
)

// Open reads the journal and locks it for this process; the caller must Close the
// list. It reports every mistake in cfg at once. It refuses a journal that another
// process has open, that others may read or write, or that is damaged. A last line
// that a crash cut short is no damage: nobody was told that it had been written.
func Open(cfg Config) (*List, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	l := newList(cfg)
	if err := l.openJournal(cfg.Path, cfg.Report); err != nil {
		return nil, err
	}
	return l, nil
}

// NewVolatile returns a list that ends with the process. It needs no Close.
func NewVolatile(cfg Config) *List { return newList(cfg) }

func (c Config) validate() error {
	var errs []error
	if c.Path == "" {
		errs = append(errs, fault.Errorf("revocation: Config.Path", "is required: name a file beside the keys, or use NewVolatile"))
	} else if dir, err := os.Stat(filepath.Dir(c.Path)); err != nil || !dir.IsDir() {
		errs = append(errs, fault.Errorf("revocation: Config.Path", "%q is in a directory that doesn't exist: create it", c.Path))
	}
	if c.Lifetime <= 0 {
		errs = append(errs, fault.Errorf("revocation: Config.Lifetime", "is %v: give the longest lifetime that a session has", c.Lifetime))
	}
	if c.Skew < 0 {
		errs = append(errs, fault.Errorf("revocation: Config.Skew", "is %v: must not be negative", c.Skew))
	}
	return errors.Join(errs...)
}

func newList(cfg Config) *List {
	l := &List{
		lifetime: max(cfg.Lifetime, 0),
		skew:     max(cfg.Skew, 0).Milliseconds(),
		now:      cfg.Now,
		sessions: newTable(),
		subjects: newTable(),
		all:      newTable(),
		tags:     new(filter),
	}
	if l.now == nil {
		l.now, l.ownClock = time.Now, true
	}
	l.subjectsAt.Store(never)
	l.allAt.Store(never)
	return l
}

// EndSession ends the session of rec: all its tokens, of every generation. rec is
// the newest record that the caller knows. Ending an ended session succeeds.
func (l *List) EndSession(ctx context.Context, rec *session.Record) error {
	_, err := l.endSession(ctx, rec, everything, always)
	return err
}

// EndBelow ends the tokens of rec's generation and of those before it, as after a
// login or a renewal. Of several callers that come with the same generation, the
// first gets ok. The others don't, and neither do those who come after the session
// has ended or after a later generation: nothing has changed then. ok holds with
// an error, too.
func (l *List) EndBelow(ctx context.Context, rec *session.Record) (ok bool, err error) {
	if rec.Generation >= everything-1 {
		return false, fmt.Errorf("revocation: generation %d: no generation can follow it: %w", rec.Generation, session.BadValue)
	}
	return l.endSession(ctx, rec, rec.Generation+1, ifFirst)
}

func (l *List) endSession(ctx context.Context, rec *session.Record, below uint64, when condition) (bool, error) {
	if id := rec.ID; id == "" || len(id) > maxID || !utf8.ValidString(id) {
		return false, fmt.Errorf("revocation: session ID of %d bytes: give 1 to %d of UTF-8: %w", len(id), maxID, session.BadValue)
	}
	if err := l.ready(); err != nil {
		return false, err
	}
	e := entry{Session: rec.ID, below: below, Until: max(ceilSecond(rec.Deadline), l.until())}
	return l.end(ctx, e, when)
}

// end puts e in force, and waits until it is in the journal.
func (l *List) end(ctx context.Context, e entry, when condition) (bool, error) {
	first, b := l.apply(e, when)
	return first, b.wait(ctx)
}

func (l *List) apply(e entry, when condition) (bool, *batch) {
	now := l.now().Unix()
	switch {
	case e.Session != "":
		return l.sessions.raise(e.Session, e.below, e, when, now, l.journal)
	case e.Subject != nil:
		first, b := l.subjects.raise(string(e.Subject), uint64(e.Instant), e, when, now, l.journal)
		l.tags.add(e.Tag)
		raiseTo(&l.subjectsAt, e.Instant)
		return first, b
	default:
		first, b := l.all.raise("", uint64(e.Instant), e, when, now, l.journal)
		raiseTo(&l.allAt, e.Instant)
		return first, b
	}
}

func raiseTo(v *atomic.Int64, n int64) {
	for {
		old := v.Load()
		if n <= old || v.CompareAndSwap(old, n) {
			return
		}
	}
}

// Check returns nil for a record that no entry is about, and otherwise an error
// that wraps [session.Ended], with a [session.SupersededError] if only this
// generation of the session has ended. It looks into memory alone, in some 100 ns. Deadlines
// are not its business: an entry may be gone once they have passed.
func (l *List) Check(rec *session.Record) error {
	if err := l.ready(); err != nil {
		return err
	}
	from := rec.CountsFrom().UnixMilli()
	if from <= l.allAt.Load()+l.skew {
		return ended("every session of its time was ended")
	}
	if below, ok := l.sessions.get(rec.ID); ok && below == everything {
		return ended("it was logged out")
	} else if ok && rec.Generation < below {
		return fmt.Errorf("revocation: it was renewed: %w", &session.SupersededError{})
	}
	if from <= l.subjectsAt.Load()+l.skew && from <= l.subjectEnded(rec.Subject)+l.skew {
		return ended("all sessions of its subject were ended")
	}
	return nil
}

// digest is SHA-256 of the subject. A conversion of the whole would allocate.
func digest(subject string) [sha256.Size]byte {
	var buf [128]byte
	if len(subject) > len(buf) {
		return sha256.Sum256([]byte(subject))
	}
	return sha256.Sum256(buf[:copy(buf[:], subject)])
}

func ended(why string) error {
	return fmt.Errorf("revocation: %s: %w", why, session.Ended)
}

// Len returns how many entries the list keeps. Those whose time is over leave it
// step by step, as others come.
func (l *List) Len() int {
	return int(l.sessions.count.Load() + l.subjects.count.Load() + l.all.count.Load())
}

// Close writes what is still to be written, and frees the journal for another
// process. Check goes on working; what is ended later is ended in memory alone,
// with an error. Closing a volatile list, or one that is closed, does nothing.
func (l *List) Close() error {
	if l.journal == nil {
		return nil
	}
	return l.journal.close()
}

func (l *List) ready() error {
	if l.now == nil {
		return fmt.Errorf("revocation: the zero List: use Open or NewVolatile: %w", session.Unavailable)
	}
	return nil
}

// until returns the second at which every session that lives now is over.
func (l *List) until() int64 {
	if l.lifetime == 0 {
		return math.MaxInt64
	}
	// One after the other: the sum of two long durations can be negative.
	return ceilSecond(l.now().Add(l.lifetime).Add(time.Duration(l.skew) * time.Millisecond))
}

func ceilSecond(t time.Time) int64 { return t.Add(time.Second - 1).Unix() }
