package interop_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/introspect"
	"github.com/cloakroom-go/cloakroom/token"
)

const (
	clientID     = "orders"
	clientSecret = "c29tZSBzZWNyZXQgb2YgdGhpcnR5LXR3byBieXRlcyE"
)

// TestIntrospection has programs ask the application about each token, instead
// of verifying it.
func TestIntrospection(t *testing.T) {
	for _, p := range []program{
		{name: "oauth4webapi", start: script("node", "node/run.mjs", "node/introspection.mjs")},
		{name: "mod_auth_openidc", start: apache("mod_auth_openidc_introspection.conf", "auth_openidc")},
		{name: "mod_oauth2", start: apache("mod_oauth2_introspection.conf", "oauth2")},
	} {
		t.Run(p.name, func(t *testing.T) {
			a := newApplication(t)
			asked := a.introspect(t)
			ask := p.start(t, a)
			fresh := func() string { return a.issue(t, a.issuer(t, token.IssuerConfig{}), audience) }
			known, unasked := fresh(), fresh()
			require.True(t, accepts(t, ask, known))
			require.True(t, accepts(t, ask, known))
			t.Logf("asks %d times about a token that is used twice", asked.Load())
			a.rotate(t)
			require.True(t, accepts(t, ask, fresh()))
			for _, bad := range a.bad(t) {
				require.True(t, refuses(t, ask, bad.name, bad.token))
			}
			require.True(t, refuses(t, ask, "session token", a.credential))
			require.NoError(t, a.app.Revocations.EndSubject(t.Context(), subject))
			require.True(t, refuses(t, ask, "of a session that has ended", unasked))
			forgets := func() bool { return refuses(t, ask, "", known) }
			require.Eventually(t, forgets, patience, 50*time.Millisecond, "it remembers the answer for too long")
		})
	}
}

// introspect lets programs ask the application, and returns how often they have
// asked.
func (a *application) introspect(t *testing.T) *atomic.Int64 {
	t.Helper()
	handler, err := introspect.NewHandler(introspect.HandlerConfig{
		Services: []introspect.Service{{ID: clientID, Secrets: []string{clientSecret}, Audience: audience}},
		Sessions: a.app.Middleware, Keys: a.app.Keys, Revocations: a.app.Revocations, Issuer: a.url,
		OnRefused: func(_ context.Context, err error) { t.Log(err) },
	})
	require.NoError(t, err)
	t.Setenv("CLIENT_ID", clientID)
	t.Setenv("CLIENT_SECRET", clientSecret)
	var asked atomic.Int64
	a.mux.HandleFunc("POST /introspect", func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		handler.ServeHTTP(w, r)
	})
	return &asked
}
