package middleware

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/cloakroom-go/cloakroom/session"
)

// maxReturnPath bounds the path that a redirect carries, in bytes: it comes
// from the client, and has to fit into a URL twice.
const maxReturnPath = 2048

// RequireConfig says what [RequireSubject] does with visitors it doesn't let
// through. The zero RequireConfig answers all of them with 401.
type RequireConfig struct {
	_ [0]func() // no unkeyed literals, no comparison

	// LoginURL is where a browser that wants to show a page is redirected. If
	// empty, it gets 401, like everybody else.
	LoginURL string

	// ReturnParam is the query parameter of LoginURL that gets the path and query
	// that were asked for, such as "next". Read it with [ReturnPath] once the
	// visitor has logged in. If empty, LoginURL is used as it is.
	ReturnParam string
}

// RequireSubject returns a middleware that lets only logged-in visitors
// through. Put it inside [Middleware.Handler]: outside, where requests have no
// session, it lets nobody through. It panics if c.LoginURL is not a URL.
func RequireSubject(c RequireConfig) func(http.Handler) http.Handler {
	if _, err := url.Parse(c.LoginURL); err != nil {
		panic(fmt.Sprintf("middleware: RequireConfig.LoginURL %q is not a URL", c.LoginURL))
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case session.From(r.Context()).Subject() != "":
				next.ServeHTTP(w, r)
			case c.LoginURL != "" && wantsPage(r):
				noStore(w.Header())
				http.Redirect(w, r, c.loginURL(r), http.StatusSeeOther)
			default:
				deny(w, http.StatusUnauthorized)
			}
		})
	}
}

// loginURL returns where r is redirected.
func (c RequireConfig) loginURL(r *http.Request) string {
	path := askedFor(r)
	if c.ReturnParam == "" || !isLocal(path) {
		return c.LoginURL
	}
	login, fragment, hasFragment := strings.Cut(c.LoginURL, "#")
	separator := "?"
	if strings.Contains(login, "?") {
		separator = "&"
	}
	login += separator + url.QueryEscape(c.ReturnParam) + "=" + url.QueryEscape(path)
	if hasFragment {
		login += "#" + fragment
	}
	return login
}

// askedFor returns the path and query that the client asked for, also where an
// http.StripPrefix stands outside; "" if it has sent something else.
func askedFor(r *http.Request) string {
	if r.RequestURI == "" {
		return r.URL.RequestURI() // not from a server
	}
	asked, err := url.ParseRequestURI(r.RequestURI)
	if err != nil {
		return ""
	}
	return asked.RequestURI()
}

// ReturnPath returns the path, with its query, to which a visitor goes back
// after a login: the value of the parameter called param in the request's URL
// or form, if that is a path on this host, otherwise "/". Anybody can write
// that parameter into a link, so don't redirect to it unchecked.
func ReturnPath(r *http.Request, param string) string {
	if path := r.FormValue(param); isLocal(path) {
		return path
	}
	return "/"
}

// isLocal reports whether browsers take path for one on the same host. They
// take //host, and also /\host, for another host; and they drop tabs and line
// ends, wherever they stand, before they look (WHATWG URL, Section 4.4).
func isLocal(path string) bool {
	if len(path) > maxReturnPath || !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") {
		return false
	}
	for i := range len(path) {
		if c := path[i]; c <= ' ' || c == 0x7f || c == '\\' {
			return false
		}
	}
	u, err := url.Parse(path)
	return err == nil && u.Scheme == "" && u.Host == "" && !strings.HasPrefix(u.Path, "//")
}

// wantsPage reports whether the answer to r is a page for a person: browsers
// say so in Sec-Fetch-Mode, older ones only by what they accept.
func wantsPage(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" {
		return mode == "navigate"
	}
	return strings.Contains(r.Header.Get("Accept"), "text/html")
}
