package session

import (
	"errors"
	"time"
)

// A Reason says why a session was refused, lost or not saved. It is itself an
// error, so that one value serves errors.Is, a log attribute and a metric
// label:
//
//	if errors.Is(err, session.TooLarge) { … }
//
// Code may tell reasons apart; a client is never told which it was.
type Reason uint8

// The reasons. Those up to Ended mean "no": a request goes on without a
// session. Those from Conflict to TooLate are about changes. Unavailable means
// "could not tell": the request is denied with 503. CrossOrigin is denied with
// 403.
const (
	Malformed    Reason = iota + 1 // a credential that has no known form
	Forged                         // right form, but the signature, the encryption or a claim is wrong
	UnknownKey                     // made with a key that the ring doesn't have, or no longer trusts
	NotFound                       // an opaque credential that no record belongs to
	Ambiguous                      // several cookies of the name open to different sessions
	IdleTimeout                    // over: no request for Policy.IdleTimeout
	LifetimeOver                   // over: Policy.Lifetime since creation or login
	Ended                          // logged out, renewed or revoked
	Conflict                       // another request was faster; start again from the newest record
	TooLarge                       // the session doesn't fit its carrier, such as a cookie
	BadValue                       // a value or argument that a session can't keep
	TooLate                        // the response has begun; this change can't reach the client
	Unavailable                    // could not tell, or could not keep: a store, journal or key is out of reach
	NoMiddleware                   // the request didn't come through a session middleware
	TooMany                        // the subject has as many sessions as it may have
	CrossOrigin                    // an unsafe request that a page of another origin may have sent
	reasonsEnd
)

// reasonTexts holds a label for logs and metrics, and a text for people.
var reasonTexts = [reasonsEnd]struct{ label, prose string }{
	Malformed:    {"malformed", "malformed"},
	Forged:       {"forged", "not genuine"},
	UnknownKey:   {"unknown_key", "key not trusted"},
	NotFound:     {"not_found", "not found"},
	Ambiguous:    {"ambiguous", "ambiguous"},
	IdleTimeout:  {"idle_timeout", "idle for too long"},
	LifetimeOver: {"lifetime_over", "lifetime over"},
	Ended:        {"ended", "ended"},
	Conflict:     {"conflict", "conflict"},
	TooLarge:     {"too_large", "too large"},
	BadValue:     {"bad_value", "invalid value"},
	TooLate:      {"too_late", "too late"},
	Unavailable:  {"unavailable", "unavailable"},
	NoMiddleware: {"no_middleware", "no session middleware"},
	TooMany:      {"too_many", "too many sessions"},
	CrossOrigin:  {"cross_origin", "from another origin"},
}

// String returns the reason as a short label in snake case, "none" for zero.
func (r Reason) String() string {
	if r == 0 || r >= reasonsEnd {
		return "none"
	}
	return reasonTexts[r].label
}

// Error returns a few words for people. For labels in logs and metrics, use
// String.
func (r Reason) Error() string {
	if r == 0 || r >= reasonsEnd {
		return "no reason"
	}
	return reasonTexts[r].prose
}

// ReasonOf returns the Reason in err's chain, 0 for no error. For an error
// without a Reason it returns [Unavailable]: whatever failed could not tell.
func ReasonOf(err error) Reason {
	if err == nil {
		return 0
	}
	var reason Reason
	if errors.As(err, &reason) {
		return reason
	}
	return Unavailable
}

// A RefusedError says that a credential is genuine, but doesn't open its
// session: so it is known whose it was.
type RefusedError struct {
	Record *Record // as the credential has it; not to be used as a session
	Err    error   // why; wraps a [Reason]
}

// Error implements error.
func (e *RefusedError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *RefusedError) Unwrap() error { return e.Err }

// A SupersededError says that a credential has ended because its session goes
// on under a newer one. It is an [Ended].
type SupersededError struct {
	At time.Time // when the newer credential was made; zero if that is not known
}

// Error implements error.
func (e *SupersededError) Error() string { return "the session goes on under a newer credential" }

// Unwrap returns [Ended].
func (e *SupersededError) Unwrap() error { return Ended }

// Until returns when a request with the old credential can begin another
// session again: a minute after At, or zero if At is. Until then it can't,
// except by a login: it was most likely sent before the client got the newer
// credential, and a cookie in its response would overwrite that one.
func (e *SupersededError) Until() time.Time {
	if e.At.IsZero() {
		return time.Time{}
	}
	return e.At.Add(time.Minute)
}
