package main

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
)

func TestAdmin(t *testing.T) {
	eachMode(t, func(t *testing.T, _ config.Mode, d *running) {
		admin, alice, bob := d.browser(t).login("admin"), d.browser(t).login("alice"), d.browser(t).login("bob")
		shows(t, admin.page("GET", "/"), 200, `href="/admin"`)
		shows(t, admin.page("GET", "/admin?user=alice"), 200, "1 session of alice", "End all sessions of alice")
		require.Equal(t, *alice.state().ID, admin.devices("/admin?user=alice")[0].ID)
		require.Empty(t, admin.devices("/admin?user=nobody"))

		shows(t, admin.page("POST", "/admin/end", "user", "bob", "id", *alice.state().ID), 404, "There is no such session")
		shows(t, admin.page("POST", "/admin/end-all", "user", " "), 400, "bad_value")
		require.Equal(t, "alice", alice.state().Subject)
		got := admin.page("POST", "/admin/end", "user", "alice", "id", *alice.state().ID)
		require.Equal(t, "/admin?user=alice", got.Header.Get("Location"))
		require.Empty(t, alice.state().Subject)

		require.Equal(t, http.StatusSeeOther, admin.page("POST", "/admin/end-all", "user", "bob").StatusCode)
		require.Empty(t, bob.state().Subject)
		require.Equal(t, "admin", admin.state().Subject)
	})
}

// Only the admin may use the page.
func TestAdminIsRefused(t *testing.T) {
	d := start(t, "-keys", newKeyPath(t))
	alice, guest := d.browser(t).login("alice"), d.browser(t)
	id := *alice.state().ID
	require.NotContains(t, alice.page("GET", "/").body, `href="/admin"`)
	for _, row := range []struct{ method, path string }{
		{"GET", "/admin?user=alice"}, {"POST", "/admin/end"}, {"POST", "/admin/end-all"},
	} {
		form := []string{"user", "alice", "id", id}
		shows(t, alice.page(row.method, row.path, form...), 403, "Log in as admin")
		require.Equal(t, http.StatusForbidden, alice.send(row.method, row.path, "").StatusCode)
		require.Equal(t, http.StatusUnauthorized, guest.send(row.method, row.path, "").StatusCode)
	}
	require.Equal(t, "/#who", guest.page("GET", "/admin").Header.Get("Location"))
	require.Equal(t, id, *alice.state().ID)
}
