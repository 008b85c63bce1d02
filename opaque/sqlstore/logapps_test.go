package sqlstore_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
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
	a, b := apps[0], apps[1]
	login := func(subject string) *http.Cookie {
		return visit(t, a, nil, func(s *session.Session) { require.NoError(t, s.Login(subject)) })
	}
	subject := func(app *config.App, cookie *http.Cookie) (subject string) {
		visit(t, app, cookie, func(s *session.Session) { subject = s.Subject() })
		return subject
	}
	alice, bob := login("alice"), login("bob")
	require.Equal(t, "alice", subject(b, alice))
	visit(t, a, alice, func(s *session.Session) { require.NoError(t, s.Destroy()) })
	begun := time.Now()
	require.Eventually(t, func() bool { return subject(b, alice) == "" }, 10*time.Second, time.Millisecond)
	t.Logf("logged out on the other instance after %v", time.Since(begun))
	require.Equal(t, "bob", subject(b, bob))
	require.NoError(t, b.Revocations.EndSubject(t.Context(), "bob"))
	require.Eventually(t, func() bool { return subject(a, bob) == "" }, 10*time.Second, time.Millisecond)
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

// visit lets f work on the session of a request, and returns the cookie that
// the browser has afterwards.
func visit(t *testing.T, app *config.App, cookie *http.Cookie, f func(s *session.Session)) *http.Cookie {
	r := httptest.NewRequest(http.MethodGet, "https://shop.example/", nil)
	if cookie != nil {
		r.AddCookie(&http.Cookie{Name: cookie.Name, Value: cookie.Value})
	}
	w := httptest.NewRecorder()
	app.Middleware.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		f(session.From(r.Context()))
	})).ServeHTTP(w, r)
	require.Equal(t, http.StatusOK, w.Code)
	for _, set := range w.Result().Cookies() {
		cookie = set
	}
	return cookie
}
