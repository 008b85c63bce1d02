package config

import (
	"cmp"
	"net/http"

	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/session"
)

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
