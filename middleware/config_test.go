package middleware_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestNewReportsEveryMistake(t *testing.T) {
	m, err := middleware.New(middleware.Config{
		Accept:  []middleware.Carrier{nil},
		Timeout: -1,
		Policy:  session.Policy{IdleTimeout: time.Hour, Lifetime: time.Minute},
		Cookie:  middleware.Cookie{Name: "__Host-x", Domain: "example.com", Path: "/app", SameSite: 9},
	})
	assert.Nil(t, m)
	for _, field := range []string{
		"Config.Carrier", "Config.Accept", "Config.Timeout", "Policy.IdleTimeout",
		"Cookie.Domain", "Cookie.Path", "Cookie.SameSite",
	} {
		assert.ErrorContains(t, err, field)
	}
}

func TestCookieConfig(t *testing.T) {
	tests := []struct {
		name   string
		cookie middleware.Cookie
		want   string // in the error; "" for none
	}{
		{"zero", middleware.Cookie{}, ""},
		{"plain name", middleware.Cookie{Name: "sid", Path: "/app", Domain: "example.com"}, ""},
		{"__Secure- with a domain", middleware.Cookie{Name: "__Secure-sid", Domain: "example.com"}, ""},
		{"strict, partitioned", middleware.Cookie{SameSite: http.SameSiteStrictMode, Partitioned: true}, ""},
		{"None and Secure", middleware.Cookie{SameSite: http.SameSiteNoneMode}, ""},
		{"HTTP", middleware.Cookie{Name: "sid", InsecureAllowHTTP: true}, ""},
		{"HTTP with the default name", middleware.Cookie{InsecureAllowHTTP: true}, "InsecureAllowHTTP"},
		{"HTTP with __Secure-", middleware.Cookie{Name: "__Secure-sid", InsecureAllowHTTP: true}, "InsecureAllowHTTP"},
		{"HTTP with None", middleware.Cookie{Name: "sid", InsecureAllowHTTP: true, SameSite: http.SameSiteNoneMode}, "SameSite can't be None"},
		{"HTTP partitioned", middleware.Cookie{Name: "sid", InsecureAllowHTTP: true, Partitioned: true}, "Partitioned"},
		{"__Host- with a domain", middleware.Cookie{Domain: "example.com"}, "Domain"},
		{"__Host- with a path", middleware.Cookie{Path: "/app"}, "Path"},
		{"prefix in the wrong case", middleware.Cookie{Name: "__host-sid"}, "prefix"},
		{"name with a space", middleware.Cookie{Name: "s id"}, "can't be sent"},
		{"name with a line break", middleware.Cookie{Name: "s\r\nSet-Cookie: x"}, "can't be sent"},
		{"name too long", middleware.Cookie{Name: strings.Repeat("x", 257)}, "257"},
		{"domain with a semicolon", middleware.Cookie{Name: "sid", Domain: "a;b"}, "not a domain"},
		{"path with a semicolon", middleware.Cookie{Name: "sid", Path: "/;x"}, "can't carry"},
		{"default SameSite", middleware.Cookie{SameSite: http.SameSiteDefaultMode}, "SameSite"},
	}
	w := newWorld(t)
	stateless, _ := w.Carriers(t)
	for _, tt := range tests {
		_, err := middleware.New(middleware.Config{Carrier: stateless, Cookie: tt.cookie})
		if tt.want == "" {
			assert.NoError(t, err, tt.name)
		} else {
			assert.ErrorContains(t, err, tt.want, tt.name)
		}
	}
}

func TestCookieAttributes(t *testing.T) {
	w := newWorld(t)
	m := w.Middleware(t, "opaque", func(c *middleware.Config) {
		c.Cookie = middleware.Cookie{
			Name: "__Secure-app", Path: "/app", Domain: "example.com",
			SameSite: http.SameSiteNoneMode, Partitioned: true, Persistent: true,
		}
	})
	out := httptest.NewRecorder()
	m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.NoError(t, visits.Set(session.From(r.Context()), 1))
		w.Header().Set("Vary", "Accept")
	})).ServeHTTP(out, httptest.NewRequest(http.MethodGet, "/app", nil))
	got := out.Header().Get("Set-Cookie")
	assert.Regexp(t, `^__Secure-app=cr1_[\w-]{43}; Path=/app; Domain=example\.com; Max-Age=2592000; `+
		`HttpOnly; Secure; SameSite=None; Partitioned$`, got)
	assert.Equal(t, []string{"Accept", "Cookie"}, out.Header()["Vary"])
}

// The zero Middleware denies every request.
func TestZeroMiddleware(t *testing.T) {
	out := httptest.NewRecorder()
	new(middleware.Middleware).Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the handler ran")
	})).ServeHTTP(out, httptest.NewRequest(http.MethodGet, "/", nil))
	assert.Equal(t, http.StatusServiceUnavailable, out.Code)
}

// Without a middleware reads give zero values, and writes say what is missing.
func TestWithoutMiddleware(t *testing.T) {
	s := session.From(t.Context())
	require.NotNil(t, s)
	assert.Empty(t, s.ID())
	assert.Zero(t, visits.Get(s))
	assert.Empty(t, s.Keys())
	_, updateErr := visits.Update(s, func(n int) int { return n })
	for name, err := range map[string]error{
		"set": visits.Set(s, 1), "delete": visits.Delete(s), "clear": s.Clear(), "login": s.Login("a"), "renew": s.Renew(),
		"destroy": s.Destroy(), "save": s.Save(t.Context()), "remember": s.Remember(true), "update": updateErr,
	} {
		assert.ErrorIs(t, err, session.NoMiddleware, name)
	}
}

func TestOnTimeout(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode string, w *world, _ *browser) {
		var mu sync.Mutex
		var told []string
		m := w.Middleware(t, mode, func(c *middleware.Config) {
			c.OnTimeout = func(_ context.Context, rec *session.Record, why session.Reason) {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, fmt.Sprintf("%s %s %s", rec.ID, rec.Subject, why.String()))
			}
		})
		b := newSite(t, m).Browser()
		var id string
		b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")); id = s.ID() })
		w.Advance(21 * time.Minute)
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				b.Site.Holding(b.Credential()).Do(func(s *session.Session) { assert.True(t, s.IsNew()) })
			})
		}
		wg.Wait()
		assert.Equal(t, []string{id + " alice idle_timeout"}, told, "once for the session")

		b.Do(func(s *session.Session) { assert.NoError(t, s.Login("bob")); id = s.ID() })
		for range 48 {
			w.Advance(15 * time.Minute)
			b.Do(func(*session.Session) {})
		}
		require.Len(t, told, 2)
		assert.Equal(t, id+" bob lifetime_over", told[1])

		b.Do(func(s *session.Session) { assert.NoError(t, s.Login("carol")) })
		credential := b.Credential()
		b.Do(func(s *session.Session) { assert.NoError(t, s.Destroy()) })
		w.Advance(time.Hour)
		b.Site.Holding(credential).Do(func(*session.Session) {})
		assert.Len(t, told, 2, "a logout is no timeout")
	})
}

// Sessions that nobody came back for are told by the store.
func TestOnExpire(t *testing.T) {
	clock := apptest.NewClock(time.Now())
	var mu sync.Mutex
	var told []string
	onExpire := opaque.Expired(func(rec *session.Record) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, rec.Subject)
	})
	memory, err := opaque.NewMemoryStore(opaque.MemoryConfig{Now: clock.Now, Linger: time.Second, OnExpire: onExpire})
	require.NoError(t, err)
	defer memory.Close()
	stored, err := opaque.NewCarrier(opaque.CarrierConfig{Store: memory, Now: clock.Now})
	require.NoError(t, err)
	m, err := middleware.New(middleware.Config{Carrier: stored, Now: clock.Now})
	require.NoError(t, err)
	site := newSite(t, m)
	for _, subject := range []string{"alice", "bob"} {
		b := site.Browser()
		b.Do(func(s *session.Session) { assert.NoError(t, session.Key[any]("before").Set(s, 1)) })
		b.Do(func(s *session.Session) { assert.NoError(t, s.Login(subject)) })
		if subject == "bob" {
			b.Do(func(s *session.Session) { assert.NoError(t, s.Destroy()) })
		}
	}
	clock.Advance(time.Hour)
	require.Eventually(t, func() bool {
		// This gives the store something to do.
		site.Browser().Do(func(s *session.Session) { assert.NoError(t, session.Key[any]("x").Set(s, 1)) })
		mu.Lock()
		defer mu.Unlock()
		return len(told) > 0
	}, 10*time.Second, time.Millisecond)
	mu.Lock()
	defer mu.Unlock()
	assert.Equal(t, []string{"alice"}, told, "not what a renewal left behind, nor who logged out")
}

func TestEvents(t *testing.T) {
	w := newWorld(t)
	seen := &events{}
	var log bytes.Buffer
	toLog := middleware.LogEvents(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	m := func(mode string) *middleware.Middleware {
		return w.Middleware(t, mode, func(c *middleware.Config) {
			c.OnEvent = func(ctx context.Context, e middleware.Event) { seen.Add(ctx, e); toLog(ctx, e) }
		})
	}
	b := newSite(t, m("stateless")).Browser()
	b.Do(func(s *session.Session) { assert.NoError(t, visits.Set(s, 1)) })
	b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	old := b.Credential()
	b.Site.Run(m("opaque"))
	b.Do(func(s *session.Session) { assert.NoError(t, visits.Set(s, 2)) })
	b.Do(func(s *session.Session) { assert.NoError(t, s.Destroy()) })
	b.Site.Opens(old)
	b.Site.Opens("garbage")
	b.Site.Opens("cr1_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	want := []string{
		"created", "renewed", "moved", "ended", "refused:not_found", "refused:malformed", "refused:not_found",
	}
	assert.Equal(t, want, seen.Kinds())
	assert.Contains(t, log.String(), `level=INFO msg="session renewed"`)
	assert.Contains(t, log.String(), `level=WARN msg="session refused" session="" subject="" reason=malformed`)
	assert.Contains(t, log.String(), `level=INFO msg="session refused" session="" subject="" reason=not_found`)
	assert.Contains(t, log.String(), `msg="session ended"`)
	assert.Regexp(t, `msg="session ended" session=\S+ subject=alice`, log.String())
	assert.Contains(t, log.String(), "reason=not_found")
	assert.NotContains(t, log.String(), old)
	assert.NotContains(t, log.String(), "AAAAAA", "no credential in a log, not even a bad one")
}

func TestRequireSubject(t *testing.T) {
	w := newWorld(t)
	m := w.Middleware(t, "stateless")
	in := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "in") })
	protected := middleware.RequireSubject(middleware.RequireConfig{LoginURL: "/login?next=1"})(in)
	tests := []struct {
		name     string
		method   string
		header   map[string]string
		status   int
		location string
	}{
		{"page", "GET", map[string]string{"Accept": "text/html,*/*"}, 303, "/login?next=1"},
		{"navigation", "GET", map[string]string{"Sec-Fetch-Mode": "navigate"}, 303, "/login?next=1"},
		{"head", "HEAD", map[string]string{"Sec-Fetch-Mode": "navigate"}, 303, "/login?next=1"},
		{"fetch", "GET", map[string]string{"Sec-Fetch-Mode": "cors", "Accept": "text/html"}, 401, ""},
		{"api", "GET", map[string]string{"Accept": "application/json"}, 401, ""},
		{"post", "POST", map[string]string{"Accept": "text/html"}, 401, ""},
	}
	for _, tt := range tests {
		r := httptest.NewRequest(tt.method, "/", nil)
		for name, value := range tt.header {
			r.Header.Set(name, value)
		}
		out := httptest.NewRecorder()
		m.Handler(protected).ServeHTTP(out, r)
		assert.Equal(t, tt.status, out.Code, tt.name)
		assert.Equal(t, tt.location, out.Header().Get("Location"), tt.name)
		assert.Equal(t, "no-store", out.Header().Get("Cache-Control"), tt.name)
	}
}

// Ending all sessions of a subject reaches each of them, whatever its form, and
// leaves those who log in afterwards alone.
func TestEndSubject(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode string, w *world, b *browser) {
		other, bob := b.Site.Browser(), b.Site.Browser()
		b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
		other.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
		bob.Do(func(s *session.Session) { assert.NoError(t, s.Login("bob")) })
		w.Advance(time.Second)
		b.Do(func(s *session.Session) {
			assert.NoError(t, w.List.EndSubject(t.Context(), s.Subject()))
			assert.NoError(t, s.Destroy())
		})
		other.Do(func(s *session.Session) { assert.True(t, s.IsNew()) })
		bob.Do(func(s *session.Session) { assert.Equal(t, "bob", s.Subject()) })
		w.Advance(time.Millisecond)
		other.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
		other.Do(func(s *session.Session) { assert.Equal(t, "alice", s.Subject()) })
	})
}
