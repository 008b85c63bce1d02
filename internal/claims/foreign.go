package claims

import (
	"encoding/json"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/instant"
	"github.com/cloakroom-go/cloakroom/internal/jose"
	"github.com/cloakroom-go/cloakroom/session"
)

// othersTable has the claims of the tokens of other issuers, as the standards
// define them (RFC 9068, Section 2.2; OpenID Connect Core, Section 2;
// Back-Channel Logout, Section 2.4). An optional text that is empty counts as
// missing, but not in logout tokens. The private claims of our own tokens, such
// as gen and since, have no meaning here: they are further claims.
var othersTable = [...]row{
	{"iss", others, others, func(c *Claims, value []byte) error { return decode(&c.Issuer, value, text) }},
	{"iss", Answer, 0, func(c *Claims, value []byte) error { return decode(&c.Issuer, value, jose.String) }},
	{"aud", outside, others, func(c *Claims, value []byte) error { return decode(&c.Audiences, value, jose.Texts) }},
	{"sub", others, Foreign, func(c *Claims, value []byte) error { return decode(&c.Subject, value, text) }},
	{"sub", Answer, 0, func(c *Claims, value []byte) error { return decode(&c.Subject, value, jose.String) }},
	{"exp", outside, Foreign, func(c *Claims, value []byte) error { return decode(&c.IdleDeadline, value, numericDate) }},
	{"iat", outside, others, func(c *Claims, value []byte) error { return decode(&c.SeenAt, value, numericDate) }},
	{"nbf", others, 0, func(c *Claims, value []byte) error { return decode(&c.NotBefore, value, numericDate) }},
	{"jti", Foreign, 0, func(c *Claims, value []byte) error { return decode(&c.JTI, value, jose.String) }},
	{"jti", Logout, Logout, func(c *Claims, value []byte) error { return decode(&c.JTI, value, text) }},
	{"sid", access, 0, func(c *Claims, value []byte) error { return decode(&c.ID, value, jose.String) }},
	{"sid", Logout, 0, func(c *Claims, value []byte) error { return decode(&c.ID, value, text) }},
	{"auth_time", access, 0, func(c *Claims, value []byte) error {
		return decode(&c.AuthenticatedAt, value, numericDate)
	}},
	{"client_id", access, 0, func(c *Claims, value []byte) error { return decode(&c.ClientID, value, jose.String) }},
	{"amr", access, 0, func(c *Claims, value []byte) error { return decode(&c.AMR, value, jose.Texts) }},
	{"acr", Foreign, 0, func(c *Claims, value []byte) error { return decode(&c.ACR, value, jose.String) }},
}

// numericDate reads seconds since the epoch, also with a fraction or an
// exponent (RFC 7519, Section 2). 0 is the zero time: some issuers write it for
// an instant that they don't know.
func numericDate(value []byte) (time.Time, error) {
	seconds, err := jose.Number(value)
	if err != nil || seconds > instant.MaxSecond {
		return time.Time{}, errWrong
	}
	if milli := int64(seconds * 1000); milli != 0 {
		return time.UnixMilli(milli), nil
	}
	return time.Time{}, nil
}

// authorizedParty fills ClientID from azp, by which OpenID Connect calls the
// client (Core, Section 2), unless there is a client_id. azp stays among the
// further claims.
func (c *Claims) authorizedParty() {
	if c.ClientID == "" {
		c.ClientID, _ = jose.String(c.Further["azp"])
	}
}

// further keeps a claim that the table doesn't have.
func (c *Claims) further(name string, value []byte) {
	if c.Further == nil {
		c.Further = make(map[string]json.RawMessage)
	}
	c.Further[name] = json.RawMessage(value)
}

// errEvent is for a notification (RFC 8417, Section 2.2), such as a logout
// token. Where the typ JWT is accepted, it would pass for an access token
// (Section 4.5).
var errEvent error = &refusal{
	"a security event, such as a logout token, and not an access token (events)", session.Forged,
}

func noEvent(c *Claims, _ Want) bool { return c.Further["events"] == nil }

func foreignLife(c *Claims, w Want) bool { return c.ExpiresAt().Sub(c.IssuedAt()) <= w.MaxLife }
