package middleware_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// homeForm is the form that a small session has in each mode.
var homeForm = map[string]string{"stateless": "token", "opaque": "opaque", "auto": "token"}

// TestModeChange restarts an application in another mode, over the same keys
// and store: nobody is logged out.
func TestModeChange(t *testing.T) {
	for _, from := range modes {
		for _, to := range modes {
			if from == to {
				continue
			}
			t.Run(from+" to "+to, func(t *testing.T) {
				w := newWorld(t)
				b := newSite(t, w.Middleware(t, from)).Browser()
				var id string
				b.Do(func(s *session.Session) {
					assert.NoError(t, s.Login("alice"))
					assert.NoError(t, visits.Set(s, 1))
					id = s.ID()
				})
				require.Equal(t, homeForm[from], form(b.Credential()))
				b.Site.Run(w.Middleware(t, to))

				t.Run("a read changes nothing", func(t *testing.T) {
					got := b.Do(func(s *session.Session) {
						assert.Equal(t, "alice", s.Subject())
						assert.Equal(t, 1, visits.Get(s))
					})
					assert.Empty(t, got.Header["Set-Cookie"])
				})
				t.Run("the first response is thrown away", func(t *testing.T) {
					lost := b.Site.Holding(b.Credential())
					lost.Do(func(s *session.Session) { assert.NoError(t, visits.Set(s, 2)) })
					w.Advance(59 * time.Second)
					b.Do(func(s *session.Session) {
						assert.Equal(t, id, s.ID())
						assert.Equal(t, "alice", s.Subject())
						assert.Equal(t, 2, visits.Get(s))
					})
				})
				t.Run("the next save moves", func(t *testing.T) {
					b.Do(func(s *session.Session) { assert.NoError(t, visits.Set(s, 3)) })
					assert.Equal(t, homeForm[to], form(b.Credential()))
					b.Do(func(s *session.Session) {
						assert.Equal(t, id, s.ID())
						assert.Equal(t, 3, visits.Get(s))
					})
				})
				t.Run("logout ends it in every form", func(t *testing.T) {
					last := b.Credential()
					b.Do(func(s *session.Session) { assert.NoError(t, s.Destroy()) })
					_, ok := b.Site.Opens(last)
					assert.False(t, ok)
				})
			})
		}
	}
}

func TestModeChangeWithParallelRequests(t *testing.T) {
	for _, from := range modes {
		for _, to := range modes {
			if from == to {
				continue
			}
			t.Run(from+" to "+to, func(t *testing.T) {
				w := newWorld(t)
				b := newSite(t, w.Middleware(t, from)).Browser()
				b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
				b.Site.Run(w.Middleware(t, to))
				b.Together(6, func(i int, s *session.Session) {
					assert.NoError(t, session.Key[any](fmt.Sprint("key", i)).Set(s, i))
				})
				// The browser still has the old cookie: within a minute it leads on.
				b.Do(func(s *session.Session) {
					assert.Equal(t, "alice", s.Subject())
					assert.Equal(t, 6, len(s.Keys()), "%v", s.Keys())
				})
				assert.Equal(t, homeForm[to], form(b.Credential()))
			})
		}
	}
}

// A move is no security event: the response that carried the new credential may
// have got lost, and the next request may come to another instance. The old
// credential leads on as long as it could have lived, and no longer.
func TestMovedCredentialLeadsOn(t *testing.T) {
	for _, tt := range []struct{ from, to string }{
		{"stateless", "opaque"}, {"opaque", "stateless"}, {"auto", "opaque"}, {"auto", "auto"},
	} {
		t.Run(tt.from+" to "+tt.to, func(t *testing.T) {
			w := newWorld(t)
			b := newSite(t, w.Middleware(t, tt.from)).Browser()
			b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
			before := b.Credential()
			b.Site.Run(w.Middleware(t, tt.to))
			b.Do(func(s *session.Session) {
				assert.NoError(t, session.Key[any]("big").Set(s, strings.Repeat("x", map[bool]int{true: 5000}[tt.from == tt.to])))
			})
			require.NotEqual(t, form(before), form(b.Credential()))
			b.Site.Run(w.Middleware(t, tt.to))
			for passed := time.Duration(0); passed < 20*time.Minute; passed += 2 * time.Minute {
				subject, _ := b.Site.Opens(before)
				assert.Equal(t, "alice", subject)
				b.Do(func(s *session.Session) { assert.Equal(t, "alice", s.Subject()) })
				w.Advance(2 * time.Minute)
			}
			b.Do(func(*session.Session) {})
			w.Advance(2 * time.Minute)
			_, ok := b.Site.Opens(before)
			assert.False(t, ok)
			b.Do(func(s *session.Session) { assert.Equal(t, "alice", s.Subject()) })
		})
	}
}

// Without a note in the store only the instance that moved the session out of a
// token finds it, and only for a minute.
func TestMoveWithoutSuccessors(t *testing.T) {
	w := newWorld(t)
	without := func(c *middleware.Config) {
		var err error
		c.Carrier, err = token.NewCarrier(token.CarrierConfig{
			Ring: w.Ring, Issuer: "https://app.example", Revocations: w.List, Now: w.Now,
		})
		require.NoError(t, err)
	}
	m := w.Middleware(t, "auto", without)
	before := begin(t, m, "alice")
	visit(m, before, func(s *session.Session) {
		assert.NoError(t, session.Key[any]("big").Set(s, strings.Repeat("x", 5000)))
	})
	assert.Empty(t, subjectOf(w.Middleware(t, "auto", without), before), "the test above would pass without testing")
	assert.Equal(t, "alice", subjectOf(m, before))
	w.Advance(time.Minute)
	assert.Empty(t, subjectOf(m, before))
}

func TestAutoMovesToTheStoreAndBack(t *testing.T) {
	tests := []struct {
		name     string
		parallel int  // requests that outgrow, or shrink, the session at once
		lost     bool // whether the responses to them get lost
	}{
		{"one request", 1, false},
		{"6 parallel requests", 6, true},
		{"the response is lost", 1, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			b := newSite(t, w.Middleware(t, "auto")).Browser()
			var id string
			b.Do(func(s *session.Session) {
				assert.NoError(t, s.Login("alice"))
				assert.NoError(t, visits.Set(s, 1))
				id = s.ID()
			})
			require.Equal(t, "token", form(b.Credential()))
			change := func(f func(i int, s *session.Session)) {
				if tt.lost {
					b.Together(tt.parallel, f)
					b.Do(func(s *session.Session) { assert.NoError(t, visits.Set(s, 1)) }) // the next save moves what is to be moved
					return
				}
				b.Do(func(s *session.Session) { f(0, s) })
			}
			for range 3 {
				change(func(i int, s *session.Session) {
					assert.NoError(t, session.Key[any](fmt.Sprint("big", i)).Set(s, strings.Repeat("x", 4000)))
				})
				assert.Equal(t, "opaque", form(b.Credential()))
				b.Do(func(s *session.Session) {
					assert.Equal(t, id, s.ID())
					assert.Equal(t, 1, visits.Get(s))
					assert.Equal(t, 1+tt.parallel, len(s.Keys()))
				})
				change(func(i int, s *session.Session) { assert.NoError(t, session.Key[any](fmt.Sprint("big", i)).Delete(s)) })
				assert.Equal(t, "token", form(b.Credential()))
				b.Do(func(s *session.Session) {
					assert.Equal(t, id, s.ID())
					assert.Equal(t, "alice", s.Subject())
					assert.Equal(t, []string{"visits"}, s.Keys())
				})
			}
		})
	}
}

// A session that just fits a cookie stays where it is: it doesn't go to and
// fro.
func TestAutoLeavesRoom(t *testing.T) {
	w := newWorld(t)
	b := newSite(t, w.Middleware(t, "auto")).Browser()
	set := func(n int) string {
		b.Do(func(s *session.Session) { assert.NoError(t, session.Key[any]("pad").Set(s, strings.Repeat("x", n))) })
		return form(b.Credential())
	}
	largest := 0
	for n := 100; set(n) == "token"; n += 10 {
		largest = n
	}
	assert.Greater(t, largest, 1000)
	assert.Equal(t, "opaque", set(largest), "it fits again, but without room")
	assert.Equal(t, "opaque", set(largest*8/10))
	assert.Equal(t, "token", set(largest*5/10))
	assert.Equal(t, "token", set(largest))
}

// What doesn't fit the configured form stays where it is.
func TestTooLargeStays(t *testing.T) {
	w := newWorld(t)
	b := newSite(t, w.Middleware(t, "opaque")).Browser()
	b.Do(func(s *session.Session) {
		assert.NoError(t, s.Login("alice"))
		assert.NoError(t, session.Key[any]("big").Set(s, strings.Repeat("x", 5000)))
	})
	b.Site.Run(w.Middleware(t, "stateless"))
	b.Do(func(s *session.Session) { assert.NoError(t, visits.Set(s, 1)) })
	b.Do(func(s *session.Session) { assert.NoError(t, s.Renew()) })
	assert.Equal(t, "opaque", form(b.Credential()))
	b.Do(func(s *session.Session) {
		assert.Equal(t, "alice", s.Subject())
		assert.Equal(t, 1, visits.Get(s))
		assert.NoError(t, session.Key[any]("big").Delete(s))
	})
	assert.Equal(t, "token", form(b.Credential()))
}

// An application may stop accepting the other form.
func TestOtherFormNotAccepted(t *testing.T) {
	w := newWorld(t)
	b := newSite(t, w.Middleware(t, "opaque")).Browser()
	b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	b.Site.Run(w.Middleware(t, "stateless", func(c *middleware.Config) { c.Accept = nil }))
	b.Do(func(s *session.Session) { assert.True(t, s.IsNew()) })
}
