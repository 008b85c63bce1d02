package backchannel

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/internal/instant"
	"github.com/cloakroom-go/cloakroom/internal/jose"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
)

const (
	// event is the member of events that makes a token a logout token.
	event = "http://schemas.openid.net/event/backchannel-logout"

	// maxAge is how long ago a token may have been made, without Leeway.
	maxAge = 5 * time.Minute
)

// check returns what a logout token says if it is good (Section 2.6).
func (h *Handler) check(ctx context.Context, text string) (*Logout, error) {
	now := h.c.Now()
	payload, err := h.read(ctx, text, now)
	if err != nil {
		return nil, err
	}
	c, err := decode(payload)
	if err != nil {
		return nil, fmt.Errorf("backchannel: bad claims: %w: %w", fault.Inner(err), session.Forged)
	}
	if err := h.accept(c, now); err != nil {
		return nil, err
	}
	// It is the same each time the token comes. If the present were the limit, a
	// replay in the same second would end a login in between.
	until := c.issuedAt.Truncate(time.Second).Add(time.Second - time.Millisecond)
	return &Logout{Issuer: c.issuer, Subject: c.subject, SessionID: c.sid, Until: until}, nil
}

// accept returns why a token is refused that is the provider's.
func (h *Handler) accept(c *logoutClaims, now time.Time) error {
	for _, rule := range []struct {
		broken bool
		reason session.Reason
		text   string
	}{
		{c.issuer != h.c.Issuer, session.Forged, "from another issuer"},
		{!slices.Contains(c.audience, h.c.ClientID), session.Forged, "for another client"},
		{c.nonce, session.Forged, "with a nonce, so it may be an ID token"},
		{!c.logout, session.Forged, "without the event of a logout"},
		{c.subject == "" && c.sid == "", session.Forged, "without sub and sid"},
		{c.issuedAt.After(now.Add(h.early)), session.Forged, "issued in the future (iat): a clock is wrong"},
		{c.notBefore.After(now.Add(h.early)), session.Forged, "not good yet (nbf)"},
		{!c.expires.IsZero() && !now.Before(c.expires.Add(h.late)), session.LifetimeOver, "expired"},
		{!now.Before(c.issuedAt.Add(maxAge + h.late)), session.LifetimeOver, "too old (iat)"},
	} {
		if rule.broken {
			return fmt.Errorf("backchannel: the logout token is %s: %w", rule.text, rule.reason)
		}
	}
	return nil
}

// logoutClaims are what a logout token says.
type logoutClaims struct {
	issuer, subject, sid, jti    string
	audience                     []string
	issuedAt, expires, notBefore time.Time // zero for none
	logout                       bool      // events has the logout
	nonce                        bool      // whatever its value
}

// decode reads the claims. Those that are not known here are ignored (Section
// 2.4). The error holds nothing of the token.
func decode(payload []byte) (*logoutClaims, error) {
	var c logoutClaims
	var wrong []string
	read := map[string]func(value []byte) error{
		"iss":    func(value []byte) (err error) { c.issuer, err = text(value); return err },
		"sub":    func(value []byte) (err error) { c.subject, err = text(value); return err },
		"sid":    func(value []byte) (err error) { c.sid, err = text(value); return err },
		"jti":    func(value []byte) (err error) { c.jti, err = text(value); return err },
		"aud":    func(value []byte) (err error) { c.audience, err = audience(value); return err },
		"iat":    func(value []byte) (err error) { c.issuedAt, err = date(value); return err },
		"exp":    func(value []byte) (err error) { c.expires, err = date(value); return err },
		"nbf":    func(value []byte) (err error) { c.notBefore, err = date(value); return err },
		"events": func(value []byte) (err error) { c.logout, err = hasLogout(value); return err },
		"nonce":  func([]byte) error { c.nonce = true; return nil },
	}
	err := jose.Object(payload, func(name string, value []byte) error {
		if f := read[name]; f != nil && f(value) != nil {
			wrong = append(wrong, name)
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case wrong != nil:
		return nil, fmt.Errorf("empty, or of the wrong type: %s", strings.Join(wrong, ", "))
	case c.issuer == "" || c.audience == nil || c.issuedAt.IsZero() || c.jti == "":
		return nil, errors.New("one of iss, aud, iat and jti is missing")
	}
	return &c, nil
}

var errWrong = errors.New("empty, or of the wrong type")

// text reads a string that is not empty.
func text(value []byte) (string, error) {
	s, err := jose.String(value)
	if err == nil && s == "" {
		err = errWrong
	}
	return s, err
}

// audience reads aud, a string or an array of strings.
func audience(value []byte) ([]string, error) {
	if len(value) > 0 && value[0] == '[' {
		return jose.Strings(value)
	}
	s, err := text(value)
	return []string{s}, err
}

// date reads a NumericDate, rounded down to a second (RFC 7519, Section 2).
func date(value []byte) (time.Time, error) {
	whole, _, _ := strings.Cut(string(value), ".")
	n, err := jose.Int([]byte(whole))
	if err != nil || n < 1 || n > instant.MaxSecond {
		return time.Time{}, errWrong
	}
	return time.Unix(n, 0), nil
}

// hasLogout reports whether events has the logout. It may have other members
// (Section 2.4), as that of Keycloak has.
func hasLogout(value []byte) (found bool, err error) {
	err = jose.Object(value, func(name string, value []byte) error {
		if name != event {
			return nil
		}
		found = true
		return jose.Object(value, func(string, []byte) error { return nil })
	})
	return found, err
}

// types are the values of typ that a logout token may have; "" stands for none
// (Section 2.4).
func types() []string { return []string{"logout+jwt", "jwt", ""} }

// read returns the payload of a token that the provider has signed.
func (h *Handler) read(ctx context.Context, text string, now time.Time) ([]byte, error) {
	r := keyset.Reading{Token: text, Signed: true, Keys: providerKeys{h.c.Keys}, Now: now, Types: types()}
	at, err := r.Verify(ctx)
	reason := session.Forged
	switch {
	case err == nil:
		return r.Frame.Payload, nil
	case at == keyset.CheckForm:
		reason = session.Malformed
	case at == keyset.CheckKey && isNo(err):
		reason = session.UnknownKey
	case at == keyset.CheckKey:
		reason = session.Unavailable
	}
	return nil, fmt.Errorf("backchannel: the logout token can't be accepted: %w: %w", fault.Inner(err), reason)
}

// isNo reports whether err says that a key is not trusted, and not that nobody
// could tell.
func isNo(err error) bool {
	return errors.Is(err, keys.ErrUnknownKey) || errors.Is(err, keys.ErrKeyExpired) || errors.Is(err, keys.ErrKeyRevoked)
}

// providerKeys finds the keys of a KeySet.
type providerKeys struct{ set token.KeySet }

func (p providerKeys) FindKey(ctx context.Context, kid string, now time.Time) (*keyset.Key, error) {
	k, err := p.set.Key(ctx, kid, now)
	return (*keyset.Key)(k), err
}
