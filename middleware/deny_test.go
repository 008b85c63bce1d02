package middleware_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// hanging is a store that answers when the request's context ends.
type hanging struct{ opaque.Store }

func (hanging) Get(ctx context.Context, _ string) (opaque.Item, bool, error) {
	<-ctx.Done()
	return opaque.Item{}, false, ctx.Err()
}

type configure = func(*middleware.Config)

// denials are requests that the middleware denies by itself.
var denials = []struct {
	status int
	reason session.Reason
	send   func(t *testing.T, w *world, mode string, with configure) answer
}{
	{http.StatusForbidden, session.CrossOrigin, func(t *testing.T, w *world, mode string, with configure) answer {
		m := w.Middleware(t, mode, with)
		return serve(m.Handler(http.HandlerFunc(show)), from("POST", "https://app.example/x", "Origin: https://evil.example"))
	}},
	{http.StatusConflict, session.Ended, func(t *testing.T, w *world, mode string, with configure) answer {
		m := w.Middleware(t, mode, with)
		alice := begin(t, m, "alice")
		return serve(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			visit(m, alice, func(s *session.Session) { assert.NoError(t, s.Destroy()) })
			assert.NoError(t, visits.Set(session.From(r.Context()), 1))
			io.WriteString(w, "the handler's")
		})), cookies(alice))
	}},
	{http.StatusInternalServerError, session.TooLarge, func(t *testing.T, w *world, mode string, with configure) answer {
		m := w.Middleware(t, mode, with)
		return serve(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			assert.NoError(t, session.Key[any]("huge").Set(session.From(r.Context()), strings.Repeat("x", 2<<20)))
			io.WriteString(w, "the handler's")
		})), cookies())
	}},
	{http.StatusServiceUnavailable, session.Unavailable, func(t *testing.T, w *world, mode string, with configure) answer {
		w.Store = hanging{w.memory}
		m := w.Middleware(t, mode, with, shortTimeout)
		return serve(m.Handler(http.HandlerFunc(show)), cookies(unknownID()))
	}},
}

func TestErrorHandler(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string, w *world) {
		for _, tt := range denials {
			got := tt.send(t, w, mode, func(c *middleware.Config) {
				c.ErrorHandler = func(w http.ResponseWriter, r *http.Request, status int, err error) {
					assert.Equal(t, tt.reason, session.ReasonOf(err), "%d: %v", status, err)
					clear(w.Header())
					w.Header().Set("Cache-Control", "max-age=60")
					w.Header().Set("CDN-Cache-Control", "max-age=60")
					w.Header().Set("Content-Type", "application/json")
					fmt.Fprintf(w, `{"status":%d}`, status)
				}
			})
			assert.Equal(t, tt.status, got.Status)
			assert.Equal(t, fmt.Sprintf(`{"status":%d}`, tt.status), got.Body)
			assert.Equal(t, "application/json", got.Header.Get("Content-Type"), tt.status)
			assert.Equal(t, "no-store", got.Header.Get("Cache-Control"), tt.status)
			assert.Empty(t, got.Header.Get("CDN-Cache-Control"), tt.status)
			assert.Equal(t, "Cookie", got.Header.Get("Vary"), tt.status)
		}
	})
}

// Whatever the reason, the client gets the status and its standard text.
func TestDenialsGiveNoReason(t *testing.T) {
	silent := func(http.ResponseWriter, *http.Request, int, error) {}
	for name, handler := range map[string]func(http.ResponseWriter, *http.Request, int, error){
		"no ErrorHandler": nil, "an ErrorHandler that writes nothing": silent,
	} {
		t.Run(name, func(t *testing.T) {
			eachMode(t, func(t *testing.T, mode string, w *world) {
				for _, tt := range denials {
					got := tt.send(t, w, mode, func(c *middleware.Config) { c.ErrorHandler = handler })
					assert.Equal(t, tt.status, got.Status)
					assert.Equal(t, http.StatusText(tt.status)+"\n", got.Body)
					assert.Equal(t, "no-store", got.Header.Get("Cache-Control"), tt.status)
				}
			})
		})
	}
}

// The answer of the handler is not sent in its place.
func TestErrorHandlerThatPanics(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string, w *world) {
		for _, tt := range denials {
			got := tt.send(t, w, mode, func(c *middleware.Config) {
				c.ErrorHandler = func(http.ResponseWriter, *http.Request, int, error) { panic("no template") }
			})
			assert.Equal(t, "no template", got.Panic, tt.status)
			assert.Empty(t, got.Body, tt.status)
			assert.Equal(t, "no-store", got.Header.Get("Cache-Control"), tt.status)
		}
	})
}

// A response that is only announced does not count, nor does a cookie that
// stays.
func TestErrorHandlerThatAnnouncesItsAnswer(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string, w *world) {
		m := w.Middleware(t, mode, func(c *middleware.Config) {
			c.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ int, _ error) {
				w.WriteHeader(http.StatusEarlyHints)
				io.WriteString(w, "sorry")
			}
		})
		server := httptest.NewServer(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s := session.From(r.Context())
			assert.NoError(t, s.Login("alice"))
			assert.NoError(t, s.Save(r.Context()))
			assert.NoError(t, session.Key[any]("huge").Set(s, strings.Repeat("x", 2<<20)))
		})))
		defer server.Close()
		got, err := server.Client().Get(server.URL)
		require.NoError(t, err)
		defer got.Body.Close()
		assert.Equal(t, http.StatusInternalServerError, got.StatusCode)
		assert.Len(t, got.Header["Set-Cookie"], 1)
	})
}

// An answer of its own, and a session that can be read, but not changed.
func TestErrorHandlerChoosesTheStatus(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string, w *world) {
		m := w.Middleware(t, mode, func(c *middleware.Config) {
			c.ErrorHandler = func(w http.ResponseWriter, r *http.Request, status int, _ error) {
				s := session.From(r.Context())
				assert.Equal(t, "alice", s.Subject())
				assert.Error(t, visits.Set(s, 1))
				w.Header().Del("Set-Cookie")
				http.Redirect(w, r, "/sorry", http.StatusSeeOther)
			}
		})
		got := serve(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s := session.From(r.Context())
			assert.NoError(t, s.Login("alice"))
			assert.NoError(t, s.Save(r.Context()))
			assert.NoError(t, session.Key[any]("huge").Set(s, strings.Repeat("x", 2<<20)))
		})), cookies())
		assert.Equal(t, http.StatusSeeOther, got.Status)
		assert.Equal(t, "/sorry", got.Header.Get("Location"))
		require.Len(t, got.Header["Set-Cookie"], 1, "the login was saved, so its cookie is sent")
	})
}

// A client that doesn't wait for the store is no failure of the store.
func TestClientGoneBeforeTheStoreAnswers(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string, w *world) {
		w.Store = hanging{w.memory}
		var e events
		m := w.Middleware(t, mode, watched(&e))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		serve(m.Handler(http.HandlerFunc(show)), cookies(unknownID()).WithContext(ctx))
		assert.Equal(t, []string{"abandoned:unavailable"}, e.Kinds())

		m = w.Middleware(t, mode, watched(&e), shortTimeout)
		serve(m.Handler(http.HandlerFunc(show)), cookies(unknownID()))
		assert.Equal(t, []string{"abandoned:unavailable", "failed:unavailable"}, e.Kinds())

		ctx, cancel = context.WithTimeout(t.Context(), 0) // of an outer handler
		defer cancel()
		serve(m.Handler(http.HandlerFunc(show)), cookies(unknownID()).WithContext(ctx))
		assert.Equal(t, "failed:unavailable", e.Kinds()[2], "the store was too slow")
	})
}

func TestChangeAfterTheRequestSaysSo(t *testing.T) {
	inEachMode(t, func(t *testing.T, _ string, _ *world, b *browser) {
		var kept *session.Session
		b.Do(func(s *session.Session) { kept = s; assert.NoError(t, visits.Set(s, 1)) })
		for name, err := range map[string]error{
			"set": visits.Set(kept, 2), "delete": visits.Delete(kept), "clear": kept.Clear(), "remember": kept.Remember(true),
			"login": kept.Login("alice"), "renew": kept.Renew(), "destroy": kept.Destroy(),
		} {
			assert.ErrorIs(t, err, session.TooLate, name)
			assert.ErrorContains(t, err, "the request is over", name)
		}
	})
}
