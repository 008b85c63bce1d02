package apptest

import (
	"io"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func twoRequestsKeepBothValues(t *testing.T, _ *World, b *Browser) {
	b.Do(func(s *session.Session) { assert.NoError(t, Visits.Set(s, 1)) })
	oldest := b.Credential()
	b.Together(2, func(i int, s *session.Session) {
		assert.NoError(t, session.Key[any]("key"+strconv.Itoa(i)).Set(s, i))
	})
	b.Site.Holding(oldest).Do(func(s *session.Session) {
		assert.Equal(t, []string{"key0", "key1", "visits"}, s.Keys())
	})
}

// n requests at once count to n, though each began with the same cookie, and
// though the browser keeps the oldest of the cookies that they bring.
func parallelUpdates(t *testing.T, w *World, b *Browser) {
	b.Do(func(s *session.Session) { assert.NoError(t, Visits.Set(s, 0)) })
	oldest := b.Credential()
	b.Together(w.crowd, func(_ int, s *session.Session) {
		_, err := Visits.Update(s, func(n int) int { return n + 1 })
		assert.NoError(t, err)
	})
	require.Equal(t, oldest, b.Credential())
	got := b.Do(func(s *session.Session) { assert.Equal(t, w.crowd, Visits.Get(s)) })
	if Form(oldest) == "token" {
		assert.NotEmpty(t, got.Header["Set-Cookie"], "the browser gets the newer state back")
		assert.NotEqual(t, oldest, b.Credential())
	}
}

// A value can be used up exactly once, by Update and Save.
func oneTimeValue(t *testing.T, w *World, b *Browser) {
	const once session.Key[string] = "once"
	b.Do(func(s *session.Session) { assert.NoError(t, once.Set(s, "token")) })
	var mu sync.Mutex
	used := 0
	b.Together(w.crowd, func(_ int, s *session.Session) {
		mine := false
		_, err := once.Update(s, func(v string) string { mine = v == "token"; return "" })
		assert.NoError(t, err)
		assert.NoError(t, s.Save(t.Context()))
		if mine { // as the run that was kept has found it
			mu.Lock()
			used++
			mu.Unlock()
		}
	})
	assert.Equal(t, 1, used)
}

// The goroutines of one request may share its session.
func goroutinesOfOneRequest(t *testing.T, _ *World, b *Browser) {
	b.Do(func(s *session.Session) {
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				assert.NoError(t, session.Key[any]("key"+strconv.Itoa(i)).Set(s, i))
				_, err := Visits.Update(s, func(n int) int { return n + 1 })
				assert.NoError(t, err)
				if i%5 == 0 {
					assert.NoError(t, s.Save(t.Context()))
				}
				s.Keys()
			})
		}
		wg.Wait()
	})
	b.Do(func(s *session.Session) {
		assert.Equal(t, 21, len(s.Keys()))
		assert.Equal(t, 20, Visits.Get(s))
	})
}

// A poll is at work during a login, and its response arrives after that of the
// login: the browser ends up logged in.
func pollDoesNotUndoLogin(t *testing.T, w *World, b *Browser) {
	for _, writes := range []bool{false, true} {
		b.Do(func(s *session.Session) { assert.NoError(t, Visits.Set(s, 1)) })
		w.Advance(2 * time.Minute) // so that the poll would record its activity
		polling, loggedIn, polled := make(chan struct{}), make(chan struct{}), make(chan Reply)
		go func() {
			polled <- b.Get(func(w http.ResponseWriter, r *http.Request, s *session.Session) {
				close(polling)
				<-loggedIn
				if writes {
					assert.NoError(t, session.Key[any]("poll").Set(s, 1))
				}
				io.WriteString(w, "polled")
			})
		}()
		<-polling
		b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
		close(loggedIn)
		got := <-polled
		assert.Empty(t, got.Header["Set-Cookie"])
		if writes {
			assert.Equal(t, http.StatusConflict, got.StatusCode, "the poll is told that its change was not kept")
		} else {
			assert.Equal(t, "polled", got.Text)
		}
		b.Do(func(s *session.Session) { assert.Equal(t, "alice", s.Subject()) })
		b.Do(func(s *session.Session) { assert.NoError(t, s.Destroy()) })
	}
}
