//go:build redis && sqlite

package main

import (
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/servertest"
)

// Two instances in one process, over one store.
type instances struct{ a, b *running }

// eachSharedStore runs f with two instances over each store that tests can
// start quickly.
func eachSharedStore(t *testing.T, f func(t *testing.T, both instances)) {
	for _, row := range []struct {
		name string
		url  func(t *testing.T) string
	}{
		{"SQLite", func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "sessions.db") }},
		{"Redis", startRedis},
	} {
		for _, mode := range []string{"opaque", "stateless"} {
			t.Run(row.name+"/"+mode, func(t *testing.T) {
				f(t, startTwo(t, "-store", row.url(t), "-mode", mode, "-keys", newKeyPath(t)))
			})
		}
	}
}

func startRedis(t *testing.T) string {
	addr := servertest.FreeAddr(t)
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	servertest.Start(t, servertest.Config{
		Program: servertest.Program(t, "redis-server"),
		Args:    []string{"--bind", "127.0.0.1", "--port", port, "--save", "", "--shutdown-timeout", "0"},
		Ready:   servertest.Dial(addr),
	})
	return "redis://" + addr
}

func startTwo(t *testing.T, args ...string) instances {
	t.Helper()
	a := start(t, append(args, "-instances", "2", "-addr2", "127.0.0.1:0")...)
	_, rest, _ := strings.Cut(a.log.String(), "the second instance is on ")
	u, _, _ := strings.Cut(rest, "\n")
	return instances{a, &running{url: u, log: a.log}}
}

// on returns the browser when it talks to another instance. Cookies don't
// depend on the port.
func (b *browser) on(d *running) *browser { return &browser{b.t, d.url, b.client} }

// A user sees on one instance what is open on both, and ends it there.
func TestDevicesOfTwoInstances(t *testing.T) {
	eachSharedStore(t, func(t *testing.T, both instances) {
		desk, phone := both.a.browser(t).login("alice"), both.a.browser(t).login("alice")
		other := both.b.browser(t).login("bob")
		list := desk.on(both.b).devices("/devices")
		require.Len(t, list, 2)
		require.ElementsMatch(t, []string{*desk.state().ID, *phone.state().ID}, []string{list[0].ID, list[1].ID})
		for _, d := range list {
			require.Equal(t, d.ID == *desk.state().ID, d.Current)
		}
		shows(t, desk.on(both.b).page("GET", "/devices"), 200, "instance <strong>B</strong>", both.a.url+"/devices",
			"2 sessions of alice", "this device", "Go-http-client", "127.0.0.1")

		shows(t, desk.page("POST", "/devices/end", "id", *other.state().ID), 404, "There is no such session")
		require.Equal(t, "bob", other.state().Subject, "the ID of somebody else's session ends nothing")
		got := desk.on(both.b).page("POST", "/devices/end", "id", *phone.state().ID)
		require.Equal(t, http.StatusSeeOther, got.StatusCode)
		phone.awaitLogout()
		require.Equal(t, "alice", desk.state().Subject)

		require.Contains(t, both.a.log.String(), "instance=B")

		phone.login("alice")
		require.Equal(t, http.StatusSeeOther, phone.on(both.b).page("POST", "/devices/end-others").StatusCode)
		desk.awaitLogout()
		require.Equal(t, "alice", phone.state().Subject)
		require.Len(t, phone.devices("/devices"), 1)
		require.Equal(t, http.StatusSeeOther, phone.on(both.b).page("POST", "/logout-everywhere").StatusCode)
		phone.awaitLogout()
	})
}

// The live page of a user on one instance closes when the admin ends the
// session on the other.
func TestAdminOfTheOtherInstance(t *testing.T) {
	eachSharedStore(t, func(t *testing.T, both instances) {
		alice, bob := both.b.browser(t).login("alice"), both.b.browser(t).login("bob")
		admin := both.a.browser(t).login("admin")
		one, two := alice.live().awaits("event: alive"), bob.live().awaits("event: alive")
		require.Equal(t, *alice.state().ID, admin.devices("/admin?user=alice")[0].ID)
		got := admin.page("POST", "/admin/end", "user", "alice", "id", *bob.state().ID)
		require.Equal(t, http.StatusNotFound, got.StatusCode, "another user's session")
		got = admin.page("POST", "/admin/end", "user", "alice", "id", *alice.state().ID)
		require.Equal(t, http.StatusSeeOther, got.StatusCode)
		one.awaitEnd()
		alice.live().awaits("event: ended").awaitEnd()

		require.Equal(t, "bob", bob.state().Subject)
		require.Equal(t, http.StatusSeeOther, admin.page("POST", "/admin/end-all", "user", "bob").StatusCode)
		two.awaitEnd()
		bob.live().awaits("event: ended").awaitEnd()
	})
}
