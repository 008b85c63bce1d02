package config_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
)

const wholeYAML = `
mode: auto
issuer: https://shop.example
client_id: shop-web
audience: shop
keys:
  file: /etc/shop/keys.json
  reload: 10s
  passphrase_file: /etc/shop/passphrase
  passphrase_env: SHOP_PASSPHRASE
  kek_file: /etc/shop/kek
  kek_env: SHOP_KEK
  create: true
  rotate: true
  insecure_group_readable: true
session:
  preset: aal2
  idle_timeout: 30m
  lifetime: 12h
  remembered_idle_timeout: 50m
  remembered_lifetime: 20h
  touch_every: 30s
  persistent: true
cookie:
  name: __Secure-shop
  path: /shop
  domain: shop.example
  same_site: strict
  partitioned: true
  insecure_allow_http: false
cross_origin:
  trusted: ["https://partner.example", "https://other.example:8443"]
accept_other_form: false
store:
  url: "memory:"
  password_file: /etc/shop/password
  password_env: SHOP_PASSWORD
  secret_file: /etc/shop/store.secret
  secret_env: SHOP_STORE_SECRET
  max_sessions: 100000
  max_bytes: 512MiB
  anonymous_percent: 60
  linger: 1h
revocations:
  file: /var/lib/shop/revocations.journal
  wait: 30s
  max_staleness: 1m
  insecure_serve_stale: true
  single_instance: true
  max_entries: 500000
  insecure_volatile: false
  skew: 5s
devices:
  enabled: true
  limit: 5
  refuse_new: true
services:
  clients:
    - {id: orders, audience: "https://orders.example", secret_file: /etc/shop/orders.secret}
    - id: stock
      secret_env: SHOP_STOCK_SECRET
token_memory: 16MiB
timeout: 1500ms
`

const wholeJSON = `{
	"mode": "auto", "issuer": "https://shop.example", "client_id": "shop-web", "audience": "shop",
	"keys": {"file": "/etc/shop/keys.json", "reload": "10s", "passphrase_file": "/etc/shop/passphrase",
		"passphrase_env": "SHOP_PASSPHRASE", "kek_file": "/etc/shop/kek", "kek_env": "SHOP_KEK", "create": true,
		"rotate": true, "insecure_group_readable": true},
	"session": {"preset": "aal2", "idle_timeout": "30m", "lifetime": "12h", "remembered_idle_timeout": "50m",
		"remembered_lifetime": "20h", "touch_every": "30s", "persistent": true},
	"cookie": {
		"name": "__Secure-shop", "path": "\/shop", "domain": "shop.example", "same_site": "strict",
		"partitioned": true, "insecure_allow_http": false
	},
	"cross_origin": {"trusted": ["https://partner.example", "https://other.example:8443"]},
	"accept_other_form": false,
	"store": {"url": "memory:", "password_file": "/etc/shop/password", "password_env": "SHOP_PASSWORD",
		"secret_file": "/etc/shop/store.secret", "secret_env": "SHOP_STORE_SECRET",
		"max_sessions": 100000, "max_bytes": "512MiB", "anonymous_percent": 60, "linger": "1h"},
	"revocations": {"file": "/var/lib/shop/revocations.journal", "wait": "30s", "max_staleness": "1m",
		"insecure_serve_stale": true, "single_instance": true,
		"max_entries": 500000, "insecure_volatile": false, "skew": "5s"},
	"devices": {"enabled": true, "limit": 5, "refuse_new": true},
	"services": {"clients": [
		{"id": "orders", "audience": "https://orders.example", "secret_file": "/etc/shop/orders.secret"},
		{"id": "stock", "secret_env": "SHOP_STOCK_SECRET"}
	]},
	"token_memory": "16MiB",
	"timeout": "1500ms"
}`

func wholeEnv() []string {
	return []string{
		"PATH=/bin",
		"CLOAKROOM_MODE=auto", "CLOAKROOM_ISSUER=https://shop.example", "CLOAKROOM_AUDIENCE=shop",
		"CLOAKROOM_CLIENT_ID=shop-web",
		"CLOAKROOM_KEYSET=/etc/shop/keys.json", "CLOAKROOM_KEYS_RELOAD=10s",
		"CLOAKROOM_KEYS_PASSPHRASE_FILE=/etc/shop/passphrase", "CLOAKROOM_KEYS_PASSPHRASE_ENV=SHOP_PASSPHRASE",
		"CLOAKROOM_KEYS_KEK_FILE=/etc/shop/kek", "CLOAKROOM_KEYS_KEK_ENV=SHOP_KEK", "CLOAKROOM_KEYS_CREATE=true",
		"CLOAKROOM_KEYS_ROTATE=true", "CLOAKROOM_KEYS_INSECURE_GROUP_READABLE=true",
		"CLOAKROOM_SESSION_PRESET=aal2", "CLOAKROOM_SESSION_IDLE_TIMEOUT=30m", "CLOAKROOM_SESSION_LIFETIME=12h",
		"CLOAKROOM_SESSION_REMEMBERED_IDLE_TIMEOUT=50m", "CLOAKROOM_SESSION_REMEMBERED_LIFETIME=20h",
		"CLOAKROOM_SESSION_TOUCH_EVERY=30s", "CLOAKROOM_SESSION_PERSISTENT=true",
		"CLOAKROOM_COOKIE_NAME=__Secure-shop", "CLOAKROOM_COOKIE_PATH=/shop", "CLOAKROOM_COOKIE_DOMAIN=shop.example",
		"CLOAKROOM_COOKIE_SAME_SITE=strict", "CLOAKROOM_COOKIE_PARTITIONED=true",
		"CLOAKROOM_COOKIE_INSECURE_ALLOW_HTTP=false",
		"CLOAKROOM_CROSS_ORIGIN_TRUSTED=https://partner.example, " +
			"https://other.example:8443", "CLOAKROOM_ACCEPT_OTHER_FORM=false",
		"CLOAKROOM_STORE_URL=memory:", "CLOAKROOM_STORE_PASSWORD_FILE=/etc/shop/password",
		"CLOAKROOM_STORE_PASSWORD_ENV=SHOP_PASSWORD",
		"CLOAKROOM_STORE_SECRET_FILE=/etc/shop/store.secret", "CLOAKROOM_STORE_SECRET_ENV=SHOP_STORE_SECRET",
		"CLOAKROOM_STORE_MAX_SESSIONS=100000", "CLOAKROOM_STORE_MAX_BYTES=512MiB", "CLOAKROOM_STORE_ANONYMOUS_PERCENT=60",
		"CLOAKROOM_STORE_LINGER=1h",
		"CLOAKROOM_REVOCATIONS_FILE=/var/lib/shop/revocations.journal", "CLOAKROOM_REVOCATIONS_INSECURE_VOLATILE=false",
		"CLOAKROOM_REVOCATIONS_WAIT=30s", "CLOAKROOM_REVOCATIONS_SINGLE_INSTANCE=true",
		"CLOAKROOM_REVOCATIONS_MAX_STALENESS=1m", "CLOAKROOM_REVOCATIONS_INSECURE_SERVE_STALE=true",
		"CLOAKROOM_REVOCATIONS_MAX_ENTRIES=500000",
		"CLOAKROOM_DEVICES_ENABLED=true", "CLOAKROOM_DEVICES_LIMIT=5", "CLOAKROOM_DEVICES_REFUSE_NEW=true",
		"CLOAKROOM_SERVICES_CLIENTS=[{id: orders, audience: 'https://orders.example', " +
			"secret_file: /etc/shop/orders.secret}, {id: stock, secret_env: SHOP_STOCK_SECRET}]",
		"CLOAKROOM_REVOCATIONS_SKEW=5s", "CLOAKROOM_TOKEN_MEMORY=16MiB", "CLOAKROOM_TIMEOUT=1500ms",
	}
}

func whole() config.Config {
	return config.Config{
		Mode: config.Auto, Issuer: "https://shop.example", ClientID: "shop-web", Audience: "shop",
		Keys: config.KeysConfig{File: "/etc/shop/keys.json", Reload: config.Duration(10 * time.Second),
			PassphraseFile: "/etc/shop/passphrase", PassphraseEnv: "SHOP_PASSPHRASE", KEKFile: "/etc/shop/kek",
			KEKEnv: "SHOP_KEK", Create: true, Rotate: true, InsecureGroupReadable: true},
		Session: config.SessionConfig{
			Preset: "aal2", IdleTimeout: config.Duration(30 * time.Minute), Lifetime: config.Duration(12 * time.Hour),
			RememberedIdleTimeout: config.Duration(50 * time.Minute), RememberedLifetime: config.Duration(20 * time.Hour),
			TouchEvery: config.Duration(30 * time.Second), Persistent: true,
		},
		Cookie: config.CookieConfig{Name: "__Secure-shop", Path: "/shop", Domain: "shop.example", SameSite: "strict",
			Partitioned: true},
		CrossOrigin:     config.CrossOriginConfig{Trusted: []string{"https://partner.example", "https://other.example:8443"}},
		AcceptOtherForm: new(bool),
		Store: config.StoreConfig{URL: "memory:", PasswordFile: "/etc/shop/password", PasswordEnv: "SHOP_PASSWORD",
			SecretFile: "/etc/shop/store.secret", SecretEnv: "SHOP_STORE_SECRET",
			MaxSessions: 100_000, MaxBytes: 512 << 20, AnonymousPercent: 60, Linger: config.Duration(time.Hour)},
		Revocations: config.RevocationsConfig{
			File: "/var/lib/shop/revocations.journal", Wait: config.Duration(30 * time.Second), SingleInstance: true,
			MaxStaleness: config.Duration(time.Minute), InsecureServeStale: true,
			MaxEntries: 500_000, Skew: config.Duration(5 * time.Second),
		},
		Devices: config.DevicesConfig{Enabled: true, Limit: 5, RefuseNew: true},
		Services: config.ServicesConfig{Clients: []config.ServiceClient{
			{ID: "orders", Audience: "https://orders.example", SecretFile: "/etc/shop/orders.secret"},
			{ID: "stock", SecretEnv: "SHOP_STOCK_SECRET"},
		}},
		TokenMemory: 16 << 20,
		Timeout:     config.Duration(1500 * time.Millisecond),
	}
}

// YAML, JSON and the environment say the same things.
func TestThreeForms(t *testing.T) {
	fromYAML, err := config.Parse([]byte(wholeYAML))
	require.NoError(t, err)
	require.Equal(t, whole(), fromYAML)

	fromJSON, err := config.Parse([]byte(wholeJSON))
	require.NoError(t, err)
	require.Equal(t, whole(), fromJSON)

	fromEnv, err := config.FromEnv(config.Config{}, wholeEnv())
	require.NoError(t, err)
	require.Equal(t, whole(), fromEnv)
}

// What one library writes, Parse reads: the tags agree with the schema.
func TestRoundTrip(t *testing.T) {
	out, err := yaml.Marshal(whole())
	require.NoError(t, err)
	again, err := config.Parse(out)
	require.NoError(t, err)
	require.Equal(t, whole(), again)
}

// Every field stands in wholeYAML, so that none can be forgotten in the tests,
// and has the same name in both forms.
func TestTags(t *testing.T) {
	var walk func(typ reflect.Type)
	walk = func(typ reflect.Type) {
		for f := range typ.Fields() {
			if !f.IsExported() {
				continue
			}
			name, ok := strings.CutSuffix(f.Tag.Get("yaml"), ",omitempty")
			require.True(t, ok, f.Name)
			require.Equal(t, name+",omitzero", f.Tag.Get("json"), f.Name)
			require.Contains(t, wholeYAML, name+":", f.Name)
			switch t := f.Type; {
			case t.Kind() == reflect.Struct:
				walk(t)
			case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
				walk(t.Elem())
			}
		}
	}
	walk(reflect.TypeFor[config.Config]())
}

func TestEmptyDocument(t *testing.T) {
	for _, in := range []string{"", "\n", "# nothing yet\n", "null", "{}", "---\n", "cookie: {}"} {
		cfg, err := config.Parse([]byte(in))
		require.NoError(t, err, "%q", in)
		require.Equal(t, config.Config{}, cfg, "%q", in)
	}
}

func TestParseRefused(t *testing.T) {
	for _, row := range []struct{ name, in, want string }{
		{"no list of services", "services: {clients: orders}", `config: field "services.clients": must be a list of mappings`},
		{"a mapping of services", "services: {clients: {id: orders}}", `config: field "services.clients": must be a list of mappings, not a mapping`},
		{"a service that is a text", "services: {clients: [orders]}", `config: field "services.clients[0]": must be a mapping of fields`},
		{"a service with a secret", "services: {clients: [{id: orders, secret: x, secret_env: X_Y}]}", `config: field "services.clients[0].secret" is unknown; did you mean "services.clients[0].secret_file"?`},
		{"a service with a typo", "services: {clients: [{id: a, secret_env: X_Y}, {id: orders, audiense: x, secret_env: X_Y}]}", `config: field "services.clients[1].audiense" is unknown; did you mean "services.clients[1].audience"?`},
		{"a service without an ID", "services: {clients: [{secret_env: X_Y}]}", `config: field "services.clients[0].id": is missing; name the service`},
		{"a service with an empty ID", "services: {clients: [{id: , secret_env: X_Y}]}", `config: field "services.clients[0].id" is empty; give it a value, or leave it out for its default`},
		{"a service with an ID that is a number", "services: {clients: [{id: 7, secret_env: X_Y}]}", `config: field "services.clients[0].id": must be a text; put it in quotes`},
		{"a service with a bad ID", `services: {clients: [{id: "a:b", secret_env: X_Y}]}`, `config: field "services.clients[0].id": can't be used: a client's ID has 1 to 256 letters, digits and the characters -._~`},
		{"two services of one ID", "services: {clients: [{id: a, secret_env: X_Y}, {id: a, secret_env: X_Y}]}", `config: field "services.clients[1].id": is that of another client; give each another one`},
		{"a service without a secret", "services: {clients: [{id: orders}]}", `config: field "services.clients[0].secret_file": is missing; run: (umask 077; openssl rand -base64 32 > orders.secret), and name that file`},
		{"a service with two secrets", "services: {clients: [{id: orders, secret_file: a, secret_env: X_Y}]}", `config: field "services.clients[0].secret_env": is a second place for the secret of one client; set only one of secret_file and secret_env`},
		{"no unit", "session: {idle_timeout: 20}", `config: field "session.idle_timeout": "20" has no unit; write 20s, 20m, 20h or 20d`},
		{"no unit, quoted", `timeout: "2"`, `config: field "timeout": "2" has no unit; write 2s, 2m, 2h or 2d`},
		{"no unit, fraction", `timeout: 1.5`, `config: field "timeout": "1.5" has no unit; write 1.5s, 1.5m or 1.5h`},
		{"negative", "timeout: -5", `config: field "timeout": "-5" is not a duration; write it like 90s, 20m, 12h or 30d`},
		{"zero", "session: {idle_timeout: 0}", `config: field "session.idle_timeout": "0" is zero; leave the field out for its default`},
		{"size of zero", "token_memory: 0", `config: field "token_memory": "0" is zero; leave the field out for its default`},
		{"size with a fraction", "token_memory: 1.5", `config: field "token_memory": "1.5" is not a size; write it like 512KiB, 64MiB or 2GiB`},
		{"size without unit", "token_memory: 64", `config: field "token_memory": "64" has no unit; write 64KiB, 64MiB or 64GiB`},
		{"wrong unit", "token_memory: 64MB", `config: field "token_memory": "64MB" is not a size; write it like 512KiB, 64MiB or 2GiB`},
		{"duration is a list", "timeout: [1s]", `config: field "timeout": must be a text with a unit, not a list`},
		{"duration is a bool", "timeout: true", `config: field "timeout": must be a text with a unit, not true`},

		{"unknown", "modes: opaque", `config: field "modes" is unknown; did you mean "mode"?`},
		{"unknown, nested", "session: {idle_timout: 20m}", `config: field "session.idle_timout" is unknown; did you mean "session.idle_timeout"?`},
		{"unknown, like nothing", "database: x", `config: field "database" is unknown; remove it`},
		{"unknown, like another one of the section", "cookie: {secret: true}", `config: field "cookie.secret" is unknown; remove it`},
		{"unknown, but for something", "cookie: {secure: false}", `config: field "cookie.secure" is unknown; remove it: the cookie is Secure unless "cookie.insecure_allow_http" is true`},
		{"unknown, and always so", "cookie: {http_only: true}", `config: field "cookie.http_only" is unknown; remove it: the cookie is always HttpOnly`},
		{"unknown, in the name of the cookie", "cookie: {max_age: 30d}", `config: field "cookie.max_age" is unknown; did you mean "session.remembered_lifetime"?`},
		{"unknown, as others call it", "session: {timeout: 30d}", `config: field "session.timeout" is unknown; did you mean "session.idle_timeout"?`},
		{"unknown section", "sesion: {lifetime: 1h}", `config: field "sesion" is unknown; did you mean "session"?`},
		{"other case", "Mode: opaque", `config: field "Mode" is unknown; did you mean "mode"?`},
		{"dotted", "session.lifetime: 1h", `config: field "session.lifetime" is one name with a dot; write session: {lifetime: …}`},
		{"number as a name", "1: x", `config: field "1" is unknown; remove it`},
		{"padding", "_: x", `config: field "_" is unknown; remove it`},

		{"null", "issuer:", `config: field "issuer" is empty; give it a value, or leave it out for its default`},
		{"null section", "session:", `config: field "session" is empty; give it a value, or leave it out for its default`},
		{"empty", `issuer: ""`, `config: field "issuer" is empty; give it a value, or leave it out for its default`},
		{"empty duration", `timeout: ""`, `config: field "timeout" is empty; give it a value, or leave it out for its default`},
		{"empty bool", `accept_other_form: ""`, `config: field "accept_other_form" is empty; give it a value, or leave it out for its default`},

		{"text is a number", "issuer: 5", `config: field "issuer": must be a text; put it in quotes`},
		{"text is a bool", "issuer: true", `config: field "issuer": must be a text; put it in quotes`},
		{"text is a list", "issuer: [a]", `config: field "issuer": must be a text, not a list`},
		{"text is a mapping", "issuer: {a: b}", `config: field "issuer": must be a text, not a mapping`},
		{"bool is a text", `accept_other_form: "yes"`, `config: field "accept_other_form": must be true or false, not yes`},
		{"bool is quoted", `cookie: {insecure_allow_http: "true"}`, `config: field "cookie.insecure_allow_http": must be true or false without quotes`},
		{"bool is a number", "session: {persistent: 1}", `config: field "session.persistent": must be true or false, not 1`},
		{"number is a text", `store: {max_sessions: "many"}`, `config: field "store.max_sessions": must be a whole number, not many`},
		{"number is a fraction", "store: {max_sessions: 1.5}", `config: field "store.max_sessions": must be a whole number, not 1.5`},
		{"number is too large", "store: {max_sessions: 18446744073709551615}", `config: field "store.max_sessions": must be a whole number, not 18446744073709551615`},
		{"section is a text", "session: 20m", `config: field "session": must be a mapping of fields`},
		{"section is a list", "session: [20m]", `config: field "session": must be a mapping of fields, not a list`},

		{"list is a text", "cross_origin: {trusted: https://a.example}", `config: field "cross_origin.trusted": must be a list of texts`},
		{"list of numbers", "cross_origin: {trusted: [5]}", `config: field "cross_origin.trusted": must be a list of texts; put each in quotes`},
		{"empty origin", "cross_origin: {trusted: ['']}", `config: field "cross_origin.trusted": "" is not an origin; write scheme, host and any unusual port, as in https://partner.example`},
		{"no origin", "cross_origin: {trusted: [partner.example]}", `config: field "cross_origin.trusted": "partner.example" is not an origin; write scheme, host and any unusual port, as in https://partner.example`},
		{"origin with a path", "cross_origin: {trusted: ['https://a.example/']}", `config: field "cross_origin.trusted": "https://a.example/" is not an origin; write scheme, host and any unusual port, as in https://partner.example`},
		{"origin with the usual port", "cross_origin: {trusted: ['https://a.example:443']}", `config: field "cross_origin.trusted": "https://a.example:443" is not how browsers write it; write https://a.example`},
		{"origin in capitals", "cross_origin: {trusted: ['https://A.example']}", `config: field "cross_origin.trusted": "https://A.example" is not how browsers write it; write https://a.example`},
		{"origin with an empty port", "cross_origin: {trusted: ['https://a.example:']}", `config: field "cross_origin.trusted": "https://a.example:" is not how browsers write it; write https://a.example`},
		{"origin whose port has a zero", "cross_origin: {trusted: ['https://[::1]:08443']}", `config: field "cross_origin.trusted": "https://[::1]:08443" is not how browsers write it; write https://[::1]:8443`},
		{"origin with a port that does not exist", "cross_origin: {trusted: ['https://a.example:99999']}", `config: field "cross_origin.trusted": "https://a.example:99999" is not an origin; write scheme, host and any unusual port, as in https://partner.example`},
		{"origin beyond ASCII", "cross_origin: {trusted: ['https://bücher.example']}", `config: field "cross_origin.trusted": "https://bücher.example" is not how browsers write it; write the host in ASCII, as in https://xn--bcher-kva.example`},
		{"wildcard", "cross_origin: {trusted: ['https://*.a.example']}", `config: field "cross_origin.trusted": "https://*.a.example" has a wildcard, and an origin is compared as a whole; write each origin`},
		{"mode", "mode: server", `config: field "mode": "server" is not one of stateless, opaque, auto`},
		{"preset", "session: {preset: aal4}", `config: field "session.preset": "aal4" is not one of aal1, aal2, aal3`},
		{"same site", "cookie: {same_site: Lax}", `config: field "cookie.same_site": "Lax" is not one of lax, strict, none`},
		{"longer than the preset", "session: {preset: aal3, lifetime: 1d}", `config: field "session.lifetime": 1d is longer than the 12h of preset aal3; shorten it or drop the preset`},
		{"idle longer than the preset", "session: {preset: aal3, idle_timeout: 20m}", `config: field "session.idle_timeout": 20m is longer than the 15m of preset aal3; shorten it or drop the preset`},
		{"two places", "revocations: {file: a, insecure_volatile: true}", `config: field "revocations.insecure_volatile": contradicts field "revocations.file"; keep one of them`},

		{"twice", "mode: opaque\nmode: auto", `config: line 2, column 1: mapping key "mode" already defined at [1:1]`},
		{"twice, nested", `{"keys": {"file": "a", "file": "b"}}`, `config: line 1, column 24: mapping key "file" already defined at [1:11]`},
		{"syntax", "mode: [opaque", `config: line 1, column 7: sequence end token ']' not found`},
		{"list", "- mode", `config: the document must be a mapping, like "mode: stateless"`},
		{"text", "stateless", `config: the document must be a mapping, like "mode: stateless"`},
		{"second document", "mode: opaque\n---\nmode: auto", `config: there is a second document behind "---"; keep one`},
		{"not UTF-8", "issuer: \xff", `config: the document is not UTF-8; save it in that encoding`},
		{"too long", "#" + strings.Repeat("x", 1<<20), `config: the document is longer than 1MiB`},
	} {
		t.Run(row.name, func(t *testing.T) {
			cfg, err := config.Parse([]byte(row.in))
			require.EqualError(t, err, row.want)
			require.Equal(t, config.Config{}, cfg)
		})
	}
}

// What the policy can't be is session's to say; Parse names the field.
func TestParsePolicy(t *testing.T) {
	_, err := config.Parse([]byte("session: {idle_timeout: 2h, lifetime: 1h}"))
	require.ErrorContains(t, err, `config: field "session.idle_timeout": 2h is longer than the lifetime of 1h: `+
		`shorten it, or set session.lifetime to 2h or more`)
	_, err = config.Parse([]byte("session: {touch_every: 10m}"))
	require.ErrorContains(t, err, `config: field "session.touch_every": 10m is not between 0 and 5m`)

	for _, fine := range []string{
		"session: {preset: aal1}",
		"session: {preset: aal2, lifetime: 30m}", // shorter than the preset's idle timeout
		"session: {preset: aal3, idle_timeout: 5m, lifetime: 1h, touch_every: 1m}",
		"session: {idle_timeout: 30d, lifetime: 90d}",
	} {
		_, err := config.Parse([]byte(fine))
		require.NoError(t, err, fine)
	}
}

func TestParseReportsAllMistakes(t *testing.T) {
	_, err := config.Parse([]byte(`
mode: opague
isuer: x
session: {idle_timeout: 20, lifetime: 12 hours, preset: aal9}
cookie: {secure: true, same_site: no}
store: {max_sessions: lots}
timeout:
`))
	require.Equal(t, []string{
		`config: field "cookie.secure" is unknown; remove it: the cookie is Secure unless "cookie.insecure_allow_http" is true`,
		`config: field "isuer" is unknown; did you mean "issuer"?`,
		`config: field "timeout" is empty; give it a value, or leave it out for its default`,
		`config: field "session.idle_timeout": "20" has no unit; write 20s, 20m, 20h or 20d`,
		`config: field "session.lifetime": "12 hours" is not a duration; write it like 90s, 20m, 12h or 30d`,
		`config: field "store.max_sessions": must be a whole number, not lots`,
		`config: field "mode": "opague" is not one of stateless, opaque, auto`,
		`config: field "session.preset": "aal9" is not one of aal1, aal2, aal3`,
		`config: field "cookie.same_site": "no" is not one of lax, strict, none`,
	}, strings.Split(err.Error(), "\n"))
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sessions.yaml")
	require.NoError(t, os.WriteFile(path, []byte(wholeYAML), 0o600))
	cfg, err := config.Load(path)
	require.NoError(t, err)
	require.Equal(t, whole(), cfg)

	require.NoError(t, os.WriteFile(path, []byte("modus: x"), 0o600))
	_, err = config.Load(path)
	require.EqualError(t, err, "config: "+path+`: field "modus" is unknown; did you mean "mode"?`)

	_, err = config.Load(path + ".missing")
	require.ErrorIs(t, err, os.ErrNotExist)

	require.NoError(t, os.WriteFile(path, bytes.Repeat([]byte("#"), 2<<20), 0o600))
	_, err = config.Load(path)
	require.ErrorContains(t, err, "longer than 1MiB")
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(wholeYAML))
	f.Add([]byte(wholeJSON))
	f.Add([]byte("session: {idle_timeout: 20, <<: {lifetime: 1h}}"))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, in []byte) {
		cfg, err := config.Parse(in)
		if err != nil {
			require.Equal(t, config.Config{}, cfg)
			return
		}
		out, err := yaml.Marshal(cfg)
		require.NoError(t, err)
		again, err := config.Parse(out)
		require.NoError(t, err, "%s", out)
		require.Equal(t, cfg, again)
	})
}

func ExampleParse() {
	cfg, err := config.Parse([]byte(`
mode: auto
session:
  idle_timeout: 30m
  lifetime: 7d
`))
	fmt.Println(cfg.Mode, cfg.Session.IdleTimeout, cfg.Session.Lifetime, err)
	// Output: auto 30m 7d <nil>
}

// A number without a unit is the classic mistake: 20 what?
func ExampleParse_mistakes() {
	_, err := config.Parse([]byte(`
mod: auto
timeout: 20
`))
	fmt.Println(err)
	// Output:
	// config: field "mod" is unknown; did you mean "mode"?
	// config: field "timeout": "20" has no unit; write 20s, 20m, 20h or 20d
}
