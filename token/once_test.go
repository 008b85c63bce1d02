package token_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const idle = 20 * time.Minute // the default of session.Policy.IdleTimeout

// A turnstile counts the signatures that one instance checks. Another instance,
// maker, has made the tokens, so that this one remembers none.
type turnstile struct {
	*bench
	t             *testing.T
	maker, keeper *middleware.Middleware // keeper keeps sessions in the store, maker in tokens
	middleware    *middleware.Middleware // whose checks are counted
	checks        int
}

func newTurnstile(t *testing.T, mode string) *turnstile {
	s := &turnstile{bench: newBench(t), t: t}
	store, err := opaque.NewMemoryStore(opaque.MemoryConfig{Now: func() time.Time { return start }})
	require.NoError(t, err)
	t.Cleanup(func() { store.Close() })
	stored, err := opaque.NewCarrier(opaque.CarrierConfig{Store: store, Revocations: s.list, Now: s.clock})
	require.NoError(t, err)
	tokens := s.another(t)
	token.SetChecking(tokens, func() { s.checks++ })
	s.middleware = s.build(mode, tokens, stored)
	s.maker, s.keeper = s.build("stateless", s.another(t), stored), s.build("opaque", s.another(t), stored)
	return s
}

func (s *turnstile) build(mode string, tokens, stored middleware.Carrier) *middleware.Middleware {
	c := middleware.Config{Carrier: tokens, Accept: []middleware.Carrier{stored}, Now: s.clock}
	switch mode {
	case "opaque":
		c.Carrier, c.Accept = stored, []middleware.Carrier{tokens}
	case "auto":
		c.Overflow, c.Accept = stored, nil
	}
	m, err := middleware.New(c)
	require.NoError(s.t, err)
	return m
}

// visit sends one request and returns the credential that the client is given.
func (s *turnstile) visit(m *middleware.Middleware, h func(s *session.Session), cookies ...string) (next string) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for _, held := range cookies {
		r.AddCookie(&http.Cookie{Name: "__Host-session", Value: held})
	}
	w := httptest.NewRecorder()
	m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		h(session.From(r.Context()))
	})).ServeHTTP(w, r)
	for _, cookie := range w.Result().Cookies() {
		next = cookie.Value
	}
	return next
}

// fresh returns the token of a session that begins now.
func (s *turnstile) fresh() string {
	return s.visit(s.maker, func(v *session.Session) { assert.NoError(s.t, session.Key[any]("a").Set(v, 1)) })
}

func (s *turnstile) expired() string {
	s.now = s.now.Add(-idle)
	defer func() { s.now = s.now.Add(idle) }()
	return s.fresh()
}

// moved returns an opaque credential that leads to a token.
func (s *turnstile) moved() (credential, token string) {
	credential = s.visit(s.keeper, func(v *session.Session) { assert.NoError(s.t, session.Key[any]("a").Set(v, 1)) })
	token = s.visit(s.maker, func(v *session.Session) { assert.NoError(s.t, session.Key[any]("a").Set(v, 2)) }, credential)
	return credential, token
}

// A token costs one check of its signature in a request, however often the
// request looks at it.
func TestTokensAreVerifiedOnceInARequest(t *testing.T) {
	nothing := func(*session.Session) {}
	tests := []struct {
		name string
		run  func(s *turnstile)
		want int
	}{
		{"good", func(s *turnstile) { s.visit(s.middleware, nothing, s.fresh()) }, 1},
		{"good, saved twice", func(s *turnstile) {
			s.visit(s.middleware, func(v *session.Session) {
				assert.NoError(t, v.Save(t.Context()))
				assert.NoError(t, session.Key[any]("b").Set(v, 1))
				assert.NoError(t, v.Save(t.Context()))
			}, s.fresh())
		}, 1},
		{"good, five times the same", func(s *turnstile) {
			s.visit(s.middleware, nothing,
				slices.Repeat([]string{s.fresh()}, 5)...)
		}, 1},
		{"good, a faster request", func(s *turnstile) {
			held := s.fresh()
			s.visit(s.middleware, func(v *session.Session) {
				s.visit(s.middleware, func(v *session.Session) { assert.NoError(t, session.Key[any]("b").Set(v, 1)) }, held)
				assert.NoError(t, v.Login("alice"))
				assert.NoError(t, v.Save(t.Context()))
			}, held)
		}, 1},
		{"good, expires meanwhile", func(s *turnstile) {
			s.visit(s.middleware, func(v *session.Session) {
				s.now = s.now.Add(idle)
				assert.ErrorIs(t, v.Save(t.Context()), session.IdleTimeout)
			}, s.fresh())
		}, 1},
		{"expired", func(s *turnstile) { s.visit(s.middleware, nothing, s.expired()) }, 1},
		{"expired, login", func(s *turnstile) {
			s.visit(s.middleware, func(v *session.Session) { assert.NoError(t, v.Login("alice")) }, s.expired())
		}, 1},
		{"expired, remembered", func(s *turnstile) {
			held := s.fresh()
			s.visit(s.middleware, nothing, held)
			s.now, s.checks = s.now.Add(idle), 0
			s.visit(s.middleware, nothing, held)
		}, 1},
		{"four expired", func(s *turnstile) {
			s.visit(s.middleware, nothing, s.expired(), s.expired(), s.expired(), s.expired())
		}, 4},
		{"five expired are too many", func(s *turnstile) {
			s.visit(s.middleware, nothing, s.expired(), s.expired(), s.expired(), s.expired(), s.expired())
		}, 4},
		{"expired and good", func(s *turnstile) {
			old, held := s.expired(), s.fresh()
			s.visit(s.middleware, nothing, old, held, old)
		}, 2},
		{"ended, and a credential that leads there", func(s *turnstile) {
			old, held := s.moved()
			s.visit(s.maker, func(v *session.Session) { assert.NoError(t, v.Destroy()) }, held)
			s.visit(s.middleware, nothing, held, old)
		}, 1},
	}
	for _, mode := range []string{"stateless", "opaque", "auto"} {
		for _, tt := range tests {
			t.Run(mode+"/"+tt.name, func(t *testing.T) {
				s := newTurnstile(t, mode)
				tt.run(s)
				assert.Equal(t, tt.want, s.checks)
			})
		}
	}
}

// The time of a refusal doesn't tell its reason: forged under known keys,
// expired and ended tokens all cost one check of a signature, remembered or
// not.
func TestRefusalsCostTheSame(t *testing.T) {
	flip := func(credential string, segment int) string { // in the middle of a segment
		parts := strings.Split(credential, ".")
		i := len(parts[segment]) / 2
		c := map[bool]string{true: "A", false: "B"}[parts[segment][i] != 'A']
		parts[segment] = parts[segment][:i] + c + parts[segment][i+1:]
		return strings.Join(parts, ".")
	}
	for _, algorithms := range [][]keys.Algorithm{{keys.ES256}, {keys.EdDSA, keys.Direct}, {keys.RS256, keys.A256KW},
		{keys.HS256, keys.ECDHESA256KW}} {
		b := newBench(t, algorithms...)
		c, checks := b.another(t), 0
		token.SetChecking(c, func() { checks++ })
		held, err := b.Issue(t.Context(), record(nil), "")
		require.NoError(t, err)
		cost := func(credential string) int {
			checks = 0
			rec, _, err := c.Open(t.Context(), credential)
			assert.True(t, err != nil || !b.now.Before(rec.IdleDeadline), "it opens")
			return checks
		}
		for segment := range strings.Split(held, ".") {
			if segment > 0 && len(strings.Split(held, ".")[segment]) > 0 {
				assert.Equal(t, 1, cost(flip(held, segment)), "%v: forged in segment %d", algorithms, segment)
			}
		}
		b.now = b.now.Add(idle)
		assert.Equal(t, 1, cost(held), "%v: expired", algorithms)
		b.now = b.now.Add(-idle)
		_, _, err = c.Open(t.Context(), held) // remembers it
		require.NoError(t, err)
		b.now = b.now.Add(idle)
		assert.Equal(t, 1, cost(held), "%v: expired, remembered", algorithms)
		b.now = b.now.Add(-idle)
		require.NoError(t, b.End(t.Context(), held, record(nil)))
		assert.Equal(t, 1, cost(held), "%v: ended, remembered", algorithms)
		require.NoError(t, c.Forget(t.Context(), held))
		assert.Equal(t, 1, cost(held), "%v: ended", algorithms)
	}
}
