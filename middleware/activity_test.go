package middleware_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
	"github.com/stretchr/testify/assert"
)

// A page that polls doesn't keep the session of an absent visitor alive.
func TestPollingIsNoActivity(t *testing.T) {
	polls := map[string]func(t *testing.T, w http.ResponseWriter, r *http.Request, s *session.Session){
		"reads": func(t *testing.T, _ http.ResponseWriter, _ *http.Request, s *session.Session) { visits.Get(s) },
		"writes": func(t *testing.T, _ http.ResponseWriter, _ *http.Request, s *session.Session) {
			assert.NoError(t, visits.Set(s, 2))
		},
		"renews": func(t *testing.T, _ http.ResponseWriter, _ *http.Request, s *session.Session) {
			assert.NoError(t, s.Renew())
		},
		"saves": func(t *testing.T, _ http.ResponseWriter, r *http.Request, s *session.Session) {
			assert.NoError(t, visits.Set(s, 2))
			assert.NoError(t, s.Save(r.Context()))
		},
		"checks": func(t *testing.T, w http.ResponseWriter, r *http.Request, s *session.Session) {
			assert.NoError(t, s.Save(r.Context()))
			io.WriteString(w, "begun")
			assert.NoError(t, s.Save(r.Context()))
		},
	}
	for name, poll := range polls {
		t.Run(name, func(t *testing.T) {
			inEachMode(t, func(t *testing.T, _ string, w *world, b *browser) {
				b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
				for range 3 { // the session goes on while there is activity
					w.Advance(15 * time.Minute)
					b.Do(func(*session.Session) {})
				}
				for range 3 {
					w.Advance(5 * time.Minute)
					b.Get(func(rw http.ResponseWriter, r *http.Request, s *session.Session) {
						s.IgnoreActivity()
						until := s.ExpiresAt()
						poll(t, rw, r, s)
						assert.Equal(t, "alice", s.Subject())
						assert.Equal(t, until, s.ExpiresAt())
					})
				}
				w.Advance(5 * time.Minute)
				b.Do(func(s *session.Session) { assert.True(t, s.IsNew(), "20 minutes after the last activity") })
			})
		})
	}
}

// The other limits count from the last activity, too.
func TestRememberInAPollIsNoActivity(t *testing.T) {
	inEachMode(t, func(t *testing.T, _ string, w *world, b *browser) {
		b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
		w.Advance(10 * time.Minute)
		b.Do(func(s *session.Session) {
			seen := s.Snapshot().SeenAt
			s.IgnoreActivity()
			assert.NoError(t, s.Remember(true))
			assert.Equal(t, seen, s.Snapshot().SeenAt)
		})
		seen := w.Now().Add(-10 * time.Minute)
		b.Do(func(s *session.Session) {
			s.IgnoreActivity()
			assert.True(t, s.Snapshot().Persistent)
			assert.Equal(t, seen, s.Snapshot().SeenAt.UTC())
		})
	})
}

func TestLoginIsActivity(t *testing.T) {
	inEachMode(t, func(t *testing.T, _ string, w *world, b *browser) {
		b.Do(func(s *session.Session) { assert.NoError(t, visits.Set(s, 1)) })
		w.Advance(15 * time.Minute)
		b.Do(func(s *session.Session) { s.IgnoreActivity(); assert.NoError(t, s.Login("alice")) })
		w.Advance(15 * time.Minute)
		b.Do(func(s *session.Session) { assert.Equal(t, "alice", s.Subject()) })
	})
}
