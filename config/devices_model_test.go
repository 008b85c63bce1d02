package config_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/session"
)

// A model is what eight clients know of their sessions, and which of them have
// ended.
type model struct {
	t     *testing.T
	app   *config.App
	shift atomic.Int64
	all   [8]client
	of    []string // the subjects

	mu    sync.Mutex // guards what follows
	ended map[string]bool
	swept string // the subject whose sessions are all ended in this phase, or ""
}

// A client has one browser. Only its own goroutine, or none, uses it.
type client struct {
	cookie      *http.Cookie
	id, subject string // of its session; "" if it has none
	active      bool   // it has done something in this phase
	failed      int    // the status of what has failed, or 0
}

// Eight clients log in, renew, change subject, fill their session so that it
// moves to the store and back, log out, end each other's sessions, or time out,
// by chance and at once. After each phase, a list has exactly the sessions that
// live, and those live that should.
func TestDevicesModelSoak(t *testing.T) {
	phases := 60
	if os.Getenv("CLOAKROOM_SOAK") == "1" {
		phases = 10_000
	}
	for _, mode := range []config.Mode{config.Opaque, config.Stateless, config.Auto} {
		t.Run(string(mode), func(t *testing.T) {
			m := &model{t: t, ended: make(map[string]bool)}
			in := config.Config{
				Mode: mode, Devices: config.DevicesConfig{Enabled: true}, Timeout: config.Duration(20 * time.Second),
			}
			if mode != config.Opaque {
				in.Keys = config.KeysConfig{File: keyFile(t)}
			}
			m.app = build(t, in, config.Options{
				Now: func() time.Time { return time.Now().Add(time.Duration(m.shift.Load())) },
			})
			for phase := range phases {
				if phase%20 == 0 {
					m.renew(phase)
				}
				m.play(mode != config.Stateless)
				if phase%20 == 19 {
					m.timeOut()
				}
				if !m.judge() {
					t.Fatalf("in phase %d", phase)
				}
			}
		})
	}
}

// renew has the clients forget their sessions, and go on with other subjects: a
// revocation list ends all sessions of a subject of which many have ended.
func (m *model) renew(phase int) {
	m.all, m.of = [8]client{}, nil
	for _, name := range []string{"alice", "bob", "carol"} {
		m.of = append(m.of, fmt.Sprint(name, " ", phase))
	}
}

// play has each client do one thing, or none.
func (m *model) play(mayMove bool) {
	m.swept = ""
	sweeper := rand.IntN(8 * len(m.all)) // mostly none
	var all sync.WaitGroup
	for i := range m.all {
		c := &m.all[i]
		c.active, c.failed = i == sweeper || rand.IntN(4) > 0, 0
		if i == sweeper {
			m.swept = m.of[rand.IntN(len(m.of))]
			all.Go(func() { require.NoError(m.t, m.app.Revocations.EndSubject(m.t.Context(), m.swept)) })
		} else if c.active {
			all.Go(func() { m.act(c, mayMove) })
		}
	}
	all.Wait()
	if m.swept != "" {
		m.shift.Add(int64(time.Millisecond)) // a login in the same one ends, too
	}
}

func (m *model) act(c *client, mayMove bool) {
	big := session.Key[string]("big")
	change := []func(s *session.Session) error{
		func(s *session.Session) error { return s.Login(m.of[rand.IntN(len(m.of))]) },
		func(s *session.Session) error { return s.Login(m.of[rand.IntN(len(m.of))]) },
		func(s *session.Session) error { return s.Renew() },
		func(s *session.Session) error { return s.Remember(false) },
		func(s *session.Session) error { return s.Destroy() },
		func(s *session.Session) error { return big.Set(s, strings.Repeat("x", rand.IntN(100))) },
		func(s *session.Session) error { return big.Set(s, strings.Repeat("x", 5000)) },
	}
	kinds := len(change)
	if !mayMove {
		kinds--
	}
	n := rand.IntN(kinds + 1)
	if n == kinds {
		m.endOne()
		return
	}
	if c.subject == "" {
		n = 0
	}
	var id, subject string
	status, cookie := try(m.app, c.cookie, func(s *session.Session) {
		require.NoError(m.t, change[n](s))
		id, subject = s.ID(), s.Subject()
	})
	switch c.cookie = kept(cookie); {
	case status != http.StatusOK:
		c.failed = status
	case subject == "":
		c.id, c.subject = "", ""
	default:
		c.id, c.subject = id, subject
	}
}

// kept returns the cookie, or nil if the browser is to delete it.
func kept(cookie *http.Cookie) *http.Cookie {
	if cookie != nil && cookie.MaxAge < 0 {
		return nil
	}
	return cookie
}

// endOne ends a session from a list.
func (m *model) endOne() {
	subject := m.of[rand.IntN(len(m.of))]
	list, err := m.app.Devices.List(m.t.Context(), subject)
	require.NoError(m.t, err)
	if len(list) == 0 {
		return
	}
	id := list[rand.IntN(len(list))].ID
	switch err := m.app.Devices.End(m.t.Context(), subject, id); session.ReasonOf(err) {
	case session.NotFound: // it has left meanwhile, or somebody else has logged in
	default:
		require.NoError(m.t, err)
		m.mu.Lock()
		m.ended[id] = true
		m.mu.Unlock()
	}
}

// timeOut lets half of the clients do nothing for so long that their sessions
// are over, and a list knows that.
func (m *model) timeOut() {
	for range 5 {
		m.shift.Add(int64(7 * time.Minute))
		for i := range m.all[:4] {
			if c := &m.all[i]; c.cookie != nil {
				c.cookie = kept(visit(m.t, m.app, c.cookie, func(*session.Session) {}))
			}
		}
	}
	for i := range m.all[4:] {
		c := &m.all[4+i]
		m.ended[c.id] = c.id != ""
		c.active = false
	}
}

// judge compares lists with what the clients know, and with what their cookies
// open.
func (m *model) judge() bool {
	lives := make(map[string][]string)
	for i := range m.all {
		c := &m.all[i]
		id, subject := "", ""
		if c.cookie != nil {
			c.cookie = kept(visit(m.t, m.app, c.cookie, func(s *session.Session) { id, subject = s.ID(), s.Subject() }))
		}
		swept := m.swept != "" && (c.subject == m.swept || subject == m.swept || c.failed != 0)
		switch mustEnd := m.ended[c.id] || swept && !c.active; {
		case mustEnd && subject != "" && id == c.id:
			m.t.Errorf("client %d: the session %s of %s has ended, and opens: %+v", i, id, subject, *c)
		case !mustEnd && !swept && (id != c.id || subject != c.subject) && c.subject != "":
			m.t.Errorf("client %d: opens session %s of %q: %+v", i, id, subject, *c)
		case c.failed != 0 && !m.ended[c.id] && !swept:
			m.t.Errorf("client %d: status %d, but nothing has ended: %+v", i, c.failed, *c)
		}
		if c.id, c.subject = id, subject; subject == "" {
			c.id = ""
		} else {
			lives[subject] = append(lives[subject], id)
		}
	}
	for _, subject := range m.of {
		want := slices.Sorted(slices.Values(lives[subject]))
		var listed []string
		same := func() bool {
			listed = slices.Sorted(slices.Values(idsOf(m.t, m.app, subject)))
			return slices.Equal(listed, want)
		}
		for begun := time.Now(); !same(); runtime.Gosched() { // activity is noted in the background
			if time.Since(begun) > 10*time.Second {
				m.t.Errorf("%s has the sessions %q, and listed are %q", subject, want, listed)
				break
			}
		}
	}
	return !m.t.Failed()
}

// Fifty logins at once never have more sessions open than a subject may have,
// whether a login beyond the limit is refused or ends another session.
func TestDevicesLimitRace(t *testing.T) {
	const logins, limit = 50, 5
	for _, refuse := range []bool{false, true} {
		t.Run(fmt.Sprint("refuse new ", refuse), func(t *testing.T) {
			app := build(t, config.Config{
				Mode: config.Opaque, Timeout: config.Duration(20 * time.Second),
				Devices: config.DevicesConfig{Enabled: true, Limit: limit, RefuseNew: refuse},
			}, config.Options{})
			var mu sync.Mutex // guards cookies
			var cookies []*http.Cookie
			var refused atomic.Int64
			var all sync.WaitGroup
			start, done := make(chan struct{}), make(chan struct{})
			for range logins {
				all.Go(func() {
					<-start
					status, cookie := try(app, nil, func(s *session.Session) { require.NoError(t, s.Login("alice")) })
					switch mu.Lock(); status {
					case http.StatusOK:
						cookies = append(cookies, cookie)
					case http.StatusForbidden:
						refused.Add(1)
					default:
						t.Errorf("a login failed with status %d", status)
					}
					mu.Unlock()
				})
			}
			// What opens twice was open in between, together with all others that do.
			open := func() (n int) {
				mu.Lock()
				now := slices.Clone(cookies)
				mu.Unlock()
				still := slices.DeleteFunc(now, func(c *http.Cookie) bool { return subjectOf(t, app, c) == "" })
				for _, c := range still {
					if subjectOf(t, app, c) != "" {
						n++
					}
				}
				return n
			}
			go func() { all.Wait(); close(done) }()
			close(start)
			looks, most := 0, 0
			for running := true; running; {
				select {
				case <-done:
					running = false
				default:
				}
				if n := open(); n > 0 {
					looks, most = looks+1, max(most, n)
				}
			}
			require.LessOrEqual(t, most, limit)
			require.Equal(t, limit, open())
			require.Len(t, idsOf(t, app, "alice"), limit)
			if refuse {
				require.EqualValues(t, logins-limit, refused.Load())
			} else {
				require.Zero(t, refused.Load())
			}
			t.Logf("%d looks, at most %d open", looks, most)
		})
	}
}
