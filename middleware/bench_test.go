package middleware_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/session"
)

// A sink is a ResponseWriter that keeps nothing.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }
func (s *sink) WriteHeader(int)             {}

// BenchmarkRequest measures one request, beside that of a bare handler: one
// that reads a value, and one that increments it.
func BenchmarkRequest(b *testing.B) {
	read := func(w http.ResponseWriter, r *http.Request) {
		if visits.Get(session.From(r.Context())) < 1 {
			b.Error("the session is gone")
		}
		io.WriteString(w, "ok")
	}
	increment := func(w http.ResponseWriter, r *http.Request) {
		if _, err := visits.Update(session.From(r.Context()), func(n int) int { return n + 1 }); err != nil {
			b.Error(err)
		}
		io.WriteString(w, "ok")
	}
	b.Run("bare", func(b *testing.B) {
		run(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") }), "")
	})
	for _, mode := range modes {
		w := newWorld(b)
		m := w.Middleware(b, mode)
		credential := seed(b, m)
		b.Run("read/"+mode, func(b *testing.B) { run(b, m.Handler(http.HandlerFunc(read)), credential) })
		b.Run("increment/"+mode, func(b *testing.B) { run(b, m.Handler(http.HandlerFunc(increment)), credential) })
	}
}

// seed returns the credential of a session of alice's, with one visit.
func seed(b testing.TB, m *middleware.Middleware) string {
	w := httptest.NewRecorder()
	m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		s := session.From(r.Context())
		if s.Login("alice") != nil || visits.Set(s, 1) != nil {
			b.Error("the session can't be made")
		}
	})).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	return w.Result().Cookies()[0].Value
}

func run(b *testing.B, h http.Handler, credential string) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	if credential != "" {
		r.AddCookie(&http.Cookie{Name: "__Host-session", Value: credential})
	}
	w := &sink{header: make(http.Header)}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		h.ServeHTTP(w, r)
	}
}
