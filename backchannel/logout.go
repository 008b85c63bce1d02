package backchannel

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/claims"
	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/internal/jose"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/session"
)

// event is the member of events that makes a token a logout token.
const event = "http://schemas.openid.net/event/backchannel-logout"

// types are the values of typ that a logout token may have; "" stands for none
// (Section 2.4).
func types() []string { return []string{"logout+jwt", "jwt", ""} }

// check returns what a logout token says if it is good (Section 2.6).
func (h *Handler) check(ctx context.Context, text string) (*Logout, error) {
	want := h.want
	want.Now = h.c.Now()
	r := keyset.Reading{Token: text, Signed: true, Keys: claims.Finder{Set: h.c.Keys}, Now: want.Now, Types: types()}
	c, err := claims.Read(ctx, &r, claims.Logout, want)
	if err != nil {
		return nil, fmt.Errorf("backchannel: the logout token can't be accepted: %w", fault.Inner(err))
	}
	if wrong := notLogout(c); wrong != "" {
		return nil, fmt.Errorf("backchannel: the token is no logout token: %s: %w", wrong, session.Forged)
	}
	// It is the same each time the token comes. If the present were the limit, a
	// replay in the same second would end a login in between.
	until := c.IssuedAt().Truncate(time.Second).Add(time.Second - time.Millisecond)
	return &Logout{Issuer: c.Issuer, Subject: c.Subject, SessionID: c.ID, Until: until}, nil
}

// notLogout says why a token that is good otherwise is no logout token, or
// returns "".
func notLogout(c *claims.Claims) string {
	switch {
	case c.Further["nonce"] != nil:
		return "it has a nonce, so it may be an ID token"
	case !hasLogout(c.Further["events"]):
		return "it lacks the event of a logout"
	case c.Subject == "" && c.ID == "":
		return "it has neither sub nor sid"
	}
	return ""
}

// hasLogout reports whether events has the logout. It may have other members
// (Section 2.4), as that of Keycloak has.
func hasLogout(events json.RawMessage) (found bool) {
	err := jose.Object(events, func(name string, value []byte) error {
		if name != event {
			return nil
		}
		found = true
		return jose.Object(value, func(string, []byte) error { return nil })
	})
	return found && err == nil
}
