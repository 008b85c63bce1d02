package config_test

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
)

// A called is a service that knows its callers by their tokens, and asks the
// application what has ended.
type called struct {
	app    *config.App
	url    string
	remote *revocation.Remote
}

// newCalled makes the service orders of an application that serves ended.
func newCalled(t *testing.T, app *config.App, issuer string, ended http.Handler) *called {
	server := httptest.NewServer(ended)
	t.Cleanup(server.Close)
	remote, err := revocation.NewRemote(revocation.RemoteConfig{
		URL: server.URL, Keys: app.Keys, Issuer: issuer, ClientID: "orders", ClientSecret: clientSecret(1),
		Interval: 100 * time.Millisecond,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, remote.Close()) })
	v, err := token.NewVerifier(token.VerifierConfig{
		Keys: app.Keys, Issuer: issuer, Audience: "orders", Revocations: remote,
	})
	require.NoError(t, err)
	service := httptest.NewServer(v.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	t.Cleanup(service.Close)
	require.Eventually(t, func() bool { return remote.Fresh() == nil }, 5*time.Second, time.Millisecond)
	return &called{app, service.URL, remote}
}

// token returns one that the application sends to the service for a visitor.
func (c *called) token(t *testing.T, cookie *http.Cookie) (bearer string) {
	visit(t, c.app, cookie, func(s *session.Session) {
		var err error
		bearer, err = c.app.Issuer.Issue(t.Context(), s, "orders")
		require.NoError(t, err)
	})
	return bearer
}

func (c *called) call(t *testing.T, bearer string) int {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.url, nil)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+bearer)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	resp.Body.Close()
	return resp.StatusCode
}

// refused waits until the service refuses a token, and returns how long that
// took.
func (c *called) refused(t *testing.T, bearer string) time.Duration {
	began := time.Now()
	refused := func() bool { return c.call(t, bearer) == http.StatusUnauthorized }
	require.Eventually(t, refused, 5*time.Second, time.Millisecond)
	return time.Since(began)
}

// Whatever ends in the application, in whatever mode, ends at its services.
// Whether the configuration names them or not, they can be told.
func TestEndsReachServices(t *testing.T) {
	memory, err := opaque.NewMemoryStore(opaque.MemoryConfig{})
	require.NoError(t, err)
	defer memory.Close()
	logged := config.Options{Store: loggedStore{memory, new(atomic.Bool), new(atomic.Bool), new(atomic.Int64)}}
	for name, row := range map[string]struct {
		mode  config.Mode
		named bool
		o     config.Options
	}{
		"stateless":       {config.Stateless, true, config.Options{}},
		"auto":            {config.Auto, true, config.Options{}},
		"opaque":          {config.Opaque, true, config.Options{}},
		"opaque, unnamed": {config.Opaque, false, config.Options{}},
		"opaque, log":     {config.Opaque, false, logged},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := served(t, row.mode)
			if row.o.Store != nil {
				c.Store.SecretEnv = secretVariable
			}
			if !row.named {
				c.Services.Clients = nil
			}
			app := build(t, c, row.o)
			require.Eventually(t, func() bool { return app.Ready(t.Context()) == nil }, 5*time.Second, time.Millisecond)
			ended := app.Ended
			if !row.named {
				require.Nil(t, ended)
				ended, err = revocation.NewHandler(revocation.HandlerConfig{
					List: app.Revocations, Ring: app.Keys, Issuer: c.Issuer,
				})
				require.NoError(t, err)
			}
			endAll(t, newCalled(t, app, c.Issuer, ended))
		})
	}
}

func endAll(t *testing.T, c *called) {
	bob := c.token(t, login(t, c.app, "bob"))
	for what, end := range map[string]func(s *session.Session) error{
		"logout":      func(s *session.Session) error { return s.Destroy() },
		"renewal":     func(s *session.Session) error { return s.Renew() },
		"other login": func(s *session.Session) error { return s.Login("carol") },
		"subject":     func(*session.Session) error { return c.app.Revocations.EndSubject(t.Context(), "alice") },
	} {
		cookie := login(t, c.app, "alice")
		alice := c.token(t, cookie)
		require.Equal(t, http.StatusOK, c.call(t, alice), what)
		cookie = visit(t, c.app, cookie, func(s *session.Session) { require.NoError(t, end(s)) })
		t.Logf("%s: %v", what, c.refused(t, alice))
		if what == "renewal" || what == "other login" {
			require.Equal(t, http.StatusOK, c.call(t, c.token(t, cookie)), what)
		}
		require.Equal(t, http.StatusOK, c.call(t, c.token(t, login(t, c.app, "alice"))), "a login right afterwards")
	}
	require.Equal(t, http.StatusOK, c.call(t, bob))
	require.Less(t, c.remote.Stats().Staleness, 10*time.Second)
	require.Zero(t, c.remote.Stats().Failures)
}
