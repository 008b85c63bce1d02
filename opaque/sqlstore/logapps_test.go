package sqlstore_test

import (
	"log/slog"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/opaque/sqlstore"
	"github.com/cloakroom-go/cloakroom/session"
)

// What has ended on one instance opens on none that has heard of it.
func (d database) severalInstances(t *testing.T) {
	leavesNothing(t)
	apptest.SharedLog(t, func(t testing.TB, now func() time.Time) opaque.Store {
		return d.store(t, d.open(t), sqlstore.Config{Prefix: "several_", Now: now})
	})
}

func TestAppsShareSQLite(t *testing.T) {
	appsShare(t, opener(sqlite(t).dialect), "sqlite:"+filepath.Join(t.TempDir(), "sessions.db"))
}

// Two instances keep their sessions in tokens, and a store at a URL is all that
// they share besides the keys. Who logs out on one of them is logged out on the
// other one, and the rest go on.
func appsShare(t *testing.T, with opaque.Opener, at string) {
	leavesNothing(t)
	a, b := sharingApps(t, with, at)
	alice, bob := apptest.Begin(t, a.Middleware, "alice"), apptest.Begin(t, a.Middleware, "bob")
	require.Equal(t, "alice", apptest.SubjectOf(b.Middleware, alice))
	status, _ := apptest.Visit(a.Middleware, alice, func(s *session.Session) { require.NoError(t, s.Destroy()) })
	require.Equal(t, http.StatusOK, status)
	begun := time.Now()
	require.Eventually(t, func() bool { return apptest.SubjectOf(b.Middleware, alice) == "" }, 10*time.Second,
		time.Millisecond)
	t.Logf("logged out on the other instance after %v", time.Since(begun))
	require.Equal(t, "bob", apptest.SubjectOf(b.Middleware, bob))
	require.NoError(t, b.Revocations.EndSubject(t.Context(), "bob"))
	require.Eventually(t, func() bool { return apptest.SubjectOf(a.Middleware, bob) == "" }, 10*time.Second,
		time.Millisecond)
}

// sharingApps returns two instances that keep their sessions in tokens.
func sharingApps(t *testing.T, with opaque.Opener, at string) (a, b *config.App) {
	t.Setenv("SHOP_SECRET", "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=")
	c := config.Config{Mode: config.Stateless}
	c.Store, c.Keys.File = config.StoreConfig{URL: config.StoreURL(at), SecretEnv: "SHOP_SECRET"}, keyFile(t)
	var apps []*config.App
	for range 2 {
		app, err := c.Build(config.Options{Stores: []opaque.Opener{with}, Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, app.Close()) })
		require.Eventually(t, func() bool { return app.Ready(t.Context()) == nil }, 10*time.Second, time.Millisecond)
		apps = append(apps, app)
	}
	return apps[0], apps[1]
}

func keyFile(t *testing.T) string {
	set := new(keyset.Set)
	for _, alg := range []keys.Algorithm{keys.ES256, keys.Direct} {
		key, err := keys.Generate(alg, keys.Dates{})
		require.NoError(t, err)
		require.NoError(t, set.Add((*keyset.Key)(key)))
	}
	path := filepath.Join(t.TempDir(), "keys.json")
	require.NoError(t, keyset.File{Path: path}.Create(t.Context(), set))
	return path
}
