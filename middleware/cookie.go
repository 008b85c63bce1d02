package middleware

import (
	"math"
	"net/http"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// DefaultCookieName is the name of the cookie if [Cookie] has none.
const DefaultCookieName = "__Host-session"

// MaxCookieBytes is what browsers keep of one cookie's name and value together
// (RFC 6265bis, Section 5.6). [New] makes sure that credentials fit.
const MaxCookieBytes = 4096

// maxCookieAge is the longest that a cookie should ask for (RFC 6265bis,
// Section 5.5).
const maxCookieAge = 400 * 24 * time.Hour

// Cookie says how a credential travels. HttpOnly is always set, and so is
// Secure unless InsecureAllowHTTP says otherwise.
//
// A browser doesn't tell which attributes a cookie has. If you change them, a
// visitor gets the new ones with the next new credential: for a session in a
// token, that is its next change; for a session in a store, its next login,
// renewal or move. Change Name together with Path and Domain, or the browser
// keeps, and sends, the old cookie and the new one.
type Cookie struct {
	// Name is the cookie's name; "" means DefaultCookieName. The prefix "__Host-"
	// makes browsers refuse a cookie that another host or path has planted.
	Name string

	// Path is where the browser sends the cookie; "" means "/". It begins with a
	// slash. "/app" covers "/app" and all below it, "/app/" only what is below.
	Path string

	// Domain, if set, sends the cookie to that domain and all below it; it rules
	// out the prefix "__Host-". Browsers drop the cookie, and nobody can log in,
	// if the host of the request is not in the domain, or if the domain is a
	// public suffix, under which anybody can register, such as co.uk or github.io:
	// New refuses those of one label, such as com, and can't know the others.
	Domain string

	// SameSite is sent as it is; 0 means http.SameSiteLaxMode.
	SameSite http.SameSite

	// Partitioned keeps a cookie of an embedded page apart for each top-level
	// site (CHIPS).
	Partitioned bool

	// Persistent makes new sessions remembered ones, as session.Session.Remember
	// does: the cookie outlives the browser, and the Policy's limits for
	// remembered sessions apply. If the Policy sets an ordinary limit, it must
	// then set the remembered one too.
	Persistent bool

	// InsecureAllowHTTP leaves out Secure, so that the credential travels in the
	// clear. For development on a host other than localhost, where Chrome and
	// Firefox accept Secure cookies over plain HTTP; Safari is reported to drop
	// them there too, which we have not tried. Rules out the prefixes "__Host-"
	// and "__Secure-".
	InsecureAllowHTTP bool
}

func (c Cookie) withDefaults() Cookie {
	if c.Name == "" {
		c.Name = DefaultCookieName
	}
	if c.Path == "" {
		c.Path = "/"
	}
	if c.SameSite == 0 {
		c.SameSite = http.SameSiteLaxMode
	}
	return c
}

// make returns the cookie that carries credential. maxAge is in whole seconds,
// with the meaning that it has in http.Cookie.
func (c Cookie) make(credential string, maxAge int) http.Cookie {
	return http.Cookie{
		Name:        c.Name,
		Value:       credential,
		Path:        c.Path,
		Domain:      c.Domain,
		MaxAge:      maxAge,
		Secure:      !c.InsecureAllowHTTP,
		HttpOnly:    true,
		SameSite:    c.SameSite,
		Partitioned: c.Partitioned,
	}
}

// roomy reports whether credential fills less than three quarters of a cookie.
func (c Cookie) roomy(credential string) bool {
	return 4*(len(c.Name)+len(credential)) < 3*MaxCookieBytes
}

// maxAge is 0 for a cookie that ends with the browser, otherwise the seconds
// until the session's deadline, rounded up: rounded down, the browser would
// drop the cookie before the session is over. It enforces nothing.
func (c Cookie) maxAge(rec *session.Record, now time.Time) int {
	if !rec.Persistent {
		return 0
	}
	left := min(rec.Deadline.Sub(now), maxCookieAge)
	return max(1, int(math.Ceil(left.Seconds())))
}
