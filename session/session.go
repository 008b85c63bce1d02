package session

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A Session is what one request knows of its visitor: a [Record], if there is
// one, and what this request has changed. Several goroutines of the request may
// use it. It begins to exist with the first change; before that it costs
// nothing.
//
// Changes are saved by the middleware before the first byte of the response.
// A change that can't reach the client any more fails with [TooLate].
type Session struct {
	mu   sync.Mutex // guards the fields below
	base *Record    // as it is kept; nil if it is kept nowhere
	view *Record    // base after ops, but for the last behind of them; showLocked catches up
	ops  []op

	behind  int
	began   time.Time // when the request did
	isNew   bool
	passive bool // see IgnoreActivity
	owned   bool // nobody else has view, so it may change
	differ  bool // base after ops may be another than view: an Update of ops may have to run again
	phase   Phase
	end     end
	begun   atomic.Bool // phase is above beforeHeader; read without mu

	// Set by SubjectEnded.
	over      *Record              // the session that this request has ended with all others of its subject
	loginFrom map[ending]time.Time // the earliest instant that a login counts from which would be one of those

	o Options
}

// An end says what may follow in a request whose session has ended.
type end uint8

const (
	notEnded  end = iota
	over          // only Login; Destroy still ends what the session has become
	destroyed     // nothing
)

type contextKey struct{}

// From returns the session of the request that ctx belongs to. It never returns
// nil: where no middleware has put one, reads give zero values, and writes fail
// with [NoMiddleware].
func From(ctx context.Context) *Session {
	if s, ok := ctx.Value(contextKey{}).(*Session); ok {
		return s
	}
	return &Session{}
}

// NewContext returns a copy of ctx that carries s.
func NewContext(ctx context.Context, s *Session) context.Context {
	return context.WithValue(ctx, contextKey{}, s)
}

// ID returns the session's public handle: random, the same from creation to
// end, safe to log and to show. It is not the credential and opens nothing. It
// is empty until the session exists.
func (s *Session) ID() string { return s.record().ID }

// Subject returns who is logged in, "" for nobody.
func (s *Session) Subject() string { return s.record().Subject }

// Tags returns the tags of the login.
func (s *Session) Tags() []LoginTag { return slices.Clone(s.record().Tags) }

// AMR returns how the subject authenticated, as [AMR] said at the login; nil if
// nobody said.
func (s *Session) AMR() []string { return slices.Clone(s.record().AMR) }

// AuthenticatedAt returns when the request began in which the subject logged
// in, to the millisecond; zero for nobody.
func (s *Session) AuthenticatedAt() time.Time { return s.record().AuthenticatedAt }

// ExpiresAt returns when the session is over if there is no further activity,
// in whole seconds; zero if it doesn't exist.
func (s *Session) ExpiresAt() time.Time { return s.record().IdleDeadline }

// Cookies returns the names of the cookies that hold the visitor's credential.
// If you pass a request on to another server, remove them: they open the
// session here, and nobody else needs them. token.Transport does so.
func (s *Session) Cookies() []string { return slices.Clone(s.o.Cookies) }

// Snapshot returns the session as this request sees it, all fields at one
// moment, including when it began and whether it is remembered. It is a zero
// Record if the session doesn't exist.
func (s *Session) Snapshot() Record { return *s.record() }

// IsNew reports whether the request came without a session.
func (s *Session) IsNew() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.isNew
}

// Has reports whether there is a value called name. To read and write values,
// use a [Key].
func (s *Session) Has(name string) bool {
	_, ok := s.values().Get(name)
	return ok
}

// Keys returns the names of all values, sorted.
func (s *Session) Keys() []string {
	values := s.values()
	names := make([]string, 0, values.Len())
	for name := range values.All() {
		names = append(names, name)
	}
	return names
}

// Clear removes all values. The session and its subject stay.
func (s *Session) Clear() error { return s.change(op{kind: opClear}, false) }

// Remember puts the session under the [Policy]'s limits for remembered
// sessions, by default 14 days without a request and 30 days in all, and lets
// its cookie outlive the browser; or, with false, under the ordinary limits
// again. The lifetime counts from the login, or from the session's start if
// nobody is logged in. A session whose limits change gets a new credential, as
// by [Session.Renew]. Call Remember after [Session.Login], which forgets what
// another subject chose.
//
// Remember(false) fails with [LifetimeOver], and changes nothing, if the login
// is longer ago than the ordinary Lifetime: call Destroy then.
func (s *Session) Remember(remember bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := op{kind: opRemember, persist: remember}
	if !s.passive {
		o.at = s.began
	}
	if err := s.writableLocked(o); err != nil {
		return err
	}
	if s.view == nil || s.base == nil {
		return s.addLocked(o, true) // no credential is under other limits
	}
	s.showLocked()
	next := *s.view
	o.remember(&next, &s.o.Policy)
	switch {
	case s.view.Persistent == remember:
		return nil
	case s.phase == HeaderSent:
		return s.tooLateLocked()
	case !s.began.Before(next.Deadline):
		return fmt.Errorf("session: Remember(false): the login is longer ago than the Lifetime of a session that is "+
			"not remembered; call Destroy: %w", LifetimeOver)
	}
	// All credentials of one generation have the same deadline: to end one of
	// them is to end all, for as long as any of them could live.
	if err := s.addLocked(o, true); err != nil {
		return err
	}
	return s.addLocked(op{kind: opRenew}, true)
}

// IgnoreActivity says that this request is not activity of the visitor, such as
// one that a page sends on a timer: it doesn't keep an idle session alive, nor
// does what it saves. Call it first in a handler, or in a wrapper of the route.
// A session that begins or logs in with this request counts from it all the
// same.
func (s *Session) IgnoreActivity() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.passive = true
}

// Renew gives the visitor a new credential and ends the old one immediately.
// Call it after a change of rights. In stateless mode the old credential ends
// on this instance, and on others when they hear of it. Renew does nothing if
// there is no session.
func (s *Session) Renew() error { return s.changeCredential(op{kind: opRenew}, false) }

// Destroy ends the session: no credential that was ever issued for it opens
// again. It is final for this request; later changes fail with [Ended], so a
// message for the next page, such as "good-bye", must travel in its URL.
func (s *Session) Destroy() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.o.Saver == nil {
		return errNoMiddleware()
	}
	if s.phase == Finished {
		return s.tooLateLocked()
	}
	s.end = destroyed
	s.ops = nil
	s.setViewLocked(nil)
	return nil
}

// Save keeps the changes now, without waiting for the response to begin. Call
// it in handlers that run long (a WebSocket, server-sent events), or that want
// to answer a failure themselves. Without changes, Save records the activity,
// or fails with the Reason if the session has ended.
//
// After an error the session is as it was last saved, without the changes.
//
// Once the response has begun, a session that travels in a token can't change:
// changes fail with [TooLate], and Save records no activity. So an open stream
// doesn't keep a stateless session alive; only further requests do. In mode
// auto this depends on how large the session is, so use mode opaque for a
// handler that must write late. A WebSocket server that sends its 101 by
// WriteHeader can still set a cookie with it.
func (s *Session) Save(ctx context.Context) error {
	if s.o.Saver == nil {
		return errNoMiddleware()
	}
	return s.o.Saver.Save(ctx)
}

// record returns the view, or an empty record if the session doesn't exist.
func (s *Session) record() *Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.view == nil {
		return &Record{}
	}
	s.showLocked()
	s.owned = false
	return s.view
}

// setViewLocked makes rec, which others may have, what the request sees.
func (s *Session) setViewLocked(rec *Record) { s.view, s.owned, s.behind = rec, false, 0 }

func (s *Session) values() Values {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.view == nil {
		return Values{}
	}
	s.showLocked()
	return s.view.Values
}

// change adds a step. If the session doesn't exist, create says whether the
// step begins it, or means nothing.
func (s *Session) change(o op, create bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addLocked(o, create)
}

// changeCredential adds a step that only a new credential can carry.
func (s *Session) changeCredential(o op, create bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase == HeaderSent {
		return s.tooLateLocked()
	}
	return s.addLocked(o, create)
}

// stepsOfLogin is for how many steps there is room when a session begins: a
// login that sets a few values needs no more.
const stepsOfLogin = 6

func (s *Session) addLocked(o op, create bool) error {
	if err := s.writableLocked(o); err != nil {
		return err
	}
	ops := s.ops
	if len(ops) == 0 {
		s.differ = false
	}
	if s.view == nil {
		if !create {
			return nil
		}
		if s.phase != beforeHeader {
			return s.tooLateLocked() // the client can't be told of a session any more
		}
		first := s.beginLocked()
		ops = append(slices.Grow(ops, stepsOfLogin), first)
		s.setViewLocked(first.fresh)
	}
	s.ops = append(ops, o)
	s.behind++
	return nil
}

// beginLocked returns the step that begins a session. It goes on from the one
// that this request has ended, if there is one: only a login can follow.
func (s *Session) beginLocked() op {
	fresh := newRecord(&s.o.Policy, s.o.Now(), s.o.Persistent)
	if s.over != nil {
		fresh.inherit(s.over)
	}
	return op{kind: opCreate, fresh: fresh}
}

// showLocked brings view up to date. Many requests save what they change, and
// never look at it.
func (s *Session) showLocked() {
	for ; s.behind > 0; s.behind-- {
		switch o := &s.ops[len(s.ops)-s.behind]; {
		case o.kind == opCreate && s.view == nil:
			s.view, s.owned = o.fresh, false
		case o.kind == opCreate || s.view == nil:
		case s.owned:
			o.show(s.view, &s.o.Policy)
		default:
			view := *s.view
			o.show(&view, &s.o.Policy)
			s.view, s.owned = &view, true
		}
	}
}

func (s *Session) writableLocked(o op) error {
	noLogin := s.view == nil && o.kind != opLogin
	switch {
	case s.o.Saver == nil:
		return errNoMiddleware()
	case s.end == destroyed:
		return fmt.Errorf("session: changed after Destroy: %w", Ended)
	case s.end == over && noLogin && s.over != nil:
		return fmt.Errorf("session: changed after all sessions of its subject were ended; call Login first: %w", Ended)
	case s.end == over && noLogin:
		return fmt.Errorf("session: changed after it was found to be over: %w", Ended)
	case s.phase >= Closed:
		return s.tooLateLocked()
	}
	return nil
}

func newRecord(policy *Policy, now time.Time, persistent bool) *Record {
	now = now.Truncate(time.Second)
	var raw [idBytes + lineageBytes]byte
	rand.Read(raw[:])
	rec := Record{
		ID:         text(raw[:idBytes]),
		Version:    1,
		Generation: 1,
		Lineage:    text(raw[idBytes:]),
		CreatedAt:  now,
		SeenAt:     now,
		Persistent: persistent,
	}
	policy.start(&rec)
	policy.seen(&rec, now)
	return &rec
}

// inherit gives a record that begins what a login keeps of the session before
// it: the values, which the login clears if another subject was logged in.
func (r *Record) inherit(from *Record) {
	r.Values, r.Persistent = from.Values, from.Persistent
	r.Subject, r.AuthenticatedAt = from.Subject, from.AuthenticatedAt
}

const (
	idBytes = 16

	// lineageBytes is enough for a secret: the lineage of a token's generation,
	// which no store has, is what a store's note about that generation is
	// encrypted with.
	lineageBytes = 12
)

func newLineage() string {
	var raw [lineageBytes]byte
	rand.Read(raw[:])
	return text(raw[:])
}

// text returns at most idBytes bytes in base64url.
func text(raw []byte) string {
	var b [(idBytes*8 + 5) / 6]byte // on the stack
	return string(base64.RawURLEncoding.AppendEncode(b[:0], raw))
}

func errNoMiddleware() error {
	return fmt.Errorf("session: the request did not pass through middleware.Handler, which puts the session into "+
		"its context: %w", NoMiddleware)
}

// tooLateLocked says why a change can't be kept any more.
func (s *Session) tooLateLocked() error {
	if s.phase == Finished {
		return fmt.Errorf("session: the request is over, and its session with it; change the session before the "+
			"handler returns, or in another request: %w", TooLate)
	}
	return fmt.Errorf("session: the response has begun, so this change can't reach the client; make it before the "+
		"first byte: %w", TooLate)
}
