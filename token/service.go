package token

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/claims"
	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/internal/instant"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/weburl"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/session"
)

// IssuerConfig configures an [Issuer].
type IssuerConfig struct {
	_ [0]func() // no unkeyed literals, no comparison

	// Ring holds the keys. Its signing key must not be symmetric: a service that
	// can verify must not be able to sign. Required.
	Ring *keys.Ring

	// Issuer is iss of the tokens: best an https URL, which clients that configure
	// themselves need (RFC 8414, Section 2). Required.
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

	// Now is the clock. If nil, time.Now.
	Now func() time.Time
}

// An Issuer makes service tokens: short-lived, signed, for one audience each.
// They have the form of RFC 9068, which libraries for JWTs in other languages
// verify too. They say who the subject of a session is, the session's ID, and
// when the subject logged in, but have none of its values.
type Issuer struct{ c IssuerConfig }

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
	return &Issuer{c: c}, nil
}

// Issue returns a token that tells the service called audience whose session s
// is. It fails with session.BadValue if nobody is logged in, or if audience is
// that of session tokens.
func (i *Issuer) Issue(ctx context.Context, s *session.Session, audience string) (string, error) {
	if err := i.checkAudience("audience", audience); err != nil {
		return "", err
	}
	caller := s.Snapshot()
	if caller.Subject == "" {
		return "", fmt.Errorf("token: a service token needs a subject, and nobody is logged in: %w", session.BadValue)
	}
	now := i.c.Now()
	key, err := inner(i.c.Ring.Current(keys.Signature, now))
	if err != nil {
		return "", unavailable("sign a service token", err)
	}
	if key.Algorithm().Symmetric() {
		return "", unavailable("sign a service token", symmetric(key))
	}
	expires := instant.Earliest(now.Add(i.c.Lifetime), caller.IdleDeadline, caller.Deadline)
	if until := key.TokensUntil(); !until.IsZero() {
		expires = instant.Earliest(expires, until)
	}
	expires = expires.Truncate(time.Second)
	if !now.Before(expires) {
		return "", fmt.Errorf("token: the session, or the active key, ends too soon for a service token: %w",
			session.Unavailable)
	}
	says := claims.Claims{
		Issuer: i.c.Issuer, Audience: audience, JTI: newJTI(), ClientID: i.c.ClientID, Record: session.Record{
			ID: caller.ID, Generation: caller.Generation, Subject: caller.Subject, Tags: caller.Tags, AMR: caller.AMR,
			AuthenticatedAt: caller.AuthenticatedAt, Since: caller.CountsFrom(),
			SeenAt: now.Add(-claims.Backdated), IdleDeadline: expires,
		},
	}
	token, err := key.Unsigned(claims.Service.Typ(), says.Encode(claims.Service)).Sign()
	if err != nil {
		return "", unavailable("sign a token", err)
	}
	return token, nil
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

// TransportConfig configures a [Transport].
type TransportConfig struct {
	_ [0]func() // no unkeyed literals, no comparison

	// Issuer makes the tokens. Required.
	Issuer *Issuer

	// Audience is the name of the service that is called. Required, and other than
	// IssuerConfig.SessionAudience.
	Audience string

	// Origin is where the service is: scheme, host and port, as in
	// "https://orders.internal:8443". Requests to anywhere else, after a redirect
	// for example, pass without a token. Required.
	Origin string

	// InsecureAllowHTTP lets Origin be plain HTTP on a host other than this one.
	InsecureAllowHTTP bool

	// Base sends the requests. If nil, http.DefaultTransport.
	Base http.RoundTripper
}

// A Transport is an http.RoundTripper that tells a service which subject a
// request is for: the one of the session in the request's context. It adds a
// service token as a bearer token (RFC 6750, Section 2.1). Make the outgoing
// request with the context of the incoming one. If the outgoing request has the
// cookies of the incoming one, as in httputil.ReverseProxy, the session's
// cookies are removed: the service must not be able to open the session here.
type Transport struct {
	c      TransportConfig
	origin url.URL
}

// NewTransport checks c and returns a Transport.
func NewTransport(c TransportConfig) (*Transport, error) {
	bad := fault.In("token: TransportConfig")
	if c.Issuer == nil {
		bad.Add(checkName("TransportConfig.Audience", c.Audience, true))
	} else {
		bad.Add(c.Issuer.checkAudience("TransportConfig.Audience", c.Audience))
	}
	bad.If(c.Issuer == nil, "Issuer", "is required: config.App.Issuer; it is nil where the key file has no ES256, "+
		"EdDSA or RSA signing key, or there is no key file")
	origin, err := parseOrigin(c.Origin, c.InsecureAllowHTTP)
	bad.Add(err)
	if err := bad.Err(); err != nil {
		return nil, err
	}
	if c.Base == nil {
		c.Base = http.DefaultTransport
	}
	return &Transport{c: c, origin: *origin}, nil
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != t.origin.Scheme || !weburl.SameHost(r.URL, &t.origin) {
		return t.c.Base.RoundTrip(r)
	}
	bearer, err := t.c.Issuer.Issue(r.Context(), session.From(r.Context()), t.c.Audience)
	if err != nil {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+bearer)
	removeCookies(r.Header, session.From(r.Context()).Cookies())
	return t.c.Base.RoundTrip(r)
}

// removeCookies removes the cookies called names, and leaves others as they
// are.
func removeCookies(h http.Header, names []string) {
	var kept []string
	for _, line := range h["Cookie"] {
		pairs := slices.DeleteFunc(strings.Split(line, ";"), func(pair string) bool {
			name, _, _ := strings.Cut(pair, "=")
			return slices.Contains(names, strings.TrimSpace(name))
		})
		if rest := strings.TrimSpace(strings.Join(pairs, ";")); rest != "" {
			kept = append(kept, rest)
		}
	}
	if kept == nil {
		h.Del("Cookie")
		return
	}
	h["Cookie"] = kept
}

func parseOrigin(origin string, allowHTTP bool) (*url.URL, error) {
	u, err := url.Parse(origin)
	if err != nil || !weburl.HasHost(u) || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fault.Errorf("token: TransportConfig.Origin",
			"is %q: write scheme, host and port alone, as in https://orders.internal:8443", weburl.Shown(origin))
	}
	if u.Scheme != "https" && !(u.Scheme == "http" && (weburl.IsLocal(u) || allowHTTP)) {
		return nil, fault.Errorf("token: TransportConfig.Origin",
			"is %q: tokens travel by https; InsecureAllowHTTP lifts this", weburl.Shown(origin))
	}
	return u, nil
}
