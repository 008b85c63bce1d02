package sessiontest_test

import (
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/sessiontest"
)

func get() *http.Request { return httptest.NewRequest(http.MethodGet, "/", nil) }

func TestRequest(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	clock := func() time.Time { return now }
	for _, row := range []struct {
		name        string
		in          sessiontest.Session
		id, subject string
		expires     time.Time
		visits      int
	}{
		{"nobody", sessiontest.Session{}, "", "", time.Time{}, 0},
		{"nobody, with a clock", sessiontest.Session{Now: clock}, "", "", time.Time{}, 0},
		{"empty session", sessiontest.Session{ID: "x", Now: clock}, "x", "", now.Truncate(time.Second).Add(20 * time.Minute), 0},
		{"values", sessiontest.Session{Values: map[string]any{"visits": 3}, Now: clock}, "test-session", "", now.Truncate(time.Second).Add(20 * time.Minute), 3},
		{"subject", sessiontest.Session{Subject: "alice", Now: clock}, "test-session", "alice", now.Truncate(time.Second).Add(20 * time.Minute), 0},
		{"login long ago", sessiontest.Session{Subject: "alice", AuthenticatedAt: now.Add(-12*time.Hour + time.Minute), Now: clock}, "test-session", "alice", now.Truncate(time.Second).Add(time.Minute), 0},
		{"policy", sessiontest.Session{Subject: "alice", Policy: session.AAL3(), Now: clock}, "test-session", "alice", now.Truncate(time.Second).Add(15 * time.Minute), 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := sessiontest.Request(get(), row.in)
			s := session.From(r.Context())
			require.Equal(t, row.id, s.ID())
			require.Equal(t, row.id == "", s.IsNew())
			require.Equal(t, row.subject, s.Subject())
			require.Equal(t, row.expires, s.ExpiresAt())
			require.Equal(t, row.visits, visits.Get(s))
			if !row.in.AuthenticatedAt.IsZero() {
				require.Equal(t, row.in.AuthenticatedAt, s.AuthenticatedAt())
			}
			after := sessiontest.After(r)
			require.Equal(t, row.id, after.ID)
			require.Equal(t, row.subject, after.Subject)
			require.False(t, after.Renewed || after.Destroyed, "nothing was done")
		})
	}
}

func TestAfter(t *testing.T) {
	alice := sessiontest.Session{Subject: "alice", Values: map[string]any{"visits": 1}}
	for _, row := range []struct {
		name string
		in   sessiontest.Session
		do   func(s *session.Session) error
		want sessiontest.Result
	}{
		{"nothing", alice, func(*session.Session) error { return nil }, sessiontest.Result{ID: "test-session", Subject: "alice", Values: map[string]any{"visits": 1.0}}},
		{"set", alice, func(s *session.Session) error { return session.Key[any]("a").Set(s, []string{"b"}) }, sessiontest.Result{ID: "test-session", Subject: "alice", Values: map[string]any{"visits": 1.0, "a": []any{"b"}}}},
		{"clear", alice, func(s *session.Session) error { return s.Clear() }, sessiontest.Result{ID: "test-session", Subject: "alice", Values: map[string]any{}}},
		{"login again", alice, func(s *session.Session) error { return s.Login("alice") }, sessiontest.Result{ID: "test-session", Subject: "alice", Values: map[string]any{"visits": 1.0}, Renewed: true}},
		{"login of another", alice, func(s *session.Session) error { return s.Login("bob") }, sessiontest.Result{ID: "test-session", Subject: "bob", Values: map[string]any{}, Renewed: true}},
		{"renew", alice, func(s *session.Session) error { return s.Renew() }, sessiontest.Result{ID: "test-session", Subject: "alice", Values: map[string]any{"visits": 1.0}, Renewed: true}},
		{"destroy", alice, func(s *session.Session) error { return s.Destroy() }, sessiontest.Result{Values: map[string]any{}, Destroyed: true}},
		{"renew nothing", sessiontest.Session{}, func(s *session.Session) error { return s.Renew() }, sessiontest.Result{Values: map[string]any{}}},
	} {
		for _, save := range []bool{false, true} {
			r := sessiontest.Request(get(), row.in)
			s := session.From(r.Context())
			require.NoError(t, row.do(s))
			if save {
				require.NoError(t, s.Save(r.Context()))
				require.NoError(t, s.Save(r.Context()))
			}
			require.Equal(t, row.want, sessiontest.After(r), "%s, saved %t", row.name, save)
		}
	}

	r := sessiontest.Request(get(), sessiontest.Session{})
	require.NoError(t, session.From(r.Context()).Login("alice"))
	require.True(t, sessiontest.After(r).Renewed, "a login of a visitor without a session")
}

func TestSaveError(t *testing.T) {
	r := sessiontest.Request(get(), sessiontest.Session{Values: map[string]any{"visits": 1}, SaveError: session.TooLarge})
	s := session.From(r.Context())
	require.NoError(t, visits.Set(s, 2))
	require.ErrorIs(t, s.Save(r.Context()), session.TooLarge)
	require.Equal(t, 1, visits.Get(s), "the session is as it was")
}

// A session that is over can't be saved, as through the middleware.
func TestSaveTooLate(t *testing.T) {
	now := time.Now()
	r := sessiontest.Request(get(), sessiontest.Session{Subject: "alice", Now: func() time.Time { return now }})
	s := session.From(r.Context())
	require.NoError(t, s.Save(r.Context()))
	now = now.Add(time.Hour)
	require.ErrorIs(t, s.Save(r.Context()), session.IdleTimeout)
	require.NoError(t, visits.Set(s, 2))
	require.ErrorIs(t, s.Save(r.Context()), session.IdleTimeout)
	require.Zero(t, visits.Get(s))
}

func TestPanics(t *testing.T) {
	require.PanicsWithValue(t, "sessiontest: After needs the request that Request has returned, or one made of it",
		func() { sessiontest.After(get()) })
	require.Panics(t, func() { sessiontest.Request(get(), sessiontest.Session{Values: map[string]any{"a": math.NaN()}}) })
	require.Panics(t, func() { sessiontest.Request(get(), sessiontest.Session{Subject: strings.Repeat("a", 300)}) })
}

// seen is what a handler behind the kit's middleware finds.
func seen(t *testing.T, kit *sessiontest.Kit, cookie *http.Cookie) (subject string, n int) {
	t.Helper()
	r := get()
	r.AddCookie(cookie)
	w := httptest.NewRecorder()
	kit.Middleware.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		s := session.From(r.Context())
		subject, n = s.Subject(), visits.Get(s)
	})).ServeHTTP(w, r)
	require.Equal(t, http.StatusOK, w.Code)
	return subject, n
}

func TestKit(t *testing.T) {
	kit := sessiontest.New(t, nil)
	require.Equal(t, "2026-01-02T03:04:05Z", kit.Clock.Now().Format(time.RFC3339))
	cookie := kit.Cookie(sessiontest.Session{Subject: "alice", Values: map[string]any{"visits": 5}})
	require.Equal(t, "__Host-session", cookie.Name)
	subject, n := seen(t, kit, cookie)
	require.Equal(t, "alice", subject)
	require.Equal(t, 5, n)

	kit.Clock.Advance(20*time.Minute - time.Second)
	subject, _ = seen(t, kit, cookie)
	require.Equal(t, "alice", subject)
	require.NoError(t, kit.Revocations.EndSubject(t.Context(), "alice"))
	subject, _ = seen(t, kit, cookie)
	require.Empty(t, subject)

	kit.Clock.Advance(time.Millisecond)
	subject, _ = seen(t, kit, kit.Cookie(sessiontest.Session{Subject: "alice"}))
	require.Equal(t, "alice", subject)
	require.Len(t, kit.Keys.Set().Keys(), 2)
}

// The kit takes any carrier.
func TestKitOpaque(t *testing.T) {
	kit := sessiontest.New(t, func(c *middleware.Config) {
		store, err := opaque.NewMemoryStore(opaque.MemoryConfig{Now: c.Now})
		require.NoError(t, err)
		t.Cleanup(func() { store.Close() })
		c.Carrier, err = opaque.NewCarrier(opaque.CarrierConfig{Store: store, Now: c.Now})
		require.NoError(t, err)
		c.Cookie.Name = "sid"
		c.Cookie.Persistent = true
	})
	cookie := kit.Cookie(sessiontest.Session{})
	require.Equal(t, "sid", cookie.Name)
	require.NotContains(t, cookie.Value, ".")
	subject, _ := seen(t, kit, cookie)
	require.Empty(t, subject)
}

// A remembered session lives as long as the policy says for those.
func TestPersistent(t *testing.T) {
	for _, subject := range []string{"", "alice"} {
		want := sessiontest.Session{Subject: subject, Persistent: true}
		r := sessiontest.Request(httptest.NewRequest(http.MethodGet, "/", nil), want)
		s := session.From(r.Context())
		if !s.Snapshot().Persistent || s.IsNew() || s.Subject() != subject || !sessiontest.After(r).Persistent {
			t.Errorf("subject %q: the session is not remembered", subject)
		}
		if err := s.Remember(false); err != nil || sessiontest.After(r).Persistent {
			t.Errorf("subject %q: the session is still remembered: %v", subject, err)
		}
		kit := sessiontest.New(t, nil)
		kit.Clock.Set(time.Date(2030, 12, 31, 23, 59, 59, 0, time.UTC))
		r = httptest.NewRequest(http.MethodGet, "/", nil)
		r.AddCookie(kit.Cookie(want))
		kit.Clock.Advance(13 * 24 * time.Hour)
		app := kit.Middleware.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			s := session.From(r.Context())
			if s.IsNew() || s.Snapshot().CreatedAt.Year() != 2030 {
				t.Errorf("subject %q: the session is over, or was created at %v", subject, s.Snapshot().CreatedAt)
			}
		}))
		app.ServeHTTP(httptest.NewRecorder(), r)
	}
}
