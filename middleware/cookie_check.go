package middleware

import (
	"errors"
	"net"
	"net/http"
	"strings"

	"github.com/cloakroom-go/cloakroom/internal/fault"
)

// The fields of Cookie that errors about other fields speak of.
const (
	cookieName        fault.Name = "Cookie.Name"
	insecureAllowHTTP fault.Name = "Cookie.InsecureAllowHTTP"
)

// maxNameLength bounds a cookie's name, in bytes.
const maxNameLength = 256

// validate reports every mistake at once, above all those that make a browser
// drop the cookie without a word.
func (c Cookie) validate() error {
	c = c.withDefaults()
	return errors.Join(c.checkName(), c.checkPrefix(), c.checkSecure(), c.checkPath(), c.checkDomain())
}

// prefix returns the prefix of the name that browsers go by, in lower case:
// they compare it without regard to case.
func (c Cookie) prefix() string {
	for _, prefix := range [...]string{"__host-", "__secure-"} {
		if strings.HasPrefix(strings.ToLower(c.Name), prefix) {
			return prefix
		}
	}
	return ""
}

// otherName returns the name with the strongest prefix that the other fields
// allow.
func (c Cookie) otherName(prefix string) string {
	name := c.Name[len(c.prefix()):]
	if name == "" {
		name = "session"
	}
	if c.InsecureAllowHTTP {
		return name
	}
	return prefix + name
}

func (c Cookie) checkName() error {
	spelling := map[string]string{"__host-": "__Host-", "__secure-": "__Secure-"}[c.prefix()]
	switch {
	case len(c.Name) > maxNameLength:
		return fault.Errorf("middleware: Cookie.Name", "is %d bytes long: use at most %d", len(c.Name), maxNameLength)
	case (&http.Cookie{Name: c.Name, Value: "x"}).Valid() != nil:
		return fault.Errorf("middleware: Cookie.Name", "%q can't be sent: use letters, digits, - and _", c.Name)
	case !strings.HasPrefix(c.Name, spelling):
		return fault.Errorf("middleware: Cookie.Name", "%q begins as browsers' prefix %s does: write it in that case",
			c.Name, spelling)
	}
	return nil
}

// checkPrefix holds the other fields to what browsers ask of a __Host- cookie.
func (c Cookie) checkPrefix() error {
	if c.prefix() != "__host-" {
		return nil
	}
	bad, other := fault.In("middleware: Cookie"), c.otherName("__Secure-")
	bad.If(c.Domain != "", "Domain", "%q can't go with the cookie name %s, which keeps the cookie to one host: "+
		"set %s to %s, or leave the domain out", c.Domain, c.Name, cookieName, other)
	bad.If(c.Path != "/", "Path", "%q can't go with the cookie name %s, which needs the path /: "+
		"set %s to %s, or leave the path out", c.Path, c.Name, cookieName, other)
	return bad.Err()
}

// checkSecure holds the other fields to a cookie without the attribute Secure.
func (c Cookie) checkSecure() error {
	const wantSecure = "with %s: browsers want Secure with it; leave one of the two out"
	bad, plain := fault.In("middleware: Cookie"), c.InsecureAllowHTTP
	bad.If(plain && c.prefix() != "", "InsecureAllowHTTP", "can't go with the cookie name %s, "+
		"which browsers take with Secure only: set %s to %s", c.Name, cookieName, c.otherName(""))
	bad.If(plain && c.SameSite == http.SameSiteNoneMode, "SameSite", "can't be None together "+wantSecure,
		insecureAllowHTTP)
	bad.If(c.SameSite < 0 || c.SameSite > http.SameSiteNoneMode || c.SameSite == http.SameSiteDefaultMode, "SameSite",
		"is %d: use http.SameSiteLaxMode, SameSiteStrictMode or SameSiteNoneMode", c.SameSite)
	bad.If(plain && c.Partitioned, "Partitioned", "can't go "+wantSecure, insecureAllowHTTP)
	return bad.Err()
}

// checkPath refuses what browsers ignore: they then keep the cookie to the
// directory of the page that has set it (RFC 6265, Section 5.2.4).
func (c Cookie) checkPath() error {
	switch {
	case !strings.HasPrefix(c.Path, "/"):
		return fault.Errorf("middleware: Cookie.Path", "%q does not begin with a slash: write %q", c.Path, "/"+c.Path)
	case (&http.Cookie{Name: "x", Path: c.Path}).Valid() != nil:
		return fault.Errorf("middleware: Cookie.Path", "%q has a character that a cookie can't carry: use a path in "+
			"ASCII without semicolon", c.Path)
	}
	return nil
}

// checkDomain refuses what browsers refuse, and then drop the cookie.
func (c Cookie) checkDomain() error {
	domain := strings.TrimPrefix(c.Domain, ".") // browsers ignore the dot
	switch {
	case c.Domain == "":
		return nil
	case net.ParseIP(strings.Trim(domain, "[]")) != nil:
		return fault.Errorf("middleware: Cookie.Domain", "%q is an address, below which there are no hosts: "+
			"leave it out", c.Domain)
	case strings.HasSuffix(domain, "."), (&http.Cookie{Name: "x", Domain: domain}).Valid() != nil:
		return fault.Errorf("middleware: Cookie.Domain", "%q is not a domain: write the name alone, as in shop.example, "+
			"without scheme, port, path and final dot", c.Domain)
	case !strings.Contains(domain, "."):
		return fault.Errorf("middleware: Cookie.Domain", "%q has one label, and browsers refuse cookies for such a "+
			"domain: write your own, as in shop.example, or leave it out for this host alone", c.Domain)
	}
	return nil
}
