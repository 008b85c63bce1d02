package instancetest

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/internal/servertest"
	"github.com/cloakroom-go/cloakroom/session"
)

// bound is the shortest that may be configured.
const bound = 2 * time.Second

// cutOff takes the store away from one instance. It refuses what it can't
// decide: opaque sessions at once, and tokens once it has known nothing for
// bound. Nobody loses the cookie, and when the store is back, all is as if
// nothing had happened, except what has ended meanwhile.
func (s Store) cutOff(t *testing.T, mode config.Mode) {
	prefix := "c" + string(mode) + "_"
	f := newFleet(t, s.Opener, s.URL(s.Addr, prefix), mode, 1)
	proxy := servertest.NewProxy(t, s.Addr)
	c := f.config
	c.Store.URL = config.StoreURL(s.URL(proxy.Addr(), prefix))
	c.Timeout = config.Duration(time.Second)
	c.Revocations.MaxStaleness = config.Duration(bound)
	far := f.start(t, c)

	gone, stays := f.login(t, f.apps[0], "olivia"), f.login(t, f.apps[0], "peggy")
	for _, credential := range []string{gone, stays} {
		require.NotEmpty(t, apptest.SubjectOf(far.Middleware, credential))
	}
	open := follow(far, stays)
	proxy.Set(servertest.Refuse)
	cut := time.Now()
	visit(t, f.apps[0], gone, logOut(t))
	status, known := http.StatusOK, error(nil)
	for status == http.StatusOK {
		known = ready(t, far)
		began := time.Now()
		require.Less(t, began.Sub(cut), patience)
		var next string
		status, next = apptest.Visit(far.Middleware, gone, func(s *session.Session) {
			if s.Subject() != "" {
				require.Less(t, began.Sub(cut), bound, "a session opens that has ended elsewhere")
			}
		})
		require.Equal(t, gone, next, "the cookie is left alone")
		<-time.After(10 * time.Millisecond)
	}
	t.Logf("refused after %v", time.Since(cut))
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.ErrorIs(t, known, session.Unavailable, "the load balancer has to know before")
	for _, f := range []func(s *session.Session){func(*session.Session) {}, logOut(t)} {
		status, next := apptest.Visit(far.Middleware, stays, f)
		require.Equal(t, http.StatusServiceUnavailable, status)
		require.Equal(t, stays, next)
	}
	if mode == config.Stateless {
		open.isOver(t, "beyond the bound, any session may have ended elsewhere")
	}

	proxy.Set(servertest.Pass)
	isReady(t, far)
	f.apps = append(f.apps, far)
	f.dies(t, gone)
	f.judge(t, "after it was cut off")
	visit(t, f.apps[0], stays, logOut(t))
	open.isOver(t, "logout")
	f.dies(t, stays)
}
