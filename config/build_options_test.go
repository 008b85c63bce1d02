package config_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/session"
)

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
			Mode: config.Opaque,
			Session: config.SessionConfig{RememberedIdleTimeout: config.Duration(time.Minute),
				RememberedLifetime: config.Duration(time.Hour), IdleTimeout: config.Duration(time.Minute),
				Lifetime: config.Duration(time.Hour), Persistent: true},
			Cookie: config.CookieConfig{Name: "__Secure-shop", Path: "/shop", Domain: "shop.example", SameSite: "strict",
				Partitioned: true},
			Store: config.StoreConfig{Linger: config.Duration(2 * time.Minute)},
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
	require.Equal(t, []string{
		"created alice", "created bob", "refused ", "denied 403 cross_origin", "ended alice",
		"late alice idle_timeout", "never came back: bob",
	}, happened)
}

func TestEventsAreLogged(t *testing.T) {
	var log lines
	app := build(t, config.Config{Mode: config.Opaque}, logTo(&log))
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

func TestEndsOfAllSessionsAreEvents(t *testing.T) {
	var got []middleware.Event
	app := build(t, config.Config{Mode: config.Opaque},
		config.Options{OnEvent: func(_ context.Context, e middleware.Event) { got = append(got, e) }})
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
