package config_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/revocation"
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
	r := httptest.NewRequest(http.MethodGet, "https://shop.example/", nil)
	if cookie != nil {
		r.AddCookie(&http.Cookie{Name: cookie.Name, Value: cookie.Value})
	}
	w := httptest.NewRecorder()
	app.Middleware.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { f(session.From(r.Context())) })).ServeHTTP(w, r)
	for _, set := range w.Result().Cookies() {
		cookie = set
	}
	return w.Code, cookie
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
			require.Len(t, app.Keys.Keys(), len(row.algorithms))
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
			moved := visit(t, after, cookie, func(s *session.Session) { require.NoError(t, s.Set("a", 1)) })
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
	build(t, config.Config{Keys: config.KeysConfig{File: path}, Revocations: config.RevocationsConfig{InsecureVolatile: true}}, config.Options{})
	names, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	for _, file := range names {
		require.NotContains(t, file.Name(), "journal")
	}
}

// The largest token fills the cookie, whatever its name, and not a byte more.
func TestCookieIsFilled(t *testing.T) {
	for _, name := range []string{"", "s", "__Secure-" + strings.Repeat("n", 200)} {
		app := build(t, config.Config{Keys: config.KeysConfig{File: keyFile(t)}, Cookie: config.CookieConfig{Name: name}}, config.Options{})
		var cookie *http.Cookie
		for size := 1500; ; size++ {
			tooLarge := false
			next := visit(t, app, nil, func(s *session.Session) {
				require.NoError(t, s.Set("a", strings.Repeat("x", size)))
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

// Close ends all goroutines, as synctest checks, and may be called again.
func TestClose(t *testing.T) {
	require.NoError(t, new(config.App).Close())
	synctest.Test(t, func(t *testing.T) {
		c := config.Config{Mode: config.Auto, Keys: config.KeysConfig{File: keyFile(t)}}
		app, err := c.Build(config.Options{})
		require.NoError(t, err)
		require.NoError(t, app.Close())
		require.NoError(t, app.Close())
		require.Error(t, app.Revocations.EndAll(t.Context()), "what ends now would be forgotten")
	})
}

func TestOptionsReachTheirPlace(t *testing.T) {
	var mu sync.Mutex
	var happened []string
	note := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		happened = append(happened, fmt.Sprintf(format, args...))
	}
	synctest.Test(t, func(t *testing.T) {
		c := config.Config{
			Mode:    config.Opaque,
			Session: config.SessionConfig{RememberedIdleTimeout: config.Duration(time.Minute), RememberedLifetime: config.Duration(time.Hour), IdleTimeout: config.Duration(time.Minute), Lifetime: config.Duration(time.Hour), Persistent: true},
			Cookie:  config.CookieConfig{Name: "__Secure-shop", Path: "/shop", Domain: "shop.example", SameSite: "strict", Partitioned: true},
			Store:   config.StoreConfig{Linger: config.Duration(2 * time.Minute)},
		}
		app := build(t, c, config.Options{
			OnEvent: func(_ context.Context, e middleware.Event) { note("%s %s", e.Kind, e.Subject) },
			OnTimeout: func(_ context.Context, ended *session.Record, why session.Reason) {
				note("late %s %s", ended.Subject, why.String())
			},
			OnExpire: func(ended *session.Record) { note("never came back: %s", ended.Subject) },
			ErrorHandler: func(w http.ResponseWriter, _ *http.Request, status int, err error) {
				note("denied %d %s", status, session.ReasonOf(err).String())
			},
			Now: func() time.Time { return time.Now().Add(24 * time.Hour) },
		})
		cookie := login(t, app, "alice")
		login(t, app, "bob")
		require.Equal(t, "__Secure-shop", cookie.Name)
		require.Equal(t, "/shop", cookie.Path)
		require.Equal(t, "shop.example", cookie.Domain)
		require.Equal(t, http.SameSiteStrictMode, cookie.SameSite)
		require.True(t, cookie.Secure && cookie.HttpOnly && cookie.Partitioned)
		require.Equal(t, 3600, cookie.MaxAge)
		visit(t, app, cookie, func(s *session.Session) {
			require.WithinDuration(t, time.Now().Add(24*time.Hour), s.AuthenticatedAt(), time.Second)
		})

		r := httptest.NewRequest(http.MethodPost, "https://shop.example/", nil)
		r.Header.Set("Origin", "https://evil.example")
		app.Middleware.Handler(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), r)

		time.Sleep(time.Minute)
		require.Empty(t, subjectOf(t, app, cookie))
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		require.NoError(t, app.Close())
	})
	require.Equal(t, []string{"created alice", "created bob", "refused ", "denied 403 cross_origin", "ended alice", "late alice idle_timeout", "never came back: bob"}, happened)
}

func TestEventsAreLogged(t *testing.T) {
	var log lines
	app := build(t, config.Config{Mode: config.Opaque}, config.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	cookie := login(t, app, "alice")
	require.Contains(t, log.String(), `msg="session created"`)
	require.Contains(t, log.String(), "subject=alice")
	require.NotContains(t, log.String(), cookie.Value)
}

func TestCrossOrigin(t *testing.T) {
	trusting := http.NewCrossOriginProtection()
	require.NoError(t, trusting.AddTrustedOrigin("https://partner.example"))
	partner := config.CrossOriginConfig{Trusted: []string{"https://partner.example"}}
	for _, row := range []struct {
		config  config.CrossOriginConfig
		options *http.CrossOriginProtection
		want    int
		body    string
	}{
		{config.CrossOriginConfig{}, nil, http.StatusForbidden, "Forbidden\n"},
		{config.CrossOriginConfig{}, trusting, http.StatusOK, ""},
		{partner, nil, http.StatusOK, ""},
		{config.CrossOriginConfig{Trusted: []string{"https://other.example"}}, nil, http.StatusForbidden, "Forbidden\n"},
	} {
		app := build(t, config.Config{Mode: config.Opaque, CrossOrigin: row.config}, config.Options{CrossOrigin: row.options})
		r := httptest.NewRequest(http.MethodPost, "https://shop.example/", nil)
		r.Header.Set("Origin", "https://partner.example")
		w := httptest.NewRecorder()
		app.Middleware.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(w, r)
		require.Equal(t, row.want, w.Code)
		require.Equal(t, row.body, w.Body.String(), "the client is told no more")
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

func TestEndsOfAllSessionsAreEvents(t *testing.T) {
	var got []middleware.Event
	app := build(t, config.Config{Mode: config.Opaque}, config.Options{OnEvent: func(_ context.Context, e middleware.Event) { got = append(got, e) }})
	require.NoError(t, app.Revocations.EndSubject(t.Context(), "alice"))
	require.NoError(t, app.Revocations.EndAll(t.Context()))
	require.Len(t, got, 2)
	require.Equal(t, middleware.EndedSubject, got[0].Kind)
	require.Equal(t, "alice", got[0].Subject)
	require.Equal(t, middleware.EndedAll, got[1].Kind)
	require.Empty(t, got[1].Subject)
	require.NoError(t, got[0].Err)
	require.False(t, got[0].Time.IsZero())
}
