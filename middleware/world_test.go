package middleware_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/revocation"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
)

// The modes that an application can choose. Every promise that isn't marked
// otherwise is tested in each.
var modes = [...]string{"stateless", "opaque", "auto"}

// A clock stands still until it is moved.
type clock struct {
	mu  sync.Mutex // guards now
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// A world is what the instances of an application share: clock, keys, store
// and revocations.
type world struct {
	*clock
	ring   *keys.Ring
	list   *revocation.List
	memory *opaque.MemoryStore
	store  opaque.Store // memory, or something in front of it
}

func newWorld(t testing.TB, algorithms ...keys.Algorithm) *world {
	w := &world{clock: newClock()}
	w.ring = newRing(t, w.Now, algorithms...)
	w.list = revocation.NewVolatile(revocation.Config{Now: w.Now})
	var err error
	w.memory, err = opaque.NewMemoryStore(opaque.MemoryConfig{Now: w.Now})
	require.NoError(t, err)
	t.Cleanup(func() { w.memory.Close(); w.list.Close() })
	w.store = w.memory
	return w
}

// carriers makes the carriers of one more instance.
func (w *world) carriers(t testing.TB) (*token.Carrier, *opaque.Carrier) {
	stateless, err := token.NewCarrier(token.CarrierConfig{
		Ring: w.ring, Issuer: "https://app.example", Revocations: w.list, Now: w.Now, MaxLength: 4096 - len("__Host-session"),
	})
	require.NoError(t, err)
	stored, err := opaque.NewCarrier(opaque.CarrierConfig{Store: w.store, Revocations: w.list, Now: w.Now})
	require.NoError(t, err)
	return stateless, stored
}

// middleware makes one more instance of the application, in the given mode.
func (w *world) middleware(t testing.TB, mode string, change ...func(*middleware.Config)) *middleware.Middleware {
	stateless, stored := w.carriers(t)
	c := middleware.Config{Now: w.Now, Revocations: w.list}
	switch mode {
	case "stateless":
		c.Carrier, c.Accept = stateless, []middleware.Carrier{stored}
	case "opaque":
		c.Carrier, c.Accept = stored, []middleware.Carrier{stateless}
	case "auto":
		c.Carrier, c.Overflow = stateless, stored
	default:
		t.Fatalf("no mode %q", mode)
	}
	for _, f := range change {
		f(&c)
	}
	m, err := middleware.New(c)
	require.NoError(t, err)
	return m
}

// A handler is the application's part of one request.
type handler func(w http.ResponseWriter, r *http.Request, s *session.Session)

// A site is a running server that does, for each request, what the test says.
type site struct {
	t      testing.TB
	server *httptest.Server

	mu      sync.Mutex // guards the rest
	current http.Handler
	pending map[string]handler
	next    int
}

func newSite(t testing.TB, m *middleware.Middleware) *site {
	s := &site{t: t, pending: make(map[string]handler)}
	s.run(m)
	s.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		h := s.current
		s.mu.Unlock()
		h.ServeHTTP(w, r)
	}))
	s.server.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that go away are part of the tests
	s.server.StartTLS()
	t.Cleanup(s.server.Close)
	return s
}

// run replaces the application by another instance.
func (s *site) run(m *middleware.Middleware) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		h := s.pending[r.URL.Path]
		s.mu.Unlock()
		h(w, r, session.From(r.Context()))
	}))
}

// path makes a place where h answers.
func (s *site) path(h handler) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	path := "/" + strconv.Itoa(s.next)
	s.pending[path] = h
	return path
}

// A browser keeps cookies as browsers do.
type browser struct {
	t      testing.TB
	site   *site
	client *http.Client
}

func (s *site) browser() *browser {
	jar, err := cookiejar.New(nil)
	require.NoError(s.t, err)
	return &browser{t: s.t, site: s, client: &http.Client{
		Transport:     s.server.Client().Transport,
		Jar:           jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// A reply is a response that was read to its end.
type reply struct {
	*http.Response
	body string
	err  error // of reading the body
}

// get lets h answer one request of the browser.
func (b *browser) get(h handler) reply { return b.send(http.MethodGet, h, nil) }

func (b *browser) send(method string, h handler, change func(*http.Request)) reply {
	b.t.Helper()
	r, err := http.NewRequest(method, b.site.server.URL+b.site.path(h), nil)
	require.NoError(b.t, err)
	if change != nil {
		change(r)
	}
	response, err := b.client.Do(r)
	require.NoError(b.t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return reply{Response: response, body: string(body), err: err}
}

// do lets f work on the browser's session, and expects the response to succeed.
func (b *browser) do(f func(s *session.Session)) reply {
	b.t.Helper()
	got := b.get(func(w http.ResponseWriter, r *http.Request, s *session.Session) {
		f(s)
		io.WriteString(w, "ok")
	})
	require.Equal(b.t, http.StatusOK, got.StatusCode, got.body)
	require.Equal(b.t, "ok", got.body)
	return got
}

// credential returns what the browser's cookie holds, "" for none.
func (b *browser) credential() string {
	u, err := url.Parse(b.site.server.URL)
	require.NoError(b.t, err)
	for _, c := range b.client.Jar.Cookies(u) {
		if c.Name == "__Host-session" {
			return c.Value
		}
	}
	return ""
}

// use gives the browser a credential.
func (b *browser) use(credential string) {
	u, err := url.Parse(b.site.server.URL)
	require.NoError(b.t, err)
	b.client.Jar.SetCookies(u, []*http.Cookie{{Name: "__Host-session", Value: credential, Path: "/", Secure: true}})
}

// holding returns another browser with that credential: what somebody who has
// copied it could do.
func (s *site) holding(credential string) *browser {
	b := s.browser()
	b.use(credential)
	return b
}

// form tells the form of a credential by its look.
func form(credential string) string {
	switch {
	case credential == "":
		return "none"
	case strings.HasPrefix(credential, "cr1_"):
		return "opaque"
	}
	return "token"
}

// opens reports whether credential opens a session, and which subject's.
func (s *site) opens(credential string) (subject string, ok bool) {
	s.t.Helper()
	s.holding(credential).do(func(s *session.Session) { subject, ok = s.Subject(), !s.IsNew() })
	return subject, ok
}

// events collects the events of a middleware.
type events struct {
	mu  sync.Mutex // guards all
	all []middleware.Event
}

func (e *events) add(_ context.Context, event middleware.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, event)
}

// kinds returns what happened, as "kind" or "kind:reason".
func (e *events) kinds() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var kinds []string
	for _, event := range e.all {
		kind := string(event.Kind)
		if event.Reason != 0 {
			kind += ":" + event.Reason.String()
		}
		kinds = append(kinds, kind)
	}
	return kinds
}

func shortTimeout(c *middleware.Config) { c.Timeout = 50 * time.Millisecond }

func watched(e *events) func(*middleware.Config) {
	return func(c *middleware.Config) { c.OnEvent = e.add }
}

// newRing makes a ring of one new key for each algorithm; without any, of the
// keys that keygen makes by default.
func newRing(t testing.TB, now func() time.Time, algorithms ...keys.Algorithm) *keys.Ring {
	t.Helper()
	if len(algorithms) == 0 {
		algorithms = []keys.Algorithm{keys.ES256, keys.Direct}
	}
	var all []*keys.Key
	for _, alg := range algorithms {
		from := now().Add(-time.Hour).Truncate(time.Second)
		key, err := keys.Generate(alg, keys.Dates{Created: from, PublishAt: from, SignFrom: from})
		require.NoError(t, err)
		all = append(all, key)
	}
	ring, err := keys.NewRing(all...)
	require.NoError(t, err)
	return ring
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// An answer is all of a response that a client can see, save its Date.
type answer struct {
	Status int
	Header http.Header
	Body   string
	Panic  any
}

// show tells the client all that it could learn of a session.
func show(w http.ResponseWriter, r *http.Request) {
	s := session.From(r.Context())
	fmt.Fprintf(w, "subject %q, new %t, ID %q, values %q", s.Subject(), s.IsNew(), s.ID(), s.Keys())
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
