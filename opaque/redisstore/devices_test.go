package redisstore_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/devices"
	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/servertest"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/opaque/redisstore"
	"github.com/cloakroom-go/cloakroom/session"
)

// What a visitor shows.
const (
	userAgent = "Netscape Navigator 4.8 (Amiga)"
	address   = "2001:db8:dead:beef::7"
)

// An instance is one of several that share a server.
type instance struct {
	*config.App
	testing.TB
}

func keyFile(t testing.TB) string {
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

// startInstances starts two applications that share nothing but the server and
// the secrets.
func startInstances(t *testing.T, s server, mode config.Mode, d config.DevicesConfig) (a, b instance) {
	t.Helper()
	t.Setenv("SHOP_SECRET", base64.StdEncoding.EncodeToString(apptest.Random(32)))
	d.Enabled = true
	c := config.Config{Mode: mode, Devices: d}
	if mode != config.Opaque {
		c.Keys.File = keyFile(t)
	}
	return s.start(t, c), s.start(t, c)
}

// start starts an application that keeps its sessions in the server.
func (s server) start(t testing.TB, c config.Config) instance {
	t.Helper()
	c.Store = config.StoreConfig{URL: config.StoreURL("redis://" + s.addr), SecretEnv: "SHOP_SECRET"}
	c.Revocations.File, c.Timeout = filepath.Join(t.TempDir(), "journal"), config.Duration(patience)
	o := config.Options{Stores: []opaque.Opener{redisstore.Opener()}, Logger: slog.New(slog.DiscardHandler)}
	if c.Devices.Enabled {
		o.Client = func(r *http.Request) (string, string) { return r.UserAgent(), address }
	}
	app, err := c.Build(o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, app.Close()) })
	require.Eventually(t, func() bool { return app.Ready(t.Context()) == nil }, patience, time.Millisecond)
	return instance{app, t}
}

// visit lets f work on the session of a request, and returns the cookie that
// the browser has afterwards.
func (i instance) visit(cookie *http.Cookie, f func(ctx context.Context, s *session.Session)) *http.Cookie {
	i.Helper()
	status, cookie := i.try(cookie, f)
	require.Equal(i, http.StatusOK, status)
	return cookie
}

// try is visit for a request that may fail.
func (i instance) try(
	cookie *http.Cookie, f func(ctx context.Context, s *session.Session),
) (status int, after *http.Cookie) {
	r := httptest.NewRequestWithContext(i.Context(), http.MethodGet, "https://shop.example/", nil)
	r.Header.Set("User-Agent", userAgent)
	if cookie != nil {
		r.AddCookie(&http.Cookie{Name: cookie.Name, Value: cookie.Value})
	}
	w := httptest.NewRecorder()
	i.Middleware.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		f(r.Context(), session.From(r.Context()))
	})).ServeHTTP(w, r)
	for _, set := range w.Result().Cookies() {
		cookie = set
	}
	return w.Code, cookie
}

func (i instance) login(subject string) *http.Cookie {
	i.Helper()
	return i.visit(nil, func(_ context.Context, s *session.Session) { require.NoError(i, s.Login(subject)) })
}

// show returns the ID and the subject of a session, "" if it has ended.
func (i instance) show(cookie *http.Cookie) (id, subject string) {
	i.Helper()
	i.visit(cookie, func(_ context.Context, s *session.Session) { id, subject = s.ID(), s.Subject() })
	return id, subject
}

func (i instance) ends(cookie *http.Cookie) {
	i.Helper()
	require.Eventually(i, func() bool {
		_, subject := i.show(cookie)
		return subject == ""
	}, patience, time.Millisecond)
}

func (i instance) list(subject string) []devices.Session {
	i.Helper()
	list, err := i.Devices.List(i.Context(), subject)
	require.NoError(i, err)
	return list
}

// What logs in on one instance is listed and ended on the other, and the server
// has neither names nor addresses.
func TestDevicesOfTwoInstances(t *testing.T) {
	for _, mode := range []config.Mode{config.Opaque, config.Stateless, config.Auto} {
		t.Run(string(mode), func(t *testing.T) {
			const alice, bob = "alice@example.com", "bob@example.com"
			s := startServer(t)
			a, b := startInstances(t, s, mode, config.DevicesConfig{})
			desk, phone, other := b.login(alice), b.login(alice), b.login(bob)
			list := a.list(alice)
			require.Len(t, list, 2)
			for _, d := range list {
				require.Equal(t, userAgent, d.UserAgent)
				require.Equal(t, address, d.Address)
				require.False(t, d.SeenAt.IsZero() || d.CreatedAt.IsZero())
			}
			desk = a.visit(desk, func(ctx context.Context, s *session.Session) {
				require.NoError(t, session.Key[int]("visits").Set(s, 1))
				require.NoError(t, s.Renew())
			})
			require.Len(t, b.list(alice), 2)

			id, _ := a.show(phone)
			require.ErrorIs(t, a.Devices.End(t.Context(), bob, id), session.NotFound)
			require.NoError(t, a.Devices.End(t.Context(), alice, id))
			b.ends(phone)
			require.Len(t, b.list(alice), 1)
			id, subject := b.show(desk)
			require.Equal(t, alice, subject)
			dump := showsNothing(t, s, alice, bob, userAgent, address, desk.Value, other.Value)
			require.Contains(t, dump, id, "IDs are no secret")

			require.NoError(t, b.Revocations.EndSubject(t.Context(), alice))
			require.Empty(t, a.list(alice))
			a.ends(desk)
			require.Len(t, a.list(bob), 1)
		})
	}
}

// showsNothing looks for secrets in all that the server has, and returns that.
func showsNothing(t *testing.T, s server, secrets ...string) string {
	t.Helper()
	var dump []byte
	stranger, hashes := breakIn(t, s), 0
	for _, key := range stranger.Keys(t) {
		value := stranger.Read(t, key)
		dump = append(append(append(dump, key...), '\n'), value...)
		if strings.HasPrefix(key, "cloakroom:x:{") {
			hashes++
		}
	}
	require.Equal(t, 2, hashes, "one for each subject")
	for _, secret := range secrets {
		for form, needle := range apptest.FormsOf(secret) {
			require.NotContains(t, string(dump), string(needle), form)
		}
	}
	return string(dump)
}

// Fifty logins at once, on two instances, end up with as many sessions as a
// subject may have.
func TestDevicesLimit(t *testing.T) {
	const logins, limit = 50, 5
	for _, refuse := range []bool{false, true} {
		d := config.DevicesConfig{Limit: limit, RefuseNew: refuse}
		a, b := startInstances(t, startServer(t), config.Opaque, d)
		var statuses [logins]int
		var cookies [logins]*http.Cookie
		var all sync.WaitGroup
		for i := range logins {
			all.Go(func() {
				on := []instance{a, b}[i%2]
				statuses[i], cookies[i] = on.try(nil, func(_ context.Context, s *session.Session) { _ = s.Login("alice") })
			})
		}
		all.Wait()
		open, refused := 0, 0
		for i, status := range statuses {
			if status == http.StatusForbidden {
				refused++
				continue
			}
			require.Contains(t, []int{http.StatusOK, http.StatusConflict}, status) // a conflict: ended at once
			if cookies[i] == nil {
				continue
			}
			if _, subject := a.show(cookies[i]); subject != "" {
				open++
			}
		}
		require.Equal(t, limit, open)
		require.Len(t, a.list("alice"), limit)
		if refuse {
			require.Equal(t, logins-limit, refused)
		}
	}
}

// The index costs a login and a renewal one round trip, and a read none. A list
// of 20 sessions takes two.
func TestDevicesRoundTrips(t *testing.T) {
	t.Setenv("SHOP_SECRET", base64.StdEncoding.EncodeToString(apptest.Random(32)))
	s := startServer(t)
	proxy := servertest.NewProxy(t, s.addr)
	var trips atomic.Int32
	proxy.SetFunc(func(answer bool, piece []byte) servertest.Mode {
		if !answer && (bytes.Contains(piece, []byte("cloakroom:s:")) || bytes.Contains(piece, []byte("cloakroom:x:"))) {
			trips.Add(1)
		}
		return servertest.Pass
	})
	count := func(f func()) int32 {
		f() // scripts are loaded
		before := trips.Load()
		f()
		return trips.Load() - before
	}
	var login, renewal, read [2]int32
	for i, enabled := range []bool{false, true} {
		c := config.Config{Mode: config.Opaque}
		c.Devices.Enabled = enabled
		app := server{addr: proxy.Addr()}.start(t, c)
		cookie := app.login("alice")
		login[i] = count(func() { app.login("alice") })
		renewal[i] = count(func() {
			cookie = app.visit(cookie, func(_ context.Context, s *session.Session) { require.NoError(t, s.Renew()) })
		})
		read[i] = count(func() { app.show(cookie) })
		if enabled {
			for range 17 {
				app.login("alice")
			}
			require.Len(t, app.list("alice"), 20)
			require.Equal(t, int32(2), count(func() { app.list("alice") }))
		}
	}
	t.Logf("round trips without and with the index: login %v, renewal %v, read %v", login, renewal, read)
	require.Equal(t, login[0]+1, login[1])
	require.Equal(t, renewal[0]+1, renewal[1])
	require.Equal(t, read[0], read[1])
}
