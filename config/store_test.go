package config_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"
	yamlv3 "go.yaml.in/yaml/v3"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
)

// A shelf is a store that an opener of the tests opens.
type shelf struct {
	*opaque.MemoryStore
	closed int
}

func (s *shelf) InProcess() bool { return false }

func (s *shelf) Close() error {
	s.closed++
	return s.MemoryStore.Close()
}

// An opening is what an opener of the tests was asked for, and what it did.
type opening struct {
	url     *url.URL
	options opaque.OpenOptions
	within  time.Duration
	shelf   *shelf
	err     error
}

func (o *opening) opener(schemes ...string) opaque.Opener {
	return opaque.Opener{Schemes: schemes, Open: o.open}
}

func (o *opening) open(ctx context.Context, u *url.URL, options opaque.OpenOptions) (opaque.Store, error) {
	o.url, o.options = u, options
	if deadline, ok := ctx.Deadline(); ok {
		o.within = time.Until(deadline)
	}
	if o.err != nil {
		return nil, o.err
	}
	memory, err := opaque.NewMemoryStore(opaque.MemoryConfig{Now: options.Now})
	o.shelf = &shelf{MemoryStore: memory}
	return o.shelf, err
}

// secretVariable has the secret of the stores of these tests.
const secretVariable = "SHOP_SECRET_OF_THE_STORE"

func TestMain(m *testing.M) {
	os.Setenv(secretVariable, secretOf('a'))
	os.Exit(m.Run())
}

// secretOf returns a secret, in base64.
func secretOf(letter byte) string {
	return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{letter}, 32))
}

// stored is the config of an application with a store at u.
func stored(u config.StoreURL) config.Config {
	return config.Config{Mode: config.Opaque, Store: config.StoreConfig{URL: u, SecretEnv: secretVariable},
		Revocations: config.RevocationsConfig{InsecureVolatile: true}}
}

func with(openers ...opaque.Opener) config.Options {
	return config.Options{Stores: openers, Logger: slog.New(slog.DiscardHandler)}
}

// The opener gets the URL without its password, and everything that the config
// says about the store. The App closes the store.
func TestStoreURL(t *testing.T) {
	var o opening
	c := stored("rediss://app:hunter2@cache.example:6380/3?prefix=shop:")
	c.Timeout, c.Store.Linger = config.Duration(3*time.Second), config.Duration(time.Hour)
	now := time.Now().Add(24 * time.Hour)
	options := with(new(opening).opener("a"), o.opener("redis", "rediss"))
	options.Now = func() time.Time { return now }
	app, err := c.Build(options)
	require.NoError(t, err)
	require.Equal(t, "rediss://app@cache.example:6380/3?prefix=shop:", o.url.String())
	require.Equal(t, "hunter2", o.options.Password)
	require.Equal(t, 3*time.Second, o.options.Timeout)
	require.Equal(t, time.Hour, o.options.Linger)
	require.Equal(t, now, o.options.Now())
	require.InDelta(t, 10*time.Second, o.within, float64(time.Second))
	require.Same(t, o.shelf, app.Store)
	require.Equal(t, "alice", subjectOf(t, app, login(t, app, "alice")))
	require.Positive(t, o.shelf.Len())
	require.NoError(t, app.Close())
	require.NoError(t, app.Close())
	require.Equal(t, 1, o.shelf.closed)
}

func TestStoreInMemory(t *testing.T) {
	for _, u := range []config.StoreURL{"", "memory:"} {
		c := config.Config{Mode: config.Opaque, Store: config.StoreConfig{URL: u, MaxSessions: 5}}
		require.IsType(t, &opaque.MemoryStore{}, build(t, c, config.Options{}).Store)
		c.Mode, c.Keys.File = config.Stateless, keyFile(t)
		require.Nil(t, build(t, c, config.Options{}).Store)
	}
}

// Sessions that the store still has are accepted in mode stateless.
func TestStoreOfTheOtherForm(t *testing.T) {
	var o opening
	c := stored("shelf://x")
	c.Mode, c.Keys.File = config.Stateless, keyFile(t)
	require.Same(t, o.shelf, build(t, c, with(o.opener("shelf"))).Store)
}

// A store that the application passes in is left open.
func TestStorePassedIn(t *testing.T) {
	memory, err := opaque.NewMemoryStore(opaque.MemoryConfig{})
	require.NoError(t, err)
	s := &shelf{MemoryStore: memory}
	c := stored("")
	app, err := c.Build(config.Options{Store: s, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.NoError(t, app.Close())
	require.Zero(t, s.closed)
}

// After a mistake elsewhere nothing is left open.
func TestStoreIsClosedAfterAMistake(t *testing.T) {
	var o opening
	c := stored("shelf://x")
	c.Cookie.Path = "x"
	_, err := c.Build(with(o.opener("shelf")))
	require.ErrorContains(t, err, "cookie.path")
	require.Equal(t, 1, o.shelf.closed)
}

func TestStorePassword(t *testing.T) {
	path := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(path, []byte("hunter2 \r\n"), 0o600))
	t.Setenv("SHOP_PASSWORD", "hunter3")
	for _, row := range []struct {
		in   config.StoreConfig
		want string
	}{
		{config.StoreConfig{URL: "shelf://app@x", PasswordFile: path}, "hunter2 "},
		{config.StoreConfig{URL: "shelf://app@x", PasswordEnv: "SHOP_PASSWORD"}, "hunter3"},
		{config.StoreConfig{URL: "shelf://app:p%40ss%2Fw:@x"}, "p@ss/w:"},
		{config.StoreConfig{URL: "shelf://app@x"}, ""},
	} {
		var o opening
		c := stored("")
		c.Store = row.in
		c.Store.SecretEnv = secretVariable
		build(t, c, with(o.opener("shelf")))
		require.Equal(t, row.want, o.options.Password)
		require.Equal(t, "shelf://app@x", o.url.String())
	}
}

func TestStoreRefused(t *testing.T) {
	memory, err := opaque.NewMemoryStore(opaque.MemoryConfig{})
	require.NoError(t, err)
	defer memory.Close()
	readable := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(readable, []byte("hunter2"), 0o644))
	shelf := new(opening).opener("shelf")
	at := func(u config.StoreURL) config.StoreConfig { return config.StoreConfig{URL: u} }
	for _, row := range []struct {
		name string
		in   config.StoreConfig
		o    config.Options
		want []string
	}{
		{"redis", at("rediss://h"), with(shelf), []string{`config: field "store.url": has the scheme rediss, and this program has no store for it: import "github.com/cloakroom-go/cloakroom/opaque/redisstore", and add this line to config.Options: Stores: []opaque.Opener{redisstore.Opener()}`}},
		{"postgres", at("postgres://h/d"), with(), []string{`import "github.com/cloakroom-go/cloakroom/opaque/sqlstore" and a driver, such as _ "github.com/jackc/pgx/v5/stdlib", and add this line to config.Options: Stores: []opaque.Opener{sqlstore.Opener(sqlstore.PostgreSQL, "pgx")}`}},
		{"mysql", at("mysql://h/d"), with(), []string{`Stores: []opaque.Opener{sqlstore.Opener(sqlstore.MySQL, "mysql")}`}},
		{"sqlite", at("sqlite:x.db"), with(), []string{`Stores: []opaque.Opener{sqlstore.Opener(sqlstore.SQLite, "sqlite")}`}},
		{"memcache", at("memcache://h"), with(), []string{`Stores: []opaque.Opener{memcachestore.Opener()}`}},
		{"unknown", at("hunter2://h"), with(shelf), []string{`field "store.url": has an unknown scheme; known are memcache, memory, mysql, postgres, redis, rediss, shelf, sqlite`}},
		{"no URL", at("hunter2"), with(), []string{`field "store.url": is not a URL like rediss://app@cache.example:6380/0`}},
		{"not escaped", at("redis://u:12/hunter2@h"), with(), []string{`field "store.url": has an @ behind the user`}},
		{"memory and more", at("memory:hunter2"), with(), []string{`field "store.url": has more than the scheme memory; write memory: alone`}},
		{"memory and more", at("memory://"), with(), []string{`write memory: alone`}},
		{"printed", at("shelf://u:xxxxx@h"), with(shelf), []string{`field "store.url": has lost its password when it was printed`}},
		{"two openers", at("shelf://h"), with(shelf, shelf), []string{`field "store.url": has the scheme shelf, which two of Options.Stores open`}},
		{"empty opener", at("shelf://h"), with(opaque.Opener{}, shelf), []string{`one of Options.Stores has no Open or no Schemes`}},
		{"passed in", at("shelf://h"), config.Options{Store: memory}, []string{`config: field "store.url": has no effect, since the application passes in a store (Options.Store); leave one of them out`}},
		{"memory and passed in", at("memory:"), config.Options{Store: memory}, []string{`config: field "store.url": has no effect`}},
		{"OnExpire", at("shelf://h"), config.Options{Stores: []opaque.Opener{shelf}, OnExpire: func(*session.Record) {}}, []string{`field "store.url": names a store that keeps sessions outside of this process, and Options.OnExpire`}},
		{"limits of memory", config.StoreConfig{URL: "shelf://h", MaxSessions: 1, MaxBytes: 1, AnonymousPercent: 1}, with(shelf), []string{`field "store.max_sessions": is a limit of the store in memory, and field "store.url" names another one; leave one of them out`, `field "store.max_bytes": is a limit`, `field "store.anonymous_percent": is a limit`}},
		{"negative", config.StoreConfig{URL: "shelf://h", Linger: -1}, with(shelf), []string{`field "store.linger": -1ns is negative`}},
		{"password without a store", config.StoreConfig{PasswordEnv: "SHOP_PASSWORD"}, with(), []string{`field "store.password_env": is the password of a store, and store.url names none; name it, or leave this out`}},
		{"password of memory", config.StoreConfig{URL: "memory:", PasswordFile: readable}, with(), []string{`field "store.password_file": is the password of a store, and store.url names none`}},
		{"two passwords", config.StoreConfig{URL: "shelf://u:hunter2@h", PasswordEnv: "PATH"}, with(shelf), []string{`field "store.password_env": is a second password for one store`}},
		{"password in two places", config.StoreConfig{URL: "shelf://h", PasswordFile: "/dev/null", PasswordEnv: "PATH"}, with(shelf), []string{`field "store.password_env": is a second password for one store`, `field "store.password_file": it is empty`}},
		{"no variable", config.StoreConfig{URL: "shelf://h", PasswordEnv: "SHOP_PASSWORD_NONE"}, with(shelf), []string{`field "store.password_env": the environment variable SHOP_PASSWORD_NONE is not set`}},
		{"secret as a variable", config.StoreConfig{URL: "shelf://h", PasswordEnv: "hunter2"}, with(shelf), []string{`field "store.password_env": the environment variable that it names is not set`}},
		{"secret as a file", config.StoreConfig{URL: "shelf://h", PasswordFile: "hunter2"}, with(shelf), []string{`field "store.password_file": open the file that it names`}},
		{"readable", config.StoreConfig{URL: "shelf://h", PasswordFile: readable}, with(shelf), []string{`field "store.password_file": the file with the secret is not safe: others can use ` + readable}},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := stored("")
			c.Store = row.in
			if row.o.Store == nil && strings.Contains(string(row.in.URL), "://") {
				c.Store.SecretEnv = secretVariable
			}
			app, err := c.Build(row.o)
			require.Nil(t, app)
			require.Error(t, err)
			lines := strings.Split(err.Error(), "\n")
			require.Len(t, lines, len(row.want), "%v", err)
			for i, want := range row.want {
				require.Contains(t, lines[i], want)
			}
			require.NotContains(t, err.Error(), "hunter2")
		})
	}
}

// What has ended must be remembered for as long as the store remembers what has
// not.
func TestStoreNeedsAJournal(t *testing.T) {
	c := stored("shelf://h")
	c.Revocations.InsecureVolatile = false
	_, err := c.Build(with(new(opening).opener("shelf")))
	require.EqualError(t, err, `config: field "revocations.file": is missing: the store outlives this process, `+
		`so what has ended must be remembered too; name a file, or set revocations.insecure_volatile`)
	c.Revocations.File = filepath.Join(t.TempDir(), "x")
	build(t, c, with(new(opening).opener("shelf")))
}

// Whatever an opener or a driver says, the password is not in it.
func TestStorePasswordIsMasked(t *testing.T) {
	var log lines
	options := logTo(&log)
	cause := fmt.Errorf("redisstore: can't parse u:hun/ter2@h or hun%%2Fter2: %w", session.Unavailable)
	o := opening{err: errors.Join(cause, errors.New("sqlstore: two"))}
	options.Stores = []opaque.Opener{o.opener("shelf")}
	c := stored("shelf://u:hun%2Fter2@h")
	_, err := c.Build(options)
	require.ErrorIs(t, err, session.Unavailable)
	require.False(t, errors.Is(err, cause), "it has the password")
	require.EqualError(t, err, `config: field "store.url": can't parse u:xxxxx@h or xxxxx: `+
		session.Unavailable.Error()+"\n"+`config: field "store.url": two`)
	o.err = nil
	app, err := c.Build(options)
	require.NoError(t, err)
	defer app.Close()
	o.options.OnProblem(cause)
	require.Contains(t, log.String(), "the store of sessions needs attention")
	require.Contains(t, log.String(), "xxxxx")
	require.NotContains(t, log.String(), "ter2")
}

// Whoever prints a Config prints no password.
func TestStoreURLIsPrintedWithoutItsPassword(t *testing.T) {
	for in, want := range map[config.StoreURL]string{
		"rediss://app:hunter2@h:1/0?prefix=a": "rediss://app:xxxxx@h:1/0?prefix=a",
		"rediss://app@h":                      "rediss://app@h",
		"":                                    "",
	} {
		c := stored(in)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			for _, value := range []any{c, &c, c.Store, in, []any{c}, map[string]config.Config{"a": c}} {
				require.NotContains(t, fmt.Sprintf(verb, value), "hunter2", verb)
				require.NotContains(t, fmt.Sprintf(verb, value), fmt.Sprintf("%x", "hunter2"), verb)
			}
		}
		require.Contains(t, fmt.Sprintf("%+v", c), "URL:"+want+" ")
		require.Contains(t, fmt.Sprintf("%#v", c), fmt.Sprintf("URL:%q", want))
		require.Equal(t, want, fmt.Sprint(in))

		for name, marshal := range map[string]func(any) ([]byte, error){
			"encoding/json": json.Marshal, "yaml.v3": yamlv3.Marshal, "goccy": yaml.Marshal,
		} {
			out, err := marshal(c)
			require.NoError(t, err, name)
			require.NotContains(t, string(out), "hunter2", name)
			require.Contains(t, string(out), want, name)
		}
		var log bytes.Buffer
		for _, handler := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
			slog.New(handler).Info("starts", "config", c, "url", in, "store", c.Store)
		}
		require.NotContains(t, log.String(), "hunter2")
		require.Contains(t, log.String(), want)
	}
	const bad = config.StoreURL("redis://u:12/hunter2@h")
	require.Equal(t, "(not the URL of a store)", fmt.Sprint(bad))
	_, err := bad.MarshalText()
	require.ErrorContains(t, err, "config: the URL of a store has an @ behind the user")
	require.NotContains(t, err.Error(), "hunter2")
}

// A password may stand in a document that nobody else can read.
func TestPasswordInADocument(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cloakroom.yaml")
	write := func(document string, mode os.FileMode) {
		t.Helper()
		require.NoError(t, os.WriteFile(path, []byte(document), 0o600))
		require.NoError(t, os.Chmod(path, mode))
	}
	const with = `store: {url: "redis://app:hunter2@h"}`
	const without = `store: {url: "redis://app@h", password_env: SHOP_PASSWORD}`
	for _, mode := range []os.FileMode{0o600, 0o640, 0o400} {
		write(with, mode)
		c, err := config.Load(path)
		require.NoError(t, err)
		require.Equal(t, config.StoreURL("redis://app:hunter2@h"), c.Store.URL)
		require.NoError(t, os.Remove(path))
	}
	for _, mode := range []os.FileMode{0o644, 0o604, 0o660, 0o666} {
		write(with, mode)
		c, err := config.Load(path)
		require.EqualError(t, err, fmt.Sprintf(`config: %s: field "store.url": has a password, and the file with the secret `+
			`is not safe: others can use %[1]s (mode %04o); run: chmod 600 %[1]s; or use store.password_env or `+
			`store.password_file`, path, mode))
		require.Equal(t, config.Config{}, c)
		write(without, mode)
		_, err = config.Load(path)
		require.NoError(t, err)
	}
}

func TestStoreURLInADocument(t *testing.T) {
	for _, value := range []string{"hunter2", "8675309", "'redis://u:12/hunter2@h'", "'redis://h?password=hunter2'",
		"[hunter2]", "'memory:hunter2'", "'redis://u:hunter2%@h'", "'redis://u:xxxxx@h'"} {
		_, err := config.Parse([]byte("store: {url: " + value + "}"))
		require.ErrorContains(t, err, `config: field "store.url"`, value)
		require.NotContains(t, err.Error(), "hunter2")
		require.NotContains(t, err.Error(), "8675309")
	}
	_, err := config.Parse([]byte("store: {url: 'redis://h', max_sessions: 5}"))
	require.ErrorContains(t, err, `config: field "store.max_sessions": is a limit of the store in memory`)
	_, err = config.Parse([]byte("store: {password: hunter2}"))
	require.EqualError(t, err, `config: field "store.password" is unknown; did you mean "store.password_file"?`)
}

func TestStoreFromEnv(t *testing.T) {
	c, err := config.FromEnv(config.Config{}, []string{"CLOAKROOM_STORE_URL=postgres://app:hunter2@h/d"})
	require.NoError(t, err)
	require.Equal(t, config.StoreURL("postgres://app:hunter2@h/d"), c.Store.URL)
	_, err = config.FromEnv(config.Config{}, []string{"CLOAKROOM_STORE_URL=app:12/hunter2@h"})
	require.ErrorContains(t, err, "config: variable CLOAKROOM_STORE_URL: has an @ behind the user")
	require.NotContains(t, err.Error(), "hunter2")
	_, err = config.FromEnv(config.Config{}, []string{"CLOAKROOM_STORE_URL="})
	require.ErrorContains(t, err, "config: variable CLOAKROOM_STORE_URL is empty; give it a value")
	for _, environ := range [][]string{
		{"CLOAKROOM_STORE_PASSWORD_ENV=CLOAKROOM_REDIS_PASSWORD", "CLOAKROOM_REDIS_PASSWORD=hunter2"},
		{"CLOAKROOM_REDIS_PASSWORD=hunter2"},
		{"CLOAKROOM_STORE_SECRET_ENV=CLOAKROOM_SECRET", "CLOAKROOM_SECRET=hunter2", "CLOAKROOM_REDIS_PASSWORD=hunter2"},
	} {
		base := config.Config{Store: config.StoreConfig{URL: "redis://h", PasswordEnv: "CLOAKROOM_REDIS_PASSWORD"}}
		_, err := config.FromEnv(base, environ)
		require.NoError(t, err, "the variable with the secret is known")
	}
}
