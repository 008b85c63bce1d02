package config_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/session"
)

// In every mode the end of a tag ends the sessions that have it, and none of
// them is listed any more. A visitor who ends the tag of their own session is
// logged out, and may log in again in the same request.
func TestLoginTags(t *testing.T) {
	withDevices(t, config.DevicesConfig{}, func(t *testing.T, app *config.App) {
		loginTo := func(tenant string) *http.Cookie {
			return visit(t, app, nil, func(s *session.Session) {
				require.NoError(t, s.Login("alice", session.Tag("tenant", tenant)))
			})
		}
		first, second, other := loginTo("acme"), loginTo("acme"), loginTo("other")
		first = visit(t, app, first, func(s *session.Session) { require.NoError(t, s.Renew()) })
		require.NoError(t, app.Revocations.EndTag(t.Context(), "tenant", "acme"))
		require.Empty(t, subjectOf(t, app, first))
		require.Empty(t, subjectOf(t, app, second))
		require.Equal(t, []string{idOf(t, app, other)}, idsOf(t, app, "alice"))

		w := serve(app, request(other), func(ctx context.Context) {
			require.NoError(t, app.Revocations.EndTag(ctx, "tenant", "other"))
			s := session.From(ctx)
			require.Empty(t, s.Subject())
			require.NoError(t, s.Login("alice", session.Tag("tenant", "other")))
		})
		require.Equal(t, http.StatusOK, w.Code)
		require.Empty(t, subjectOf(t, app, other))
		require.Equal(t, "alice", subjectOf(t, app, w.Result().Cookies()[0]))
		require.Len(t, idsOf(t, app, "alice"), 1)
	})
}
