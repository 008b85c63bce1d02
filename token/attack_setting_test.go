package token_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
)

// A world is what the settings share: the clock and the revocations.
type world struct {
	late atomic.Int64 // what the clock has moved; stores read it in goroutines of their own
	list *revocation.List
}

func newWorld(t testing.TB) *world {
	w := new(world)
	w.list = revocation.NewVolatile(revocation.Config{Now: w.Now})
	t.Cleanup(func() { w.list.Close() })
	return w
}

func (w *world) Now() time.Time { return start.Add(time.Duration(w.late.Load())) }

func (w *world) Advance(d time.Duration) { w.late.Add(int64(d)) }

// A setting is one place where tokens are accepted. must0 says what happens to
// all that should not be.
type setting struct {
	name string
	*forge
	world   *world
	ring    *keys.Ring
	events  []middleware.Event
	handler http.Handler
	field   string // of the request, and what stands in it before the credential
	prefix  string
	open    func(credential string) error
	refusal answer // to a credential that anybody can make up
}

// An answer is all of a response that a client can see, save its Date.
type answer struct {
	Status int
	Header http.Header
	Body   string
	Panic  any
}

// newSettings makes the three settings for keys of two algorithms.
func newSettings(t testing.TB, sig, enc keys.Algorithm, trap string) []*setting {
	w := newWorld(t)
	m := newMaterial(t, w.Now(), sig, enc)
	return []*setting{
		newCookieSetting(t, w, "signed", m.signing, newForge(t, m, w.Now(), false, false, trap)),
		newCookieSetting(t, w, "encrypted", m.both, newForge(t, m, w.Now(), false, true, trap)),
		newBearerSetting(t, w, m, newForge(t, m, w.Now(), true, false, trap)),
	}
}

func newCookieSetting(t testing.TB, w *world, name, path string, f *forge) *setting {
	s := &setting{name: name, forge: f, world: w, field: "Cookie", prefix: "__Host-session=", ring: openRing(t, path)}
	carrier, err := token.NewCarrier(token.CarrierConfig{
		Ring: s.ring, Issuer: attackIssuer, Revocations: w.list, Now: w.Now, MaxLength: 4096 - len("__Host-session"),
	})
	require.NoError(t, err)
	s.open = func(credential string) error {
		rec, _, err := carrier.Open(context.Background(), credential)
		if err == nil && rec != nil {
			if over := (session.Policy{}).WithDefaults().Over(rec, w.Now()); over != 0 {
				return over
			}
		}
		return err
	}
	s.handler = s.site(t).Handler(http.HandlerFunc(show))
	s.refusal = s.send(map[bool]string{false: "AAAA.AAAA.AAAA", true: "AAAA..AAAA.AAAA.AAAA"}[f.sealed])
	return s
}

// site is a middleware in mode stateless, with a Carrier of its own.
func (s *setting) site(t testing.TB) *middleware.Middleware {
	stateless, err := token.NewCarrier(token.CarrierConfig{
		Ring: s.ring, Issuer: attackIssuer, Revocations: s.world.list, Now: s.world.Now,
		MaxLength: 4096 - len("__Host-session"),
	})
	require.NoError(t, err)
	memory, err := opaque.NewMemoryStore(opaque.MemoryConfig{Now: s.world.Now})
	require.NoError(t, err)
	t.Cleanup(func() { memory.Close() })
	stored, err := opaque.NewCarrier(opaque.CarrierConfig{Store: memory, Revocations: s.world.list, Now: s.world.Now})
	require.NoError(t, err)
	m, err := middleware.New(middleware.Config{
		Carrier: stateless, Accept: []middleware.Carrier{stored}, Now: s.world.Now, Revocations: s.world.list,
		OnEvent: func(_ context.Context, e middleware.Event) { s.events = append(s.events, e) },
	})
	require.NoError(t, err)
	return m
}

// show tells the client all that it could learn of a session.
func show(w http.ResponseWriter, r *http.Request) {
	s := session.From(r.Context())
	fmt.Fprintf(w, "subject %q, new %t, ID %q, values %q", s.Subject(), s.IsNew(), s.ID(), s.Keys())
}

func newBearerSetting(t testing.TB, w *world, m *material, f *forge) *setting {
	s := &setting{name: "bearer", forge: f, world: w, field: "Authorization", prefix: "Bearer "}
	ring := openRing(t, m.signing)
	if !keyset.Algorithm(m.sig).Symmetric() { // a verifier knows public keys alone
		text, err := (*keyset.Set)(ring.Set()).PublicSet(w.Now())
		require.NoError(t, err)
		public, err := keys.ParsePublicSet(text)
		require.NoError(t, err)
		ring, err = keys.NewRing(public...)
		require.NoError(t, err)
	}
	s.ring = ring
	v, err := token.NewVerifier(token.VerifierConfig{
		Keys: ring, Issuer: attackIssuer, Audience: attackService, Revocations: w.list, Leeway: -1, Now: w.Now,
	})
	require.NoError(t, err)
	s.open = func(credential string) error {
		_, err := v.Verify(context.Background(), credential)
		return err
	}
	s.handler = v.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, _ := token.CallerFrom(r.Context())
		fmt.Fprintf(w, "subject %q", caller.Subject)
	}))
	s.refusal = s.send("AAAA.AAAA.AAAA")
	return s
}

// send hands the credential to the handler as it is: a client or server in
// between would only take dangerous bytes out.
func (s *setting) send(credential string) answer {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header[s.field] = []string{s.prefix + credential}
	return serve(s.handler, r)
}

func serve(h http.Handler, r *http.Request) (got answer) {
	w := httptest.NewRecorder()
	defer func() {
		got = answer{w.Code, w.Header().Clone(), w.Body.String(), recover()}
		got.Header.Del("Date")
	}()
	h.ServeHTTP(w, r)
	return got
}

// must0 wants every credential refused, without a panic, with the same bytes as
// any other, and with the client's cookie left alone.
func (s *setting) must0(t *testing.T, credentials []string) {
	t.Helper()
	for i, credential := range credentials {
		if err := s.tryOpen(credential); err == nil {
			t.Errorf("credential %d opens: %s", i, clip(credential))
		} else if reason := session.ReasonOf(err); reason == session.Unavailable {
			t.Errorf("credential %d: %v, want a refusal: %s", i, err, clip(credential))
		} else if leak := leaks(err.Error(), credential); leak != "" {
			t.Errorf("credential %d: the error repeats %q", i, leak)
		}
		if s.field == "Cookie" && strings.TrimRight(credential, " \t\r\n") != credential {
			continue // net/http takes that off, as browsers do
		}
		if s.field == "Authorization" && strings.TrimLeft(credential, " ") != credential {
			continue // these spaces belong to the header (RFC 9110, Section 11.4), and not to the token
		}
		if got := s.send(credential); !reflect.DeepEqual(got, s.refusal) {
			t.Errorf("credential %d: %s\nanybody's: %s\n%s", i, clip(fmt.Sprint(got)), clip(fmt.Sprint(s.refusal)),
				clip(credential))
		}
	}
	for _, e := range s.events {
		if e.Kind != middleware.Refused && e.Kind != middleware.Ended {
			t.Errorf("event %v", e)
		}
	}
	s.events = nil
}

func (s *setting) tryOpen(credential string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return s.open(credential)
}

// leaks finds a segment of the credential in what a log would show.
func leaks(text, credential string) string {
	for _, part := range strings.FieldsFunc(credential, func(r rune) bool { return r == '.' }) {
		if len(part) >= 16 && strings.Contains(text, part) {
			return clip(part)
		}
	}
	return ""
}

func clip(s string) string {
	if len(s) > 300 {
		s = s[:300] + "..."
	}
	return fmt.Sprintf("%q", s)
}
