package middleware_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// smallStore has w keep at most n sessions.
func (w *world) smallStore(t *testing.T, n, anonymousPercent int) *opaque.MemoryStore {
	c := opaque.MemoryConfig{MaxSessions: n, AnonymousPercent: anonymousPercent, Now: w.Now}
	small, err := opaque.NewMemoryStore(c)
	require.NoError(t, err)
	t.Cleanup(func() { small.Close() })
	w.Store = small
	return small
}

// keepLarge sets more than fits a cookie, so that mode auto needs the store
// too.
func keepLarge(t *testing.T) func(s *session.Session) {
	return func(s *session.Session) {
		assert.NoError(t, session.Key[any]("large").Set(s, strings.Repeat("x", 5000)))
	}
}

// Bots without an account can't fill the store: their part of it may be full,
// and logins go on, of visitors with a session in it and without.
func TestLoginsGoOnWhileBotsFillTheStore(t *testing.T) {
	for _, mode := range []string{"opaque", "auto"} {
		t.Run(mode, func(t *testing.T) {
			w := newWorld(t)
			small := w.smallStore(t, 20, 0)
			m := w.Middleware(t, mode)
			var bots []string
			for range 15 {
				status, credential := visit(m, "", keepLarge(t))
				require.Equal(t, http.StatusOK, status)
				bots = append(bots, credential)
			}
			status, _ := visit(m, "", keepLarge(t))
			require.Equal(t, http.StatusServiceUnavailable, status, "their part is full")
			login := func(s *session.Session) {
				keepLarge(t)(s)
				assert.NoError(t, s.Login("alice"))
			}
			for range 5 {
				status, credential := visit(m, "", login)
				require.Equal(t, http.StatusOK, status)
				require.Equal(t, "alice", subjectOf(m, credential))
			}
			status, _ = visit(m, "", login)
			require.Equal(t, http.StatusServiceUnavailable, status, "now all of it is")
			for _, old := range bots {
				status, credential := visit(m, old, login)
				require.Equal(t, http.StatusOK, status, "a session in the store can log in")
				require.Equal(t, "alice", subjectOf(m, credential))
				require.Empty(t, subjectOf(m, old))
			}
			require.Equal(t, 35, small.Len())
		})
	}
}

// In a full store each session can still get a new credential.
func TestRenewalsInAFullStore(t *testing.T) {
	for _, mode := range []string{"opaque", "auto"} {
		t.Run(mode, func(t *testing.T) {
			w := newWorld(t)
			w.smallStore(t, 10, 0)
			m := w.Middleware(t, mode)
			var all []string
			for range 10 {
				status, credential := visit(m, "", func(s *session.Session) {
					keepLarge(t)(s)
					assert.NoError(t, s.Login("alice"))
				})
				require.Equal(t, http.StatusOK, status)
				all = append(all, credential)
			}
			for i, old := range all {
				renew := func(s *session.Session) { assert.NoError(t, s.Renew()) }
				if i%2 == 0 {
					renew = func(s *session.Session) { assert.NoError(t, s.Login("alice")) }
				}
				status, credential := visit(m, old, renew)
				require.Equal(t, http.StatusOK, status)
				require.NotEqual(t, old, credential)
				require.Equal(t, "alice", subjectOf(m, credential))
				status, _ = visit(m, credential, func(s *session.Session) { assert.NoError(t, s.Destroy()) })
				require.Equal(t, http.StatusOK, status)
				status, _ = visit(m, "", func(s *session.Session) {
					keepLarge(t)(s)
					assert.NoError(t, s.Login("bob"))
				})
				require.Equal(t, http.StatusOK, status, "a logout gives its place back")
			}
		})
	}
}
