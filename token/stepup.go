package token

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/claims"
	"github.com/cloakroom-go/cloakroom/internal/fault"
)

// This file asks for a login that is recent or strong enough: step-up
// authentication, RFC 9470.

func (c *VerifierConfig) checkStepUp() error {
	bad := fault.In("token: VerifierConfig")
	bad.If(c.MaxAuthAge < 0 || c.MaxAuthAge%time.Second != 0, "MaxAuthAge",
		"is %v: must be whole seconds, and not negative", c.MaxAuthAge)
	for _, acr := range c.ACR {
		bad.If(!isACR(acr), "ACR", "has %q: a value has visible ASCII characters, without quotes and backslashes", acr)
	}
	return bad.Err()
}

// isACR reports whether acr can be written into a challenge, where spaces
// separate the values (RFC 9470, Section 3).
func isACR(acr string) bool {
	bad := func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '"' || r == '\\' }
	return acr != "" && !strings.ContainsFunc(acr, bad)
}

// challenge is the WWW-Authenticate that tells a client which login it needs.
func (c *VerifierConfig) challenge() string {
	s := `Bearer error="insufficient_user_authentication"`
	if c.MaxAuthAge > 0 {
		s += `, max_age="` + strconv.FormatInt(int64(c.MaxAuthAge/time.Second), 10) + `"`
	}
	if len(c.ACR) > 0 {
		s += `, acr_values="` + strings.Join(c.ACR, " ") + `"`
	}
	return s
}

// stepUp checks the login of a token that is good otherwise. A login in the
// future is no proof of a recent one.
func (v *Verifier) stepUp(c *claims.Claims, w claims.Want) error {
	at := c.AuthenticatedAt
	switch {
	case v.c.MaxAuthAge > 0 && at.IsZero():
		return insufficient("the token doesn't say when the user logged in (auth_time)")
	case v.c.MaxAuthAge > 0 && (at.After(w.Now.Add(w.Early)) || w.Now.After(at.Add(v.c.MaxAuthAge+w.Late))):
		return insufficient("the user logged in longer ago than MaxAuthAge, or in the future (auth_time)")
	case len(v.c.ACR) > 0 && !slices.Contains(v.c.ACR, c.ACR):
		return insufficient("the user didn't log in as ACR wants it (acr)")
	}
	return nil
}

func insufficient(why string) error { return claims.Refuse(why, ErrInsufficientAuthentication) }
