package token

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/claims"
	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/internal/instant"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/recent"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/session"
)

// IssuerConfig configures an [Issuer].
type IssuerConfig struct {
	_ [0]func() // no unkeyed literals, no comparison

	// Ring holds the keys. Its signing key must not be symmetric: a service that
	// can verify must not be able to sign. Required.
	Ring *keys.Ring

	// Issuer is iss of the tokens: make it an https URL, which clients that
	// configure themselves need (RFC 8414, Section 2). Required.
	Issuer string

	// ClientID is client_id of the tokens, which libraries for RFC 9068 ask for: a
	// name of the application. "" means Issuer.
	ClientID string

	// SessionAudience is aud of the application's session tokens:
	// CarrierConfig.Audience. No service may have that name, because a library
	// that ignores typ would take a session token for a service token. "" means
	// Issuer.
	SessionAudience string

	// Lifetime is how long a service token is good for. 0 means 1 minute; at most
	// 15. Its iat is 5 seconds before the token is made, for services whose clock
	// is behind.
	Lifetime time.Duration

	// Claims, if set, returns further claims for tokens about s that go to the
	// service called audience, such as roles or acr. It is called for each
	// [Issuer.Issue]. A value is anything that encoding/json encodes. All together
	// may take 2 KiB as JSON. The names that tokens of this package have, and
	// "events", are refused. Whoever holds the token can read the claims.
	Claims func(ctx context.Context, s *session.Session, audience string) (map[string]any, error)

	// Now is the clock. If nil, time.Now.
	Now func() time.Time
}

// An Issuer makes service tokens: short-lived, signed, for one audience each.
// They have the form of RFC 9068, which libraries for JWTs in other languages
// verify too. They say who the subject of a session is, the session's ID, and
// when the subject logged in, but have none of its values.
//
// An Issuer keeps the tokens that it makes, in at most 8 MiB of memory. It
// returns one again while half of the Lifetime is left, unless a new one would
// differ in more than its time and jti.
type Issuer struct {
	c    IssuerConfig
	kept recent.Map[keptToken]
}

// A keptToken is a token that may be given out again.
type keptToken struct {
	token   string
	expires time.Time
}

// keptBytes bounds the memory of the tokens that an Issuer keeps, keptOverhead
// is what one takes beside its text.
const (
	keptBytes    = 8 << 20
	keptOverhead = 200
)

// NewIssuer checks c and returns an Issuer.
func NewIssuer(c IssuerConfig) (*Issuer, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	bad := fault.In("token: IssuerConfig")
	bad.Add(checkName("IssuerConfig.Issuer", c.Issuer, true), checkName("IssuerConfig.ClientID", c.ClientID, false),
		checkName("IssuerConfig.SessionAudience", c.SessionAudience, false))
	if c.Ring != nil {
		if key, err := inner(c.Ring.Current(keys.Signature, c.Now())); err == nil && key.Algorithm().Symmetric() {
			bad.Add(symmetric(key))
		}
	}
	bad.If(c.Ring == nil, "Ring", "is required")
	bad.If(c.Lifetime < 0 || c.Lifetime > claims.MaxServiceLife, "Lifetime",
		"is %v: must be between 0 and %v", c.Lifetime, claims.MaxServiceLife)
	if err := bad.Err(); err != nil {
		return nil, err
	}
	if c.Lifetime == 0 {
		c.Lifetime = time.Minute
	}
	c.ClientID, c.SessionAudience = cmp.Or(c.ClientID, c.Issuer), cmp.Or(c.SessionAudience, c.Issuer)
	return &Issuer{c: c, kept: recent.Map[keptToken]{Period: c.Lifetime, MaxBytes: keptBytes}}, nil
}

// Issue returns a token that tells the service called audience whose session s
// is. It fails with session.BadValue if nobody is logged in, if audience is
// that of session tokens, or if the further claims can't be in a token; and
// with session.Ended if the request of s began more than a minute ago and the
// session is over since then: see [session.Session.Fresh].
func (i *Issuer) Issue(ctx context.Context, s *session.Session, audience string) (string, error) {
	if err := i.checkAudience("audience", audience); err != nil {
		return "", err
	}
	if err := s.Fresh(); err != nil {
		return "", fmt.Errorf("token: a service token of a request that runs long: %w", err)
	}
	for range maxChanges {
		caller := s.Snapshot()
		if caller.Subject == "" {
			return "", fmt.Errorf("token: a service token needs a subject, and nobody is logged in: %w", session.BadValue)
		}
		says := i.says(&caller, audience)
		before := says.Encode(claims.Service)
		var err error
		if says.Further, err = i.further(ctx, s, audience); err != nil {
			return "", err
		}
		// Somebody else may have logged in while the further claims were looked up.
		if caller = s.Snapshot(); bytes.Equal(before, i.says(&caller, audience).Encode(claims.Service)) {
			return i.keep(says, instant.Earliest(caller.IdleDeadline, caller.Deadline))
		}
	}
	return "", fmt.Errorf("token: the session changes too often for a service token: %w", session.Unavailable)
}

// maxChanges is how often a session may change while a token of it is made.
const maxChanges = 3

// says returns the claims of a token, without its time, jti and further claims.
func (i *Issuer) says(caller *session.Record, audience string) *claims.Claims {
	return &claims.Claims{
		Issuer: i.c.Issuer, Audience: audience, ClientID: i.c.ClientID, Record: session.Record{
			ID: caller.ID, Generation: caller.Generation, Subject: caller.Subject, Tags: caller.Tags, AMR: caller.AMR,
			AuthenticatedAt: caller.AuthenticatedAt, Since: caller.CountsFrom(),
		},
	}
}

// keep returns a token with claims that lack their time and jti: one that was
// made before, if it is good enough. Tokens are kept under all that they say,
// so it does no harm if another request has changed the session meanwhile.
func (i *Issuer) keep(says *claims.Claims, sessionEnds time.Time) (string, error) {
	now := i.c.Now()
	key, err := inner(i.c.Ring.Current(keys.Signature, now))
	if err != nil {
		return "", claims.Unavailable("sign a service token", err)
	}
	if key.Algorithm().Symmetric() {
		return "", claims.Unavailable("sign a service token", symmetric(key))
	}
	expires := instant.Earliest(now.Add(i.c.Lifetime), sessionEnds)
	if until := key.TokensUntil(); !until.IsZero() {
		expires = instant.Earliest(expires, until)
	}
	expires = expires.Truncate(time.Second)
	if !now.Before(expires) {
		return "", fmt.Errorf("token: the session, or the active key, ends too soon for a service token: %w",
			session.Unavailable)
	}
	name := sha256.Sum256(append(says.Encode(claims.Service), key.ID()...))
	if kept, ok := i.kept.Get(string(name[:])); ok && i.stillGood(kept, expires, now) {
		return kept.token, nil
	}
	says.JTI, says.SeenAt, says.IdleDeadline = newJTI(), now.Add(-claims.Backdated), expires
	token, err := key.Unsigned(claims.Service.Typ(), says.Encode(claims.Service)).Sign()
	if err != nil {
		return "", claims.Unavailable("sign a token", err)
	}
	i.kept.Put(string(name[:]), keptToken{token, expires}, len(token)+keptOverhead)
	return token, nil
}

// stillGood reports whether a kept token may be used where a new one would
// expire at expires. A later one may not: the deadlines of the session or the
// dates of its key have changed, or the clock was set back.
func (i *Issuer) stillGood(kept keptToken, expires, now time.Time) bool {
	left := kept.expires.Sub(now)
	return !kept.expires.After(expires) && (kept.expires.Equal(expires) || left >= i.c.Lifetime/2)
}

// checkAudience checks the name of a service.
func (i *Issuer) checkAudience(field, audience string) error {
	if err := checkName(field, audience, true); err != nil {
		return err
	}
	if audience == i.c.SessionAudience {
		return fault.Errorf("token: "+field, "is that of the session tokens, which a verifier that ignores typ would take "+
			"for service tokens: give the service another name: %w", session.BadValue)
	}
	return nil
}

func symmetric(key *keyset.Key) error {
	return fmt.Errorf("token: the signing key is symmetric (%s), so whoever verifies a service token could also make "+
		"one; make a key file with an ES256 key: keygen init", key.Algorithm())
}
