package config_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
)

func TestFromEnvOverFile(t *testing.T) {
	base := whole()
	cfg, err := config.FromEnv(base, []string{
		"CLOAKROOM_MODE=opaque",
		"CLOAKROOM_CROSS_ORIGIN_TRUSTED=https://only.example",
		"CLOAKROOM_SESSION_IDLE_TIMEOUT=5m",
		"CLOAKROOM_ACCEPT_OTHER_FORM=true",
		"CLOAKROOM_STORE_MAX_SESSIONS=5",
	})
	require.NoError(t, err)

	want := whole()
	want.Mode = config.Opaque
	want.CrossOrigin.Trusted = []string{"https://only.example"}
	want.Session.IdleTimeout = config.Duration(5 * time.Minute)
	want.AcceptOtherForm = new(true)
	want.Store.MaxSessions = 5
	require.Equal(t, want, cfg, "what is not set keeps its value")
	require.Equal(t, whole(), base, "base is not changed")
	require.NotSame(t, base.AcceptOtherForm, cfg.AcceptOtherForm)
}

func TestFromEnvIgnores(t *testing.T) {
	for _, environ := range [][]string{nil, {}, {"CLOAKROOM=x"}, {"PATH=/bin", "HOME", "=C:=x", "MY_CLOAKROOM_MODE=x"}} {
		cfg, err := config.FromEnv(whole(), environ)
		require.NoError(t, err)
		require.Equal(t, whole(), cfg)
	}
	cfg, err := config.FromEnv(config.Config{}, []string{"CLOAKROOM_ISSUER=first", "CLOAKROOM_ISSUER=a=b"})
	require.NoError(t, err)
	require.Equal(t, "a=b", cfg.Issuer, "the last one counts")
}

// Kubernetes tells each container about the Services of its namespace, and one
// of them may well be called cloakroom.
func TestFromEnvIgnoresKubernetes(t *testing.T) {
	cfg, err := config.FromEnv(whole(), []string{
		"CLOAKROOM_SERVICE_HOST=10.0.0.11",
		"CLOAKROOM_SERVICE_PORT=8080",
		"CLOAKROOM_SERVICE_PORT_HTTP=8080",
		"CLOAKROOM_SERVICE_PORT_HTTP_ALT=8081",
		"CLOAKROOM_PORT=tcp://10.0.0.11:8080",
		"CLOAKROOM_PORT_8080_TCP=tcp://10.0.0.11:8080",
		"CLOAKROOM_PORT_8080_TCP_PROTO=tcp",
		"CLOAKROOM_PORT_8080_TCP_PORT=8080",
		"CLOAKROOM_PORT_8080_TCP_ADDR=10.0.0.11",
		"CLOAKROOM_PORT_53_UDP=udp://10.0.0.11:53",
		"CLOAKROOM_SOAK=1",
		"CLOAKROOM_SOAK=",
	})
	require.NoError(t, err)
	require.Equal(t, whole(), cfg)
}

// A variable with a secret may be called as ours are, if the config says that
// it is one.
func TestFromEnvIgnoresNamedSecrets(t *testing.T) {
	cfg, err := config.FromEnv(config.Config{Keys: config.KeysConfig{KEKEnv: "CLOAKROOM_KEK"}},
		[]string{"CLOAKROOM_KEK=secret"})
	require.NoError(t, err)
	require.Equal(t, "CLOAKROOM_KEK", cfg.Keys.KEKEnv)
	cfg, err = config.FromEnv(config.Config{},
		[]string{"CLOAKROOM_PASSPHRASE=secret", "CLOAKROOM_KEYS_PASSPHRASE_ENV=CLOAKROOM_PASSPHRASE"})
	require.NoError(t, err)
	require.Equal(t, "CLOAKROOM_PASSPHRASE", cfg.Keys.PassphraseEnv)
	const list = "[{id: orders, secret_env: CLOAKROOM_ORDERS}]"
	cfg, err = config.FromEnv(config.Config{}, []string{"CLOAKROOM_ORDERS=x", "CLOAKROOM_SERVICES_CLIENTS=" + list})
	require.NoError(t, err)
	_, err = config.FromEnv(cfg, []string{"CLOAKROOM_ORDERS=x"})
	require.NoError(t, err)
	_, err = config.FromEnv(config.Config{}, []string{"CLOAKROOM_KEK=secret"})
	require.ErrorContains(t, err, "variable CLOAKROOM_KEK is unknown")
	cfg, err = config.FromEnv(config.Config{Keys: config.KeysConfig{KEKEnv: "CLOAKROOM_MODE"}},
		[]string{"CLOAKROOM_MODE=opaque"})
	require.NoError(t, err)
	require.Equal(t, config.Opaque, cfg.Mode, "it belongs to a field")
}

func TestFromEnvRefused(t *testing.T) {
	for _, row := range []struct{ in, want string }{
		{"CLOAKROOM_SESSION_IDLE_TIMEOUT=20", `config: variable CLOAKROOM_SESSION_IDLE_TIMEOUT: "20" has no unit; write 20s, 20m, 20h or 20d`},
		{"CLOAKROOM_TOKEN_MEMORY=64", `config: variable CLOAKROOM_TOKEN_MEMORY: "64" has no unit; write 64KiB, 64MiB or 64GiB`},
		{"CLOAKROOM_MODUS=auto", `config: variable CLOAKROOM_MODUS is unknown; did you mean CLOAKROOM_MODE?`},
		{"CLOAKROOM_KEYS_FILE=x", `config: variable CLOAKROOM_KEYS_FILE is unknown; did you mean CLOAKROOM_KEYSET?`},
		{"CLOAKROOM_COOKIE_SECURE=true", `config: variable CLOAKROOM_COOKIE_SECURE is unknown; remove it: the cookie is Secure unless CLOAKROOM_COOKIE_INSECURE_ALLOW_HTTP is true`},
		{"CLOAKROOM_COOKIE_HTTPONLY=true", `config: variable CLOAKROOM_COOKIE_HTTPONLY is unknown; remove it: the cookie is always HttpOnly`},
		{"CLOAKROOM_COOKIE_SAMESITE=lax", `config: variable CLOAKROOM_COOKIE_SAMESITE is unknown; did you mean CLOAKROOM_COOKIE_SAME_SITE?`},
		{"CLOAKROOM_SESION_LIFETIME=1h", `config: variable CLOAKROOM_SESION_LIFETIME is unknown; did you mean CLOAKROOM_SESSION_LIFETIME?`},
		{"CLOAKROOM_SERVICE=x", `config: variable CLOAKROOM_SERVICE is unknown; remove it`},
		{"CLOAKROOM_SERVICE_HOSTS=x", `config: variable CLOAKROOM_SERVICE_HOSTS is unknown; remove it`},
		{"CLOAKROOM_SERVICE_PORT_=x", `config: variable CLOAKROOM_SERVICE_PORT_ is unknown; remove it`},
		{"CLOAKROOM_PORT_HTTP=x", `config: variable CLOAKROOM_PORT_HTTP is unknown; remove it`},
		{"CLOAKROOM_PORT_8080=x", `config: variable CLOAKROOM_PORT_8080 is unknown; remove it`},
		{"CLOAKROOM_PORT_8080_TCP_HOST=x", `config: variable CLOAKROOM_PORT_8080_TCP_HOST is unknown; remove it`},
		{"CLOAKROOM_SOAKED=x", `config: variable CLOAKROOM_SOAKED is unknown; remove it`},
		{"CLOAKROOM_LISTEN_ADDRESS=x", `config: variable CLOAKROOM_LISTEN_ADDRESS is unknown; remove it`},
		{"CLOAKROOM_SESSION=x", `config: variable CLOAKROOM_SESSION is unknown`},
		{"CLOAKROOM_=x", `config: variable CLOAKROOM_ is unknown`},
		{"CLOAKROOM_mode=auto", `config: variable CLOAKROOM_mode is unknown; did you mean CLOAKROOM_MODE?`},
		{"CLOAKROOM_ISSUER=", `config: variable CLOAKROOM_ISSUER is empty; give it a value, or leave it out for its default`},
		{"CLOAKROOM_TIMEOUT=", `config: variable CLOAKROOM_TIMEOUT is empty; give it a value, or leave it out for its default`},
		{"CLOAKROOM_SESSION_PERSISTENT=yes", `config: variable CLOAKROOM_SESSION_PERSISTENT: must be true or false, not yes`},
		{"CLOAKROOM_ACCEPT_OTHER_FORM=1", `config: variable CLOAKROOM_ACCEPT_OTHER_FORM: must be true or false, not 1`},
		{"CLOAKROOM_STORE_MAX_SESSIONS=1e6", `config: variable CLOAKROOM_STORE_MAX_SESSIONS: must be a whole number, not 1e6`},
		{"CLOAKROOM_SERVICES_CLIENTS=", `config: variable CLOAKROOM_SERVICES_CLIENTS is empty; give it a value`},
		{"CLOAKROOM_SERVICES_CLIENTS=orders", `config: variable CLOAKROOM_SERVICES_CLIENTS: must be a list of mappings`},
		{"CLOAKROOM_SERVICES_CLIENTS=[{", `config: variable CLOAKROOM_SERVICES_CLIENTS: must be a list of mappings, as in a document`},
		{"CLOAKROOM_SERVICES_CLIENTS=[{id: orders}]", `config: variable CLOAKROOM_SERVICES_CLIENTS[0].secret_file: is missing; run:`},
		{"CLOAKROOM_SERVICES=x", `config: variable CLOAKROOM_SERVICES is unknown`},
		{"CLOAKROOM_MODE=server", `config: variable CLOAKROOM_MODE: "server" is not one of stateless, opaque, auto`},
		{"CLOAKROOM_REVOCATIONS_INSECURE_VOLATILE=true", `config: variable CLOAKROOM_REVOCATIONS_INSECURE_VOLATILE: contradicts field "revocations.file"; keep one of them`},
	} {
		t.Run(row.in, func(t *testing.T) {
			base := config.Config{Revocations: config.RevocationsConfig{File: "journal"}}
			cfg, err := config.FromEnv(base, []string{row.in})
			require.ErrorContains(t, err, row.want)
			require.NotContains(t, err.Error(), "\n", "one mistake, one error")
			require.Equal(t, config.Config{}, cfg)
		})
	}
}

func TestFromEnvReportsAllMistakes(t *testing.T) {
	_, err := config.FromEnv(config.Config{Mode: "server"}, []string{
		"CLOAKROOM_TIMEOUT=2", "CLOAKROOM_X=1", "CLOAKROOM_ISSUER=", "CLOAKROOM_COOKIE_SAME_SITE=lux",
	})
	require.Equal(t, []string{
		`config: variable CLOAKROOM_X is unknown; remove it`,
		`config: variable CLOAKROOM_ISSUER is empty; give it a value, or leave it out for its default`,
		`config: variable CLOAKROOM_TIMEOUT: "2" has no unit; write 2s, 2m, 2h or 2d`,
		`config: field "mode": "server" is not one of stateless, opaque, auto`,
		`config: variable CLOAKROOM_COOKIE_SAME_SITE: "lux" is not one of lax, strict, none`,
	}, strings.Split(err.Error(), "\n"))
}

func ExampleFromEnv() {
	cfg, err := config.Parse([]byte("mode: stateless"))
	if err != nil {
		fmt.Println(err)
		return
	}
	cfg, err = config.FromEnv(cfg, []string{"CLOAKROOM_MODE=opaque", "CLOAKROOM_SESSION_LIFETIME=8h"}) // or os.Environ()
	fmt.Println(cfg.Mode, cfg.Session.Lifetime, err)
	// Output: opaque 8h <nil>
}
