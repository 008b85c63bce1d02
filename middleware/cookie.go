package middleware

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// maxCookieAge is the longest that a cookie should ask for (RFC 6265bis, Section 5.5).
const maxCookieAge = 400 * 24 * time.Hour

// Cookie says how a credential travels. HttpOnly is always set, and so is
// Secure unless InsecureAllowHTTP says otherwise.
type Cookie struct {
	// Name is the cookie's name; "" means "__Host-session". The prefix "__Host-"
	// makes browsers refuse a cookie that another host or path has planted.
	Name string

	// Path is where the browser sends the cookie; "" means "/".
	Path string

	// Domain, if set, sends the cookie to that domain and all below it; it rules
	// out the prefix "__Host-".
	Domain string

	// SameSite is sent as it is; 0 means http.SameSiteLaxMode.
	SameSite http.SameSite

	// Partitioned keeps a cookie of an embedded page apart for each top-level
	// site (CHIPS).
	Partitioned bool

	// Persistent makes new sessions remembered ones, as session.Session.Remember
	// does: the cookie outlives the browser, and the Policy's limits for remembered
	// sessions apply. If the Policy sets an ordinary limit, it must then set the
	// remembered one too.
	Persistent bool

	// InsecureAllowHTTP leaves out Secure, so that the credential travels in the
	// clear. For development on a host other than localhost; rules out the
	// prefixes "__Host-" and "__Secure-".
	InsecureAllowHTTP bool
}

func (c Cookie) withDefaults() Cookie {
	if c.Name == "" {
		c.Name = "__Host-session"
	}
	if c.Path == "" {
		c.Path = "/"
	}
	if c.SameSite == 0 {
		c.SameSite = http.SameSiteLaxMode
	}
	return c
}

// validate reports every mistake at once, above all those that make a browser
// drop the cookie without a word.
func (c Cookie) validate() error {
	c = c.withDefaults()
	var errs []error
	fail := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("middleware: Cookie."+format, args...))
	}
	lower := strings.ToLower(c.Name) // browsers compare prefixes without regard to case
	host, secure := strings.HasPrefix(lower, "__host-"), strings.HasPrefix(lower, "__secure-")
	if host && !strings.HasPrefix(c.Name, "__Host-") || secure && !strings.HasPrefix(c.Name, "__Secure-") {
		fail("Name %q: write the prefix as __Host- or __Secure-", c.Name)
	}
	if host && c.Domain != "" {
		fail("Domain %q: a %s cookie can't have a Domain; use the prefix __Secure- to share it between hosts", c.Domain, c.Name)
	}
	if host && c.Path != "/" {
		fail("Path %q: a %s cookie needs the Path /", c.Path, c.Name)
	}
	if (host || secure) && c.InsecureAllowHTTP {
		fail("InsecureAllowHTTP: a %s cookie must be Secure; name it without the prefix", c.Name)
	}
	if c.SameSite == http.SameSiteNoneMode && c.InsecureAllowHTTP {
		fail("SameSite=None: browsers want Secure with it, which InsecureAllowHTTP leaves out")
	}
	if c.SameSite < 0 || c.SameSite > http.SameSiteNoneMode || c.SameSite == http.SameSiteDefaultMode {
		fail("SameSite %d: use http.SameSiteLaxMode, SameSiteStrictMode or SameSiteNoneMode", c.SameSite)
	}
	if c.Partitioned && c.InsecureAllowHTTP {
		fail("Partitioned: browsers want Secure with it, which InsecureAllowHTTP leaves out")
	}
	if len(c.Name) > 256 {
		fail("Name is %d bytes long: at most 256", len(c.Name))
	} else if err := c.make("x", 0).Valid(); err != nil {
		fail("Name, Path or Domain can't be sent: %v", err)
	}
	return errors.Join(errs...)
}

// make returns the cookie that carries credential. maxAge is in whole seconds,
// with the meaning that it has in http.Cookie.
func (c Cookie) make(credential string, maxAge int) *http.Cookie {
	return &http.Cookie{
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
	return 4*(len(c.Name)+len(credential)) < 3*maxCookieBytes
}

// maxAge is 0 for a cookie that ends with the browser, otherwise the seconds
// until the session's deadline, rounded up: rounded down, the browser would drop
// the cookie before the session is over. It enforces nothing.
func (c Cookie) maxAge(rec *session.Record, now time.Time) int {
	if !rec.Persistent {
		return 0
	}
	left := min(rec.Deadline.Sub(now), maxCookieAge)
	return max(1, int(math.Ceil(left.Seconds())))
}
