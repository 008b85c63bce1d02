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

// A tokenView is the token that the visitor holds, taken apart. The token
// itself is not shown: the cookie is HttpOnly so that no script of a page can
// read it, and a page that showed it would undo that.
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
		v.add("Envelope", "The header of the encryption (JWE). It is all that others can read of an encrypted token.",
			e.Encryption, now, headerNote)
		v.add("Header", "The header of the signature (JWS).", e.Header, now, headerNote)
		v.add("Claims", "What the signature vouches for.", e.Claims, now, claimNote)
		return v
	}
	return nil
}

func (v *tokenView) add(title, lead string, object json.RawMessage, now time.Time,
	note func(string, json.RawMessage, time.Time) string) {
	if object != nil {
		v.Layers = append(v.Layers, layer{Title: title, Lead: lead, Rows: members(object, now, note)})
	}
}

// headerNote says what a member of a header means.
func headerNote(name string, value json.RawMessage, _ time.Time) string {
	switch name {
	case "alg":
		switch plain(value) {
		case "dir":
			return "the key of the ring encrypts directly"
		case "A256KW", "ECDH-ES+A256KW":
			return "the key of the ring wraps a fresh key"
		}
		return "how it is signed; compared with the key, never followed"
	case "enc":
		return "how it is encrypted; compared with the key, never followed"
	case "kid":
		return "which key of the ring"
	case "typ":
		if strings.Contains(plain(value), "service") {
			return "a service token, never taken for a session"
		}
		return "a session token, never taken for anything else"
	case "cty":
		return "what is inside: a signed token"
	}
	return ""
}

// claimNote says what a claim means.
func claimNote(name string, value json.RawMessage, now time.Time) string {
	switch name {
	case "iss":
		return "the application that issued it"
	case "aud":
		return "the application that accepts it"
	case "sub":
		return "who is logged in"
	case "auth_time":
		return "logged in " + when(value, now)
	case "sid":
		return "the session’s public ID; opens nothing"
	case "gen":
		return "generation: raised by each login, renewal and move"
	case "ver":
		return "version: raised by each save"
	case "jti":
		return "this token alone"
	case "iat":
		return "activity recorded " + when(value, now)
	case "exp":
		return "ends " + when(value, now) + ", unless you come back before"
	case "crt":
		return "session began " + when(value, now)
	case "dl":
		return "ends " + when(value, now) + " at the latest"
	case "prs":
		return "the cookie outlives the browser"
	case "data":
		return "the session’s values"
	}
	return ""
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
