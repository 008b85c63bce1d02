package token

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/claims"
	"github.com/cloakroom-go/cloakroom/internal/instant"
	"github.com/cloakroom-go/cloakroom/internal/jose"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/session"
)

// contentJWT is the cty of an encrypted session token (RFC 7519, Section 5.2).
const contentJWT = "JWT"

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
	signer, err := c.ring.Signer(now)
	if err != nil {
		return nil, unavailable("sign a session token", err)
	}
	// Where encryption begins, an instance whose clock is ahead has made this
	// session's last token by its own time already: one that is not encrypted
	// would be refused there.
	sealer, err := c.ring.Sealer(instant.Latest(now, rec.SeenAt))
	if err != nil {
		return nil, unavailable("encrypt a session token", err)
	}
	rec = capped(capped(rec, signer), sealer)
	if !now.Before(rec.IdleDeadline) {
		return nil, fmt.Errorf("token: the active key verifies no longer than the session lives; a newer key must sign "+
			"before that: %w", session.Unavailable)
	}
	says := claims.Claims{Issuer: c.issuer, Audience: c.audience, JTI: newJTI(), Record: *rec}
	input := signingInput(signer, claims.Session, &says)
	if length := tokenLength(len(input), signer, sealer); length > c.maxLength {
		return nil, fmt.Errorf("token: a session token of %d bytes is over the limit of %d: %w", length, c.maxLength,
			session.TooLarge)
	}
	out := &sealed{rec: rec, issuedAt: rec.SeenAt, signKID: signer.ID()}
	if out.token, err = sign(signer, input); err != nil {
		return nil, err
	}
	if sealer != nil {
		out.sealKID = sealer.ID()
		if out.token, err = sealer.Seal([]byte(out.token), contentJWT); err != nil {
			return nil, unavailable("encrypt a session token", err)
		}
	}
	return out, nil
}

// capped returns rec with an idle deadline that is no later than the end of
// key.
func capped(rec *session.Record, key *keys.Key) *session.Record {
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
	out := &sealed{token: credential}
	inner := credential
	if strings.Count(credential, ".") == 4 {
		plain, kid, err := c.decrypt(ctx, credential, now)
		if err != nil {
			return nil, err
		}
		inner, out.sealKID = plain, kid
	}
	frame, key, err := findSigner(ctx, c.ring, inner, claims.Session, now)
	if err != nil {
		return nil, err
	}
	if err := c.check(key, frame.SigningInput, frame.Signature); err != nil {
		return nil, forged(err)
	}
	says, err := claims.Decode(frame.Payload, claims.Session)
	if err != nil {
		return nil, badClaims(err)
	}
	if err := claims.Check(says, claims.Session, c.want(out.sealKID != "", now)); err != nil {
		return nil, err
	}
	rec := says.Record
	out.signKID, out.issuedAt, out.rec = key.ID(), says.IssuedAt(), &rec
	return out, nil
}

// want is what a session token is measured by.
func (c *codec) want(encrypted bool, now time.Time) claims.Want {
	early, late := claims.Leeway(claims.Session, 0, c.ring.Policy().ClockSkew)
	since, sealing := c.ring.SealedSince(now)
	return claims.Want{
		Issuer: c.issuer, Audience: c.audience, Now: now, Early: early, Late: late,
		Encrypted: encrypted, Sealing: sealing, SealedSince: since,
	}
}

func (c *codec) decrypt(ctx context.Context, credential string, now time.Time) (inner, kid string, err error) {
	frame, err := jose.ParseJWE(credential)
	if err != nil {
		return "", "", malformed(err)
	}
	if frame.Header.Cty != contentJWT || frame.Header.Typ != "" {
		return "", "", forged(errors.New("token: not an encrypted JWT"))
	}
	key, err := c.ring.Key(ctx, frame.Header.Kid, now)
	if err != nil {
		return "", "", keyError(err)
	}
	plain, err := key.Open(frame) // compares alg and enc with the key's
	if err != nil {
		c.spend(now)
		return "", "", forged(err)
	}
	return string(plain), key.ID(), nil
}

func (c *codec) check(key *keys.Key, signingInput string, signature []byte) error {
	if c.checking != nil {
		c.checking()
	}
	return key.Verify(signingInput, signature)
}

// spend takes the time of one check of a signature. A token that is refused
// without one, though its keys are known, would tell by a quick answer why: one
// that can't be decrypted was never ours, one that is remembered was.
func (c *codec) spend(now time.Time) {
	key, err := c.ring.Signer(now)
	if err != nil {
		return
	}
	// Each byte is 1, so that no algorithm refuses the signature for its form
	// (a number that is 0 or too large) before it calculates.
	decoy := bytes.Repeat([]byte{1}, key.SignatureLength())
	_ = c.check(key, key.ID(), decoy)
}

// findSigner parses a token of the given kind, and finds the key that it says
// has signed it. The signature is not checked yet.
func findSigner(
	ctx context.Context, set KeySet, token string, kind claims.Kind, now time.Time,
) (*jose.JWS, *keys.Key, error) {
	frame, err := jose.ParseJWS(token)
	if err != nil {
		return nil, nil, malformed(err)
	}
	if frame.Header.Typ != kind.Typ() {
		return nil, nil, forged(errors.New("token: of another kind"))
	}
	if frame.Header.Cty != "" {
		return nil, nil, forged(errors.New("token: a signed token has no cty"))
	}
	key, err := set.Key(ctx, frame.Header.Kid, now)
	if err != nil {
		return nil, nil, keyError(err)
	}
	if string(key.Algorithm()) != frame.Header.Alg {
		return nil, nil, forged(errors.New("token: alg is not that of the key"))
	}
	return frame, key, nil
}

// trusted checks again, on each request, what may have changed since the token
// was verified: its keys' states.
func (c *codec) trusted(ctx context.Context, s *sealed, now time.Time) error {
	for _, kid := range [2]string{s.signKID, s.sealKID} {
		if kid == "" {
			continue
		}
		if _, err := c.ring.Key(ctx, kid, now); err != nil {
			return keyError(err)
		}
	}
	return c.want(s.sealKID != "", now).Encryption(s.issuedAt)
}

// signingInput is the encoded header and payload of a token.
func signingInput(key *keys.Key, kind claims.Kind, says *claims.Claims) string {
	header, payload := claims.Header(string(key.Algorithm()), key.ID(), kind), says.Encode(kind)
	b64 := base64.RawURLEncoding
	dst := make([]byte, 0, b64.EncodedLen(len(header))+1+b64.EncodedLen(len(payload)))
	dst = b64.AppendEncode(dst, header)
	dst = append(dst, '.')
	return string(b64.AppendEncode(dst, payload))
}

func sign(key *keys.Key, input string) (string, error) {
	signature, err := key.Sign(input)
	if err != nil {
		return "", unavailable("sign a token", err)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// tokenLength is the length of the token of a signing input.
func tokenLength(input int, signer, sealer *keys.Key) int {
	length := input + 1 + base64.RawURLEncoding.EncodedLen(signer.SignatureLength())
	if sealer != nil {
		length = sealer.SealedLength(length, contentJWT)
	}
	return length
}

// newJTI returns 96 random bits in base64url.
func newJTI() string {
	var raw [12]byte
	rand.Read(raw[:])
	return base64.RawURLEncoding.EncodeToString(raw[:])
}
