package apptest

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
)

// attacks are those of which it depends on the store, or on the carriers,
// whether they succeed. Package middleware has the table of all attacks.
var attacks = []struct {
	name string
	run  func(t *testing.T, mode string, w *World)
}{
	{"sliding forever", slidingForever},
	{"logout replay", logoutReplay},
	{"logout during a request", logoutDuringRequest},
	{"fixation", fixation},
	{"an unknown ID is not adopted", unknownIDIsNotAdopted},
	{"duplicate cookies", duplicateCookies},
	{"many cookies", manyCookies},
	{"error oracle", errorOracle},
	{"store keys", storeKeys},
}

// storeAttacks are those of somebody who reads and writes the store.
var storeAttacks = []struct {
	name string
	run  func(t *testing.T, w *World)
}{
	{"stored record", storedRecord},
	{"plain record in a foreign store", plainRecord},
	{"invented record", inventedRecord},
	{"stored marker", storedMarker},
	{"stored items exchanged", storedItemsExchanged},
	{"stored deadlines", storedDeadlines},
	{"store dump", storeDump},
}

func (s *suite) attacks(t *testing.T) {
	for _, tt := range attacks {
		t.Run(tt.name, func(t *testing.T) { s.eachMode(t, func(t *testing.T, mode string, w *World) { tt.run(t, mode, w) }) })
	}
	for _, tt := range storeAttacks {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, s.world(t)) })
	}
}

// Requests keep a session alive up to its lifetime, and none of them longer.
func slidingForever(t *testing.T, mode string, w *World) {
	m := w.Middleware(t, mode)
	credential := Begin(t, m, "mallory")
	all := []string{credential}
	for range 12*6 - 1 { // every 10 minutes
		w.Advance(10 * time.Minute)
		status, next := Visit(m, credential, func(s *session.Session) {
			assert.Equal(t, "mallory", s.Subject())
			assert.NoError(t, s.Renew())
		})
		require.Equal(t, http.StatusOK, status)
		require.NotEqual(t, credential, next)
		credential = next
		all = append(all, credential)
	}
	w.Advance(10*time.Minute - time.Second)
	require.Equal(t, "mallory", SubjectOf(m, credential))
	w.Advance(time.Second)
	for _, instance := range []*middleware.Middleware{m, w.Middleware(t, mode)} {
		for _, c := range all {
			require.Empty(t, SubjectOf(instance, c))
		}
	}
}

func logoutReplay(t *testing.T, mode string, w *World) {
	journal := revocation.Config{Path: filepath.Join(t.TempDir(), "revoked"), Lifetime: 12 * time.Hour, Now: w.Now}
	open := func() {
		require.NoError(t, w.List.Close())
		list, err := revocation.Open(journal)
		require.NoError(t, err)
		w.List = list
	}
	open()
	m := w.Middleware(t, mode)
	anonymous := Begin(t, m, "")
	_, first := Visit(m, anonymous, func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	_, last := Visit(m, first, func(s *session.Session) { assert.NoError(t, session.Key[any]("more").Set(s, 1)) })
	require.Equal(t, "alice", SubjectOf(m, last))
	status, _ := Visit(m, last, func(s *session.Session) { assert.NoError(t, s.Destroy()) })
	require.Equal(t, http.StatusOK, status)
	for _, restart := range []bool{false, true} {
		if restart {
			open()
			m = w.Middleware(t, mode)
		}
		for _, old := range []string{anonymous, first, last} {
			require.Empty(t, SubjectOf(m, old), "restart %t", restart)
			_, next := Visit(m, old, func(s *session.Session) { assert.NoError(t, session.Key[any]("back").Set(s, 1)) })
			require.NotEqual(t, old, next, "it is not used again either")
		}
	}
}

// A request is at work while the session is destroyed. Whatever it does, the
// session stays over: TestRaceEndedStaysEnded in package token tries every
// order.
func logoutDuringRequest(t *testing.T, mode string, w *World) {
	m := w.Middleware(t, mode)
	for name, act := range map[string]func(s *session.Session) error{
		"save":  func(s *session.Session) error { return session.Key[any]("x").Set(s, 1) },
		"renew": func(s *session.Session) error { return s.Renew() },
		"login": func(s *session.Session) error { return s.Login("mallory") },
		"touch": func(*session.Session) error { return nil },
	} {
		credential := Begin(t, m, "alice")
		w.Advance(2 * time.Minute) // so that activity is to be recorded
		status, next := Visit(m, credential, func(s *session.Session) {
			assert.Equal(t, "alice", s.Subject())
			assert.NoError(t, act(s))
			Visit(m, credential, func(s *session.Session) { assert.NoError(t, s.Destroy()) })
		})
		assert.Equal(t, name != "touch", status == http.StatusConflict, "%s: %d", name, status)
		assert.Equal(t, credential, next)
		assert.Empty(t, SubjectOf(m, credential))
		assert.Empty(t, w.tally.keys())
	}
}

func fixation(t *testing.T, mode string, w *World) {
	m := w.Middleware(t, mode)
	planted := Begin(t, m, "") // by the attacker, into the victim's browser
	_, victims := Visit(m, planted, func(s *session.Session) { assert.NoError(t, s.Login("victim")) })
	require.NotEqual(t, planted, victims)
	require.Equal(t, "victim", SubjectOf(m, victims))
	require.Empty(t, SubjectOf(m, planted))
	_, renewed := Visit(m, victims, func(s *session.Session) { assert.NoError(t, s.Renew()) })
	require.Empty(t, SubjectOf(m, victims))
	Visit(m, renewed, func(s *session.Session) { assert.NoError(t, s.Destroy()) })
	for _, old := range []string{planted, victims, renewed} { // the next login, with an old cookie
		_, next := Visit(m, old, func(s *session.Session) { assert.NoError(t, s.Login("admin")) })
		require.Equal(t, "admin", SubjectOf(m, next))
		require.Empty(t, SubjectOf(m, old))
	}
}

func unknownIDIsNotAdopted(t *testing.T, mode string, w *World) {
	m := w.Middleware(t, mode)
	zeros := base64.RawURLEncoding.EncodeToString(make([]byte, 32))
	for _, unknown := range []string{
		UnknownID(), UnknownID(), "AAAA.AAAA.AAAA", strings.Repeat("A", 43), "cr1_" + zeros,
	} {
		require.Empty(t, SubjectOf(m, unknown))
		require.Zero(t, w.tally.Writes.Load())
		require.Empty(t, w.tally.keys())
	}
	for _, unknown := range []string{UnknownID(), "AAAA.AAAA.AAAA"} {
		_, next := Visit(m, unknown, func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
		require.NotEqual(t, unknown, next)
		require.Equal(t, "alice", SubjectOf(m, next))
		require.Empty(t, SubjectOf(m, unknown))
	}
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
func duplicateCookies(t *testing.T, mode string, w *World) {
	maker := w.Middleware(t, mode)
	alice, bob := Begin(t, maker, "alice"), Begin(t, maker, "bob")
	old := Begin(t, maker, "alice")
	Visit(maker, old, func(s *session.Session) { assert.NoError(t, s.Destroy()) })
	set := func(s *session.Session) { assert.NoError(t, session.Key[any]("newer").Set(s, true)) }
	_, newer := Visit(maker, alice, set)
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
		{"an unknown one", []string{alice, UnknownID()}, "alice", "refused"},
		{"one of no form", []string{alice, "x"}, "alice", "refused:malformed"},
		{"an empty one", []string{alice, ""}, "alice", "refused:malformed"},
		{"a quoted one", []string{alice, `"` + bob + `"`}, "alice", "refused:malformed"},
		{"one that has ended", []string{alice, old}, "alice", "refused"},
		{"another user's", []string{alice, bob}, "", "refused:ambiguous"},
		{"another user's and a forged one", []string{forged, alice, bob}, "", "refused:ambiguous"},
		{"three unknown ones", []string{UnknownID(), UnknownID(), UnknownID(), alice}, "alice", "refused"},
		{"many of no form", append(slices.Repeat([]string{"x"}, 100), alice), "alice", "refused:malformed"},
		{"older and newer", []string{alice, newer}, "alice", ""},
	}
	for _, tt := range tests {
		slices.Reverse(tt.cookies)
		for _, order := range []string{"back", "forth"} {
			name := tt.name + " " + order
			var e Events
			m := w.Middleware(t, mode, Watched(&e))
			for _, got := range sendCookies(m, tt.cookies) {
				assert.Contains(t, got.Body, fmt.Sprintf("subject %q", tt.subject), name)
				for _, set := range got.Header["Set-Cookie"] { // none, or the newer of two
					assert.True(t, strings.HasPrefix(set, "__Host-session="+newer+";"), "%s: %s", name, set)
				}
				shown := tt.name == "older and newer" || mode == "opaque" && tt.subject != ""
				assert.Equal(t, shown, strings.Contains(got.Body, "newer"), name)
			}
			if tt.event == "" {
				assert.Empty(t, e.Kinds(), name)
			}
			assert.Contains(t, strings.Join(e.Kinds(), " "), tt.event, name)
			slices.Reverse(tt.cookies)
		}
	}
}

// sendCookies sends them in one line, and in one line each.
func sendCookies(m *middleware.Middleware, cookies []string) (answers [2]Answer) {
	several := Cookies()
	for _, c := range cookies {
		several.Header.Add("Cookie", "__Host-session="+c)
	}
	h := m.Handler(http.HandlerFunc(Show))
	return [2]Answer{Serve(h, Cookies(cookies...)), Serve(h, several)}
}

// An attacker who can add cookies makes the server open four of them at most.
func manyCookies(t *testing.T, mode string, w *World) {
	var opened atomic.Int64
	m := w.Middleware(t, mode, func(c *middleware.Config) {
		c.Carrier = countingCarrier{c.Carrier, &opened}
		if c.Overflow != nil {
			c.Overflow = countingCarrier{c.Overflow, &opened}
		}
		for i := range c.Accept {
			c.Accept[i] = countingCarrier{c.Accept[i], &opened}
		}
	})
	alice := Begin(t, m, "alice")
	for _, n := range []int{3, 4, 5, 100} {
		var sent []string
		for i := range n {
			sent = append(sent, []string{UnknownID(), "AAAA." + B64(Random(9)) + ".AAAA"}[i%2])
		}
		opened.Store(0)
		got := Serve(m.Handler(http.HandlerFunc(Show)), Cookies(append(sent, alice)...))
		assert.Equal(t, n < 4, strings.Contains(got.Body, "alice"), "%d", n)
		assert.Equal(t, int64(4), opened.Load())
		assert.Empty(t, got.Header["Set-Cookie"])
	}
}

// A client can't tell why its credential is of no use.
func errorOracle(t *testing.T, mode string, w *World) {
	m := w.Middleware(t, mode)
	expired := Begin(t, m, "alice")
	w.Advance(20 * time.Minute)
	loggedOut, revoked := Begin(t, m, "alice"), Begin(t, m, "bob")
	renewed, living := Begin(t, m, "carol"), Begin(t, m, "dave")
	Visit(m, loggedOut, func(s *session.Session) { assert.NoError(t, s.Destroy()) })
	Visit(m, renewed, func(s *session.Session) { assert.NoError(t, s.Renew()) })
	require.NoError(t, w.List.EndSubject(t.Context(), "bob"))
	h := m.Handler(http.HandlerFunc(Show))
	require.Contains(t, Serve(h, Cookies(living)).Body, "dave")
	refusal := Serve(h, Cookies("x"))
	for name, credential := range map[string]string{
		"expired": expired, "logged out": loggedOut, "revoked": revoked, "renewed away": renewed,
		"unknown": UnknownID(), "no token": "AAAA..AAAA.AAAA.AAAA",
		"bad": living[:len(living)-5] + "AAAA" + living[len(living)-1:],
	} {
		for range 2 {
			got := Serve(h, Cookies(credential))
			assert.True(t, reflect.DeepEqual(refusal, got), "%s: %v, want %v", name, got, refusal)
		}
	}
}

// The format of an opaque credential is checked before any store is asked.
func storeKeys(t *testing.T, mode string, w *World) {
	_, stored := w.Carriers(t)
	good := Begin(t, w.Middleware(t, "opaque"), "alice")
	require.Equal(t, "alice", SubjectOf(w.Middleware(t, "opaque"), good))
	secret := good[len("cr1_"):]
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(digits, secret[42])
	bad := []string{
		"", "cr1_", secret, "cr0_" + secret, "cr2_" + secret, "CR1_" + secret, "cr1-" + secret, "cr1_" + secret[1:],
		good + "A", good + "=", good + "\n", good + "\r\nDEL x\r\n", " " + good, "cr1_" + secret[:42],
		"cr1_" + strings.Repeat("A", 44), "cr1_" + strings.Repeat("A", 1<<20), "cr1_" + strings.Repeat("\x00", 43),
		"cr1_" + strings.Repeat("\xff", 43), "cr1_" + secret[:20] + "\u212a" + secret[23:],
		"cr1_" + secret[:42] + "B", "cr1_" + secret[:42] + digits[last^1:][:1],
		"cr1_../../../../../../../../../../../etc/passwd",
		"cr1_" + fmt.Sprintf("%-43s", "x' OR '1'='1"), `{"$gt":""}`, "*", "session:1", "\x00\x01\x02",
	}
	for _, c := range "*?: \r+/" {
		bad = append(bad, "cr1_"+secret[:20]+string(c)+secret[21:])
	}
	w.tally.Reads.Store(0)
	w.tally.Writes.Store(0)
	m := w.Middleware(t, mode)
	for _, credential := range bad {
		assert.False(t, stored.Recognizes(credential), "%.300q", credential)
		_, _, err := stored.Open(t.Context(), credential)
		assert.ErrorIs(t, err, session.Malformed)
		if strings.TrimSpace(credential) != good {
			assert.NotContains(t, Serve(m.Handler(http.HandlerFunc(Show)), Cookies(credential)).Body, "alice")
		}
	}
	assert.Zero(t, w.tally.Reads.Load())
	assert.Zero(t, w.tally.Writes.Load())
}
