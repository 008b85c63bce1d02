package main

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
)

// devices returns the list at path.
func (b *browser) devices(path string) (all []device) {
	b.t.Helper()
	require.NoError(b.t, json.Unmarshal([]byte(b.want("GET", path, "", 200, "").body), &all))
	return all
}

// awaitLogout expects the session to end. An instance that has not ended it
// hears of it from the store.
func (b *browser) awaitLogout() {
	b.t.Helper()
	require.Eventually(b.t, func() bool { return b.state().Subject == "" }, patience, 10*time.Millisecond)
}

func TestDevices(t *testing.T) {
	eachMode(t, func(t *testing.T, _ config.Mode, d *running) {
		desk, phone, other := d.browser(t).login("alice"), d.browser(t), d.browser(t).login("bob")
		require.Equal(t, http.StatusSeeOther, phone.page("POST", "/login", "subject", "alice", "remember", "yes").StatusCode)
		shows(t, desk.page("GET", "/devices"), 200, "2 sessions of alice", ">this device<", ">remembered<")
		for _, s := range desk.devices("/devices") {
			require.Equal(t, s.ID == *desk.state().ID, s.Current)
			require.Equal(t, s.ID == *phone.state().ID, s.Remembered)
			require.Equal(t, "127.0.0.1", s.Address)
			require.WithinDuration(t, time.Now(), s.SeenAt, 10*time.Second)
		}

		shows(t, desk.page("POST", "/devices/end", "id", *other.state().ID), 404, "There is no such session")
		require.Equal(t, "bob", other.state().Subject, "the ID of somebody else's session ends nothing")
		require.Equal(t, "/devices", desk.page("POST", "/devices/end", "id", *phone.state().ID).Header.Get("Location"))
		require.Empty(t, phone.state().Subject)
		require.Len(t, desk.devices("/devices"), 1)

		got := desk.send("POST", "/devices/end-others", "", "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example")
		require.Equal(t, http.StatusForbidden, got.StatusCode, "a page of another site can't press the button")
		require.Equal(t, http.StatusSeeOther, desk.page("POST", "/devices/end", "id", *desk.state().ID).StatusCode)
		got = desk.page("GET", "/devices")
		require.Equal(t, http.StatusSeeOther, got.StatusCode)
		require.Equal(t, "/#who", got.Header.Get("Location"))
		require.Equal(t, http.StatusUnauthorized, desk.send("GET", "/devices", "").StatusCode)
	})
}

// Two instances need a store that both share and that can list sessions.
func TestInstancesNeedAStore(t *testing.T) {
	for _, args := range [][]string{{}, {"-store", "memory:"}, {"-store", "memcache://h"}} {
		o, err := parse(append(args, "-instances", "2"), io.Discard, io.Discard)
		require.NoError(t, err)
		_, err = o.sessions()
		require.ErrorContains(t, err, "-instances 2 needs a store that both share and that can list sessions: run: go run")
	}
}

// Memcached can't list sessions, so there is no such page.
func TestNoListOverMemcached(t *testing.T) {
	o, err := parse([]string{"-store", "memcache://h"}, io.Discard, io.Discard)
	require.NoError(t, err)
	c, err := o.sessions()
	require.NoError(t, err)
	require.False(t, c.Devices.Enabled)
}

func TestBrowserName(t *testing.T) {
	for _, row := range []struct{ in, want string }{
		{"", "A browser or script"},
		{"curl/7.88.1", "curl"},
		{"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"},
		{"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0", "Edge on Windows"},
		{"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36", "Chrome on Android"},
		{"Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Mobile Safari/604.1", "Safari on iPhone"},
		{"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/18.0 Safari/605.1.15", "Safari on a Mac"},
	} {
		require.Equal(t, row.want, browserName(row.in))
	}
}
