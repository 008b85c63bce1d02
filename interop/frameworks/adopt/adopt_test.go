package adopt_test

import (
	"encoding/gob"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/gorilla/securecookie"
	"github.com/gorilla/sessions"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/interop/frameworks/adopt"
	"github.com/cloakroom-go/cloakroom/session"
)

const cart session.Key[[]string] = "cart"

// A visitor who was logged in before the change still is after it, with the
// cart. After a logout neither the new cookie nor the old one logs in.
func TestNobodyIsLoggedOut(t *testing.T) {
	gob.Register([]string(nil))
	manager := scs.New()
	manager.Lifetime = time.Hour
	scsLogin := manager.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		manager.Put(r.Context(), "user", "alice")
		manager.Put(r.Context(), "cart", []string{"tea", "cups"})
	}))

	files := sessions.NewFilesystemStore(t.TempDir(), securecookie.GenerateRandomKey(32))
	gorillaLogin := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, _ := files.Get(r, "shop")
		s.Values["user"], s.Values["cart"] = "alice", []string{"tea", "cups"}
		if err := s.Save(r, w); err != nil {
			panic(err)
		}
	})

	for name, row := range map[string]struct {
		before http.Handler
		after  func(next http.Handler) http.Handler
	}{
		"scs":     {scsLogin, func(next http.Handler) http.Handler { return adopt.FromSCS(manager, next) }},
		"gorilla": {gorillaLogin, func(next http.Handler) http.Handler { return adopt.FromGorilla(files, "shop", next) }},
	} {
		t.Run(name, func(t *testing.T) { changeOver(t, row.before, row.after) })
	}
}

func changeOver(t *testing.T, before http.Handler, after func(next http.Handler) http.Handler) {
	c := config.Config{Mode: config.Opaque}
	c.Cookie.Name, c.Cookie.InsecureAllowHTTP = "new", true
	app, err := c.Build(config.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, app.Close()) })

	mux := http.NewServeMux()
	mux.Handle("GET /before", before)
	mux.Handle("GET /", app.Middleware.Handler(after(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r.Context())
		if r.URL.Path == "/logout" {
			assert.NoError(t, s.Destroy())
			return
		}
		fmt.Fprint(w, s.Subject(), cart.Get(s))
	}))))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)

	jar, stolen := newJar(t), newJar(t)
	visitor, thief := browser(t, jar), browser(t, stolen)
	visitor(server.URL + "/before")
	home, err := url.Parse(server.URL)
	require.NoError(t, err)
	stolen.SetCookies(home, jar.Cookies(home))
	require.NotEmpty(t, stolen.Cookies(home))

	assert.Equal(t, "alice[tea cups]", visitor(server.URL+"/"), "the first request after the change")
	assert.Equal(t, "alice[tea cups]", visitor(server.URL+"/"), "the next one")
	visitor(server.URL + "/logout")
	assert.Equal(t, "[]", visitor(server.URL+"/"), "after the logout")
	assert.Equal(t, "[]", thief(server.URL+"/"), "with the cookie from before the change")
}

func newJar(t *testing.T) http.CookieJar {
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	return jar
}

// browser returns a function that gets pages with the cookies of jar.
func browser(t *testing.T, jar http.CookieJar) func(url string) string {
	client := &http.Client{Jar: jar}
	return func(url string) string {
		res, err := client.Get(url)
		require.NoError(t, err)
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, res.StatusCode, "%s: %s", url, body)
		return string(body)
	}
}
