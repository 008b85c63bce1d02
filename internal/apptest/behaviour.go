package apptest

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// behaviours are what handlers can rely on, in every mode alike.
var behaviours = []struct {
	name string
	run  func(t *testing.T, w *World, b *Browser)
}{
	{"a read creates nothing", readCreatesNothing},
	{"values come back", valuesComeBack},
	{"every kind of JSON value comes back with its type", everyKind},
	{"delete and clear", deleteAndClear},
	{"flash", flash},
	{"isNew", isNew},
	{"login changes the credential, not the ID", login},
	{"login of another subject clears the values", loginOfAnother},
	{"login needs a subject", loginNeedsSubject},
	{"renew", renew},
	{"destroy", destroy},
	{"destroy is final for the request", destroyIsFinal},
	{"destroy before anything was kept", destroyNothing},
	{"idle expiry", idleExpiry},
	{"activity keeps a session alive", activity},
	{"absolute expiry", absoluteExpiry},
	{"a login starts the lifetime anew", loginRestartsLifetime},
	{"remember", remember},
	{"a value that can't be encoded fails where it is set", badValues},
	{"a value of another type is told apart", wrongType},
	{"a handler can save by itself", explicitSave},
	{"a failed save leaves the session as it was", failedSave},
	{"a login counts in the request itself", loginInRequest},
	{"two requests keep both values", twoRequestsKeepBothValues},
	{"parallel updates all count", parallelUpdates},
	{"a value can be used up once", oneTimeValue},
	{"goroutines of one request share its session", goroutinesOfOneRequest},
	{"a poll does not undo a login", pollDoesNotUndoLogin},
}

func (s *suite) behaviour(t *testing.T) {
	for _, mode := range s.modes {
		for _, tt := range behaviours {
			t.Run(mode+"/"+tt.name, func(t *testing.T) {
				w := s.world(t)
				tt.run(t, w, NewSite(t, w.Middleware(t, mode)).Browser())
			})
		}
	}
}

func readCreatesNothing(t *testing.T, w *World, b *Browser) {
	got := b.Do(func(s *session.Session) {
		assert.Empty(t, s.ID())
		assert.Empty(t, s.Subject())
		assert.True(t, s.Snapshot().CreatedAt.IsZero())
		assert.True(t, s.ExpiresAt().IsZero())
		assert.Zero(t, Visits.Get(s))
		assert.Zero(t, len(s.Keys()))
		assert.NoError(t, session.Key[any]("absent").Delete(s))
		assert.NoError(t, s.Clear())
		assert.NoError(t, s.Renew())
		assert.NoError(t, s.Save(t.Context()))
	})
	assert.Empty(t, got.Header["Set-Cookie"])
	assert.Equal(t, "Cookie", got.Header.Get("Vary"))
	assert.Empty(t, w.tally.keys())
}

func valuesComeBack(t *testing.T, _ *World, b *Browser) {
	var id string
	got := b.Do(func(s *session.Session) {
		assert.NoError(t, Visits.Set(s, 1))
		assert.Equal(t, 1, Visits.Get(s))
		id = s.ID()
		assert.Len(t, id, 22)
	})
	assert.Equal(t, "no-store", got.Header.Get("Cache-Control"))
	cookie := got.Header.Get("Set-Cookie")
	for _, attribute := range []string{"__Host-session=", "; Path=/", "; HttpOnly", "; Secure", "; SameSite=Lax"} {
		assert.Contains(t, cookie, attribute)
	}
	assert.NotContains(t, cookie, "Domain")
	assert.NotContains(t, cookie, "Max-Age")
	b.Do(func(s *session.Session) {
		assert.Equal(t, id, s.ID())
		assert.Equal(t, 1, Visits.Get(s))
		assert.Equal(t, []string{"visits"}, s.Keys())
		assert.True(t, s.Has("visits"))
		n, err := Visits.Update(s, func(n int) int { return n + 1 })
		assert.NoError(t, err)
		assert.Equal(t, 2, n)
	})
	got = b.Do(func(s *session.Session) { assert.Equal(t, 2, Visits.Get(s)) })
	assert.Empty(t, got.Header["Set-Cookie"], "a read sends no cookie")
}

func isNew(t *testing.T, _ *World, b *Browser) {
	b.Do(func(s *session.Session) { assert.True(t, s.IsNew()) })
	b.Do(func(s *session.Session) {
		assert.NoError(t, Visits.Set(s, 1))
		assert.True(t, s.IsNew(), "in the request that begins it")
	})
	b.Do(func(s *session.Session) { assert.False(t, s.IsNew()) })
}

func login(t *testing.T, w *World, b *Browser) {
	var id string
	b.Do(func(s *session.Session) { assert.NoError(t, Visits.Set(s, 3)); id = s.ID() })
	before := b.Credential()
	b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	assert.NotEqual(t, before, b.Credential())
	b.Do(func(s *session.Session) {
		assert.Equal(t, "alice", s.Subject())
		assert.Equal(t, id, s.ID())
		assert.Equal(t, 3, Visits.Get(s), "what an anonymous visitor had stays")
		assert.Equal(t, w.Now(), s.AuthenticatedAt().UTC())
	})
	_, ok := b.Site.Opens(before)
	assert.False(t, ok, "the credential from before the login is dead")
}

func loginOfAnother(t *testing.T, _ *World, b *Browser) {
	b.Do(func(s *session.Session) {
		assert.NoError(t, s.Login("alice"))
		assert.NoError(t, Visits.Set(s, 3))
	})
	b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	b.Do(func(s *session.Session) {
		assert.Equal(t, 3, Visits.Get(s))
		assert.NoError(t, s.Login("bob"))
		assert.Zero(t, len(s.Keys()))
	})
	b.Do(func(s *session.Session) {
		assert.Equal(t, "bob", s.Subject())
		assert.Zero(t, len(s.Keys()))
	})
}

func loginNeedsSubject(t *testing.T, _ *World, b *Browser) {
	b.Do(func(s *session.Session) {
		for _, subject := range []string{"", strings.Repeat("x", 257), "a\xffb"} {
			assert.ErrorIs(t, s.Login(subject), session.BadValue)
		}
		assert.Empty(t, s.Subject())
	})
	assert.Empty(t, b.Credential())
}

func loginInRequest(t *testing.T, _ *World, b *Browser) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, session.From(r.Context()).Subject())
	})
	protected := middleware.RequireSubject(middleware.RequireConfig{})(h)
	got := b.Get(func(w http.ResponseWriter, r *http.Request, s *session.Session) { protected.ServeHTTP(w, r) })
	require.Equal(t, http.StatusUnauthorized, got.StatusCode)
	got = b.Get(func(w http.ResponseWriter, r *http.Request, s *session.Session) {
		assert.NoError(t, s.Login("alice"))
		protected.ServeHTTP(w, r)
	})
	require.Equal(t, http.StatusOK, got.StatusCode)
	require.Equal(t, "alice", got.Text)
}

func renew(t *testing.T, _ *World, b *Browser) {
	var id string
	b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")); id = s.ID() })
	before := b.Credential()
	b.Do(func(s *session.Session) { assert.NoError(t, s.Renew()) })
	assert.NotEqual(t, before, b.Credential())
	b.Do(func(s *session.Session) {
		assert.Equal(t, "alice", s.Subject())
		assert.Equal(t, id, s.ID())
	})
	_, ok := b.Site.Opens(before)
	assert.False(t, ok)
}

func destroy(t *testing.T, _ *World, b *Browser) {
	b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	before := b.Credential()
	got := b.Do(func(s *session.Session) { assert.NoError(t, s.Destroy()) })
	assert.Contains(t, got.Header.Get("Set-Cookie"), "__Host-session=; ")
	assert.Contains(t, got.Header.Get("Set-Cookie"), "Max-Age=0")
	assert.Contains(t, got.Header.Get("Set-Cookie"), "; Path=/")
	assert.Empty(t, b.Credential())
	_, ok := b.Site.Opens(before)
	assert.False(t, ok, "the browser's copy was deleted, but others may have one")
	b.Do(func(s *session.Session) { assert.True(t, s.IsNew()) })
}

func destroyIsFinal(t *testing.T, _ *World, b *Browser) {
	b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	b.Do(func(s *session.Session) {
		assert.NoError(t, Visits.Set(s, 1))
		assert.NoError(t, s.Destroy())
		assert.Empty(t, s.Subject())
		assert.Zero(t, len(s.Keys()))
		assert.ErrorIs(t, Visits.Set(s, 1), session.Ended)
		assert.ErrorIs(t, s.Login("alice"), session.Ended)
		assert.ErrorIs(t, s.Remember(true), session.Ended)
		_, err := Visits.Update(s, func(n int) int { return n + 1 })
		assert.ErrorIs(t, err, session.Ended)
		assert.NoError(t, s.Destroy(), "twice is fine")
	})
	assert.Empty(t, b.Credential())
}

func destroyNothing(t *testing.T, w *World, b *Browser) {
	got := b.Do(func(s *session.Session) {
		assert.NoError(t, Visits.Set(s, 1))
		assert.NoError(t, s.Destroy())
	})
	assert.Empty(t, got.Header["Set-Cookie"])
	assert.Empty(t, w.tally.keys())
}

func idleExpiry(t *testing.T, w *World, b *Browser) {
	b.Do(func(s *session.Session) {
		assert.NoError(t, Visits.Set(s, 1))
		assert.Equal(t, w.Now().Add(20*time.Minute), s.ExpiresAt().UTC())
	})
	w.Advance(20*time.Minute - time.Second)
	b.Do(func(s *session.Session) { assert.Equal(t, 1, Visits.Get(s)) })
	w.Advance(20 * time.Minute)
	b.Do(func(s *session.Session) { assert.True(t, s.IsNew(), "at the deadline it is over") })
}

func activity(t *testing.T, w *World, b *Browser) {
	b.Do(func(s *session.Session) { assert.NoError(t, Visits.Set(s, 1)) })
	for range 30 {
		w.Advance(19 * time.Minute)
		b.Do(func(s *session.Session) { assert.Equal(t, 1, Visits.Get(s)) })
	}
}

func absoluteExpiry(t *testing.T, w *World, b *Browser) {
	b.Do(func(s *session.Session) { assert.NoError(t, Visits.Set(s, 1)) })
	for range 47 { // 11 h 45 min
		w.Advance(15 * time.Minute)
		b.Do(func(s *session.Session) { assert.False(t, s.IsNew()) })
	}
	b.Do(func(s *session.Session) {
		assert.Equal(t, w.Now().Add(15*time.Minute), s.ExpiresAt().UTC())
		assert.NoError(t, Visits.Set(s, 2))
	})
	w.Advance(15*time.Minute - time.Second)
	b.Do(func(s *session.Session) { assert.False(t, s.IsNew()) })
	w.Advance(time.Second)
	b.Do(func(s *session.Session) { assert.True(t, s.IsNew()) })
}

func loginRestartsLifetime(t *testing.T, w *World, b *Browser) {
	b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	for range 2 {
		for range 44 { // 11 h
			w.Advance(15 * time.Minute)
			b.Do(func(s *session.Session) { assert.False(t, s.IsNew()) })
		}
		b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	}
	b.Do(func(s *session.Session) { assert.Equal(t, "alice", s.Subject()) })
}

func remember(t *testing.T, w *World, b *Browser) {
	got := b.Do(func(s *session.Session) { assert.NoError(t, s.Remember(true)) })
	assert.Contains(t, got.Header.Get("Set-Cookie"), "; Max-Age=2592000")
	w.Advance(10 * time.Minute)
	b.Do(func(s *session.Session) { assert.True(t, s.Snapshot().Persistent) })
	got = b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	assert.Contains(t, got.Header.Get("Set-Cookie"), "; Max-Age=2592000", "counted anew from the login")
	got = b.Do(func(s *session.Session) { assert.NoError(t, s.Remember(false)) })
	assert.NotEmpty(t, got.Header.Get("Set-Cookie"))
	assert.NotContains(t, got.Header.Get("Set-Cookie"), "Max-Age")
}

func explicitSave(t *testing.T, _ *World, b *Browser) {
	b.Do(func(s *session.Session) {
		assert.NoError(t, Visits.Set(s, 1))
		assert.NoError(t, s.Save(t.Context()))
		assert.NoError(t, s.Save(t.Context()), "without changes it checks")
		assert.NoError(t, Visits.Set(s, 2))
		assert.NoError(t, s.Save(t.Context()))
		assert.NoError(t, session.Key[any]("other").Set(s, true))
	})
	b.Do(func(s *session.Session) {
		assert.Equal(t, 2, Visits.Get(s))
		assert.True(t, s.Has("other"))
	})
}

func failedSave(t *testing.T, _ *World, b *Browser) {
	b.Do(func(s *session.Session) { assert.NoError(t, Visits.Set(s, 1)) })
	huge := strings.Repeat("x", 2<<20) // beyond a cookie, and beyond a record in the store
	b.Do(func(s *session.Session) {
		assert.NoError(t, session.Key[any]("huge").Set(s, huge))
		assert.NoError(t, Visits.Set(s, 2))
		assert.ErrorIs(t, s.Save(t.Context()), session.TooLarge)
		assert.Equal(t, []string{"visits"}, s.Keys())
		assert.Equal(t, 1, Visits.Get(s))
	})
	got := b.Get(func(w http.ResponseWriter, r *http.Request, s *session.Session) {
		assert.NoError(t, session.Key[any]("huge").Set(s, huge))
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(http.StatusSeeOther)
		_, err := io.WriteString(w, "secret page")
		assert.ErrorIs(t, err, session.TooLarge)
	})
	assert.Equal(t, http.StatusInternalServerError, got.StatusCode)
	assert.Equal(t, "Internal Server Error\n", got.Text)
	assert.Empty(t, got.Header["Set-Cookie"])
	assert.Empty(t, got.Header["Location"])
	b.Do(func(s *session.Session) { assert.Equal(t, 1, Visits.Get(s)) })
}
