package config_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/session"
)

// keyFile makes a key file with one active key for each algorithm; without any,
// with the keys that keygen makes by default.
func keyFile(t testing.TB, algorithms ...keys.Algorithm) string {
	t.Helper()
	if len(algorithms) == 0 {
		algorithms = []keys.Algorithm{keys.ES256, keys.Direct}
	}
	var all []*keys.Key
	for _, alg := range algorithms {
		all = append(all, newKey(t, alg, keys.Dates{}))
	}
	path := filepath.Join(t.TempDir(), "keys.json")
	create(t, path, all...)
	return path
}

func newKey(t testing.TB, alg keys.Algorithm, d keys.Dates) *keys.Key {
	t.Helper()
	key, err := keys.Generate(alg, d)
	require.NoError(t, err)
	return key
}

func create(t testing.TB, path string, all ...*keys.Key) {
	t.Helper()
	set := new(keyset.Set)
	for _, k := range all {
		require.NoError(t, set.Add((*keyset.Key)(k)))
	}
	require.NoError(t, keyset.File{Path: path}.Create(t.Context(), set))
}

func update(t testing.TB, path string, change func(*keyset.Set) error) {
	t.Helper()
	require.NoError(t, keyset.File{Path: path}.Update(t.Context(), change))
}

func build(t testing.TB, c config.Config, o config.Options) *config.App {
	t.Helper()
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	app, err := c.Build(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, app.Close()) })
	return app
}

// visit lets f work on the session of one request with that cookie, and returns
// the cookie that the browser has afterwards.
func visit(t testing.TB, app *config.App, cookie *http.Cookie, f func(s *session.Session)) *http.Cookie {
	t.Helper()
	status, cookie := try(app, cookie, f)
	require.Equal(t, http.StatusOK, status)
	return cookie
}

// try is visit for a request that may fail.
func try(app *config.App, cookie *http.Cookie, f func(s *session.Session)) (status int, _ *http.Cookie) {
	w := serve(app, request(cookie), func(ctx context.Context) { f(session.From(ctx)) })
	for _, set := range w.Result().Cookies() {
		cookie = set
	}
	return w.Code, cookie
}

func request(cookie *http.Cookie) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "https://shop.example/", nil)
	if cookie != nil {
		r.AddCookie(&http.Cookie{Name: cookie.Name, Value: cookie.Value})
	}
	return r
}

// serve lets f do the work of the handler for r.
func serve(app *config.App, r *http.Request, f func(ctx context.Context)) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	app.Middleware.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		f(r.Context())
	})).ServeHTTP(w, r)
	return w
}

func login(t testing.TB, app *config.App, subject string) *http.Cookie {
	t.Helper()
	return visit(t, app, nil, func(s *session.Session) { require.NoError(t, s.Login(subject)) })
}

// subjectOf returns who is logged in with that cookie.
func subjectOf(t testing.TB, app *config.App, cookie *http.Cookie) (subject string) {
	t.Helper()
	visit(t, app, cookie, func(s *session.Session) { subject = s.Subject() })
	return subject
}

// form tells the form of a credential by its look.
func form(cookie *http.Cookie) string {
	if strings.Count(cookie.Value, ".") > 1 {
		return "token"
	}
	return "opaque"
}

// lines collects what is logged.
type lines struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// logTo returns the options of an application that logs to log.
func logTo(log *lines) config.Options {
	return config.Options{Logger: slog.New(slog.NewTextHandler(log, nil))}
}

// rotating is the config of an application that rotates the keys in path. It
// looks at the file so seldom that it must notice its own changes.
func rotating(path string) config.Config {
	return config.Config{Keys: config.KeysConfig{File: path, Rotate: true, Reload: config.Duration(time.Hour)}}
}
