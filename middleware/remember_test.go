package middleware_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/session"
)

const day = 24 * time.Hour

func logsIn(t *testing.T, remember bool) func(s *session.Session) {
	return func(s *session.Session) {
		assert.NoError(t, s.Login("alice"))
		assert.NoError(t, s.Remember(remember))
	}
}

// Remembered sessions live for weeks, the others don't, in one application.
func TestRememberedSessionsHaveLimitsOfTheirOwn(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode string, w *world, b *browser) {
		other := b.Site.Browser()
		got := b.Do(logsIn(t, true))
		assert.Contains(t, got.Header.Get("Set-Cookie"), "; Max-Age=2592000")
		got = other.Do(logsIn(t, false))
		assert.NotContains(t, got.Header.Get("Set-Cookie"), "Max-Age")

		w.Advance(20 * time.Minute)
		other.Do(func(s *session.Session) { assert.True(t, s.IsNew()) })
		w.Advance(13 * day)
		b.Do(func(s *session.Session) { assert.Equal(t, "alice", s.Subject(), "idle for 13 days") })
		idle := b.Site.Holding(b.Credential())
		w.Advance(14 * day)
		idle.Do(func(s *session.Session) { assert.True(t, s.IsNew(), "idle for 14 days") })

		b.Do(logsIn(t, true))
		for range 29 {
			w.Advance(day)
			b.Do(func(s *session.Session) { assert.Equal(t, "alice", s.Subject()) })
		}
		w.Advance(day)
		b.Do(func(s *session.Session) { assert.True(t, s.IsNew(), "30 days after the login") })
	})
}

// To be forgotten shortens the session, and ends the credential that could have
// lived for weeks.
func TestForgottenSessionsAreOrdinaryAgain(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode string, w *world, b *browser) {
		b.Do(logsIn(t, true))
		long := b.Credential()
		w.Advance(time.Minute)
		got := b.Do(func(s *session.Session) { assert.NoError(t, s.Remember(false)) })
		assert.NotContains(t, got.Header.Get("Set-Cookie"), "Max-Age")
		w.Advance(2 * time.Minute)
		_, ok := b.Site.Opens(long)
		assert.False(t, ok)
		b.Do(func(s *session.Session) { assert.Equal(t, "alice", s.Subject()) })
		w.Advance(20 * time.Minute)
		b.Do(func(s *session.Session) { assert.True(t, s.IsNew()) })
	})
}

// The limits go with the session from one form to the other.
func TestRememberedSessionsMove(t *testing.T) {
	for _, row := range [][2]string{{"stateless", "opaque"}, {"opaque", "stateless"}, {"opaque", "auto"}} {
		t.Run(row[0]+" to "+row[1], func(t *testing.T) {
			w := newWorld(t)
			site := newSite(t, w.Middleware(t, row[0]))
			b := site.Browser()
			b.Do(logsIn(t, true))
			site.Run(w.Middleware(t, row[1]))
			w.Advance(10 * day)
			got := b.Do(func(s *session.Session) { assert.NoError(t, visits.Set(s, 1)) })
			assert.Contains(t, got.Header.Get("Set-Cookie"), "; Max-Age=1728000", "the other 20 days")
			w.Advance(13 * day)
			b.Do(func(s *session.Session) { assert.Equal(t, "alice", s.Subject()) })
			w.Advance(7 * day)
			b.Do(func(s *session.Session) { assert.True(t, s.IsNew()) })
		})
	}
}

// A logout ends a remembered session for as long as any of its credentials
// lives, also one from before it was remembered.
func TestLogoutOfARememberedSessionLasts(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode string, w *world, b *browser) {
		b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
		before := b.Credential()
		b.Do(func(s *session.Session) { assert.NoError(t, s.Remember(true)) })
		long := b.Credential()
		b.Site.Holding(before).Do(func(s *session.Session) { assert.True(t, s.IsNew()) })
		b.Do(func(s *session.Session) { assert.NoError(t, s.Destroy()) })
		for range 20 {
			w.Advance(13 * time.Hour)
			_, ok := b.Site.Opens(long)
			assert.False(t, ok)
		}
	})
}

func TestPersistentNeedsTheRememberedLimits(t *testing.T) {
	w := newWorld(t)
	stateless, _ := w.Carriers(t)
	_, err := middleware.New(middleware.Config{
		Carrier: stateless,
		Policy:  session.Policy{IdleTimeout: time.Minute, Lifetime: time.Hour},
		Cookie:  middleware.Cookie{Persistent: true},
	})
	assert.ErrorContains(t, err, "Policy.RememberedIdleTimeout is missing")
	assert.ErrorContains(t, err, "Policy.RememberedLifetime is missing")
}
