package config

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"unicode"

	"github.com/cloakroom-go/cloakroom/internal/weburl"
)

// origin refuses an origin that is not spelled as browsers spell it: no request
// would ever have it.
func (v *validator) origin(path, origin string) {
	u, err := url.Parse(origin)
	shown := weburl.Shown(origin)
	switch {
	case strings.Contains(origin, "*"):
		v.fail(path, "%q has a wildcard, and an origin is compared as a whole; write each origin", shown)
	case err != nil || u.User != nil || !weburl.HasHost(u),
		http.NewCrossOriginProtection().AddTrustedOrigin(origin) != nil:
		v.fail(path, "%q is not an origin; write scheme, host and any unusual port, as in https://partner.example", shown)
	case strings.ContainsFunc(origin, func(r rune) bool { return r > unicode.MaxASCII }):
		v.fail(path, "%q is not how browsers write it; write the host in ASCII, as in https://xn--bcher-kva.example", shown)
	case origin != asSent(u):
		v.fail(path, "%q is not how browsers write it; write %s", shown, asSent(u))
	}
}

// asSent returns the origin of u as browsers send it: in lower case, without
// the usual port of its scheme (RFC 6454, Section 6.2).
func asSent(u *url.URL) string {
	host := strings.TrimSuffix(strings.ToLower(u.Host), ":"+u.Port())
	port := strings.TrimLeft(u.Port(), "0")
	if port == "" || port == map[string]string{"http": "80", "https": "443"}[u.Scheme] {
		return u.Scheme + "://" + host
	}
	return u.Scheme + "://" + host + ":" + port
}

// crossOrigin returns the protection against requests from other origins, or
// nil for the default.
func (b *builder) crossOrigin() *http.CrossOriginProtection {
	if len(b.CrossOrigin.Trusted) == 0 {
		return b.o.CrossOrigin
	}
	if b.o.CrossOrigin != nil {
		b.fail("cross_origin.trusted", errors.New("has no effect, "+
			"since the application decides with Options.CrossOrigin; leave one of them out"))
	}
	trusting := http.NewCrossOriginProtection()
	for _, origin := range b.CrossOrigin.Trusted {
		_ = trusting.AddTrustedOrigin(origin) // what is no origin was reported
	}
	// As package middleware answers without trusted origins: otherwise the client
	// would get the standard library's reason.
	trusting.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, http.StatusText(http.StatusForbidden), http.StatusForbidden)
	}))
	return trusting
}
