package config

import (
	"cmp"
	"net/http"

	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/session"
)

func (c Config) mode() Mode { return cmp.Or(c.Mode, Stateless) }

func (c Config) issuer() string { return cmp.Or(c.Issuer, "cloakroom") }

func (c Config) cookieName() string { return cmp.Or(c.Cookie.Name, middleware.DefaultCookieName) }

// policy returns how long sessions live. If c is not valid in that, it returns
// the zero policy, which stands for the defaults.
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
		SameSite:          sameSites()[c.Cookie.SameSite],
		Partitioned:       c.Cookie.Partitioned,
		Persistent:        c.Session.Persistent,
		InsecureAllowHTTP: c.Cookie.InsecureAllowHTTP,
	}
}

// sameSites returns the values of cookie.same_site and what each stands for.
func sameSites() map[string]http.SameSite {
	return map[string]http.SameSite{
		"lax": http.SameSiteLaxMode, "strict": http.SameSiteStrictMode, "none": http.SameSiteNoneMode,
	}
}
