package apptest

import (
	"context"
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

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/session"
)

// A Handler is the application's part of one request.
type Handler func(w http.ResponseWriter, r *http.Request, s *session.Session)

// A Site is a running server that does, for each request, what the test says.
type Site struct {
	t      testing.TB
	server *httptest.Server

	mu      sync.Mutex // guards the rest
	current http.Handler
	pending map[string]Handler
	next    int
}

// NewSite starts a server that runs m.
func NewSite(t testing.TB, m *middleware.Middleware) *Site {
	s := &Site{t: t, pending: make(map[string]Handler)}
	s.Run(m)
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

// Run replaces the application by another instance.
func (s *Site) Run(m *middleware.Middleware) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		h := s.pending[r.URL.Path]
		s.mu.Unlock()
		h(w, r, session.From(r.Context()))
	}))
}

// Wrap puts something around the application, as other middleware would be.
func (s *Site) Wrap(with func(http.Handler) http.Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = with(s.current)
}

// URL makes a page that h answers.
func (s *Site) URL(h Handler) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	path := "/" + strconv.Itoa(s.next)
	s.pending[path] = h
	return s.server.URL + path
}

// A Browser keeps cookies as browsers do.
type Browser struct {
	Site   *Site
	Client *http.Client
	T      testing.TB
}

// Browser returns a new one, without cookies.
func (s *Site) Browser() *Browser {
	jar, err := cookiejar.New(nil)
	require.NoError(s.t, err)
	return &Browser{T: s.t, Site: s, Client: &http.Client{
		Transport:     s.server.Client().Transport,
		Jar:           jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// A Reply is a response that was read to its end.
type Reply struct {
	*http.Response
	Text string
	Err  error // of reading the body
}

// Get lets h answer one request of the browser.
func (b *Browser) Get(h Handler) Reply {
	b.T.Helper()
	return b.Send(http.MethodGet, h, nil)
}

// Send is Get with another method, and a request that change changes.
func (b *Browser) Send(method string, h Handler, change func(*http.Request)) Reply {
	b.T.Helper()
	r, err := http.NewRequest(method, b.Site.URL(h), nil)
	require.NoError(b.T, err)
	if change != nil {
		change(r)
	}
	response, err := b.Client.Do(r)
	require.NoError(b.T, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return Reply{Response: response, Text: string(body), Err: err}
}

// Do lets f work on the browser's session, and expects the response to succeed.
func (b *Browser) Do(f func(s *session.Session)) Reply {
	b.T.Helper()
	got := b.Get(func(w http.ResponseWriter, r *http.Request, s *session.Session) {
		f(s)
		io.WriteString(w, "ok")
	})
	require.Equal(b.T, http.StatusOK, got.StatusCode, got.Text)
	require.Equal(b.T, "ok", got.Text)
	return got
}

// Credential returns what the browser's cookie holds, "" for none.
func (b *Browser) Credential() string {
	u, err := url.Parse(b.Site.server.URL)
	require.NoError(b.T, err)
	for _, c := range b.Client.Jar.Cookies(u) {
		if c.Name == "__Host-session" {
			return c.Value
		}
	}
	return ""
}

// Use gives the browser a credential.
func (b *Browser) Use(credential string) {
	u, err := url.Parse(b.Site.server.URL)
	require.NoError(b.T, err)
	b.Client.Jar.SetCookies(u, []*http.Cookie{{Name: "__Host-session", Value: credential, Path: "/", Secure: true}})
}

// Holding returns another browser with that credential: what somebody who has
// copied it could do.
func (s *Site) Holding(credential string) *Browser {
	b := s.Browser()
	b.Use(credential)
	return b
}

// Opens reports whether credential opens a session, and which subject's.
func (s *Site) Opens(credential string) (subject string, ok bool) {
	s.t.Helper()
	s.Holding(credential).Do(func(s *session.Session) { subject, ok = s.Subject(), !s.IsNew() })
	return subject, ok
}

// Together lets n requests run at once: each has opened its session before the
// first of them saves.
func (b *Browser) Together(n int, h func(i int, s *session.Session)) {
	var opened, done sync.WaitGroup
	opened.Add(n)
	for i := range n {
		done.Go(func() {
			arrive := sync.OnceFunc(opened.Done)
			defer arrive() // one that is denied must not keep the others waiting
			other := b.Site.Holding(b.Credential())
			got := other.Get(func(w http.ResponseWriter, r *http.Request, s *session.Session) {
				arrive()
				opened.Wait()
				h(i, s)
				io.WriteString(w, "ok")
			})
			assert.Equal(b.T, "ok", got.Text)
		})
	}
	done.Wait()
}

// Form tells the form of a credential by its look.
func Form(credential string) string {
	switch {
	case credential == "":
		return "none"
	case strings.HasPrefix(credential, "cr1_"):
		return "opaque"
	}
	return "token"
}

// Events collects the events of a middleware.
type Events struct {
	mu  sync.Mutex // guards all
	all []middleware.Event
}

// Watched has a middleware report its events to e.
func Watched(e *Events) func(*middleware.Config) {
	return func(c *middleware.Config) { c.OnEvent = e.Add }
}

// Add can be a middleware's OnEvent.
func (e *Events) Add(_ context.Context, event middleware.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, event)
}

// All returns what happened, in order.
func (e *Events) All() []middleware.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]middleware.Event(nil), e.all...)
}

// Reset forgets all events.
func (e *Events) Reset() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = nil
}

// Kinds returns what happened, as "kind" or "kind:reason".
func (e *Events) Kinds() []string {
	var kinds []string
	for _, event := range e.All() {
		kind := string(event.Kind)
		if event.Reason != 0 {
			kind += ":" + event.Reason.String()
		}
		kinds = append(kinds, kind)
	}
	return kinds
}
