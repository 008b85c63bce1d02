package config_test

import (
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/session"
)

// clientSecret returns a secret for a service.
func clientSecret(first byte) string {
	var raw []byte
	for i := range 32 {
		raw = append(raw, first+byte(7*i))
	}
	return base64.StdEncoding.EncodeToString(raw)
}

// served returns a config with the services orders and stock. The secret of
// orders is in the file at the path that comes back.
func served(t *testing.T, mode config.Mode) (config.Config, string) {
	path := filepath.Join(t.TempDir(), "orders.secret")
	require.NoError(t, os.WriteFile(path, []byte(clientSecret(1)+"\n"), 0o600))
	t.Setenv("SHOP_STOCK_SECRET", clientSecret(2))
	return config.Config{
		Mode: mode, Keys: config.KeysConfig{File: keyFile(t)}, Issuer: "https://shop.example", ClientID: "shop-web",
		Services: config.ServicesConfig{Clients: []config.ServiceClient{
			{ID: "orders", SecretFile: path},
			{ID: "stock", Audience: "https://stock.example", SecretEnv: "SHOP_STOCK_SECRET"},
		}},
	}, path
}

// introspected returns what a service is told about a credential.
func introspected(t *testing.T, app *config.App, id, secret, credential string) (status int, says map[string]any) {
	form := url.Values{"token": {credential}}
	r := httptest.NewRequest(http.MethodPost, "/introspect", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(id, secret)
	w := httptest.NewRecorder()
	app.Introspection.ServeHTTP(w, r)
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &says))
	return w.Code, says
}

// In each mode both forms of sessions and service tokens are known, and a
// logout at once; and what has ended is there for services that verify.
func TestServices(t *testing.T) {
	for _, mode := range []config.Mode{config.Stateless, config.Opaque, config.Auto} {
		for _, acceptOther := range []bool{true, false} {
			c, _ := served(t, mode)
			if mode != config.Auto {
				c.AcceptOtherForm = &acceptOther
			}
			app := build(t, c, config.Options{})
			cookie := login(t, app, "alice")
			var service string
			visit(t, app, cookie, func(s *session.Session) {
				var err error
				service, err = app.Issuer.Issue(t.Context(), s, "orders")
				require.NoError(t, err)
			})
			for credential, audience := range map[string]string{cookie.Value: "https://shop.example", service: "orders"} {
				status, says := introspected(t, app, "orders", clientSecret(1), credential)
				require.Equal(t, http.StatusOK, status)
				require.Equal(t, []any{true, "alice", audience, "shop-web"},
					[]any{says["active"], says["sub"], says["aud"], says["client_id"]}, mode)
			}
			_, says := introspected(t, app, "stock", clientSecret(2), service)
			require.Equal(t, map[string]any{"active": false}, says)

			visit(t, app, cookie, func(s *session.Session) { require.NoError(t, s.Destroy()) })
			for _, credential := range []string{cookie.Value, service} {
				_, says := introspected(t, app, "orders", clientSecret(1), credential)
				require.Equal(t, map[string]any{"active": false}, says, "%s, accept_other_form %v", mode, acceptOther)
			}
			require.Contains(t, ended(t, app), ".", "a signed document")
		}
	}
}

// ended reads what has ended, as orders.
func ended(t *testing.T, app *config.App) string {
	for _, tt := range []struct {
		secret string
		want   int
	}{{clientSecret(2), 401}, {"", 401}, {clientSecret(1), 200}} {
		r := httptest.NewRequest(http.MethodGet, "/ended", nil)
		if tt.secret != "" {
			r.SetBasicAuth("orders", tt.secret)
		}
		w := httptest.NewRecorder()
		app.Ended.ServeHTTP(w, r)
		require.Equal(t, tt.want, w.Code, w.Body)
		if w.Code == 200 {
			return w.Body.String()
		}
	}
	return ""
}

// In mode opaque without a key file there are sessions, and no service tokens.
func TestServicesWithoutKeys(t *testing.T) {
	c, _ := served(t, config.Opaque)
	c.Keys = config.KeysConfig{}
	app := build(t, c, config.Options{})
	_, says := introspected(t, app, "orders", clientSecret(1), login(t, app, "alice").Value)
	require.Equal(t, true, says["active"])
	require.Nil(t, app.Ended)

	c.Keys.File, c.Services = keyFile(t, keys.HS256), config.ServicesConfig{}
	app = build(t, c, config.Options{})
	require.Nil(t, app.Introspection)
	require.Nil(t, app.Ended)
}

// Asking is no activity.
func TestServicesDontTouch(t *testing.T) {
	for _, mode := range []config.Mode{config.Stateless, config.Opaque, config.Auto} {
		c, _ := served(t, mode)
		clock := apptest.NewClock(time.Now())
		app := build(t, c, config.Options{Now: clock.Now})
		cookie := login(t, app, "alice")
		for range 20 {
			_, says := introspected(t, app, "orders", clientSecret(1), cookie.Value)
			require.Equal(t, true, says["active"], mode)
			clock.Advance(time.Minute)
		}
		_, says := introspected(t, app, "orders", clientSecret(1), cookie.Value)
		require.Equal(t, map[string]any{"active": false}, says, mode)
	}
}

// While a secret changes, both are accepted.
func TestServicesChangeASecret(t *testing.T) {
	c, path := served(t, config.Stateless)
	require.NoError(t, os.WriteFile(path, []byte(clientSecret(3)+"\n"+clientSecret(1)+"\n"), 0o600))
	app := build(t, c, config.Options{})
	for first, want := range map[byte]int{1: 200, 2: 401, 3: 200} {
		status, _ := introspected(t, app, "orders", clientSecret(first), "x")
		require.Equal(t, want, status)
	}
}

func TestServicesRefused(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		change     func(c *config.Config, path string)
	}{
		{"no file", `config: field "services.clients[0].secret_file": open `,
			func(c *config.Config, path string) { _ = os.Remove(path) }},
		{"a file for everybody", `config: field "services.clients[0].secret_file": the file with the secret is not safe`,
			func(c *config.Config, path string) { _ = os.Chmod(path, 0o644) }},
		{"no variable", `config: field "services.clients[1].secret_env": the environment variable SHOP_NONE is not set`,
			func(c *config.Config, path string) { c.Services.Clients[1].SecretEnv = "SHOP_NONE" }},
		{"a short secret", `config: field "services.clients[0].secret_file": secret 1 in it is not 32 bytes`,
			func(c *config.Config, path string) { _ = os.WriteFile(path, []byte("hunter2"), 0o600) }},
		{"a weak secret", `config: field "services.clients": can't be used: secret 1 of client "orders" is not 32`,
			func(c *config.Config, path string) { _ = os.WriteFile(path, []byte(strings.Repeat("A", 43)), 0o600) }},
		{"the audience of session tokens", `config: field "services.clients[1].audience": is that of session tokens`,
			func(c *config.Config, path string) { c.Services.Clients[1].Audience = "https://shop.example" }},
		{"an ID that is the audience of session tokens", `config: field "services.clients[0].audience": is that of session`,
			func(c *config.Config, path string) { c.Audience = "orders" }},
		{"an audience that is too long", `must be UTF-8 of at most 256 bytes`,
			func(c *config.Config, path string) { c.Services.Clients[1].Audience = strings.Repeat("x", 257) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, path := served(t, config.Stateless)
			tt.change(&c, path)
			app, err := c.Build(config.Options{Logger: slog.New(slog.DiscardHandler)})
			require.ErrorContains(t, err, tt.want)
			require.Nil(t, app)
			require.NotContains(t, err.Error(), "hunter2")
			require.NotContains(t, err.Error(), "\n", "one mistake, one error")
		})
	}
}
