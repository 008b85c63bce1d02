package interop_test

import (
	"crypto/tls"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
)

const (
	// audience is the service that verifies the tokens.
	audience = "https://orders.example"

	// subject is the user that they identify.
	subject = "alice"
)

// An application is a site at https://localhost, on a port of its own, that
// publishes its keys and its metadata.
type application struct {
	url  string // also the issuer
	mux  *http.ServeMux
	app  *config.App
	file keyset.File
	next *keys.Key // the next signing key, which is published already

	credential string       // the session cookie of a visitor who is logged in
	asked      atomic.Int64 // how often programs have asked about a token
}

// newApplication starts an application. It is stopped when the test ends.
func newApplication(t *testing.T) *application {
	t.Helper()
	a := &application{mux: http.NewServeMux()}
	a.listen(t)
	a.makeKeys(t)
	orders := config.ServiceClient{ID: os.Getenv("CLIENT_ID"), Audience: audience, SecretEnv: "CLIENT_SECRET"}
	a.app = a.build(t, config.Config{Services: config.ServicesConfig{Clients: []config.ServiceClient{orders}}})
	a.credential = a.logIn(t, a.app)
	a.mux.Handle("GET /.well-known/jwks.json", a.app.Keys.Handler())
	a.mux.HandleFunc("POST /introspect", func(w http.ResponseWriter, r *http.Request) {
		a.asked.Add(1)
		a.app.Introspection.ServeHTTP(w, r)
	})
	metadata, err := token.NewMetadata(token.MetadataConfig{
		Issuer: a.url, Ring: a.app.Keys, OpenID: true, Introspection: a.url + "/introspect",
	})
	require.NoError(t, err)
	for _, path := range metadata.Paths() {
		a.mux.Handle("GET "+path, metadata)
	}
	return a
}

func (a *application) listen(t *testing.T) {
	server := httptest.NewUnstartedServer(a.mux)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{trust.server}}
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	t.Cleanup(server.Close)
	a.url = strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
}

func (a *application) jwks() string { return a.url + "/.well-known/jwks.json" }

// build adds the keys and the issuer to c and makes the App.
func (a *application) build(t *testing.T, c config.Config) *config.App {
	t.Helper()
	c.Issuer, c.Keys.File = a.url, a.file.Path
	app, err := c.Build(config.Options{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, app.Close()) })
	return app
}

// makeKeys makes a key file as it is before a planned rotation.
func (a *application) makeKeys(t *testing.T) {
	now, set := time.Now(), new(keyset.Set)
	for _, from := range []time.Time{now.Add(-24 * time.Hour), now.Add(time.Hour)} {
		key, err := keys.Generate(keys.ES256, keys.Dates{PublishAt: now.Add(-25 * time.Hour), SignFrom: from})
		require.NoError(t, err)
		require.NoError(t, set.Add((*keyset.Key)(key)))
		a.next = key
	}
	a.file.Path = filepath.Join(t.TempDir(), "keys.json")
	require.NoError(t, a.file.Create(t.Context(), set))
}

// rotate makes the next key sign.
func (a *application) rotate(t *testing.T) {
	t.Helper()
	require.NoError(t, a.file.Update(t.Context(), func(set *keyset.Set) error {
		dates := keyset.Dates(a.next.Dates())
		dates.SignFrom = time.Now().Add(-time.Second)
		return set.SetDates(a.next.ID(), dates, time.Now())
	}))
	require.NoError(t, a.app.Keys.Reload())
	require.Equal(t, a.next.ID(), a.signer(t).ID())
}

// signer returns the key that signs now.
func (a *application) signer(t *testing.T) *keys.Key {
	t.Helper()
	key, err := a.app.Keys.Current(keys.Signature, time.Now())
	require.NoError(t, err)
	return key
}

// logIn visits app, and returns the value of the session cookie.
func (a *application) logIn(t *testing.T, app *config.App) string {
	t.Helper()
	response := a.visit(app, "", func(s *session.Session) {
		tag := session.Tag("tenant", "acme")
		require.NoError(t, s.Login(subject, tag, session.AMR("pwd", "otp")))
	})
	cookies := response.Cookies()
	require.Len(t, cookies, 1)
	return cookies[0].Value
}

// issue has an issuer make a token for the visitor.
func (a *application) issue(t *testing.T, by *token.Issuer, audience string) (token string) {
	t.Helper()
	a.visit(a.app, a.credential, func(s *session.Session) {
		var err error
		token, err = by.Issue(t.Context(), s, audience)
		require.NoError(t, err)
	})
	return token
}

// visit has handle serve one request, with a session cookie or without.
func (a *application) visit(app *config.App, cookie string, handle func(*session.Session)) *http.Response {
	r, w := httptest.NewRequest(http.MethodGet, a.url, nil), httptest.NewRecorder()
	if cookie != "" {
		r.Header.Set("Cookie", "__Host-session="+cookie)
	}
	app.Middleware.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		handle(session.From(r.Context()))
	})).ServeHTTP(w, r)
	return w.Result()
}
