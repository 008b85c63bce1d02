package middleware_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

// visit sends one request with a credential, "" for none, and returns the
// status and the credential that the client holds afterwards.
func visit(m *middleware.Middleware, credential string, f func(s *session.Session)) (status int, next string) {
	r := cookies(credential)
	if credential == "" {
		r = cookies()
	}
	w := httptest.NewRecorder()
	h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { f(session.From(r.Context())) })
	m.Handler(h).ServeHTTP(w, r)
	next = credential
	for _, c := range w.Result().Cookies() {
		next = c.Value
	}
	return w.Code, next
}

// cookies is a request with a session cookie of each value, as it stands.
func cookies(values ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	if len(values) > 0 {
		r.Header["Cookie"] = []string{"__Host-session=" + strings.Join(values, "; __Host-session=")}
	}
	return r
}

// begin makes a session with one value, of subject if that isn't "".
func begin(t testing.TB, m *middleware.Middleware, subject string) (credential string) {
	status, credential := visit(m, "", func(s *session.Session) {
		if subject != "" {
			assert.NoError(t, s.Login(subject))
		}
		assert.NoError(t, session.Key[any]("of").Set(s, subject))
	})
	require.Equal(t, http.StatusOK, status)
	require.NotEmpty(t, credential)
	return credential
}

// subjectOf opens a credential; "-" is for nobody's session, "" for none at
// all.
func subjectOf(m *middleware.Middleware, credential string) (subject string) {
	visit(m, credential, func(s *session.Session) {
		if subject = s.Subject(); subject == "" && !s.IsNew() {
			subject = "-"
		}
	})
	return subject
}

func eachMode(t *testing.T, f func(t *testing.T, mode string, w *world)) {
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) { f(t, mode, newWorld(t)) })
	}
}

// unknownID has the form of an opaque credential, and is none.
func unknownID() string { return "cr1_" + b64(random(32)) }

// Requests keep a session alive up to its lifetime, and none of them longer.
func TestAttackSlidingForever(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string, w *world) {
		m := w.middleware(t, mode)
		credential := begin(t, m, "mallory")
		all := []string{credential}
		for range 12*6 - 1 { // every 10 minutes
			w.Advance(10 * time.Minute)
			status, next := visit(m, credential, func(s *session.Session) {
				assert.Equal(t, "mallory", s.Subject())
				assert.NoError(t, s.Renew())
			})
			require.Equal(t, http.StatusOK, status)
			require.NotEqual(t, credential, next)
			credential = next
			all = append(all, credential)
		}
		w.Advance(10*time.Minute - time.Second)
		require.Equal(t, "mallory", subjectOf(m, credential))
		w.Advance(time.Second)
		for _, instance := range []*middleware.Middleware{m, w.middleware(t, mode)} {
			for _, c := range all {
				require.Empty(t, subjectOf(instance, c))
			}
		}
	})
}

func TestAttackLogoutReplay(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string, w *world) {
		journal := revocation.Config{Path: filepath.Join(t.TempDir(), "revoked"), Lifetime: 12 * time.Hour, Now: w.Now}
		open := func() {
			require.NoError(t, w.list.Close())
			list, err := revocation.Open(journal)
			require.NoError(t, err)
			w.list = list
		}
		open()
		m := w.middleware(t, mode)
		anonymous := begin(t, m, "")
		_, first := visit(m, anonymous, func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
		_, last := visit(m, first, func(s *session.Session) { assert.NoError(t, session.Key[any]("more").Set(s, 1)) })
		require.Equal(t, "alice", subjectOf(m, last))
		status, _ := visit(m, last, func(s *session.Session) { assert.NoError(t, s.Destroy()) })
		require.Equal(t, http.StatusOK, status)
		for _, restart := range []bool{false, true} {
			if restart {
				open()
				m = w.middleware(t, mode)
			}
			for _, old := range []string{anonymous, first, last} {
				require.Empty(t, subjectOf(m, old), "restart %t", restart)
				_, next := visit(m, old, func(s *session.Session) { assert.NoError(t, session.Key[any]("back").Set(s, 1)) })
				require.NotEqual(t, old, next, "it is not used again either")
			}
		}
	})
}

// A request is at work while the session is destroyed. Whatever it does, the
// session stays over: TestRaceEndedStaysEnded in package token tries every
// order.
func TestAttackLogoutDuringRequest(t *testing.T) {
	for name, act := range map[string]func(s *session.Session) error{
		"save":  func(s *session.Session) error { return session.Key[any]("x").Set(s, 1) },
		"renew": func(s *session.Session) error { return s.Renew() },
		"login": func(s *session.Session) error { return s.Login("mallory") },
		"touch": func(*session.Session) error { return nil },
	} {
		eachMode(t, func(t *testing.T, mode string, w *world) {
			m := w.middleware(t, mode)
			credential := begin(t, m, "alice")
			w.Advance(2 * time.Minute) // so that activity is to be recorded
			status, next := visit(m, credential, func(s *session.Session) {
				assert.Equal(t, "alice", s.Subject())
				assert.NoError(t, act(s))
				visit(m, credential, func(s *session.Session) { assert.NoError(t, s.Destroy()) })
			})
			assert.Equal(t, name != "touch", status == http.StatusConflict, "%s: %d", name, status)
			assert.Equal(t, credential, next)
			assert.Empty(t, subjectOf(m, credential))
			assert.Zero(t, w.memory.Len())
		})
	}
}

// A countingStore counts its calls. It is not InProcess, so records are sealed.
type countingStore struct {
	opaque.Store
	reads, writes atomic.Int64
}

func (s *countingStore) Get(ctx context.Context, key string) (opaque.Item, bool, error) {
	s.reads.Add(1)
	return s.Store.Get(ctx, key)
}

func (s *countingStore) Create(ctx context.Context, key string, item opaque.Item) error {
	s.writes.Add(1)
	return s.Store.Create(ctx, key, item)
}

func (s *countingStore) Swap(ctx context.Context, key string, version uint64, item opaque.Item) (bool, error) {
	s.writes.Add(1)
	return s.Store.Swap(ctx, key, version, item)
}

func (s *countingStore) Touch(ctx context.Context, key string, seenAt, idleDeadline time.Time) (bool, error) {
	s.writes.Add(1)
	return s.Store.Touch(ctx, key, seenAt, idleDeadline)
}

func (s *countingStore) Delete(ctx context.Context, key string) error {
	s.writes.Add(1)
	return s.Store.Delete(ctx, key)
}

func TestAttackFixation(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string, w *world) {
		m := w.middleware(t, mode)
		planted := begin(t, m, "") // by the attacker, into the victim's browser
		_, victims := visit(m, planted, func(s *session.Session) { assert.NoError(t, s.Login("victim")) })
		require.NotEqual(t, planted, victims)
		require.Equal(t, "victim", subjectOf(m, victims))
		require.Empty(t, subjectOf(m, planted))
		_, renewed := visit(m, victims, func(s *session.Session) { assert.NoError(t, s.Renew()) })
		require.Empty(t, subjectOf(m, victims))
		visit(m, renewed, func(s *session.Session) { assert.NoError(t, s.Destroy()) })
		for _, old := range []string{planted, victims, renewed} { // the next login, with an old cookie
			_, next := visit(m, old, func(s *session.Session) { assert.NoError(t, s.Login("admin")) })
			require.Equal(t, "admin", subjectOf(m, next))
			require.Empty(t, subjectOf(m, old))
		}
	})
}

func TestAttackUnknownIDIsNotAdopted(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string, w *world) {
		store := &countingStore{Store: w.memory}
		w.store = store
		m := w.middleware(t, mode)
		zeros := base64.RawURLEncoding.EncodeToString(make([]byte, 32))
		for _, unknown := range []string{
			unknownID(), unknownID(), "AAAA.AAAA.AAAA", strings.Repeat("A", 43), "cr1_" + zeros,
		} {
			require.Empty(t, subjectOf(m, unknown))
			require.Zero(t, store.writes.Load())
			require.Zero(t, w.memory.Len())
		}
		for _, unknown := range []string{unknownID(), "AAAA.AAAA.AAAA"} {
			_, next := visit(m, unknown, func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
			require.NotEqual(t, unknown, next)
			require.Equal(t, "alice", subjectOf(m, next))
			require.Empty(t, subjectOf(m, unknown))
		}
	})
}

// A countingCarrier counts what is opened.
type countingCarrier struct {
	middleware.Carrier
	opened *atomic.Int64
}

func (c countingCarrier) Open(ctx context.Context, credential string) (*session.Record, string, error) {
	c.opened.Add(1)
	return c.Carrier.Open(ctx, credential)
}

// Cookies of one name and several values: what opens is used, unless it opens
// to different sessions. The order never matters.
func TestAttackDuplicateCookies(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string, w *world) {
		maker := w.middleware(t, mode)
		alice, bob := begin(t, maker, "alice"), begin(t, maker, "bob")
		old := begin(t, maker, "alice")
		visit(maker, old, func(s *session.Session) { assert.NoError(t, s.Destroy()) })
		set := func(s *session.Session) { assert.NoError(t, session.Key[any]("newer").Set(s, true)) }
		_, newer := visit(maker, alice, set)
		n := len(alice) - 5
		forged := alice[:n] + map[bool]string{true: "BBBB", false: "AAAA"}[alice[n] == 'A'] + alice[n+4:]
		tests := []struct {
			name    string
			cookies []string
			subject string
			event   string
		}{
			{"one", []string{alice}, "alice", ""},
			{"twice the same", []string{alice, alice}, "alice", ""},
			{"a forged one", []string{alice, forged}, "alice", "refused"},
			{"an unknown one", []string{alice, unknownID()}, "alice", "refused"},
			{"one of no form", []string{alice, "x"}, "alice", "refused:malformed"},
			{"an empty one", []string{alice, ""}, "alice", "refused:malformed"},
			{"a quoted one", []string{alice, `"` + bob + `"`}, "alice", "refused:malformed"},
			{"one that has ended", []string{alice, old}, "alice", "refused"},
			{"another user's", []string{alice, bob}, "", "refused:ambiguous"},
			{"another user's and a forged one", []string{forged, alice, bob}, "", "refused:ambiguous"},
			{"three unknown ones", []string{unknownID(), unknownID(), unknownID(), alice}, "alice", "refused"},
			{"many of no form", append(slices.Repeat([]string{"x"}, 100), alice), "alice", "refused:malformed"},
			{"older and newer", []string{alice, newer}, "alice", ""},
		}
		for _, tt := range tests {
			for _, order := range []string{"forth", "back"} {
				var e events
				m := w.middleware(t, mode, watched(&e))
				sent := slices.Clone(tt.cookies)
				if order == "back" {
					slices.Reverse(sent)
				}
				one := cookies(sent...)
				several := cookies()
				for _, c := range sent {
					several.Header.Add("Cookie", "__Host-session="+c)
				}
				for _, r := range []*http.Request{one, several} {
					got := serve(m.Handler(http.HandlerFunc(show)), r)
					assert.Contains(t, got.Body, fmt.Sprintf("subject %q", tt.subject), "%s %s", tt.name, order)
					for _, set := range got.Header["Set-Cookie"] { // none, or the newer of two
						assert.True(t, strings.HasPrefix(set, "__Host-session="+newer+";"), "%s %s: %s", tt.name, order, set)
					}
					shown := tt.name == "older and newer" || mode == "opaque" && tt.subject != ""
					assert.Equal(t, shown, strings.Contains(got.Body, "newer"), tt.name)
				}
				if tt.event == "" {
					assert.Empty(t, e.kinds(), tt.name)
				}
				assert.Contains(t, strings.Join(e.kinds(), " "), tt.event, tt.name)
			}
		}
	})
}

// An attacker who can add cookies makes the server open four of them at most.
func TestAttackManyCookies(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string, w *world) {
		var opened atomic.Int64
		m := w.middleware(t, mode, func(c *middleware.Config) {
			c.Carrier = countingCarrier{c.Carrier, &opened}
			if c.Overflow != nil {
				c.Overflow = countingCarrier{c.Overflow, &opened}
			}
			for i := range c.Accept {
				c.Accept[i] = countingCarrier{c.Accept[i], &opened}
			}
		})
		alice := begin(t, m, "alice")
		for _, n := range []int{3, 4, 5, 100} {
			var sent []string
			for i := range n {
				sent = append(sent, []string{unknownID(), "AAAA." + b64(random(9)) + ".AAAA"}[i%2])
			}
			opened.Store(0)
			got := serve(m.Handler(http.HandlerFunc(show)), cookies(append(sent, alice)...))
			assert.Equal(t, n < 4, strings.Contains(got.Body, "alice"), "%d", n)
			assert.Equal(t, int64(4), opened.Load())
			assert.Empty(t, got.Header["Set-Cookie"])
		}
	})
}
