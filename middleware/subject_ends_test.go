package middleware_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A password was reset by a link: end every session of the subject, then log
// in, in one request, as an anonymous visitor or in a session of the subject.
func TestEndSubjectThenLogin(t *testing.T) {
	for _, skew := range []time.Duration{0, 5 * time.Second} {
		for _, mode := range modes {
			for _, before := range []string{"", "anonymous", "alice", "bob"} {
				w := newWorld(t)
				w.List = revocation.NewVolatile(revocation.Config{Now: w.Now, Skew: skew})
				site := newSite(t, w.Middleware(t, mode))
				other, b := site.Browser(), site.Browser()
				other.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
				b.Do(func(s *session.Session) {
					switch before {
					case "":
					case "anonymous":
						assert.NoError(t, visits.Set(s, 7))
					default:
						assert.NoError(t, s.Login(before))
						assert.NoError(t, visits.Set(s, 7))
					}
				})
				old := b.Credential()
				w.Advance(time.Minute)
				b.Do(func(s *session.Session) {
					require.NoError(t, w.List.EndSubject(contextOf(s), "alice"))
					assert.NotEqual(t, "alice", s.Subject())
					assert.NoError(t, s.Login("alice"))
				})
				what := fmt.Sprint(skew, mode, before)
				b.Do(func(s *session.Session) {
					assert.Equal(t, "alice", s.Subject(), what)
					assert.Equal(t, before == "anonymous" || before == "alice", s.Has("visits"), what)
				})
				_, ok := site.Opens(old)
				assert.False(t, ok && old != "", what)
				_, ok = site.Opens(other.Credential())
				assert.False(t, ok, what)
				// It is a session like others: the next end of all ends it, however soon it
				// comes.
				w.Advance(2 * time.Millisecond)
				require.NoError(t, w.List.EndSubject(t.Context(), "alice"))
				_, ok = site.Opens(b.Credential())
				assert.False(t, ok, what)
			}
		}
	}
}

// Without a login, EndSubject leaves the session of its request ended, with its
// cookie removed, and nothing else can be written to it.
func TestEndSubjectEndsTheSessionOfItsRequest(t *testing.T) {
	inEachMode(t, func(t *testing.T, _ string, w *world, b *browser) {
		b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
		old := b.Credential()
		w.Advance(time.Minute)
		b.Do(func(s *session.Session) {
			require.NoError(t, w.List.EndSubject(contextOf(s), "alice"))
			assert.ErrorIs(t, visits.Set(s, 1), session.Ended)
		})
		assert.Empty(t, b.Credential())
		_, ok := b.Site.Opens(old)
		assert.False(t, ok)
	})
}

// A password was changed: the session of the request goes on under a new
// credential, and all others of the subject end.
func TestEndOthersKeepsThisSession(t *testing.T) {
	for _, skew := range []time.Duration{0, 5 * time.Second} {
		for _, mode := range modes {
			w := newWorld(t)
			w.List = revocation.NewVolatile(revocation.Config{Now: w.Now, Skew: skew})
			site := newSite(t, w.Middleware(t, mode))
			b, others := site.Browser(), []*browser{site.Browser(), site.Browser()}
			for _, one := range append(others, b) {
				one.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")); assert.NoError(t, visits.Set(s, 7)) })
			}
			bob := site.Browser()
			bob.Do(func(s *session.Session) { assert.NoError(t, s.Login("bob")) })
			old := b.Credential()
			w.Advance(time.Second)
			b.Do(func(s *session.Session) {
				id := s.ID()
				assert.NoError(t, w.List.EndOthers(contextOf(s)))
				assert.NoError(t, session.Key[any]("more").Set(s, true))
				assert.Equal(t, id, s.ID())
			})
			for range 3 {
				b.Do(func(s *session.Session) {
					assert.Equal(t, "alice", s.Subject(), "%s, skew %v", mode, skew)
					assert.Equal(t, 7, visits.Get(s))
					assert.True(t, s.Has("more"))
				})
				w.Advance(2 * time.Minute)
			}
			for _, dead := range []string{old, others[0].Credential(), others[1].Credential()} {
				_, ok := site.Opens(dead)
				assert.False(t, ok, "%s, skew %v", mode, skew)
			}
			subject, _ := site.Opens(bob.Credential())
			assert.Equal(t, "bob", subject)
			require.NoError(t, w.List.EndSubject(t.Context(), "alice"))
			_, ok := site.Opens(b.Credential())
			assert.False(t, ok, "it ends with the next end of all")
		}
	}
}

func TestEndOthersNeedsASubject(t *testing.T) {
	inEachMode(t, func(t *testing.T, _ string, w *world, b *browser) {
		b.Do(func(s *session.Session) {
			assert.NoError(t, visits.Set(s, 7))
			assert.ErrorIs(t, w.List.EndOthers(contextOf(s)), session.BadValue)
		})
		err := w.List.EndOthers(t.Context())
		assert.ErrorIs(t, err, session.BadValue)
		assert.ErrorContains(t, err, "pass that of the visitor's request: invalid value")
	})
}

// A login within Skew after an end of all is not dead on arrival, and neither
// is an anonymous session.
func TestLoginWithinSkewAfterTheEnd(t *testing.T) {
	for _, mode := range modes {
		w := newWorld(t)
		w.List = revocation.NewVolatile(revocation.Config{Now: w.Now, Skew: 5 * time.Second})
		site := newSite(t, w.Middleware(t, mode))
		require.NoError(t, w.List.EndSubject(t.Context(), "alice"))
		require.NoError(t, w.List.EndAll(t.Context()))
		w.Advance(2 * time.Millisecond)
		b, anonymous := site.Browser(), site.Browser()
		b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
		anonymous.Do(func(s *session.Session) { assert.NoError(t, visits.Set(s, 7)) })
		for _, grow := range []int{10, 3000, 10} { // over to the store and back, in mode auto
			b.Do(func(s *session.Session) {
				assert.Equal(t, "alice", s.Subject(), mode)
				if mode != "stateless" {
					assert.NoError(t, session.Key[any]("size").Set(s, random(grow)))
				}
			})
		}
		b.Do(func(s *session.Session) { assert.NoError(t, s.Renew()) })
		subject, _ := site.Opens(b.Credential())
		assert.Equal(t, "alice", subject, mode)
		anonymous.Do(func(s *session.Session) { assert.Equal(t, 7, visits.Get(s), mode) })
	}
}

// contextOf returns a context as that of the request of s.
func contextOf(s *session.Session) context.Context {
	return session.NewContext(context.Background(), s)
}
