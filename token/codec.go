package token

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/claims"
	"github.com/cloakroom-go/cloakroom/internal/instant"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/session"
)

// A codec turns records into session tokens and back.
type codec struct {
	ring             *keys.Ring
	issuer, audience string
	maxLength        int

	// checking, if set, is called before each check of a signature: tests count
	// them. It is set before the first use and never changed.
	checking func()
}

// A sealed is a session token that was verified, or was made here, with the
// record that it holds.
type sealed struct {
	token    string
	rec      *session.Record
	issuedAt time.Time
	signKID  string
	sealKID  string // "" for a token that is signed only
}

// seal makes the token of rec. Its exp is rec's idle deadline, but never later
// than the keys verify; the record that comes back has the deadline that was
// kept.
func (c *codec) seal(rec *session.Record, now time.Time) (*sealed, error) {
	signer, err := inner(c.ring.Current(keys.Signature, now))
	if err != nil {
		return nil, claims.Unavailable("sign a session token", err)
	}
	// Where encryption begins, an instance whose clock is ahead has made this
	// session's last token by its own time already: one that is not encrypted
	// would be refused there.
	sealer, err := inner(c.ring.Current(keys.Encryption, instant.Latest(now, rec.SeenAt)))
	if err != nil {
		return nil, claims.Unavailable("encrypt a session token", err)
	}
	rec = capped(capped(rec, signer), sealer)
	if !now.Before(rec.IdleDeadline) {
		return nil, fmt.Errorf("token: the active key verifies no longer than the session lives; a newer key must sign "+
			"before that: %w", session.Unavailable)
	}
	says := claims.Claims{Issuer: c.issuer, Audience: c.audience, JTI: newJTI(), Record: *rec}
	unsigned := signer.Unsigned(claims.Session.Typ(), says.Encode(claims.Session))
	if length := unsigned.Length(sealer); length > c.maxLength {
		return nil, fmt.Errorf("token: a session token of %d bytes is over the limit of %d: %w", length, c.maxLength,
			session.TooLarge)
	}
	out := &sealed{rec: rec, issuedAt: rec.SeenAt, signKID: signer.ID()}
	if out.token, err = unsigned.Sign(); err != nil {
		return nil, claims.Unavailable("sign a token", err)
	}
	if sealer != nil {
		out.sealKID = sealer.ID()
		if out.token, err = sealer.SealToken(out.token); err != nil {
			return nil, claims.Unavailable("encrypt a session token", err)
		}
	}
	return out, nil
}

// capped returns rec with an idle deadline that is no later than the end of
// key.
func capped(rec *session.Record, key *keyset.Key) *session.Record {
	if key == nil || key.TokensUntil().IsZero() || !key.TokensUntil().Before(rec.IdleDeadline) {
		return rec
	}
	shorter := *rec
	shorter.IdleDeadline = key.TokensUntil().Truncate(time.Second)
	return &shorter
}

// open verifies a session token. Whether its session is over by now is for the
// caller to say, from the record: its idle deadline is the token's exp.
func (c *codec) open(ctx context.Context, credential string, now time.Time) (*sealed, error) {
	r := keyset.Reading{
		Token: credential, Typ: claims.Session.Typ(), Keys: (*ringKeys)(c.ring), Now: now, Checking: c.checking,
	}
	if at, err := r.Verify(ctx); err != nil {
		if at == keyset.CheckEncryptionAlgorithm || at == keyset.CheckDecryption {
			c.spend(now)
		}
		return nil, claims.Refused(at, err)
	}
	says, err := claims.Accept(r.Frame.Payload, claims.Session, c.want(r.Outer != nil, now))
	if err != nil {
		return nil, err
	}
	rec := says.Record
	out := &sealed{token: credential, rec: &rec, issuedAt: says.IssuedAt(), signKID: r.Signer.ID()}
	if r.Outer != nil {
		out.sealKID = r.Sealer.ID()
	}
	return out, nil
}

// ringKeys finds the keys of a ring.
type ringKeys keys.Ring

func (r *ringKeys) FindKey(ctx context.Context, kid string, now time.Time) (*keyset.Key, error) {
	return inner((*keys.Ring)(r).Key(ctx, kid, now))
}

func inner(k *keys.Key, err error) (*keyset.Key, error) { return (*keyset.Key)(k), err }

// want is what a session token is measured by.
func (c *codec) want(encrypted bool, now time.Time) claims.Want {
	set := (*keyset.Set)(c.ring.Set())
	early, late := claims.Leeway(claims.Session, 0, set.Policy().ClockSkew)
	since, sealing := set.UsedSince(keyset.Encryption, now)
	return claims.Want{
		Issuer: c.issuer, Audience: c.audience, Now: now, Early: early, Late: late,
		Encrypted: encrypted, Sealing: sealing, SealedSince: since,
	}
}

// spend takes the time of one check of a signature. A token that is refused
// without one, though its keys are known, would tell by a quick answer why: one
// that can't be decrypted was never ours, one that is remembered was.
func (c *codec) spend(now time.Time) {
	key, err := inner(c.ring.Current(keys.Signature, now))
	if err != nil {
		return
	}
	if c.checking != nil {
		c.checking()
	}
	key.SpendVerify()
}

// trusted checks again, on each request, what may have changed since the token
// was verified: its keys' states.
func (c *codec) trusted(ctx context.Context, s *sealed, now time.Time) error {
	for _, kid := range [2]string{s.signKID, s.sealKID} {
		if kid == "" {
			continue
		}
		if _, err := c.ring.Key(ctx, kid, now); err != nil {
			return claims.KeyError(err)
		}
	}
	return c.want(s.sealKID != "", now).Encryption(s.issuedAt)
}

// newJTI returns 96 random bits in base64url.
func newJTI() string {
	var raw [12]byte
	rand.Read(raw[:])
	return base64.RawURLEncoding.EncodeToString(raw[:])
}
