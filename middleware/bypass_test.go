package middleware_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/session"
)

// A knowingWriter knows whether the response has begun, as those of gin and
// negroni do.
type knowingWriter struct {
	http.ResponseWriter
	written bool
}

func (w *knowingWriter) Written() bool { return w.written }

func (w *knowingWriter) Write(p []byte) (int, error) {
	w.written = true
	return w.ResponseWriter.Write(p)
}

// swapRequest is an adapter that forgets the ResponseWriter, unless swapWriter.
func swapRequest(m *middleware.Middleware, swapWriter bool, h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		known := &knowingWriter{ResponseWriter: w}
		m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if swapWriter {
				h(w, r, session.From(r.Context()))
				return
			}
			h(known, r, session.From(r.Context()))
		})).ServeHTTP(known, r)
	})
}

// An adapter that replaces only the request loses the cookie. That is reported,
// and the answer of the handler stays as it is.
func TestBypassedResponseIsReported(t *testing.T) {
	for _, mode := range modes {
		for _, tt := range []struct {
			name       string
			swapWriter bool
			write      bool
			want       int
		}{
			{"request only", false, true, 1},
			{"request only, nothing written yet", false, false, 0},
			{"request and writer", true, true, 0},
		} {
			t.Run(mode+"/"+tt.name, func(t *testing.T) {
				failed := &failures{}
				m := newWorld(t).Middleware(t, mode, func(c *middleware.Config) { c.OnEvent = failed.note })
				h := swapRequest(m, tt.swapWriter, func(w http.ResponseWriter, r *http.Request, s *session.Session) {
					require.NoError(t, s.Login("alice"))
					if tt.write {
						_, err := w.Write([]byte("welcome"))
						require.NoError(t, err)
					}
				})
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest("GET", "https://app.example/", nil))
				require.Equal(t, tt.want == 0, len(w.Result().Cookies()) == 1)
				require.Len(t, failed.errs, tt.want)
				for _, err := range failed.errs {
					require.ErrorIs(t, err, session.TooLate)
					require.ErrorContains(t, err, "another ResponseWriter")
					require.Equal(t, "welcome", w.Body.String())
				}
			})
		}
	}
}

// failures collects the errors of failed events.
type failures struct {
	mu   sync.Mutex // guards errs
	errs []error
}

func (f *failures) note(_ context.Context, e middleware.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e.Kind == middleware.Failed {
		f.errs = append(f.errs, e.Err)
	}
}
