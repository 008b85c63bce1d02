package token

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/cloakroom-go/cloakroom/internal/fault"
	"github.com/cloakroom-go/cloakroom/internal/weburl"
	"github.com/cloakroom-go/cloakroom/session"
)

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
// cookies are removed, wherever it goes: nobody else may be able to open the
// session here.
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
	s := session.From(r.Context())
	if r.URL.Scheme != t.origin.Scheme || !weburl.SameHost(r.URL, &t.origin) {
		// net/http sends cookies along when a service redirects to another of its
		// ports.
		if len(r.Header["Cookie"]) > 0 {
			r = r.Clone(r.Context())
			removeCookies(r.Header, s.Cookies())
		}
		return t.c.Base.RoundTrip(r)
	}
	bearer, err := t.c.Issuer.Issue(r.Context(), s, t.c.Audience)
	if err != nil {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+bearer)
	removeCookies(r.Header, s.Cookies())
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
			"is %q: write only scheme, host and port, as in https://orders.internal:8443", weburl.Shown(origin))
	}
	if !weburl.IsPrivate(u, allowHTTP) {
		return nil, fault.Errorf("token: TransportConfig.Origin",
			"is %q: tokens travel by https; InsecureAllowHTTP lifts this", weburl.Shown(origin))
	}
	return u, nil
}
