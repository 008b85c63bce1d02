package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/internal/servertest"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/opaque/redisstore"
	"github.com/cloakroom-go/cloakroom/opaque/sqlstore"
	"github.com/cloakroom-go/cloakroom/session"
)

// A world is an application that runs, and its operator.
type world struct {
	t      testing.TB
	app    *config.App
	path   string   // of the config
	secret string   // of the store
	said   []string // all that the tool has printed
}

// redis returns the URL of a server.
func redis(t testing.TB) string { return redisWith(t) }

func redisWith(t testing.TB, args ...string) string {
	addr := servertest.FreeAddr(t)
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	servertest.Start(t, servertest.Config{
		Program: servertest.Program(t, "redis-server"),
		Args:    append([]string{"--bind", "127.0.0.1", "--port", port, "--save", "", "--shutdown-timeout", "0"}, args...),
		Ready:   servertest.Dial(addr),
	})
	return "redis://" + addr
}

func sqlite(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "sessions.db") }

// newWorld starts an application. more are lines of its config.
func newWorld(t testing.TB, mode config.Mode, store string, more ...string) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{t: t, path: filepath.Join(dir, "cloakroom.yaml")}
	w.secret = base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("s"), 32))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "store.secret"), []byte(w.secret), 0o600))
	lines := append([]string{
		"mode: " + string(mode),
		fmt.Sprintf("store: {url: %q, secret_file: %q}", store, filepath.Join(dir, "store.secret")),
	}, more...)
	if mode != config.Opaque {
		lines = append(lines, fmt.Sprintf("keys: {file: %q, create: true}", filepath.Join(dir, "keys.json")))
	}
	require.NoError(t, os.WriteFile(w.path, []byte(strings.Join(lines, "\n")+"\n"), 0o600))
	c, err := config.Load(w.path)
	require.NoError(t, err)
	o := config.Options{
		Stores: []opaque.Opener{redisstore.Opener(), sqlstore.Opener(sqlstore.SQLite, "sqlite")},
		Logger: slog.New(slog.DiscardHandler),
	}
	if c.Devices.Enabled {
		o.Client = func(r *http.Request) (userAgent, address string) { return r.UserAgent(), "192.0.2.1" }
	}
	w.app, err = c.Build(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.app.Close()) })
	w.soon(func() bool { return w.app.Ready(t.Context()) == nil }, "not ready")
	return w
}

// withDevices is the line of a config that keeps lists of sessions.
const withDevices = "devices: {enabled: true}"

func (w *world) soon(is func() bool, what string) {
	w.t.Helper()
	require.Eventually(w.t, is, 10*time.Second, 2*time.Millisecond, what)
}

// visit lets f work on the session of one request with that cookie, and returns
// the cookie that the browser has afterwards.
func (w *world) visit(cookie *http.Cookie, f func(s *session.Session)) *http.Cookie {
	status, cookie := w.try(cookie, f)
	require.Equal(w.t, http.StatusOK, status)
	return cookie
}

// try is visit for a request that may fail.
func (w *world) try(cookie *http.Cookie, f func(s *session.Session)) (status int, _ *http.Cookie) {
	r := httptest.NewRequest(http.MethodGet, "https://shop.example/", nil)
	r.Header.Set("User-Agent", "Browser")
	if cookie != nil {
		r.AddCookie(&http.Cookie{Name: cookie.Name, Value: cookie.Value})
	}
	answer := httptest.NewRecorder()
	w.app.Middleware.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		f(session.From(r.Context()))
	})).ServeHTTP(answer, r)
	for _, set := range answer.Result().Cookies() {
		cookie = set
	}
	return answer.Code, cookie
}

// login returns the cookie of a new session. A login in the millisecond in
// which the application hears of an end is refused.
func (w *world) login(subject string, options ...session.LoginOption) (cookie *http.Cookie) {
	w.soon(func() bool {
		var status int
		status, cookie = w.try(nil, func(s *session.Session) { require.NoError(w.t, s.Login(subject, options...)) })
		return status == http.StatusOK
	}, "no login")
	return cookie
}

func (w *world) subjectOf(cookie *http.Cookie) (subject string) {
	w.visit(cookie, func(s *session.Session) { subject = s.Subject() })
	return subject
}

func (w *world) idOf(cookie *http.Cookie) (id string) {
	w.visit(cookie, func(s *session.Session) { id = s.ID() })
	return id
}

// ended waits until the application refuses a session.
func (w *world) ended(cookie *http.Cookie) {
	w.t.Helper()
	w.soon(func() bool { return w.subjectOf(cookie) == "" }, "the session goes on")
}

// listed returns the IDs that the application lists.
func (w *world) listed(subject string) []string {
	w.t.Helper()
	list, err := w.app.Devices.List(context.Background(), subject)
	require.NoError(w.t, err)
	ids := []string{}
	for _, s := range list {
		ids = append(ids, s.ID)
	}
	return ids
}

// sessions runs the tool without a terminal, and expects this exit code.
func (w *world) sessions(code int, args ...string) (stdout, stderr string) {
	w.t.Helper()
	stdout, stderr = runTool(w.t, code, &tool{stdin: strings.NewReader("yes\n")}, append(args, "--config", w.path)...)
	w.said = append(w.said, stdout, stderr)
	return stdout, stderr
}

// json runs the tool, and returns what it prints as JSON.
func (w *world) json(code int, args ...string) (l listing) {
	w.t.Helper()
	stdout, _ := w.sessions(code, append(args, "--format", "json")...)
	require.NoError(w.t, json.Unmarshal([]byte(stdout), &l), stdout)
	return l
}

func (l listing) ids() []string {
	ids := []string{}
	for _, r := range l.Sessions {
		ids = append(ids, r.ID)
	}
	return ids
}

func runTool(t testing.TB, code int, tool *tool, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, talk bytes.Buffer
	tool.stdout, tool.stderr = &out, &talk
	require.Equal(t, code, tool.run(args), "%q\n%s%s", args, out.String(), talk.String())
	return out.String(), talk.String()
}
