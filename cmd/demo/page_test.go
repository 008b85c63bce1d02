package main

import (
	"fmt"
	"html"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
)

// symmetricKeys makes a key file whose keys no other service can verify with.
func symmetricKeys(t *testing.T) string {
	t.Helper()
	key, err := keys.Generate(keys.HS256, keys.Dates{})
	require.NoError(t, err)
	set, err := keyset.NewSet((*keyset.Key)(key))
	require.NoError(t, err)
	path := newKeyPath(t)
	require.NoError(t, keyset.File{Path: path}.Create(t.Context(), set))
	return path
}

// shows expects the page to contain each text.
func shows(t *testing.T, got reply, status int, texts ...string) {
	t.Helper()
	require.Equal(t, status, got.StatusCode)
	require.Equal(t, "text/html; charset=utf-8", got.Header.Get("Content-Type"))
	require.Equal(t, "no-store", got.Header.Get("Cache-Control"))
	for _, text := range texts {
		require.True(t, strings.Contains(html.UnescapeString(got.body), text), text)
	}
}

func TestPage(t *testing.T) {
	eachMode(t, func(t *testing.T, mode config.Mode, d *running) {
		b := d.browser(t)
		got := b.page("GET", "/")
		shows(t, got, 200, "May we take your coat?", "Mode <strong>"+string(mode)+"</strong>",
			"Nobody is logged in", "There is no session.", ">active<", "ES256", "A256GCM")
		require.Empty(t, got.Cookies(), "looking creates nothing")

		for _, path := range []string{"/api/visits", "/login"} {
			got = b.page("POST", path, "subject", "alice")
			require.Equal(t, http.StatusSeeOther, got.StatusCode)
			require.Equal(t, "/", got.Header.Get("Location"))
		}
		got = b.page("GET", "/")
		shows(t, got, 200, `<p class="name">alice</p>`, `<p class="count">1</p>`, "Log out everywhere", *b.state().ID)
		if mode == config.Opaque {
			require.Contains(t, got.body, "Your coat is checked in")
			require.NotContains(t, got.body, "taken apart")
		} else {
			shows(t, got, 200, "You keep your coat on", "signed and encrypted token", ">verified<",
				"cloakroom+jwt", "auth_time", `<code>{"visits":1}</code>`)
		}
		require.NotContains(t, got.body, b.credential(), "the credential is nobody's to see")

		shows(t, b.page("GET", "/orders"), 200, "knows you all the same", "cloakroom")
		require.Equal(t, http.StatusSeeOther, b.page("POST", "/logout").StatusCode)
		shows(t, b.page("GET", "/"), 200, "May we take your coat?")
	})
}

// What the page offers to paste works where it is read.
func TestCommandLines(t *testing.T) {
	for _, row := range []struct{ flag, want string }{
		{"-tls=true", "curl -kc jar -b jar -d subject=alice %s/login"},
		{"-tls=false", "curl -c jar -b jar -d subject=alice %s/login"},
	} {
		d := start(t, row.flag, "-keys", newKeyPath(t))
		got := d.browser(t).page("GET", "/")
		shows(t, got, 200, fmt.Sprintf(row.want, d.url), "i "+d.log.ordersURL()+"/orders    # without a service token: 401")
		require.NotContains(t, got.body, "rotated")
	}
}

func TestProblems(t *testing.T) {
	d := start(t, "-keys", newKeyPath(t))
	b := d.browser(t)
	shows(t, b.page("POST", "/login"), 400, `role="alert"`, "Say who you are", "bad_value")
	shows(t, b.page("GET", "/orders"), 401, `role="alert"`, "Log in first")
	shows(t, b.page("POST", "/suitcase"), 413, `role="alert"`, "does not fit", "-mode auto", "too_large")
	require.Empty(t, b.credential())
}

// The suitcase moves an auto session to the server, and back.
func TestSuitcase(t *testing.T) {
	d := start(t, "-mode", "auto", "-keys", newKeyPath(t))
	b := d.browser(t).login("alice")
	require.Equal(t, http.StatusSeeOther, b.page("POST", "/suitcase").StatusCode)
	require.False(t, isToken(b.credential()))
	shows(t, b.page("GET", "/"), 200, "Your coat is checked in", "Take the suitcase out", "characters")
	b.want("POST", "/suitcase", "", 200, "")
	require.True(t, isToken(b.credential()))
	shows(t, b.page("GET", "/"), 200, "You keep your coat on")
}

// What visitors send is shown as text, and no script ever runs.
func TestPageIsSafe(t *testing.T) {
	d := start(t, "-keys", newKeyPath(t))
	b := d.browser(t)
	b.page("POST", "/login", "subject", `<script>alert(1)</script>`)
	b.want("PUT", "/api/values/%3Cimg%3E", `"<img src=x onerror=alert(1)>"`, 200, "")
	got := b.page("GET", "/")
	require.Contains(t, got.body, "&lt;script&gt;alert(1)&lt;/script&gt;")
	require.Contains(t, got.body, "&lt;img&gt;")
	require.NotContains(t, got.body, "<script")
	require.NotContains(t, got.body, "<img")
	require.Contains(t, got.Header.Get("Content-Security-Policy"), "default-src 'none'")
	require.Equal(t, "nosniff", got.Header.Get("X-Content-Type-Options"))
}

func TestStatic(t *testing.T) {
	d := start(t, "-keys", newKeyPath(t))
	b := d.browser(t)
	for path, kind := range map[string]string{
		"/web/style.css": "text/css; charset=utf-8",
		"/web/icon.svg":  "image/svg+xml",
		"/web/live.js":   "text/javascript; charset=utf-8",
	} {
		got := b.send("GET", path, "")
		require.Equal(t, http.StatusOK, got.StatusCode)
		require.Equal(t, kind, got.Header.Get("Content-Type"))
	}
	require.Equal(t, http.StatusNotFound, b.send("GET", "/nothing", "").StatusCode)
	require.Equal(t, http.StatusMethodNotAllowed, b.send("GET", "/login", "").StatusCode)
}

func TestMoments(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, row := range []struct {
		in   time.Duration
		want string
	}{
		{0, "just now"},
		{-time.Second, "just now"},
		{time.Second, "in 1 s"},
		{-59 * time.Second, "59 s ago"},
		{20*time.Minute - time.Second, "in 19 min 59 s"},
		{12 * time.Hour, "in 12 h 0 min"},
		{-30 * time.Hour, "30 h 0 min ago"},
		{90 * 24 * time.Hour, "in 90 days"},
	} {
		require.Equal(t, row.want, at(now.Add(row.in), now).Relative, row.in)
	}
	require.Equal(t, moment{}, at(time.Time{}, now))
	require.Equal(t, "2 Jan 2026, 03:04:05 UTC", at(now, now).Text)
}

func TestShorten(t *testing.T) {
	require.Equal(t, "short", shorten("short"))
	require.Equal(t, strings.Repeat("ü", 96)+" … 1,904 characters more", shorten(strings.Repeat("ü", 2000)))
}

// The page shows the picture that keygen plan draws.
func TestPageShowsThePlan(t *testing.T) {
	got := start(t, "-keys", newKeyPath(t)).browser(t).page("GET", "/")
	require.Contains(t, got.body, `<figure class="plan"`)
	require.Contains(t, got.body, "<svg xmlns=")
	require.NotContains(t, got.body, "<?xml")
	require.Contains(t, got.body, "pending")
}
