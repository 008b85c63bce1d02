package middleware_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// eachSkew runs f in each mode, on one clock and on clocks that may differ.
func eachSkew(t *testing.T, f func(t *testing.T, w *world, site *site)) {
	for _, skew := range []time.Duration{0, 5 * time.Second} {
		for _, mode := range modes {
			t.Run(fmt.Sprint(mode, " ", skew), func(t *testing.T) {
				w := newWorld(t)
				w.List = revocation.NewVolatile(revocation.Config{Now: w.Now, Skew: skew})
				f(t, w, newSite(t, w.Middleware(t, mode)))
			})
		}
	}
}

func logIn(t *testing.T, b *browser, subject string) {
	b.Do(func(s *session.Session) { assert.NoError(t, s.Login(subject)); assert.NoError(t, visits.Set(s, 7)) })
}

// A login with the old password is under way when the password is reset, of a
// visitor who has no session yet.
func TestLoginWithoutSessionEndsWithItsSubject(t *testing.T) {
	eachSkew(t, func(t *testing.T, w *world, site *site) {
		got := site.Browser().Get(func(_ http.ResponseWriter, _ *http.Request, s *session.Session) {
			w.Advance(10 * time.Second)
			require.NoError(t, w.List.EndSubject(context.Background(), "alice"))
			w.Advance(10 * time.Second)
			assert.NoError(t, s.Login("alice"))
		})
		assert.Equal(t, http.StatusConflict, got.StatusCode)
		assert.Empty(t, cookieOf(got))
	})
}

// A login as above: that its handler also ends the other sessions doesn't save
// it.
func TestLoginThatEndsOthersStillEnds(t *testing.T) {
	eachSkew(t, func(t *testing.T, w *world, site *site) {
		b := site.Browser()
		got := b.Get(func(rw http.ResponseWriter, r *http.Request, s *session.Session) {
			w.Advance(time.Second)
			require.NoError(t, w.List.EndSubject(context.Background(), "alice"))
			w.Advance(time.Second)
			assert.NoError(t, s.Login("alice"))
			assert.ErrorIs(t, w.List.EndOthers(r.Context()), session.Ended)
		})
		assert.Empty(t, cookieOf(got))
	})
}

func TestLoginThatEndsOthers(t *testing.T) {
	eachSkew(t, func(t *testing.T, w *world, site *site) {
		other, b := site.Browser(), site.Browser()
		logIn(t, other, "alice")
		w.Advance(time.Second)
		b.Do(func(s *session.Session) {
			assert.NoError(t, s.Login("alice"))
			assert.NoError(t, w.List.EndOthers(contextOf(s)))
		})
		subject, _ := site.Opens(b.Credential())
		assert.Equal(t, "alice", subject)
		_, ok := site.Opens(other.Credential())
		assert.False(t, ok)
	})
}

// A list that a test interferes with, just after a renewal has ended a
// generation.
type interrupted struct {
	*revocation.List
	then *func()
}

func (l interrupted) EndBelow(ctx context.Context, rec *session.Record) (bool, error) {
	ok, err := l.List.EndBelow(ctx, rec)
	if then := *l.then; then != nil {
		*l.then = nil
		then()
	}
	return ok, err
}

// newInterrupted makes a site in mode stateless that calls *then once.
func newInterrupted(t *testing.T, list *revocation.List, then *func()) *site {
	tokens, err := token.NewCarrier(token.CarrierConfig{
		Ring: newRing(t, time.Now), Issuer: "https://app.example", Revocations: interrupted{list, then},
	})
	require.NoError(t, err)
	m, err := middleware.New(middleware.Config{Carrier: tokens, Revocations: list})
	require.NoError(t, err)
	return newSite(t, m)
}

// Another goroutine of the request ends all sessions of the subject, and logs
// in again, while this one saves.
func TestEndSubjectDuringSave(t *testing.T) {
	list := revocation.NewVolatile(revocation.Config{})
	var then func()
	b := newInterrupted(t, list, &then).Browser()
	logIn(t, b, "alice")
	b.Do(func(s *session.Session) {
		then = func() {
			assert.NoError(t, list.EndSubject(contextOf(s), "alice"))
			assert.NoError(t, s.Login("alice"))
		}
		assert.NoError(t, s.Renew())
		assert.NoError(t, s.Save(t.Context()))
		assert.Equal(t, "alice", s.Subject())
	})
	b.Do(func(s *session.Session) { assert.Equal(t, "alice", s.Subject()); assert.Equal(t, 7, visits.Get(s)) })
	b.Do(func(s *session.Session) {
		then = func() { assert.NoError(t, list.EndSubject(contextOf(s), "alice")) }
		assert.NoError(t, s.Renew())
		assert.NoError(t, s.Save(t.Context()))
		assert.Empty(t, s.Subject())
	})
	assert.Empty(t, b.Credential())
}

// Another goroutine of the request ends the session while EndOthers renews it:
// then nothing else is ended, and EndOthers says so.
func TestEndOthersWhoseRenewalWasDropped(t *testing.T) {
	list := revocation.NewVolatile(revocation.Config{})
	var then func()
	site := newInterrupted(t, list, &then)
	b, other := site.Browser(), site.Browser()
	logIn(t, b, "alice")
	logIn(t, other, "alice")
	b.Do(func(s *session.Session) {
		then = func() { assert.NoError(t, s.Destroy()) }
		assert.ErrorIs(t, list.EndOthers(contextOf(s)), session.TooLate)
	})
	subject, _ := site.Opens(other.Credential())
	assert.Equal(t, "alice", subject)
	assert.Empty(t, b.Credential())
}

// Whoever has stolen a session can't keep it by ending the others in the very
// millisecond in which the owner ends all.
func TestEndInTheMillisecondOfEndOthers(t *testing.T) {
	ends := map[string]func(l *revocation.List) error{
		"subject": func(l *revocation.List) error { return l.EndSubject(context.Background(), "alice") },
		"all":     func(l *revocation.List) error { return l.EndAll(context.Background()) },
	}
	list := revocation.NewVolatile(revocation.Config{}) // on the real clock, which it waits for
	var then func()
	site := newInterrupted(t, list, &then)
	for name, end := range ends {
		for _, wait := range []bool{true, false} {
			for range 20 {
				b := site.Browser()
				logIn(t, b, "alice")
				ended := make(chan error, 1)
				then = func() {
					go func() { ended <- end(list) }()
					if wait {
						ended <- <-ended
					}
				}
				var err error
				b.Do(func(s *session.Session) { err = list.EndOthers(contextOf(s)) })
				require.NoError(t, <-ended)
				if wait {
					assert.ErrorIs(t, err, session.Ended, name)
					assert.Empty(t, b.Credential(), name)
				}
				_, ok := site.Opens(b.Credential())
				assert.False(t, ok, name)
			}
		}
	}
}

// A login may follow an EndOthers, as in a dialogue that asks for the password.
func TestEndOthersThenLogin(t *testing.T) {
	eachSkew(t, func(t *testing.T, w *world, site *site) {
		b := site.Browser()
		logIn(t, b, "alice")
		w.Advance(time.Second)
		b.Do(func(s *session.Session) {
			assert.NoError(t, w.List.EndOthers(contextOf(s)))
			assert.NoError(t, s.Login("alice"))
		})
		b.Do(func(s *session.Session) {
			assert.Equal(t, "alice", s.Subject())
			assert.Equal(t, 7, visits.Get(s))
			assert.False(t, s.AuthenticatedAt().After(w.Now().Add(time.Millisecond)))
		})
	})
}

// Each end of all sessions in a request ends what the request has saved since
// the one before.
func TestEndSubjectTwiceInOneRequest(t *testing.T) {
	eachSkew(t, func(t *testing.T, w *world, site *site) {
		b := site.Browser()
		logIn(t, b, "alice")
		w.Advance(time.Second)
		endAndLogIn := func(s *session.Session) {
			require.NoError(t, w.List.EndSubject(contextOf(s), "alice"))
			assert.NoError(t, s.Login("alice"))
			assert.NoError(t, s.Save(t.Context()))
			w.Advance(2 * time.Millisecond)
		}
		b.Do(func(s *session.Session) { endAndLogIn(s); endAndLogIn(s) })
		subject, _ := site.Opens(b.Credential())
		assert.Equal(t, "alice", subject)
		b.Do(func(s *session.Session) {
			endAndLogIn(s)
			require.NoError(t, w.List.EndSubject(contextOf(s), "alice"))
		})
		assert.Empty(t, b.Credential(), "no dead cookie")
	})
}

// The session of the request is ended after a login as somebody else: the login
// is none of those sessions.
func TestLoginThenEndSubjectBefore(t *testing.T) {
	eachSkew(t, func(t *testing.T, w *world, site *site) {
		b := site.Browser()
		logIn(t, b, "alice")
		old := b.Credential()
		w.Advance(time.Second)
		b.Do(func(s *session.Session) {
			assert.NoError(t, s.Login("bob"))
			assert.NoError(t, session.Key[any]("more").Set(s, 1))
			require.NoError(t, w.List.EndSubject(contextOf(s), "alice"))
		})
		b.Do(func(s *session.Session) {
			assert.Equal(t, "bob", s.Subject())
			assert.False(t, s.Has("visits"))
			assert.True(t, s.Has("more"))
		})
		_, ok := site.Opens(old)
		assert.False(t, ok)
	})
}

// A login that isn't saved yet ends with EndSubject, and the session that it
// started from ends as by any login.
func TestLoginThenEndSubject(t *testing.T) {
	eachSkew(t, func(t *testing.T, w *world, site *site) {
		for _, again := range []bool{false, true} {
			b := site.Browser()
			logIn(t, b, "bob")
			old := b.Credential()
			w.Advance(time.Second)
			b.Do(func(s *session.Session) {
				assert.NoError(t, s.Login("alice"))
				require.NoError(t, w.List.EndSubject(contextOf(s), "alice"))
				if again {
					assert.NoError(t, s.Login("alice"))
				}
			})
			subject, ok := site.Opens(b.Credential())
			assert.Equal(t, again, ok)
			if again {
				assert.Equal(t, "alice", subject)
			}
			_, ok = site.Opens(old)
			assert.False(t, ok)
			w.Advance(time.Second)
		}
	})
}

// After Destroy nothing follows, whatever ends then.
func TestDestroyThenEndSubject(t *testing.T) {
	eachSkew(t, func(t *testing.T, w *world, site *site) {
		b := site.Browser()
		logIn(t, b, "alice")
		w.Advance(time.Second)
		b.Do(func(s *session.Session) {
			assert.NoError(t, s.Destroy())
			require.NoError(t, w.List.EndSubject(contextOf(s), "alice"))
			assert.Empty(t, s.ID())
			assert.ErrorIs(t, s.Login("alice"), session.Ended)
		})
		assert.Empty(t, b.Credential())
	})
}

// A login that gets a session of its own takes no values to another subject.
func TestLoginOfItsOwnClearsValuesOfAnother(t *testing.T) {
	inEachMode(t, func(t *testing.T, _ string, w *world, b *browser) {
		logIn(t, b, "alice")
		other := b.Site.Holding(b.Credential())
		b.Do(func(s *session.Session) {
			other.Do(func(s *session.Session) { assert.NoError(t, s.Renew()) })
			assert.NoError(t, s.Login("bob"))
		})
		b.Do(func(s *session.Session) { assert.Equal(t, "bob", s.Subject()); assert.Zero(t, len(s.Keys())) })
	})
}

// What the list refuses takes no room in the store.
func TestEndSubjectFreesRoom(t *testing.T) {
	w := newWorld(t)
	b := newSite(t, w.Middleware(t, "opaque")).Browser()
	logIn(t, b, "alice")
	b.Do(func(s *session.Session) { require.NoError(t, w.List.EndSubject(contextOf(s), "alice")) })
	assert.Zero(t, w.memory.Len())
}

// A renewal is saved, and the session ended elsewhere before the response
// begins: a handler that answers all the same hands out no dead cookie.
func TestNoCookieOfASessionFoundOver(t *testing.T) {
	inEachMode(t, func(t *testing.T, _ string, w *world, b *browser) {
		logIn(t, b, "alice")
		got := b.Do(func(s *session.Session) {
			assert.NoError(t, s.Renew())
			assert.NoError(t, s.Save(t.Context()))
			w.Advance(time.Second)
			require.NoError(t, w.List.EndSubject(context.Background(), "alice"))
			assert.ErrorIs(t, s.Save(t.Context()), session.Ended)
		})
		assert.Empty(t, cookieOf(got))
	})
}
