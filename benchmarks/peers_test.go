package benchmarks_test

import (
	"io"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/gorilla/sessions"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

// An app is a site made with one of the peers: what it does for each action. It
// lacks those that the peer doesn't offer.
type app struct {
	peer string
	on   map[action]http.Handler
}

const (
	idleTimeout = 20 * time.Minute
	lifetime    = 12 * time.Hour
	timeout     = 10 * time.Second // of what a request asks a server

	subject = "4711"
	name    = "Alice Example"
	theme   = "dark"
)

func answer(w http.ResponseWriter, n int) { _, _ = io.WriteString(w, strconv.Itoa(n)) }

func welcome(w http.ResponseWriter) { _, _ = io.WriteString(w, "welcome") }

// bare is a handler without a session.
func bare() *app {
	return only("bare", func(w http.ResponseWriter, _ *http.Request) { answer(w, 1) })
}

// only returns an app that does nothing but read.
func only(peer string, h http.HandlerFunc) *app {
	return &app{peer, map[action]http.Handler{read: h}}
}

// ours returns an app with sessions in a carrier. now is the clock; if nil,
// time.Now.
func ours(
	tb testing.TB, peer string, carrier middleware.Carrier, list *revocation.List, now func() time.Time,
) *app {
	tb.Helper()
	const (
		visitsKey session.Key[int]    = "visits"
		nameKey   session.Key[string] = "name"
		themeKey  session.Key[string] = "theme"
	)
	handler := func(touchEvery time.Duration, f func(http.ResponseWriter, *session.Session) error) http.Handler {
		m, err := middleware.New(middleware.Config{
			Carrier: carrier, Revocations: list, Now: now, Timeout: timeout,
			Policy: session.Policy{IdleTimeout: idleTimeout, Lifetime: lifetime, TouchEvery: touchEvery},
		})
		require.NoError(tb, err)
		return m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := f(w, session.From(r.Context())); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		}))
	}
	begin := func(w http.ResponseWriter, s *session.Session) error {
		for _, err := range []error{
			s.Login(subject), visitsKey.Set(s, 1), nameKey.Set(s, name), themeKey.Set(s, theme),
		} {
			if err != nil {
				return err
			}
		}
		welcome(w)
		return nil
	}
	show := func(w http.ResponseWriter, s *session.Session) error {
		answer(w, visitsKey.Get(s))
		return nil
	}
	count := func(w http.ResponseWriter, s *session.Session) error {
		n, err := visitsKey.Update(s, func(n int) int { return n + 1 })
		answer(w, n)
		return err
	}
	return &app{peer, map[action]http.Handler{
		read: handler(0, show), touch: handler(1, show), increment: handler(0, count), create: handler(0, begin),
	}}
}

// oursIn returns an app with sessions in a store.
func oursIn(tb testing.TB, peer string, store opaque.Store, now func() time.Time) *app {
	tb.Helper()
	list := revocation.NewVolatile(revocation.Config{Now: now})
	secrets := [][]byte{make([]byte, 32)}
	carrier, err := opaque.NewCarrier(opaque.CarrierConfig{Store: store, Secrets: secrets, Revocations: list, Now: now})
	require.NoError(tb, err)
	return ours(tb, peer, carrier, list, now)
}

// scsIn returns an app of alexedwards/scs. With an idle timeout it writes the
// session in each request that reads it, so its read is its touch.
func scsIn(peer string, store scs.Store, idle time.Duration) *app {
	m := scs.New()
	m.Store, m.IdleTimeout, m.Lifetime, m.Cookie.Secure = store, idle, lifetime, true
	handler := func(f http.HandlerFunc) http.Handler { return m.LoadAndSave(f) }
	a := &app{peer, map[action]http.Handler{
		read: handler(func(w http.ResponseWriter, r *http.Request) { answer(w, m.GetInt(r.Context(), "visits")) }),
		increment: handler(func(w http.ResponseWriter, r *http.Request) {
			n := m.GetInt(r.Context(), "visits") + 1
			m.Put(r.Context(), "visits", n)
			answer(w, n)
		}),
		create: handler(func(w http.ResponseWriter, r *http.Request) {
			ctx := r.Context()
			if err := m.RenewToken(ctx); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			m.Put(ctx, "subject", subject)
			m.Put(ctx, "visits", 1)
			m.Put(ctx, "name", name)
			m.Put(ctx, "theme", theme)
			welcome(w)
		}),
	}}
	if idle > 0 {
		a.on[touch] = a.on[read]
	}
	return a
}

// gorillaIn returns an app of gorilla/sessions. Activity is written only where
// the handler saves, so its read has no idle timeout.
func gorillaIn(peer string, store sessions.Store) *app {
	handler := func(f func(s *sessions.Session) (save bool, n int)) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s, err := store.Get(r, "session")
			save, n := false, 0
			if err == nil {
				save, n = f(s)
			}
			if save && err == nil {
				err = s.Save(r, w)
			}
			switch {
			case err != nil:
				http.Error(w, err.Error(), http.StatusInternalServerError)
			case n == 0:
				welcome(w)
			default:
				answer(w, n)
			}
		})
	}
	show := func(save bool) http.Handler {
		return handler(func(s *sessions.Session) (bool, int) {
			n, _ := s.Values["visits"].(int)
			return save, n
		})
	}
	return &app{peer, map[action]http.Handler{
		read: show(false), touch: show(true),
		increment: handler(func(s *sessions.Session) (bool, int) {
			n, _ := s.Values["visits"].(int)
			s.Values["visits"] = n + 1
			return true, n + 1
		}),
		create: handler(func(s *sessions.Session) (bool, int) {
			s.Values["subject"], s.Values["visits"], s.Values["name"], s.Values["theme"] = subject, 1, name, theme
			return true, 0
		}),
	}}
}
