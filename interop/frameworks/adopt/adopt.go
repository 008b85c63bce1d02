// Package adopt takes over the sessions of visitors who are logged in with
// scs or gorilla/sessions, so that the change to Cloakroom logs nobody out.
package adopt

import (
	"net/http"

	"github.com/alexedwards/scs/v2"
	"github.com/gorilla/sessions"

	"github.com/cloakroom-go/cloakroom/session"
)

const cart session.Key[[]string] = "cart"

// FromSCS goes between Cloakroom's middleware and the application.
func FromSCS(old *scs.SessionManager, next http.Handler) http.Handler {
	return old.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		if user := old.GetString(ctx, "user"); user != "" {
			items, _ := old.Get(ctx, "cart").([]string)
			if err := take(r, user, items); err != nil {
				http.Error(w, "try again", http.StatusServiceUnavailable)
				return
			}
			if err := old.Destroy(ctx); err != nil { // the old cookie must not log in again after a logout
				http.Error(w, "try again", http.StatusServiceUnavailable)
				return
			}
		}
		next.ServeHTTP(w, r)
	}))
}

// FromGorilla goes between Cloakroom's middleware and the application.
func FromGorilla(old sessions.Store, name string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		was, _ := old.Get(r, name) // an error comes with an empty session
		if user, _ := was.Values["user"].(string); user != "" {
			items, _ := was.Values["cart"].([]string)
			if err := take(r, user, items); err != nil {
				http.Error(w, "try again", http.StatusServiceUnavailable)
				return
			}
			was.Options.MaxAge = -1 // a store on a server removes the session, a CookieStore only the cookie
			if err := was.Save(r, w); err != nil {
				http.Error(w, "try again", http.StatusServiceUnavailable)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// take gives the visitor a session here, and keeps it before the old one is
// removed. Who is logged in here already keeps that session.
func take(r *http.Request, user string, items []string) error {
	s := session.From(r.Context())
	if s.Subject() != "" {
		return nil
	}
	if err := s.Login(user); err != nil {
		return err
	}
	if err := cart.Set(s, items); err != nil {
		return err
	}
	return s.Save(r.Context())
}
