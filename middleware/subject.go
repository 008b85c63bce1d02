package middleware

import (
	"net/http"
	"strings"

	"github.com/cloakroom-go/cloakroom/session"
)

// RequireSubject lets only logged-in visitors through to next. Others get 401,
// or, if loginURL is set and a browser wants to show a page, a redirect there.
// It stands behind [Middleware.Handler].
func RequireSubject(loginURL string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case session.From(r.Context()).Subject() != "":
			next.ServeHTTP(w, r)
		case loginURL != "" && wantsPage(r):
			noStore(w.Header())
			http.Redirect(w, r, loginURL, http.StatusSeeOther)
		default:
			noStore(w.Header())
			http.Error(w, http.StatusText(http.StatusUnauthorized), http.StatusUnauthorized)
		}
	})
}

// wantsPage reports whether the answer to r is a page for a person: browsers say
// so in Sec-Fetch-Mode, older ones only by what they accept.
func wantsPage(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" {
		return mode == "navigate"
	}
	return strings.Contains(r.Header.Get("Accept"), "text/html")
}
