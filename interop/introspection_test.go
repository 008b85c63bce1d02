package interop_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/token"
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
			ask := p.start(t, a)
			fresh := func() string { return a.issue(t, a.issuer(t, token.IssuerConfig{}), audience) }
			known, unasked := fresh(), fresh()
			require.True(t, accepts(t, ask, known))
			require.True(t, accepts(t, ask, known))
			t.Logf("asks %d times about a token that is used twice", a.asked.Load())
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
