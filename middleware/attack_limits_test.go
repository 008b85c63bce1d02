package middleware_test

import (
	"context"
	"crypto/aes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
)

// A filling brings a session to n bytes of values, through a cookie of some
// name, and returns the last status, and the cookie that the browser was given.
type filling struct {
	name string
	fill func(visit visitor, n int) (status int, cookie string)
}

// A visitor sends one request with a cookie of some name.
type visitor func(credential string, f func(s *session.Session) error) (status int, next string)

func fillings() []filling {
	big := func(n int) func(s *session.Session) error {
		return func(s *session.Session) error { return session.Key[any]("big").Set(s, strings.Repeat("x", n)) }
	}
	small := func(s *session.Session) error { return session.Key[any]("a").Set(s, 1) }
	return []filling{
		{"at once", func(visit visitor, n int) (int, string) { return visit("", big(n)) }},
		{"later", func(visit visitor, n int) (int, string) {
			_, credential := visit("", small)
			return visit(credential, big(n))
		}},
		{"with a login", func(visit visitor, n int) (int, string) {
			_, credential := visit("", small)
			return visit(credential, func(s *session.Session) error { return errors.Join(s.Login("alice"), big(n)(s)) })
		}},
		{"by Session.Save", func(visit visitor, n int) (int, string) {
			_, credential := visit("", small)
			save := func(s *session.Session) error { return errors.Join(big(n)(s), s.Save(context.Background())) }
			return visit(credential, save)
		}},
	}
}

// visitorOf returns a visitor whose request fails with what the handler is
// told.
func visitorOf(m *middleware.Middleware, name string) visitor {
	return func(credential string, f func(s *session.Session) error) (int, string) {
		r := cookies()
		if credential != "" {
			r.Header.Set("Cookie", name+"="+credential)
		}
		w := httptest.NewRecorder()
		m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := f(session.From(r.Context())); err != nil {
				w.WriteHeader(http.StatusInternalServerError)
			}
		})).ServeHTTP(w, r)
		for _, c := range w.Result().Cookies() {
			credential = c.Value
		}
		return w.Code, credential
	}
}

// A cookie that browsers would drop is never sent: either the handler's client
// gets an error, or the session goes to the store.
func TestAttackOversizeCookie(t *testing.T) { findLargest(t, "__Host-session", "s") }

// The cookie's name counts too: a carrier whose MaxLength leaves no room for it
// is refused when the application starts, and not when a session has grown.
func TestAttackOversizeCookieOfLongName(t *testing.T) {
	w := newWorld(t)
	for length, want := range map[int]int{4096 - 14: 14, 4032: 64, 4096 - 256: 256} {
		carrier, err := token.NewCarrier(token.CarrierConfig{
			Ring: w.Ring, Issuer: "https://app.example", Revocations: w.List, MaxLength: length,
		})
		require.NoError(t, err)
		for name := 1; name <= 256; name++ {
			cookie := middleware.Cookie{Name: strings.Repeat("n", name)}
			_, err := middleware.New(middleware.Config{Carrier: carrier, Cookie: cookie})
			if name <= want {
				require.NoError(t, err, "MaxLength %d, name of %d", length, name)
			} else {
				require.ErrorContains(t, err, "MaxLength", "MaxLength %d, name of %d", length, name)
			}
		}
	}
}

// findLargest searches, by bisection, for the most values that a cookie of each
// name takes.
func findLargest(t *testing.T, names ...string) {
	for _, name := range names {
		for _, mode := range modes {
			for _, how := range fillings() {
				t.Run(fmt.Sprint(len(name), " ", mode, "/", how.name), func(t *testing.T) {
					m := newWorld(t).Middleware(t, mode, func(c *middleware.Config) { c.Cookie.Name = name })
					fits := func(n int) bool {
						status, cookie := how.fill(visitorOf(m, name), n)
						if status != http.StatusOK {
							require.Equal(t, http.StatusInternalServerError, status, "%d bytes", n)
							return false
						}
						require.NotEmpty(t, cookie)
						require.LessOrEqual(t, len(name)+len(cookie), 4096,
							"%d bytes of values: browsers drop this cookie without a word", n)
						return mode == "opaque" || form(cookie) == "token"
					}
					low, high := 0, 8192 // fits, and doesn't
					if mode == "opaque" {
						require.True(t, fits(high))
						return
					}
					require.True(t, fits(low))
					for high-low > 1 {
						if middle := (low + high) / 2; fits(middle) {
							low = middle
						} else {
							high = middle
						}
					}
					require.Greater(t, low, 1600, "most of a cookie can be used, of what encryption leaves of it")
				})
			}
		}
	}
}

// flood is how many credentials an attacker makes up.
func flood() int {
	if os.Getenv("CLOAKROOM_SOAK") != "" {
		return 10_000_000
	}
	return 100_000
}

// Credentials that open nothing leave nothing behind.
func TestAttackFlood(t *testing.T) {
	w := newWorld(t, keys.HS256, keys.Direct)
	m := w.Middleware(t, "auto")
	stateless, stored := w.Carriers(t)
	good := begin(t, m, "alice")
	block, err := aes.NewCipher(random(16))
	require.NoError(t, err)
	var seed [16]byte
	next := func(n int) string { // characters, by encrypting a counter: as random, and quick
		var b []byte
		for len(b) < n {
			for i := len(seed) - 1; i >= 0; i-- {
				if seed[i]++; seed[i] != 0 {
					break
				}
			}
			var out [16]byte
			block.Encrypt(out[:], seed[:])
			b = append(b, out[:15]...)
		}
		return b64(b)[:n]
	}
	parts := strings.Split(good, ".")
	make := []func() string{
		func() string { return "cr1_" + next(42) + "A" },
		func() string { return parts[0] + ".." + next(16) + "." + next(400) + "." + next(21) + "A" },
		func() string { return next(60) + "." + next(400) + "." + next(86) },
		func() string { return parts[0] + ".." + parts[2] + "." + parts[3] + "." + next(21) + "A" },
	}
	run := func(n int) {
		ctx := context.Background()
		for i := range n {
			credential := make[i%len(make)]()
			if i%16 == 0 {
				serve(m.Handler(http.HandlerFunc(show)), cookies(credential))
				continue
			}
			carrier := middleware.Carrier(stateless)
			if i%len(make) == 0 {
				carrier = stored
			}
			if rec, _, err := carrier.Open(ctx, credential); err == nil || rec != nil {
				t.Fatalf("credential %d opens", i)
			}
		}
	}
	run(1000)
	before := apptest.Heap()
	run(flood())
	after := apptest.Heap()
	assert.Less(t, after-before, int64(2<<20), "before %d, after %d", before, after)
	assert.Zero(t, w.memory.Len())
	assert.Equal(t, "alice", subjectOf(m, good))
	runtime.KeepAlive([]any{stateless, stored, m})
}
