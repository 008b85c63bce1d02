package introspect_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/apptest"
	"github.com/cloakroom-go/cloakroom/introspect"
	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/token"
)

const issuer = "https://app.example"

// secretOf returns a secret with characters that a form escapes.
func secretOf(first byte) string {
	raw := []byte{first, 0, 0, 0xfb, 0xff, 0xbf}
	for i := range 26 {
		raw = append(raw, first+byte(7*i))
	}
	return base64.StdEncoding.EncodeToString(raw)
}

var (
	ordersSecret, oldSecret = secretOf(1), secretOf(2)
	stockSecret             = secretOf(3)
)

// A desk is an application that answers questions about its sessions.
type desk struct {
	*apptest.World
	store   *apptest.Counter
	m       *middleware.Middleware
	issuer  *token.Issuer
	list    *list
	handler *introspect.Handler
	refused []error
}

func newDesk(t testing.TB, mode string, change ...func(*introspect.HandlerConfig)) *desk {
	clock := apptest.NewClock(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	memory, err := opaque.NewMemoryStore(opaque.MemoryConfig{Now: clock.Now})
	require.NoError(t, err)
	t.Cleanup(func() { memory.Close() })
	d := &desk{store: &apptest.Counter{Store: memory}}
	d.World = apptest.NewWorld(t, clock, d.store)
	d.m = d.Middleware(t, mode)
	d.issuer, err = token.NewIssuer(token.IssuerConfig{Ring: d.Ring, Issuer: issuer, Now: d.Now})
	require.NoError(t, err)
	d.list = &list{Revocations: d.List}
	c := introspect.HandlerConfig{
		Services: []introspect.Service{
			{ID: "orders", Secrets: []string{ordersSecret, oldSecret}},
			{ID: "stock", Audience: "https://stock.example", Secrets: []string{stockSecret}},
		},
		Sessions: d.m, Keys: d.Ring, Revocations: d.list, Issuer: issuer, Now: d.Now,
		OnRefused: func(_ context.Context, err error) { d.refused = append(d.refused, err) },
	}
	for _, f := range change {
		f(&c)
	}
	d.handler, err = introspect.NewHandler(c)
	require.NoError(t, err)
	return d
}

// serviceToken makes one for the session of a credential.
func (d *desk) serviceToken(t testing.TB, credential, audience string) (text string) {
	t.Helper()
	apptest.Visit(d.m, credential, func(s *session.Session) {
		var err error
		text, err = d.issuer.Issue(t.Context(), s, audience)
		require.NoError(t, err)
	})
	return text
}

// request is a good one of a client.
func request(client, secret, credential string) *http.Request {
	form := url.Values{"token": {credential}}
	r := httptest.NewRequest(http.MethodPost, "/introspect", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(client, secret)
	return r
}

// ask returns the answer to orders about a credential.
func (d *desk) ask(t testing.TB, credential string) map[string]any {
	t.Helper()
	return d.answer(t, request("orders", ordersSecret, credential))
}

func (d *desk) answer(t testing.TB, r *http.Request) map[string]any {
	t.Helper()
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, r)
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	var says map[string]any
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &says))
	return says
}

func inactive() map[string]any { return map[string]any{"active": false} }

func logout(s *session.Session) { _ = s.Destroy() }

// A list is stale if it is told to be.
type list struct {
	introspect.Revocations
	stale atomic.Bool
}

func (l *list) Fresh() error {
	if l.stale.Load() {
		return session.Unavailable
	}
	return l.Revocations.Fresh()
}
