package config

import (
	"errors"
	"net/http"
	"strings"

	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/session"
)

// maxCookieBytes is what browsers keep of a cookie's name and value together
// (RFC 6265bis, Section 5.6).
const maxCookieBytes = 4096

func (c Config) mode() Mode {
	if c.Mode == "" {
		return Stateless
	}
	return c.Mode
}

func (c Config) issuer() string {
	if c.Issuer == "" {
		return "cloakroom"
	}
	return c.Issuer
}

func (c Config) cookieName() string {
	if c.Cookie.Name == "" {
		return "__Host-session"
	}
	return c.Cookie.Name
}

// policy returns what c says about the life of sessions: nothing, which stands
// for the defaults, if that is not valid.
func (c Config) policy() session.Policy {
	p := c.Session.policy()
	if p.Validate() != nil {
		return session.Policy{}
	}
	return p
}

func (c Config) cookie() middleware.Cookie {
	return middleware.Cookie{
		Name:              c.cookieName(),
		Path:              c.Cookie.Path,
		Domain:            c.Cookie.Domain,
		SameSite:          sameSite(c.Cookie.SameSite),
		Partitioned:       c.Cookie.Partitioned,
		Persistent:        c.Session.Persistent,
		InsecureAllowHTTP: c.Cookie.InsecureAllowHTTP,
	}
}

func sameSite(name string) http.SameSite {
	switch name {
	case "strict":
		return http.SameSiteStrictMode
	case "none":
		return http.SameSiteNoneMode
	}
	return http.SameSiteLaxMode
}

// pathOf returns the field of ours for the one that err is about, which a
// constructor has refused under its Go name; "" if err names none, or several.
func pathOf(err error) string {
	_, text, _ := strings.Cut(err.Error(), ": ") // behind the package
	for _, field := range [...]struct{ name, path string }{
		{"Policy.IdleTimeout", "session.idle_timeout"},
		{"Policy.Lifetime", "session.lifetime"},
		{"Policy.RememberedIdleTimeout", "session.remembered_idle_timeout"},
		{"Policy.RememberedLifetime", "session.remembered_lifetime"},
		{"Policy.TouchEvery", "session.touch_every"},
		{"Cookie.Name", "cookie.name"},
		{"Cookie.Path", "cookie.path"},
		{"Cookie.Domain", "cookie.domain"},
		{"Cookie.SameSite", "cookie.same_site"},
		{"Cookie.Partitioned", "cookie.partitioned"},
		{"Cookie.InsecureAllowHTTP", "cookie.insecure_allow_http"},
		{"MemoryConfig.MaxSessions", "store.max_sessions"},
		{"MemoryConfig.MaxBytes", "store.max_bytes"},
		{"MemoryConfig.Linger", "store.linger"},
		{"CarrierConfig.Issuer", "issuer"},
		{"CarrierConfig.Audience", "audience"},
	} {
		if rest, ok := strings.CutPrefix(text, field.name); ok && !strings.HasPrefix(rest, ",") {
			return field.path
		}
	}
	return ""
}

// mistakes takes apart what errors.Join has joined. An error that wraps several
// others for its own text stays whole.
func mistakes(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok || errors.Join(joined.Unwrap()...).Error() != err.Error() {
		return []error{err}
	}
	var all []error
	for _, part := range joined.Unwrap() {
		all = append(all, mistakes(part)...)
	}
	return all
}
