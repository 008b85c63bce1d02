package token

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/claims"
	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/session"
)

// Revocations knows the sessions that ended before their tokens expire.
// *revocation.List has these methods.
type Revocations interface {
	// Check returns an error that wraps session.Ended if rec has ended. It must be
	// quick.
	Check(rec *session.Record) error
	// EndSession ends all tokens of rec's session.
	EndSession(ctx context.Context, rec *session.Record) error
	// EndBelow ends the tokens of rec's generation and of those before it. ok is
	// false, and nothing has changed, if they had ended before the call.
	EndBelow(ctx context.Context, rec *session.Record) (ok bool, err error)
	// Room returns an error that wraps session.Unavailable if no new session
	// without a subject may begin, because its end could not be kept. It must be
	// quick.
	Room() error
	// Fresh returns an error that wraps session.Unavailable if no token may be
	// accepted or made, because Check knows too little of what has ended on other
	// instances. It must be quick.
	Fresh() error
}

// Successors knows where sessions go on that have moved out of a token.
// *opaque.Carrier has these methods.
type Successors interface {
	// SetSuccessor keeps that the session of rec goes on under successor, for as
	// long as it could have lived in a token.
	SetSuccessor(ctx context.Context, rec *session.Record, successor string) error
	// Successor returns what SetSuccessor has kept for rec's generation, or "".
	Successor(ctx context.Context, rec *session.Record) (string, error)
}

// CarrierConfig configures a [Carrier].
type CarrierConfig struct {
	_ [0]func() // no unkeyed literals, no comparison

	// Ring holds the keys. Required, with a key that signs. If it has one that
	// encrypts, tokens are encrypted; a token that isn't is refused, unless it is
	// older than that key.
	Ring *keys.Ring

	// Issuer and Audience are iss and aud of the tokens, compared exactly: a name
	// of the application, usually its origin. Audience may be "", which means
	// Issuer. Issuer is required.
	Issuer, Audience string

	// Revocations knows the sessions that have ended. Required: without it a
	// logged-out token would stay valid until it expires.
	Revocations Revocations

	// Successors, if set, is asked about tokens whose session has been renewed or
	// moved. Set it to the carrier that sessions move to. Then the old token of a
	// moved session leads there on every instance, also after a restart, until it
	// expires. Without it, only this process knows, for a minute.
	Successors Successors

	// MaxLength is the longest token, in bytes. 0 means 4032: what a cookie of
	// 4096 bytes holds beside a name of 64. At most 16384.
	MaxLength int

	// MemoryBytes is roughly how much memory the verified tokens, and the newest
	// state of each session, may take. 0 means 64 MiB.
	MemoryBytes int

	// Now is the clock. If nil, time.Now.
	Now func() time.Time
}

// A Carrier keeps sessions in tokens. It implements middleware.Carrier, where
// its methods are described; they may be called concurrently. Make one with
// [NewCarrier].
type Carrier struct {
	c      CarrierConfig
	codec  codec
	memory *memory
	turns  turns
}

// NewCarrier checks c and returns a Carrier. It reports every mistake at once.
func NewCarrier(c CarrierConfig) (*Carrier, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	if c.Audience == "" {
		c.Audience = c.Issuer
	}
	if c.MaxLength == 0 {
		c.MaxLength = 4032
	}
	if c.MemoryBytes == 0 {
		c.MemoryBytes = 64 << 20
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Carrier{
		c:      c,
		codec:  codec{ring: c.Ring, issuer: c.Issuer, audience: c.Audience, maxLength: c.MaxLength},
		memory: newMemory(c.MemoryBytes),
	}, nil
}

func (c CarrierConfig) validate() error {
	bad := fault.In("token: CarrierConfig")
	bad.If(c.Ring == nil, "Ring", "is required: keys.OpenRing reads a key file that keygen made")
	bad.If(c.Revocations == nil, "Revocations", "is required: revocation.Open keeps logouts in a file")
	bad.Add(checkName("CarrierConfig.Issuer", c.Issuer, true), checkName("CarrierConfig.Audience", c.Audience, false))
	bad.If(c.MaxLength < 0 || c.MaxLength > keyset.MaxToken, "MaxLength",
		"is %d: must be between 0 and %d", c.MaxLength, keyset.MaxToken)
	bad.If(c.MemoryBytes < 0, "MemoryBytes", "is %d: must not be negative", c.MemoryBytes)
	return bad.Err()
}

// Recognizes implements middleware.Carrier: a token has two dots, or four if it
// is encrypted.
func (c *Carrier) Recognizes(credential string) bool {
	dots := strings.Count(credential, ".")
	return dots == 2 || dots == 4
}

// InPlace implements middleware.Carrier: each state of a session is another
// token.
func (c *Carrier) InPlace() bool { return false }

// Key implements middleware.Carrier: tokens are kept in no store.
func (c *Carrier) Key(string) string { return "" }

// MaxLength implements middleware.Carrier.
func (c *Carrier) MaxLength() int { return c.c.MaxLength }

// Open implements middleware.Carrier. A refused token costs one check of a
// signature, whether it is forged, has expired or has ended, and whether or not
// it is in the token memory. So the time of the refusal doesn't tell which.
func (c *Carrier) Open(ctx context.Context, credential string) (*session.Record, string, error) {
	now := c.c.Now()
	own, newest, err := c.remembered(ctx, credential, now)
	if err != nil {
		return nil, "", err
	}
	if own == nil {
		if own, newest, err = c.verify(ctx, credential, now); err != nil {
			return nil, "", err
		}
		return c.follow(ctx, own, newest, now)
	}
	rec, current, err := c.follow(ctx, own, newest, now)
	if err != nil || rec != nil && !now.Before(rec.IdleDeadline) {
		c.codec.spend(now)
	}
	return rec, current, err
}

// Peek implements middleware.Carrier. It verifies each token: a look into the
// token memory would also tell it which token its client has shown last.
func (c *Carrier) Peek(ctx context.Context, credential string) (*session.Record, string, error) {
	now := c.c.Now()
	own, err := c.read(ctx, credential, now)
	if err != nil {
		return nil, "", err
	}
	return c.follow(ctx, own, own, now)
}

// Reopen implements middleware.Carrier. A token that has left the token memory
// is verified again, because only its text tells whether its keys are still
// trusted; but not if its session is over anyway.
func (c *Carrier) Reopen(
	ctx context.Context, credential string, known *session.Record,
) (*session.Record, string, error) {
	now := c.c.Now()
	own, newest, err := c.remembered(ctx, credential, now)
	if err == nil && own == nil {
		if c.lives(known, now) {
			own, newest, err = c.verify(ctx, credential, now)
		} else {
			own = &sealed{token: credential, rec: known}
			newest = own
		}
	}
	if err != nil {
		return nil, "", err
	}
	return c.follow(ctx, own, newest, now)
}

func (c *Carrier) lives(rec *session.Record, now time.Time) bool {
	return now.Before(rec.IdleDeadline) && c.c.Revocations.Check(rec) == nil
}

// follow returns the state that a token stands for by now: its own, or the
// newest one of its generation, or none but the credential that its session
// goes on under.
func (c *Carrier) follow(ctx context.Context, own, newest *sealed, now time.Time) (*session.Record, string, error) {
	if err := c.c.Revocations.Check(own.rec); err != nil {
		next, err := c.superseded(ctx, own.rec, now, err)
		if err != nil {
			err = &session.RefusedError{Record: own.rec, Err: err}
		}
		return nil, next, err
	}
	if !now.Before(own.rec.IdleDeadline) {
		return c.over(own, now)
	}
	if err := c.c.Revocations.Fresh(); err != nil {
		return nil, "", claims.Unavailable("find out whether a session has ended", err)
	}
	if newest != own && newest.rec.Newer(own.rec) && c.codec.trusted(ctx, newest, now) == nil {
		return newest.rec, newest.token, nil
	}
	return own.rec, own.token, nil
}

// superseded says what has become of a session whose generation has ended, as
// err says: the credential that it goes on under, if that can still be found. A
// token that has expired leads nowhere.
func (c *Carrier) superseded(ctx context.Context, rec *session.Record, now time.Time, err error) (string, error) {
	s, ok := c.memory.successor(generationOf(rec), now)
	switch renewed := new(session.SupersededError); {
	case s.credential != "":
		return s.credential, nil
	case !errors.As(err, &renewed):
		return "", err
	case ok:
		return "", fmt.Errorf("token: it was renewed: %w", &session.SupersededError{At: s.at})
	case c.c.Successors == nil || !now.Before(rec.IdleDeadline):
		return "", err
	}
	next, lookErr := c.c.Successors.Successor(ctx, rec)
	if lookErr != nil {
		return "", claims.Unavailable("find out where a session goes on", lookErr)
	}
	if next != "" {
		return next, nil
	}
	return "", err
}

// over answers for a token that has expired. Its record tells the caller that
// the session is over; but if the session goes on in newer tokens, only this
// token is.
func (c *Carrier) over(own *sealed, now time.Time) (*session.Record, string, error) {
	newest := c.memory.newest(generationOf(own.rec))
	if newest != nil && now.Before(newest.rec.IdleDeadline) {
		err := fmt.Errorf("token: expired, though its session goes on in newer tokens: %w", session.IdleTimeout)
		return nil, "", &session.RefusedError{Record: own.rec, Err: err}
	}
	return own.rec, own.token, nil
}

// remembered returns what the memory knows of a presented token, and of the
// newest state of its generation. Both are nil if it doesn't know the token.
func (c *Carrier) remembered(ctx context.Context, credential string, now time.Time) (own, newest *sealed, err error) {
	own, newest = c.memory.present(credential)
	if own == nil {
		return nil, nil, nil
	}
	if err := c.codec.trusted(ctx, own, now); err != nil {
		c.memory.drop(credential)
		return nil, nil, err
	}
	return own, newest, nil
}

// verify returns what a presented token says, and the newest state of its
// generation.
func (c *Carrier) verify(ctx context.Context, credential string, now time.Time) (own, newest *sealed, err error) {
	own, err = c.read(ctx, credential, now)
	if err != nil {
		return nil, nil, err
	}
	if !c.lives(own.rec, now) {
		return own, own, nil // not worth remembering
	}
	return own, c.memory.add(own), nil
}

// read returns what a presented token says.
func (c *Carrier) read(ctx context.Context, credential string, now time.Time) (*sealed, error) {
	if len(credential) > c.c.MaxLength {
		return nil, fmt.Errorf("token: longer than any token made here: %w", session.Malformed)
	}
	return c.codec.open(ctx, credential, now)
}

// Issue implements middleware.Carrier. A session that begins without a subject
// needs room in the revocation list; one that goes on, or is logged in to,
// doesn't. The credential that the new one replaces doesn't matter, since a
// token takes no room.
func (c *Carrier) Issue(ctx context.Context, rec *session.Record, _ string) (string, error) {
	if rec.Subject == "" && rec.Generation <= 1 {
		if err := c.c.Revocations.Room(); err != nil {
			return "", claims.Unavailable("begin a session without a subject", err)
		}
	}
	if err := c.c.Revocations.Fresh(); err != nil {
		return "", claims.Unavailable("make a token", err)
	}
	s, err := c.codec.seal(rec, c.c.Now())
	if err != nil {
		return "", err
	}
	c.memory.issue(s)
	return s.token, nil
}

// Save implements middleware.Carrier. Requests that change one session take
// turns; each starts from the newest state in the token memory.
func (c *Carrier) Save(
	ctx context.Context, _ string, base *session.Record, changes *session.Changes,
) (*session.Record, string, error) {
	done, err := c.turns.take(ctx, base.ID)
	if err != nil {
		return nil, "", err
	}
	defer done()
	base, err = c.newest(ctx, base)
	if err != nil {
		return nil, "", err
	}
	if err := c.c.Revocations.Fresh(); err != nil {
		return nil, "", claims.Unavailable("make a token", err)
	}
	next, err := changes.Apply(base)
	if err != nil {
		return nil, "", err
	}
	s, err := c.codec.seal(next, c.c.Now())
	if err != nil {
		return nil, "", err
	}
	c.memory.add(s)
	return s.rec, s.token, nil
}

// newest returns the newest state of base's generation. It fails if the
// generation has ended, with session.Conflict if it goes on elsewhere.
func (c *Carrier) newest(ctx context.Context, base *session.Record) (*session.Record, error) {
	now := c.c.Now()
	if err := c.c.Revocations.Check(base); err != nil {
		next, err := c.superseded(ctx, base, now, err)
		if next != "" {
			return nil, fmt.Errorf("token: the session goes on under another credential: %w", session.Conflict)
		}
		return nil, err
	}
	s := c.memory.newest(generationOf(base))
	if s != nil && s.rec.Newer(base) && c.codec.trusted(ctx, s, now) == nil {
		return s.rec, nil
	}
	return base, nil
}

// Retire implements middleware.Carrier. The revocation list decides which of
// two logins from one state was first, so the other fails.
func (c *Carrier) Retire(
	ctx context.Context, _ string, base *session.Record, next string, grace time.Duration,
) (hold string, err error) {
	done, err := c.turns.take(ctx, base.ID)
	if err != nil {
		return "", err
	}
	defer done()
	newest, err := c.newest(ctx, base)
	if err != nil {
		return "", err
	}
	if newest.Version != base.Version {
		return "", fmt.Errorf("token: another request was faster: %w", session.Conflict)
	}
	return c.endBelow(ctx, base, next, grace)
}

func (c *Carrier) endBelow(
	ctx context.Context, base *session.Record, next string, grace time.Duration,
) (hold string, err error) {
	of, now := generationOf(base), c.c.Now()
	to := successor{at: now, until: (&session.SupersededError{At: now}).Until()}
	if grace > 0 {
		to.credential, to.until = next, now.Add(grace)
	}
	// Noted first: whoever finds the generation ended must find the successor.
	c.memory.setSuccessor(of, to, now)
	ok, err := c.c.Revocations.EndBelow(ctx, base)
	switch {
	case ok && (err == nil || grace > 0):
		// After a move the old credential is no danger if a crash brings it back.
		c.moved(ctx, base, next, grace)
		return "", nil
	case ok:
		// It is in force, but not in the journal yet. The client has to get the new
		// credential, since the old one is dead, and to know that all is not well.
		return next, claims.Unavailable("make the end of the old credential durable", err)
	}
	c.memory.clearSuccessor(of)
	if err != nil {
		return "", claims.Unavailable("retire a credential", err)
	}
	return "", fmt.Errorf("token: another request was faster: %w", session.Conflict)
}

// moved keeps, for other instances and for later, where a session has moved to.
// It comes after the end of the old generation: before it, another request
// could still renew the session, and the old credential would lead past that
// renewal. If it fails, nothing is wrong: the client gets the new credential,
// and this process knows it for a minute.
func (c *Carrier) moved(ctx context.Context, base *session.Record, next string, grace time.Duration) {
	if grace > 0 && c.c.Successors != nil {
		_ = c.c.Successors.SetSuccessor(ctx, base, next)
	}
}

// Forget implements middleware.Carrier.
func (c *Carrier) Forget(ctx context.Context, credential string) error {
	c.memory.drop(credential)
	return nil
}

// End implements middleware.Carrier. The list ends the session by its ID, so it
// also ends one that was renewed or moved meanwhile: here at once, and on
// another instance when that has heard of it. Until then a session that the
// other instance has moved to a store opens there, since End asks no store.
func (c *Carrier) End(ctx context.Context, _ string, rec *session.Record) error {
	if err := c.c.Revocations.EndSession(ctx, rec); err != nil {
		return claims.Unavailable("end a session", err)
	}
	return nil
}
