package config_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

func TestBuildModes(t *testing.T) {
	store, err := opaque.NewMemoryStore(opaque.MemoryConfig{})
	require.NoError(t, err)
	defer store.Close()
	for _, row := range []struct {
		name              string
		mode              config.Mode
		algorithms        []keys.Algorithm // of the key file; nil means none
		store             opaque.Store
		form              string
		hasStore, issuing bool
	}{
		{"default", "", []keys.Algorithm{keys.ES256, keys.Direct}, nil, "token", false, true},
		{"stateless", config.Stateless, []keys.Algorithm{keys.EdDSA, keys.Direct}, nil, "token", false, true},
		{"stateless, signed only", config.Stateless, []keys.Algorithm{keys.ES256}, nil, "token", false, true},
		{"stateless, symmetric", config.Stateless, []keys.Algorithm{keys.HS256}, nil, "token", false, false},
		{"stateless, own store", config.Stateless, []keys.Algorithm{keys.ES256}, store, "token", true, true},
		{"opaque", config.Opaque, nil, nil, "opaque", true, false},
		{"opaque, with keys", config.Opaque, []keys.Algorithm{keys.ES256}, nil, "opaque", true, true},
		{"opaque, encryption keys alone", config.Opaque, []keys.Algorithm{keys.Direct}, nil, "opaque", true, false},
		{"opaque, own store", config.Opaque, []keys.Algorithm{keys.ES256}, store, "opaque", true, true},
		{"auto", config.Auto, []keys.Algorithm{keys.ES256}, nil, "token", true, true},
		{"auto, own store", config.Auto, []keys.Algorithm{keys.ES256}, store, "token", true, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := config.Config{Mode: row.mode}
			if row.algorithms != nil {
				c.Keys.File = keyFile(t, row.algorithms...)
			}
			app := build(t, c, config.Options{Store: row.store})
			cookie := login(t, app, "alice")
			require.Equal(t, "__Host-session", cookie.Name)
			require.Equal(t, row.form, form(cookie))
			require.Equal(t, "alice", subjectOf(t, app, cookie))
			require.Equal(t, row.hasStore, app.Store != nil)
			require.Equal(t, row.issuing, app.Issuer != nil)
			require.Len(t, app.Keys.Set().Keys(), len(row.algorithms))
			require.NoError(t, app.Revocations.EndSubject(t.Context(), "alice"))
			require.Empty(t, subjectOf(t, app, cookie))
		})
	}
}

// Five mistakes in five places are five errors, and nothing is left open.
func TestBuildReportsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // fails if a goroutine is left
		journal := filepath.Join(t.TempDir(), "revocations.journal")
		app, err := config.Config{
			Mode:        config.Auto,
			Keys:        config.KeysConfig{File: filepath.Join(t.TempDir(), "none.json")},
			Session:     config.SessionConfig{IdleTimeout: config.Duration(time.Hour), Lifetime: config.Duration(time.Minute)},
			Cookie:      config.CookieConfig{Domain: "shop.example"},
			Store:       config.StoreConfig{MaxSessions: -1},
			Timeout:     config.Duration(-time.Second),
			Revocations: config.RevocationsConfig{File: journal},
		}.Build(config.Options{})
		require.Nil(t, app)
		lines := strings.Split(err.Error(), "\n")
		for i, want := range []string{
			`config: field "session.idle_timeout": 1h is longer than the lifetime of 1m: shorten it, or set session.lifetime to 1h or more`,
			`config: field "timeout": -1s is negative`,
			`config: field "keys.file": no key file at `,
			`config: field "store.max_sessions": is -1: must not be negative`,
			`config: field "cookie.domain": "shop.example" can't go with the cookie name __Host-session`,
		} {
			require.Contains(t, lines[i], want)
		}
		require.Len(t, lines, 5, "%v", err)

		list, err := revocation.Open(revocation.Config{Path: journal, Lifetime: time.Hour})
		require.NoError(t, err, "the journal is free again")
		require.NoError(t, list.Close())
	})
}

func TestBuildRefused(t *testing.T) {
	store, err := opaque.NewMemoryStore(opaque.MemoryConfig{})
	require.NoError(t, err)
	defer store.Close()
	file, symmetric := keyFile(t), keyFile(t, keys.HS256)
	yes := true
	for _, row := range []struct {
		name string
		in   config.Config
		o    config.Options
		want []string
	}{
		{"stateless without keys", config.Config{}, config.Options{}, []string{`config: field "keys.file", or variable CLOAKROOM_KEYSET, is missing: mode stateless needs a key file; make one with: keygen init, or choose mode opaque`}},
		{"auto without keys", config.Config{Mode: config.Auto}, config.Options{}, []string{`field "keys.file", or variable CLOAKROOM_KEYSET, is missing: mode auto needs a key file`}},
		{"mode", config.Config{Mode: "server"}, config.Options{}, []string{`field "mode": "server" is not one of stateless, opaque, auto`}},
		{"tokens without keys", config.Config{Mode: config.Opaque, AcceptOtherForm: &yes}, config.Options{}, []string{`field "accept_other_form": is true, and without keys.file no token can be accepted`}},
		{"trusted in two places", config.Config{Mode: config.Opaque, CrossOrigin: config.CrossOriginConfig{Trusted: []string{"https://partner.example"}}}, config.Options{CrossOrigin: http.NewCrossOriginProtection()}, []string{`config: field "cross_origin.trusted": has no effect, since the application decides with Options.CrossOrigin; leave one of them out`}},
		{"rotation without a file", config.Config{Mode: config.Opaque, Keys: config.KeysConfig{Rotate: true, PassphraseEnv: "X"}}, config.Options{}, []string{`config: field "keys.passphrase_env": is about a key file, and keys.file names none; name it, or leave this out`, `config: field "keys.rotate": is about a key file`}},
		{"reads all the time", config.Config{Mode: config.Opaque, Keys: config.KeysConfig{File: file, Reload: config.Duration(time.Millisecond)}}, config.Options{}, []string{`config: field "keys.reload": 1ms is too short; write 1s or more`}},
		{"encryption keys alone", config.Config{Keys: config.KeysConfig{File: keyFile(t, keys.Direct)}}, config.Options{}, []string{`field "keys.file": has no key that signs, now or later; run: keygen rotate --if-due`}},
		{"store that outlives the list", config.Config{Mode: config.Opaque}, config.Options{Store: store}, []string{`field "revocations.file": is missing: the store outlives this process`}},
		{"journal in nowhere", config.Config{Keys: config.KeysConfig{File: file}, Revocations: config.RevocationsConfig{File: "/nowhere/x"}}, config.Options{}, []string{`field "revocations.file": "/nowhere/x" is in a directory that doesn't exist`}},
		{"two lists", config.Config{Mode: config.Opaque, Revocations: config.RevocationsConfig{File: filepath.Join(t.TempDir(), "x"), InsecureVolatile: true}}, config.Options{}, []string{`field "revocations.insecure_volatile": contradicts field "revocations.file"; keep one of them`}},
		{"OnExpire of another store", config.Config{Keys: config.KeysConfig{File: symmetric}}, config.Options{Store: store, OnExpire: func(*session.Record) {}}, []string{`Options.OnExpire is for sessions in the memory of this process`}},
		{"issuer and audience", config.Config{Keys: config.KeysConfig{File: file}, Issuer: "\xff", Audience: "\xff"}, config.Options{}, []string{`field "issuer": must be UTF-8`, `field "audience": must be UTF-8`}},
		{"negative", config.Config{Mode: config.Opaque, Keys: config.KeysConfig{File: file, Reload: -1}, TokenMemory: -1, Store: config.StoreConfig{Linger: -1}, Revocations: config.RevocationsConfig{Skew: -1, Wait: -1, MaxEntries: 9_999}}, config.Options{}, []string{`field "keys.reload"`, `field "store.linger"`, `field "revocations.skew"`, `field "revocations.wait"`, `field "revocations.max_entries": 9999 is too few; write at least 10000`, `field "token_memory"`}},
		{"cookie", config.Config{Mode: config.Opaque, Cookie: config.CookieConfig{Path: "/shop", Domain: "shop.example", InsecureAllowHTTP: true}}, config.Options{}, []string{`field "cookie.domain": "shop.example" can't go with the cookie name`, `field "cookie.path": "/shop" can't go with the cookie name`, `field "cookie.insecure_allow_http": can't go with the cookie name`}},
		{"cookie that can't be sent", config.Config{Mode: config.Opaque, Cookie: config.CookieConfig{Name: "a b"}}, config.Options{}, []string{`field "cookie.name": "a b" can't be sent`}},
		{"store", config.Config{Mode: config.Opaque, Store: config.StoreConfig{MaxSessions: -1}}, config.Options{}, []string{`field "store.max_sessions": is -1`}},
		{"anonymous", config.Config{Mode: config.Opaque, Store: config.StoreConfig{AnonymousPercent: 101}}, config.Options{}, []string{`field "store.anonymous_percent": is 101: must be between 0 and 100`}},
		{"same-site", config.Config{Mode: config.Opaque, Cookie: config.CookieConfig{Name: "sid", SameSite: "none", InsecureAllowHTTP: true}}, config.Options{}, []string{`field "cookie.same_site": can't be None together with cookie.insecure_allow_http`}},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.o.Logger = slog.New(slog.DiscardHandler)
			app, err := row.in.Build(row.o)
			require.Nil(t, app)
			require.Error(t, err)
			lines := strings.Split(err.Error(), "\n")
			require.Len(t, lines, len(row.want), "%v", err)
			for i, want := range row.want {
				require.Contains(t, lines[i], "config: ")
				require.Contains(t, lines[i], want)
			}
		})
	}
}

// A change of mode logs nobody out, unless a setting says so.
func TestChangeOfMode(t *testing.T) {
	store, err := opaque.NewMemoryStore(opaque.MemoryConfig{})
	require.NoError(t, err)
	defer store.Close()
	no := false
	for _, row := range []struct {
		from, to config.Mode
		accept   *bool
		subject  string
	}{
		{config.Stateless, config.Opaque, nil, "alice"},
		{config.Opaque, config.Stateless, nil, "alice"},
		{config.Auto, config.Opaque, nil, "alice"},
		{config.Opaque, config.Auto, nil, "alice"},
		{config.Stateless, config.Opaque, &no, ""},
		{config.Opaque, config.Stateless, &no, ""},
		{config.Opaque, config.Auto, &no, "alice"}, // auto has both forms of its own
		{config.Stateless, config.Stateless, &no, "alice"},
	} {
		t.Run(fmt.Sprintf("%s to %s, accept %t", row.from, row.to, row.accept == nil), func(t *testing.T) {
			file := config.KeysConfig{File: keyFile(t)}
			before := build(t, config.Config{Mode: row.from, Keys: file}, config.Options{Store: store})
			cookie := login(t, before, "alice")
			require.NoError(t, before.Close())

			after := build(t, config.Config{Mode: row.to, Keys: file, AcceptOtherForm: row.accept}, config.Options{Store: store})
			require.Equal(t, row.subject, subjectOf(t, after, cookie))
			if row.subject == "" {
				return
			}
			moved := visit(t, after, cookie, func(s *session.Session) { require.NoError(t, session.Key[any]("a").Set(s, 1)) })
			want := "token"
			if row.to == config.Opaque {
				want = "opaque"
			}
			require.Equal(t, want, form(moved))
			require.Equal(t, "alice", subjectOf(t, after, moved))
		})
	}
}

// A logout stays one after a restart, and so does a login.
func TestRestart(t *testing.T) {
	c := config.Config{Keys: config.KeysConfig{File: keyFile(t)}}
	first := build(t, c, config.Options{})
	alice, bob := login(t, first, "alice"), login(t, first, "bob")
	visit(t, first, alice, func(s *session.Session) { require.NoError(t, s.Destroy()) })

	second, err := c.Build(config.Options{})
	require.Nil(t, second)
	require.ErrorContains(t, err, `config: field "revocations.file": journal `, "one process has the journal")

	require.NoError(t, first.Close())
	again := build(t, c, config.Options{})
	require.Empty(t, subjectOf(t, again, alice))
	require.Equal(t, "bob", subjectOf(t, again, bob))
}

func TestInsecureVolatile(t *testing.T) {
	path := keyFile(t)
	build(t,
		config.Config{Keys: config.KeysConfig{File: path}, Revocations: config.RevocationsConfig{InsecureVolatile: true}},
		config.Options{})
	names, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	for _, file := range names {
		require.NotContains(t, file.Name(), "journal")
	}
}

// The largest token fills the cookie, whatever its name, and not a byte more.
func TestCookieIsFilled(t *testing.T) {
	for _, name := range []string{"", "s", "__Secure-" + strings.Repeat("n", 200)} {
		app := build(t, config.Config{Keys: config.KeysConfig{File: keyFile(t)}, Cookie: config.CookieConfig{Name: name}},
			config.Options{})
		var cookie *http.Cookie
		for size := 1500; ; size++ {
			tooLarge := false
			next := visit(t, app, nil, func(s *session.Session) {
				require.NoError(t, session.Key[any]("a").Set(s, strings.Repeat("x", size)))
				tooLarge = errors.Is(s.Save(t.Context()), session.TooLarge)
			})
			if tooLarge {
				break
			}
			cookie = next
		}
		length := len(cookie.Name) + len(cookie.Value)
		require.LessOrEqual(t, length, 4096, name)
		require.Greater(t, length, 4090, name)
	}
}

func ExampleConfig_Build() {
	cfg, err := config.Parse([]byte("mode: opaque"))
	if err != nil {
		fmt.Println(err)
		return
	}
	app, err := cfg.Build(config.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Println(err) // all mistakes, one a line
		return
	}
	defer app.Close()

	const visits session.Key[int] = "visits"
	handler := app.Middleware.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := visits.Update(session.From(r.Context()), func(n int) int { return n + 1 })
		fmt.Fprintln(w, n, err)
	}))

	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	fmt.Print(w.Body)
	// Output: 1 <nil>
}
