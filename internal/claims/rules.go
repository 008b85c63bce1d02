package claims

import (
	"slices"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

const (
	// DefaultLeeway is how far the clock of a service token's issuer may be off
	// if the verifier says nothing.
	DefaultLeeway = 10 * time.Second

	// MaxLeeway is how far a verifier may let it be off.
	MaxLeeway = 5 * time.Minute

	// MaxServiceLife bounds the life of a service token, from when it was made: it
	// is for the call at hand, and a logout reaches it only where the verifier
	// hears of it.
	MaxServiceLife = 15 * time.Minute

	// MaxLogoutAge is how long ago a logout token may have been made, which needs
	// no exp.
	MaxLogoutAge = 5 * time.Minute

	// Backdated is how long before a service token is made its iat is: seven of 43
	// programs that were tried refuse, without any leeway, an iat that is a second
	// ahead of their clock, and tokens are made for the call at hand.
	Backdated = 5 * time.Second

	// skew is how far the clocks of an application's instances may differ, or more
	// if the policy of its keys says so.
	skew = time.Minute
)

// Leeway returns how far clocks may be off: early on iat and nbf, late on exp.
// asked is the leeway that the caller has configured. If it is 0, a session
// token gets clockSkew, that of the policy, on iat and nbf only; all others get
// DefaultLeeway. If it is negative, there is no leeway.
func Leeway(kind Kind, asked, clockSkew time.Duration) (early, late time.Duration) {
	switch {
	case asked < 0:
		return 0, 0
	case asked > 0:
		return asked, asked
	case kind != Session:
		return DefaultLeeway, DefaultLeeway
	}
	return max(skew, clockSkew), 0
}

// Want holds the values that the rules compare a token with.
type Want struct {
	Issuer, Audience string
	Now              time.Time
	Early, Late      time.Duration // see Leeway
	MaxLife          time.Duration // of a Foreign token, from iat to exp

	// A session token must be Encrypted if one has been Sealing since it was
	// issued, or longer: SealedSince is when that began.
	Encrypted, Sealing bool
	SealedSince        time.Time
}

// A Rule is one condition that tokens must meet.
type Rule struct {
	Name string // as keygen token explain shows it
	Of   Kind   // the kinds of tokens that it is for
	Time bool   // whoever breaks it has come too early or too late, and is good otherwise

	// Meets reports whether a token meets the rule.
	Meets func(c *Claims, w Want) bool

	// refused are the kinds that Check refuses for it. A session token that is of
	// the others opens: its Record tells that the session is over, which the
	// application hears in another way than a refusal.
	refused Kind
	Err     error // for Check
}

// The errors that have a name outside of this package.
var (
	ErrUnknownKey    error = &refusal{"signed with a key that is not trusted", session.UnknownKey}
	ErrBadSignature  error = &refusal{"bad signature", session.Forged}
	ErrWrongIssuer   error = &refusal{"from another issuer", session.Forged}
	ErrWrongAudience error = &refusal{"for another audience", session.Forged}
	ErrExpired       error = &refusal{"expired", session.LifetimeOver}
	ErrNotYetValid   error = &refusal{"not valid yet", session.Forged}
)

// rules has all of them, in the order in which they are checked.
var rules = [...]Rule{
	{"issuer", everyone, false, func(c *Claims, w Want) bool { return c.Issuer == w.Issuer }, everyone, ErrWrongIssuer},
	{"audience", both, false, func(c *Claims, w Want) bool { return c.Audience == w.Audience }, both, ErrWrongAudience},
	{"audience", others, false, func(c *Claims, w Want) bool { return slices.Contains(c.Audiences, w.Audience) },
		others, ErrWrongAudience},
	{"event", Foreign, false, noEvent, Foreign, errEvent},
	{"issued_at", everyone, true, func(c *Claims, w Want) bool { return w.begun(c.IssuedAt()) },
		everyone, &refusal{"issued in the future (iat): the clock here, or the issuer's, is wrong", ErrNotYetValid}},
	{"not_before", everyone, true, func(c *Claims, w Want) bool { return w.begun(c.NotBefore) },
		everyone, &refusal{"not good yet (nbf)", ErrNotYetValid}},
	{"lifetime", Session, false, sessionLife,
		Session, &refusal{"exp is outside of the session's life, from iat to dl", session.Forged}},
	{"lifetime", Service, false, serviceLife,
		Service, &refusal{"lives longer than a service token may (iat, exp)", session.Forged}},
	{"lifetime", Foreign, false, foreignLife,
		Foreign, &refusal{"lives longer than is allowed here (iat, exp)", session.Forged}},
	{"encryption", Session, false, func(c *Claims, w Want) bool { return w.Encryption(c.IssuedAt()) == nil },
		Session, errPlain},
	{"expiry", both | Foreign, true, func(c *Claims, w Want) bool { return w.goesOn(c.ExpiresAt()) },
		Service | Foreign, ErrExpired},
	{"expiry", Logout, true, func(c *Claims, w Want) bool { return c.ExpiresAt().IsZero() || w.goesOn(c.ExpiresAt()) },
		Logout, ErrExpired},
	{"age", Logout, true, func(c *Claims, w Want) bool { return w.goesOn(c.IssuedAt().Add(MaxLogoutAge)) },
		Logout, &refusal{"made too long ago (iat)", session.LifetimeOver}},
	{"deadline", Session, true, func(c *Claims, w Want) bool { return w.goesOn(c.Deadline) },
		0, &refusal{"the session has reached its deadline", session.LifetimeOver}},
}

func sessionLife(c *Claims, _ Want) bool {
	return !c.ExpiresAt().After(c.Deadline) && !c.IssuedAt().After(c.ExpiresAt())
}

func serviceLife(c *Claims, _ Want) bool {
	return c.ExpiresAt().Sub(c.MadeAt(Service)) <= MaxServiceLife
}

func (w Want) begun(at time.Time) bool { return !at.After(w.Now.Add(w.Early)) }

func (w Want) goesOn(until time.Time) bool { return w.Now.Before(until.Add(w.Late)) }

var errPlain error = &refusal{
	"the token is not encrypted, and tokens must be since there is a key for that", session.Forged,
}

// Encryption is the rule that session tokens must be encrypted, alone: a token
// that was accepted breaks it later where encryption begins.
func (w Want) Encryption(issuedAt time.Time) error {
	if w.Encrypted || !w.Sealing || issuedAt.Before(w.SealedSince) {
		return nil
	}
	return errPlain
}

// Rules returns the rules for a kind of tokens, in the order of [Check].
func Rules(kind Kind) (all []Rule) {
	for i := range rules {
		if rules[i].Of&kind != 0 {
			all = append(all, rules[i])
		}
	}
	return all
}

// Check returns why a token is refused: the error of the first rule that it
// breaks.
func Check(c *Claims, kind Kind, w Want) error {
	for i := range rules {
		if r := rules[i]; r.refused&kind != 0 && !r.Meets(c, w) {
			return r.Err
		}
	}
	return nil
}

// A refusal is why a token is refused. It wraps a session.Reason, or another
// refusal, whose text it doesn't repeat: a token of another issuer is genuine
// all the same.
type refusal struct {
	text string
	kind error
}

// Refuse returns an error for a rule that isn't one of [Rules].
func Refuse(text string, kind error) error { return &refusal{text, kind} }

func (e *refusal) Error() string { return "token: " + e.text }

func (e *refusal) Unwrap() error { return e.kind }
