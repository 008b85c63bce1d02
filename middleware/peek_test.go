package middleware_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/session"
)

func newCounted(t *testing.T) (*world, *apptest.Counter) {
	w := newWorld(t)
	c := &apptest.Counter{Store: w.memory}
	w.Store = c
	return w, c
}

// Each row makes a credential, and says what of it Peek finds: what a request
// with it would.
func TestPeek(t *testing.T) {
	login := func(s *session.Session) { _ = s.Login("alice") }
	for _, tt := range []struct {
		name string
		make func(t *testing.T, w *world, m *middleware.Middleware) string
		want session.Reason
	}{
		{"logged in", func(t *testing.T, w *world, m *middleware.Middleware) string { return begin(t, m, "alice") }, 0},
		{"before a login", func(t *testing.T, w *world, m *middleware.Middleware) string {
			old := begin(t, m, "")
			visit(m, old, login)
			return old
		}, session.Ended},
		{"after a login", func(t *testing.T, w *world, m *middleware.Middleware) string {
			_, now := visit(m, begin(t, m, ""), login)
			return now
		}, 0},
		{"logged out", func(t *testing.T, w *world, m *middleware.Middleware) string {
			c := begin(t, m, "alice")
			visit(m, c, func(s *session.Session) { _ = s.Destroy() })
			return c
		}, session.Ended},
		{"ended with the subject's others", func(t *testing.T, w *world, m *middleware.Middleware) string {
			c := begin(t, m, "alice")
			w.Advance(time.Minute)
			require.NoError(t, w.List.EndSubject(t.Context(), "alice"))
			return c
		}, session.Ended},
		{"idle", func(t *testing.T, w *world, m *middleware.Middleware) string {
			c := begin(t, m, "alice")
			w.Advance(20 * time.Minute)
			return c
		}, session.IdleTimeout},
		{"moved to the store", func(t *testing.T, w *world, m *middleware.Middleware) string {
			c := begin(t, m, "alice")
			visit(m, c, func(s *session.Session) { _ = session.Key[string]("big").Set(s, strings.Repeat("x", 5000)) })
			return c
		}, 0},
		{"unknown", func(*testing.T, *world, *middleware.Middleware) string { return unknownID() }, session.NotFound},
		{"no credential", func(*testing.T, *world, *middleware.Middleware) string { return "" }, session.Malformed},
		{"garbage", func(*testing.T, *world, *middleware.Middleware) string { return "a\r\nb" }, session.Malformed},
		{"a forged token", func(*testing.T, *world, *middleware.Middleware) string { return "a.b.c" }, session.Malformed},
		{"a forged ticket", func(*testing.T, *world, *middleware.Middleware) string {
			return "crd1_" + b64(random(100))
		}, session.Forged},
	} {
		for _, mode := range modes {
			t.Run(tt.name+", "+mode, func(t *testing.T) {
				w, counted := newCounted(t)
				m := w.Middleware(t, mode)
				credential := tt.make(t, w, m)
				writes := counted.Writes.Load()
				rec, end, err := m.Peek(t.Context(), credential)
				again, _, errAgain := m.Peek(t.Context(), credential)
				require.Equal(t, writes, counted.Writes.Load(), "it writes nothing")
				require.Equal(t, []any{rec, session.ReasonOf(err)}, []any{again, session.ReasonOf(errAgain)})
				want := tt.want
				if want == session.Ended && mode == "opaque" && tt.name == "logged out" {
					want = session.NotFound // the item is gone
				}
				require.Equal(t, want, session.ReasonOf(err), "%v", err)
				opens := subjectOf(m, credential)
				if err != nil {
					require.Nil(t, rec)
					require.Empty(t, opens)
					return
				}
				require.Equal(t, opens, rec.Subject)
				require.WithinDuration(t, w.Now().Add(20*time.Minute), end, 0)
			})
		}
	}
}

// However often somebody peeks, the session ends as if nobody had, and the
// token that is the newest for its visitor remains that.
func TestPeekIsNoActivity(t *testing.T) {
	for _, mode := range modes {
		w, counted := newCounted(t)
		m := w.Middleware(t, mode)
		credential := begin(t, m, "alice")
		writes, begun := counted.Writes.Load(), w.Now()
		for range 19 {
			w.Advance(time.Minute)
			rec, end, err := m.Peek(t.Context(), credential)
			require.NoError(t, err)
			require.WithinDuration(t, begun, rec.SeenAt, 0)
			require.WithinDuration(t, begun.Add(20*time.Minute), end, 0)
		}
		w.Advance(time.Minute)
		_, _, err := m.Peek(t.Context(), credential)
		require.ErrorIs(t, err, session.IdleTimeout)
		require.Equal(t, writes, counted.Writes.Load(), mode)
		require.Empty(t, subjectOf(m, credential))
	}
}

// A token is taken for what it says itself, so its end is its own, although a
// request that brings it gets a newer state.
func TestPeekAtAnOlderToken(t *testing.T) {
	w := newWorld(t)
	m := w.Middleware(t, "stateless")
	old := begin(t, m, "alice")
	w.Advance(10 * time.Minute)
	_, newer := visit(m, old, func(s *session.Session) { _ = visits.Set(s, 1) })
	require.NotEqual(t, old, newer)
	for credential, left := range map[string]time.Duration{old: 10 * time.Minute, newer: 20 * time.Minute} {
		_, end, err := m.Peek(t.Context(), credential)
		require.NoError(t, err)
		require.WithinDuration(t, w.Now().Add(left), end, 0)
	}
	w.Advance(10 * time.Minute)
	_, _, err := m.Peek(t.Context(), old)
	require.ErrorIs(t, err, session.IdleTimeout)
}

// A policy that was shortened holds for the end, too.
func TestPeekKeepsAShorterPolicy(t *testing.T) {
	for _, mode := range modes {
		w := newWorld(t)
		credential := begin(t, w.Middleware(t, mode), "alice")
		short := w.Middleware(t, mode, func(c *middleware.Config) { c.Policy.IdleTimeout = 5 * time.Minute })
		_, end, err := short.Peek(t.Context(), credential)
		require.NoError(t, err)
		require.WithinDuration(t, w.Now().Add(5*time.Minute), end, 0)
	}
}

// Only a carrier that the middleware accepts is asked.
func TestPeekTakesTheFormsOfRequests(t *testing.T) {
	only := func(c *middleware.Config) { c.Accept, c.Overflow = nil, nil }
	w := newWorld(t)
	token, ticket := begin(t, w.Middleware(t, "stateless"), "alice"), begin(t, w.Middleware(t, "opaque"), "bob")
	for mode, refused := range map[string]string{"stateless": ticket, "opaque": token, "auto": ticket} {
		_, _, err := w.Middleware(t, mode, only).Peek(t.Context(), refused)
		require.ErrorIs(t, err, session.Malformed, mode)
		rec, _, err := w.Middleware(t, mode).Peek(t.Context(), refused)
		require.NoError(t, err)
		require.NotEmpty(t, rec.Subject)
	}
}

// If the answer is not known, it isn't no.
func TestPeekWithoutAStore(t *testing.T) {
	w, counted := newCounted(t)
	m := w.Middleware(t, "auto")
	stored := apptest.Begin(t, w.Middleware(t, "opaque"), "alice")
	counted.Down.Store(true)
	_, _, err := m.Peek(t.Context(), stored)
	require.ErrorIs(t, err, session.Unavailable)
	_, _, err = new(middleware.Middleware).Peek(t.Context(), stored)
	require.ErrorIs(t, err, session.Unavailable)
}
