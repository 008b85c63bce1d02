package middleware_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A pause is where a handler waits until the test lets it go on.
type pause struct{ reached, resume chan struct{} }

func newPause() pause { return pause{make(chan struct{}), make(chan struct{})} }

func (p pause) wait() { close(p.reached); <-p.resume }

// inOrder starts requests with the credential that b holds, lets all of them
// load their session, and finishes them one by one in the given order. It
// returns the replies, in the order of the requests.
func inOrder(b *browser, order []int, h func(i int, s *session.Session)) []reply {
	replies := make([]reply, len(order))
	pauses, done := make([]pause, len(order)), make([]chan struct{}, len(order))
	for i := range order {
		pauses[i], done[i] = newPause(), make(chan struct{})
		one := b.Site.Holding(b.Credential())
		go func() {
			defer close(done[i])
			replies[i] = one.Get(func(_ http.ResponseWriter, _ *http.Request, s *session.Session) {
				pauses[i].wait()
				h(i, s)
			})
		}()
		<-pauses[i].reached
	}
	for _, i := range order {
		close(pauses[i].resume)
		<-done[i]
	}
	return replies
}

// cookieOf returns the credential that a reply sets.
func cookieOf(r reply) string {
	for _, c := range r.Cookies() {
		if c.Name == "__Host-session" {
			return c.Value
		}
	}
	return ""
}

func permutations(n int) (all [][]int) {
	if n == 0 {
		return [][]int{nil}
	}
	for _, rest := range permutations(n - 1) {
		for at := range n {
			all = append(all, slices.Insert(slices.Clone(rest), at, n-1))
		}
	}
	return all
}

// A double click on "log in", or five tabs that come back from single sign-on
// at once: every request is answered as its handler says, and whichever cookie
// the browser keeps is logged in, with what the visitor had before.
func TestLoginsAtOnceAllSucceed(t *testing.T) {
	orders := append(permutations(2), permutations(5)...)
	inEachMode(t, func(t *testing.T, _ string, w *world, b *browser) {
		for _, order := range orders {
			b.Use("")
			b.Do(func(s *session.Session) { assert.NoError(t, visits.Set(s, 7)) })
			replies := inOrder(b, order, func(_ int, s *session.Session) { assert.NoError(t, s.Login("alice")) })
			ids := make(map[string]bool)
			for i, r := range replies {
				require.Equal(t, http.StatusOK, r.StatusCode, "order %v, request %d: %s", order, i, r.Text)
				one := b.Site.Holding(cookieOf(r))
				one.Do(func(s *session.Session) {
					assert.Equal(t, "alice", s.Subject())
					assert.Equal(t, 7, visits.Get(s))
					ids[s.ID()] = true
				})
			}
			assert.Len(t, ids, len(order), "each has a session of its own")
		}
	})
}

// The idle timeout of the anonymous session passes while a password is checked.
func TestLoginOutlivesItsSession(t *testing.T) {
	inEachMode(t, func(t *testing.T, _ string, w *world, b *browser) {
		b.Do(func(s *session.Session) { assert.NoError(t, visits.Set(s, 7)) })
		for _, late := range []time.Duration{20 * time.Minute, 2 * time.Hour} {
			b.Do(func(s *session.Session) {
				w.Advance(late)
				assert.NoError(t, s.Login("alice"))
			})
			b.Do(func(s *session.Session) {
				assert.Equal(t, "alice", s.Subject())
				assert.Equal(t, 7, visits.Get(s))
			})
		}
	})
}

// A second login in the handler whose first has failed with its session
// succeeds.
func TestLoginAfterSessionWasFoundOver(t *testing.T) {
	inEachMode(t, func(t *testing.T, _ string, w *world, b *browser) {
		b.Do(func(s *session.Session) { assert.NoError(t, visits.Set(s, 7)) })
		b.Do(func(s *session.Session) {
			w.Advance(time.Hour)
			assert.Error(t, s.Save(t.Context()))
			assert.ErrorIs(t, visits.Set(s, 8), session.Ended)
			assert.NoError(t, s.Login("alice"))
			assert.NoError(t, s.Save(t.Context()))
			assert.Equal(t, "alice", s.Subject())
			assert.NoError(t, session.Key[any]("more").Set(s, 1))
		})
		b.Do(func(s *session.Session) {
			assert.Equal(t, "alice", s.Subject())
			assert.Equal(t, 7, visits.Get(s))
			assert.True(t, s.Has("more"))
		})
	})
}

// A session that was ended on purpose since the request began takes the login
// with it, in each order and however it was ended.
func TestLoginEndsWithItsSession(t *testing.T) {
	ends := map[string]func(w *world, b *browser, first reply) error{
		"destroyed": func(_ *world, b *browser, _ reply) error {
			b.Do(func(s *session.Session) { assert.NoError(b.T, s.Destroy()) })
			return nil
		},
		"renewed and destroyed": func(_ *world, b *browser, _ reply) error {
			b.Do(func(s *session.Session) { assert.NoError(b.T, s.Renew()) })
			b.Do(func(s *session.Session) { assert.NoError(b.T, s.Destroy()) })
			return nil
		},
		"subject": func(w *world, _ *browser, _ reply) error { return w.List.EndSubject(context.Background(), "alice") },
		"all":     func(w *world, _ *browser, _ reply) error { return w.List.EndAll(context.Background()) },
	}
	eachMode(t, func(t *testing.T, mode string, w *world) {
		site := newSite(t, w.Middleware(t, mode))
		for name, end := range ends {
			b := site.Browser()
			b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
			slow := site.Holding(b.Credential())
			w.Advance(time.Second)
			got := slow.Get(func(_ http.ResponseWriter, _ *http.Request, s *session.Session) {
				require.NoError(t, end(w, b, reply{}))
				assert.NoError(t, s.Login("alice"))
			})
			assert.Equal(t, http.StatusConflict, got.StatusCode, name)
			assert.Empty(t, cookieOf(got), name)
			w.Advance(time.Second)
		}
	})
}

// Where only the store knows what has ended, a session that is absent before it
// could time out was destroyed; later it timed out.
func TestLoginWhoseSessionIsAbsent(t *testing.T) {
	w := newWorld(t)
	stored, err := opaque.NewCarrier(opaque.CarrierConfig{Store: w.memory, Now: w.Now})
	require.NoError(t, err)
	b := newSite(t, w.Middleware(t, "opaque", func(c *middleware.Config) { c.Carrier = stored })).Browser()
	for late, want := range map[time.Duration]int{
		0: http.StatusConflict, 20*time.Minute - time.Second: http.StatusConflict, 20 * time.Minute: http.StatusOK,
	} {
		b.Use("")
		b.Do(func(s *session.Session) { assert.NoError(t, visits.Set(s, 7)) })
		other := b.Site.Holding(b.Credential())
		got := b.Get(func(_ http.ResponseWriter, _ *http.Request, s *session.Session) {
			other.Do(func(s *session.Session) { assert.NoError(t, s.Destroy()) })
			w.Advance(late)
			assert.NoError(t, s.Login("alice"))
		})
		assert.Equal(t, want, got.StatusCode, late)
	}
}

// A poll that was sent with the old cookie, and arrives after a login or a
// renewal, must not overwrite the cookie of that one; a login may.
func TestSupersededCredentialWritesNothing(t *testing.T) {
	steps := map[string]func(s *session.Session) error{
		"login": func(s *session.Session) error { return s.Login("alice") },
		"renew": func(s *session.Session) error { return s.Renew() },
	}
	for name, step := range steps {
		inEachMode(t, func(t *testing.T, _ string, w *world, b *browser) {
			b.Do(func(s *session.Session) { assert.NoError(t, visits.Set(s, 7)) })
			old := b.Site.Holding(b.Credential())
			b.Do(func(s *session.Session) { assert.NoError(t, step(s)) })
			write := func(_ http.ResponseWriter, _ *http.Request, s *session.Session) {
				assert.True(t, s.IsNew())
				_ = visits.Set(s, 1)
			}
			w.Advance(59 * time.Second)
			got := old.Do(func(s *session.Session) { assert.Empty(t, s.Subject()); assert.Zero(t, visits.Get(s)) })
			assert.Empty(t, got.Header["Set-Cookie"], name)
			got = old.Get(write)
			assert.Equal(t, http.StatusConflict, got.StatusCode, name)
			assert.Empty(t, got.Header["Set-Cookie"], name)
			old.Do(func(s *session.Session) {
				assert.NoError(t, visits.Set(s, 1))
				assert.ErrorIs(t, s.Save(t.Context()), session.Ended)
			})
			got = b.Site.Holding(old.Credential()).Do(func(s *session.Session) { assert.NoError(t, s.Login("bob")) })
			subject, _ := b.Site.Opens(cookieOf(got))
			assert.Equal(t, "bob", subject, name)

			w.Advance(time.Second)
			got = old.Get(write)
			assert.Equal(t, http.StatusOK, got.StatusCode, "the minute is over")
			assert.NotEmpty(t, cookieOf(got))
		})
	}
}

// After a logout there is no cookie left to overwrite.
func TestSupersededCredentialOfAnEndedSession(t *testing.T) {
	inEachMode(t, func(t *testing.T, _ string, w *world, b *browser) {
		b.Do(func(s *session.Session) { assert.NoError(t, visits.Set(s, 7)) })
		old := b.Site.Holding(b.Credential())
		b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
		b.Do(func(s *session.Session) { assert.NoError(t, s.Destroy()) })
		old.Do(func(s *session.Session) { assert.NoError(t, visits.Set(s, 1)) })
	})
}

// A link on another site leads to a page that writes: the browser keeps back a
// SameSite=Strict cookie, and a new one would overwrite it.
func TestStrictCookieIsNotOverwritten(t *testing.T) {
	for _, mode := range modes {
		w := newWorld(t)
		strict := func(c *middleware.Config) { c.Cookie.SameSite = http.SameSiteStrictMode }
		from := func(site string) func(*http.Request) {
			return func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", site) }
		}
		write := func(_ http.ResponseWriter, _ *http.Request, s *session.Session) { assert.NoError(t, visits.Set(s, 1)) }
		logIn := func(_ http.ResponseWriter, _ *http.Request, s *session.Session) { assert.NoError(t, s.Login("alice")) }
		site, lax := newSite(t, w.Middleware(t, mode, strict)), newSite(t, w.Middleware(t, mode))
		got := site.Browser().Send(http.MethodGet, write, from("cross-site"))
		assert.Equal(t, http.StatusConflict, got.StatusCode)
		assert.Empty(t, got.Header["Set-Cookie"])
		got = site.Browser().Send(http.MethodGet, logIn, from("cross-site"))
		assert.Equal(t, http.StatusOK, got.StatusCode, "as from single sign-on")
		for _, fine := range []string{"none", "same-origin", "same-site"} {
			assert.Equal(t, http.StatusOK, site.Browser().Send(http.MethodGet, write, from(fine)).StatusCode, fine)
		}
		assert.Equal(t, http.StatusOK, lax.Browser().Send(http.MethodGet, write, from("cross-site")).StatusCode)
	}
}

// Two live cookies of one name, as after a change of cookie.path: a login ends
// the others, so the next request opens the new session.
func TestLoginEndsAmbiguity(t *testing.T) {
	for _, mode := range modes {
		w := newWorld(t)
		seen := &events{}
		m := w.Middleware(t, mode, watched(seen))
		send := func(h func(s *session.Session), credentials ...string) *http.Response {
			r := httptest.NewRequest(http.MethodGet, "https://app.example/", nil)
			for _, c := range credentials {
				r.AddCookie(&http.Cookie{Name: "__Host-session", Value: c})
			}
			rec := httptest.NewRecorder()
			next := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { h(session.From(r.Context())) })
			m.Handler(next).ServeHTTP(rec, r)
			return rec.Result()
		}
		one := send(func(s *session.Session) { assert.NoError(t, s.Login("alice")) }).Cookies()[0].Value
		two := send(func(s *session.Session) { assert.NoError(t, s.Login("alice")) }).Cookies()[0].Value
		again := send(func(s *session.Session) {
			assert.Empty(t, s.Subject())
			assert.NoError(t, s.Login("alice"))
		}, one, two)
		require.Equal(t, http.StatusOK, again.StatusCode)
		require.Contains(t, fmt.Sprint(seen.All()), "change the name too")
		send(func(s *session.Session) { assert.Equal(t, "alice", s.Subject(), mode) }, one, again.Cookies()[0].Value, two)
	}
}

// On a full disk the end of the old credential would not survive a crash: the
// client is not told that all is well, but it gets the new credential, since
// the old one is dead. A move of the session is no danger, and succeeds.
func TestRenewalThatIsNotDurable(t *testing.T) {
	steps := map[string]func(s *session.Session) error{
		"login": func(s *session.Session) error { return s.Login("alice") },
		"renew": func(s *session.Session) error { return s.Renew() },
	}
	for _, mode := range []string{"stateless", "auto"} {
		for name, step := range steps {
			w := newWorld(t)
			dir := filepath.Join(t.TempDir(), "journal")
			require.NoError(t, os.Mkdir(dir, 0o700))
			list, err := revocation.Open(revocation.Config{Path: filepath.Join(dir, "x"), Lifetime: 12 * time.Hour, Now: w.Now})
			require.NoError(t, err)
			t.Cleanup(func() { _ = list.Close() })
			w.List = list
			b := newSite(t, w.Middleware(t, mode)).Browser()
			b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")); assert.NoError(t, visits.Set(s, 7)) })
			old := b.Credential()
			require.NoError(t, os.RemoveAll(dir))
			got := b.Get(func(rw http.ResponseWriter, _ *http.Request, s *session.Session) {
				assert.NoError(t, step(s))
				rw.Header().Set("Location", "/welcome")
				rw.WriteHeader(http.StatusSeeOther)
			})
			assert.Equal(t, http.StatusServiceUnavailable, got.StatusCode, name)
			assert.Empty(t, got.Header.Get("Location"))
			assert.NotEmpty(t, cookieOf(got))
			b.Do(func(s *session.Session) {
				assert.Equal(t, "alice", s.Subject(), "nobody is logged out by it")
				assert.Equal(t, 7, visits.Get(s))
			})
			_, ok := b.Site.Opens(old)
			assert.False(t, ok)
			if mode == "auto" {
				b.Do(func(s *session.Session) { assert.NoError(t, session.Key[any]("big").Set(s, random(3000))) })
				assert.Equal(t, "opaque", form(b.Credential()))
			}
			got = b.Get(func(_ http.ResponseWriter, r *http.Request, s *session.Session) {
				assert.NoError(t, s.Renew())
				if form(b.Credential()) == "token" {
					assert.ErrorIs(t, s.Save(r.Context()), session.Unavailable, "a handler that saves is told")
				}
			})
			assert.Equal(t, http.StatusOK, got.StatusCode, "and answers itself")
			subject, _ := b.Site.Opens(b.Credential())
			assert.Equal(t, "alice", subject)
		}
	}
}
