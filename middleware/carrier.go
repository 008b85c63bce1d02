package middleware

import (
	"context"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// Revocations knows the sessions that ended early.
type Revocations interface {
	// Admit is asked when a session begins, or a subject has just logged in. It
	// returns the record to save. It fails with [session.Ended] if the login must
	// not succeed.
	Admit(rec *session.Record) (*session.Record, error)

	// Watch calls ended when the session of rec is over, until stop is called. It
	// calls look to find out whether the session still lives, and its newest
	// state: an error that wraps [session.Unavailable] says that this is not known
	// for now, any other one that the session is over.
	Watch(rec *session.Record, look func() (*session.Record, error), ended func()) (stop func())

	// Changed tells those who watch the session of was that it goes on as is, or
	// has ended if is is nil. If look is not nil, it replaces theirs.
	Changed(was, is *session.Record, look func() (*session.Record, error))
}

// A Carrier turns a session record into the credential that a client keeps, and
// back. It knows nothing of HTTP. It keeps the deadlines of a record, but the
// caller decides whether a session is over ([session.Policy.Over]).
// token.Carrier and opaque.Carrier are the two that exist. Methods may be
// called concurrently. Every error wraps a [session.Reason].
type Carrier interface {
	// Recognizes reports whether credential has this carrier's form. It looks at
	// the syntax only.
	Recognizes(credential string) bool

	// InPlace reports whether Save keeps the credential as it is, so that a
	// change can be saved after the response has begun.
	InPlace() bool

	// MaxLength is the length of the longest credential that it makes, in bytes.
	MaxLength() int

	// Key returns the name of a credential that this carrier has made in its
	// store, or "" if it has none.
	Key(credential string) string

	// Open returns the newest record behind credential, and the credential that
	// the client should hold by now: the same one, or a newer one. A nil record
	// without an error says that the session goes on under current, which may be
	// of another carrier's form.
	Open(ctx context.Context, credential string) (rec *session.Record, current string, err error)

	// Peek does what Open does, and changes nothing: neither what is stored nor
	// what this process remembers of the session. The record is the one behind
	// credential, even if the client should hold a newer one.
	Peek(ctx context.Context, credential string) (rec *session.Record, current string, err error)

	// Reopen does what Open does, for a credential that was opened, or made, in
	// the same request: known is the record of that time. The carrier needn't
	// verify the credential again.
	Reopen(ctx context.Context, credential string, known *session.Record) (rec *session.Record, current string, err error)

	// Issue makes a new credential for rec. It fails with [session.TooLarge] if
	// rec doesn't fit. If replaces is not "", it is the credential of this form
	// that the session has so far, and is about to be retired: a full store may
	// give its room to the new one.
	Issue(ctx context.Context, rec *session.Record, replaces string) (credential string, err error)

	// Save applies changes, which don't renew or move, to the newest record of
	// credential. It returns the record that it made and the credential that the
	// client should hold. It never revives a session that has ended. It fails with
	// session.Conflict if the session goes on under another credential, and with
	// [session.TooLarge] if the record doesn't fit; then nothing has changed.
	Save(ctx context.Context, credential string, base *session.Record, changes *session.Changes) (
		rec *session.Record, current string, err error)

	// Retire replaces credential by successor if base is still its newest record;
	// otherwise it fails with [session.Conflict], or the Reason for which the
	// session has ended, and nothing has changed. During grace at least, opening
	// credential leads to successor; later, or if grace is 0, Open fails with a
	// [session.SupersededError].
	//
	// If a crash might bring credential back, or a store's answer got lost so that
	// nobody knows whether credential has ended, Retire fails with
	// [session.Unavailable]. In hold it then returns the credential that the
	// client should get nevertheless, of its own form or successor's; opening it
	// finishes what was begun, or undoes it.
	Retire(ctx context.Context, credential string, base *session.Record, successor string, grace time.Duration) (
		hold string, err error)

	// Forget undoes an Issue whose credential nobody has seen, or drops what is
	// kept of a session that is over.
	Forget(ctx context.Context, credential string) error

	// End ends the session, in every form and generation that it has by now.
	// Ending an ended session succeeds.
	End(ctx context.Context, credential string, rec *session.Record) error
}
