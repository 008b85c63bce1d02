package main

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/cloakroom-go/cloakroom/session"
)

// adminName is who may end the sessions of others. A real application asks its
// own data for the roles of a subject.
const adminName = "admin"

// onlyAdmin answers everybody else with 403.
func (d *demo) onlyAdmin(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if session.From(r.Context()).Subject() != adminName {
			d.deny(w, r, http.StatusForbidden, "forbidden", "Only the user “admin” may do this. Log in as admin.")
			return
		}
		next(w, r)
	}
}

// userOf returns the user whom the admin names.
func userOf(r *http.Request) string { return strings.TrimSpace(r.FormValue("user")) }

// adminPath returns the page that lists the sessions of a user.
func adminPath(user string) string { return "/admin?user=" + url.QueryEscape(user) }

func (d *demo) showUser(w http.ResponseWriter, r *http.Request) {
	f := d.frame(r, "/admin")
	f.Headline = "All users"
	f.Lead = "An admin sees the sessions of a user, and ends them. An open live page closes by itself."
	d.list(w, r, userOf(r), "admin.html", f)
}

func (d *demo) endOfUser(w http.ResponseWriter, r *http.Request) {
	user := userOf(r)
	d.ended(w, r, adminPath(user), d.sessions.Devices.End(r.Context(), user, r.FormValue("id")))
}

// endUser ends all sessions of a user. Without a name it would end those of
// nobody, and seem to have worked.
func (d *demo) endUser(w http.ResponseWriter, r *http.Request) {
	user := userOf(r)
	if user == "" {
		d.fail(w, r, errNoSubject)
		return
	}
	d.ended(w, r, adminPath(user), d.sessions.Revocations.EndSubject(r.Context(), user))
}
