package token

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/claims"
	"github.com/cloakroom-go/cloakroom/internal/jose"
	"github.com/cloakroom-go/cloakroom/keys"
)

// An Explanation is what a token says, for people. It decides nothing: whether
// a token is good, [Carrier] and [Verifier] say.
type Explanation struct {
	Encryption json.RawMessage `json:"encryption,omitempty"` // header of the JWE, if it is one
	Header     json.RawMessage `json:"header,omitempty"`     // header of the JWT; missing if it couldn't be decrypted
	Claims     json.RawMessage `json:"claims,omitempty"`     // likewise; contains the session's values
	Verified   bool            `json:"verified"`             // the ring trusts the key, and the signature is its own
	Expired    bool            `json:"expired"`              // exp has passed
	Problem    string          `json:"problem,omitempty"`    // why it isn't verified, in words for developers
}

// Explain takes a token apart. Without a ring, or with one that lacks its keys,
// it shows what can be seen without. An error means that it is no token at all.
// [Diagnose] says why a token fails, without showing what is in it.
func Explain(ctx context.Context, ring *keys.Ring, token string, now time.Time) (*Explanation, error) {
	if ring == nil {
		ring = &keys.Ring{}
	}
	var e Explanation
	inner := token
	if strings.Count(token, ".") == 4 {
		if _, err := jose.ParseJWE(token); err != nil {
			return nil, malformed(err)
		}
		e.Encryption = segment(token, 0)
		plain, _, err := (&codec{ring: ring}).decrypt(ctx, token, now)
		if err != nil {
			e.Problem = err.Error()
			return &e, nil
		}
		inner = plain
	}
	frame, err := jose.ParseJWS(inner)
	if err != nil {
		return nil, malformed(err)
	}
	e.Header, e.Claims = segment(inner, 0), json.RawMessage(frame.Payload)
	e.explainClaims(ctx, ring, frame, inner, now)
	return &e, nil
}

func (e *Explanation) explainClaims(ctx context.Context, ring *keys.Ring, frame *jose.JWS, token string, now time.Time) {
	kind := claims.KindOf(frame.Header.Typ)
	if kind == 0 {
		e.Problem = "token: neither a session token nor a service token"
		return
	}
	c, err := claims.Decode(frame.Payload, kind)
	if err != nil {
		e.Problem = badClaims(err).Error()
		if !json.Valid(e.Claims) {
			e.Claims = nil
		}
		return
	}
	e.Expired = !now.Before(c.ExpiresAt())
	if _, _, err := verify(ctx, ring, token, kind, now); err != nil {
		e.Problem = err.Error()
		return
	}
	e.Verified = true
}

// segment returns the i-th segment of a token that has been parsed.
func segment(token string, i int) json.RawMessage {
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[i])
	if err != nil {
		return nil
	}
	return raw
}
