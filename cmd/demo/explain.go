package main

import (
	"encoding/json"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/diagnose"
	"github.com/cloakroom-go/cloakroom/middleware"
)

// A tokenView shows the contents of the visitor's token. It doesn't show the
// token itself: the cookie is HttpOnly, so that no script can read it, and a
// page with the token would undo that.
type tokenView struct {
	Encrypted bool
	Verified  bool
	Problem   string
	Used      int // bytes of the cookie, of Limit
	Limit     int
	Layers    []layer
}

// A layer is one JSON object of a token.
type layer struct {
	Title, Lead string
	Rows        []row
}

// token explains the token that came with r, nil if none did.
func (d *demo) token(r *http.Request, now time.Time) *tokenView {
	for _, cookie := range r.CookiesNamed(d.config.Cookie.Name) {
		e := diagnose.Token(r.Context(), d.sessions.Keys, cookie.Value, diagnose.Want{}, now)
		if e.Claims == nil && e.Encryption == nil {
			continue
		}
		v := &tokenView{
			Encrypted: e.Encryption != nil, Verified: e.Verdict != diagnose.Bad, Problem: e.Problem(),
			Used: len(cookie.Name) + len(cookie.Value), Limit: middleware.MaxCookieBytes,
		}
		for _, part := range []struct {
			title, lead string
			object      json.RawMessage
		}{
			{"Envelope", "The header of the encryption (JWE): all that others can read of an encrypted token.", e.Encryption},
			{"Header", "The header of the signature (JWS).", e.Header},
			{"Claims", "What the signature vouches for.", e.Claims},
		} {
			if part.object != nil {
				v.Layers = append(v.Layers, layer{part.title, part.lead, members(part.object, now)})
			}
		}
		return v
	}
	return nil
}

// note explains a member of a header, or a claim. No two have the same name.
func note(name string, value json.RawMessage, now time.Time) string {
	switch text := plain(value); {
	case name == "alg" && text == "dir":
		return "the key of the ring encrypts directly"
	case name == "alg" && strings.HasSuffix(text, "A256KW"):
		return "the key of the ring wraps a fresh key"
	case name == "typ" && text == "at+jwt":
		return "a service token, never taken for a session"
	}
	notes := map[string]string{
		"alg": "how it is signed; compared with the key, never followed",
		"enc": "how it is encrypted; compared with the key, never followed",
		"kid": "which key of the ring",
		"typ": "a session token, never taken for anything else",
		"cty": "what is inside: a signed token",

		"iss":       "the application that issued it",
		"aud":       "the application that accepts it",
		"sub":       "who is logged in",
		"auth_time": "logged in {when}",
		"sid":       "the session’s public ID; opens nothing",
		"gen":       "generation: raised by each login, renewal and move",
		"ver":       "version: raised by each save",
		"jti":       "this token alone",
		"iat":       "activity recorded {when}",
		"exp":       "ends {when}, unless you come back before",
		"amr":       "how the visitor logged in",
		"tg":        "what else the login belongs to, as hashes",
		"crt":       "session began {when}",
		"dl":        "ends {when} at the latest",
		"prs":       "the cookie outlives the browser",
		"data":      "the session’s values",
	}
	return strings.ReplaceAll(notes[name], "{when}", when(value, now))
}

// when describes a NumericDate (RFC 7519, Section 2).
func when(value json.RawMessage, now time.Time) string {
	var seconds float64
	if json.Unmarshal(value, &seconds) != nil {
		return "at an unknown time"
	}
	whole, fraction := math.Modf(seconds)
	return at(time.Unix(int64(whole), int64(fraction*1e9)), now).Relative
}
