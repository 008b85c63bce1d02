package middleware_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/opaque"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// inEachMode runs a test with a site in each mode.
func inEachMode(t *testing.T, run func(t *testing.T, mode string, w *world, b *browser)) {
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			w := newWorld(t)
			run(t, mode, w, newSite(t, w.Middleware(t, mode)).Browser())
		})
	}
}

func TestSetThenFlush(t *testing.T) {
	inEachMode(t, func(t *testing.T, _ string, _ *world, b *browser) {
		got := b.Get(func(w http.ResponseWriter, r *http.Request, s *session.Session) {
			assert.NoError(t, visits.Set(s, 1))
			assert.NoError(t, http.NewResponseController(w).Flush())
			io.WriteString(w, "data: 1\n\n")
			w.(http.Flusher).Flush()
		})
		assert.Len(t, got.Header["Set-Cookie"], 1)
		assert.Equal(t, "data: 1\n\n", got.Text)
		b.Do(func(s *session.Session) { assert.Equal(t, 1, visits.Get(s)) })
	})
}

func TestFailingSaveBeforeFlush(t *testing.T) {
	inEachMode(t, func(t *testing.T, _ string, _ *world, b *browser) {
		got := b.Get(func(w http.ResponseWriter, r *http.Request, s *session.Session) {
			assert.NoError(t, session.Key[any]("huge").Set(s, strings.Repeat("x", 2<<20)))
			assert.ErrorIs(t, http.NewResponseController(w).Flush(), session.TooLarge)
			_, err := io.Copy(w, strings.NewReader("data"))
			assert.ErrorIs(t, err, session.TooLarge)
			_, _, err = http.NewResponseController(w).Hijack()
			assert.ErrorIs(t, err, session.TooLarge)
		})
		assert.Equal(t, http.StatusInternalServerError, got.StatusCode)
		assert.Equal(t, "Internal Server Error\n", got.Text)
		assert.Empty(t, got.Header["Set-Cookie"])
	})
}

func TestChangeAfterFirstByte(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode string, _ *world, b *browser) {
		b.Do(func(s *session.Session) { assert.NoError(t, visits.Set(s, 1)) })
		got := b.Get(func(w http.ResponseWriter, r *http.Request, s *session.Session) {
			io.WriteString(w, "begun")
			assert.ErrorIs(t, s.Login("alice"), session.TooLate)
			assert.ErrorIs(t, s.Renew(), session.TooLate)
			err := visits.Set(s, 2)
			if mode != "opaque" {
				assert.ErrorIs(t, err, session.TooLate)
				return
			}
			assert.NoError(t, err)
			assert.NoError(t, s.Save(r.Context()))
			assert.NoError(t, session.Key[any]("at the end").Set(s, true), "is saved when the handler returns")
		})
		assert.Equal(t, "begun", got.Text)
		assert.Empty(t, got.Header["Set-Cookie"])
		b.Do(func(s *session.Session) {
			assert.Empty(t, s.Subject())
			want := map[string]int{"stateless": 1, "auto": 1, "opaque": 2}[mode]
			assert.Equal(t, want, visits.Get(s))
			assert.Equal(t, mode == "opaque", s.Has("at the end"))
		})
	})
}

func TestNewSessionAfterFirstByte(t *testing.T) {
	inEachMode(t, func(t *testing.T, _ string, w *world, b *browser) {
		b.Get(func(w http.ResponseWriter, r *http.Request, s *session.Session) {
			io.WriteString(w, "begun")
			assert.ErrorIs(t, visits.Set(s, 1), session.TooLate)
			assert.ErrorIs(t, s.Login("alice"), session.TooLate)
		})
		assert.Zero(t, w.memory.Len())
	})
}

// A logout always counts, even if the client can't be told any more.
func TestDestroyAfterFirstByte(t *testing.T) {
	inEachMode(t, func(t *testing.T, _ string, _ *world, b *browser) {
		b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
		before := b.Credential()
		b.Get(func(w http.ResponseWriter, r *http.Request, s *session.Session) {
			io.WriteString(w, "begun")
			assert.NoError(t, s.Destroy())
		})
		_, ok := b.Site.Opens(before)
		assert.False(t, ok)
	})
}

func TestEarlyHints(t *testing.T) {
	inEachMode(t, func(t *testing.T, _ string, _ *world, b *browser) {
		var hints []http.Header
		trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			assert.Equal(t, http.StatusEarlyHints, code)
			hints = append(hints, http.Header(header))
			return nil
		}}
		got := b.Send(http.MethodGet, func(w http.ResponseWriter, r *http.Request, s *session.Session) {
			w.Header().Set("Link", "</style.css>; rel=preload; as=style")
			w.WriteHeader(http.StatusEarlyHints)
			assert.NoError(t, visits.Set(s, 1), "early hints are not the response yet")
			w.WriteHeader(http.StatusCreated)
		}, func(r *http.Request) { *r = *r.WithContext(httptrace.WithClientTrace(r.Context(), trace)) })
		require.Len(t, hints, 1)
		assert.Empty(t, hints[0]["Set-Cookie"])
		assert.Equal(t, http.StatusCreated, got.StatusCode)
		assert.Len(t, got.Header["Set-Cookie"], 1)
	})
}

func TestPanickingHandlerSavesNothing(t *testing.T) {
	inEachMode(t, func(t *testing.T, _ string, _ *world, b *browser) {
		b.Do(func(s *session.Session) { assert.NoError(t, visits.Set(s, 1)) })
		var kept *session.Session
		page := b.Site.URL(func(w http.ResponseWriter, r *http.Request, s *session.Session) {
			kept = s
			assert.NoError(t, visits.Set(s, 2))
			assert.NoError(t, s.Destroy())
			panic(http.ErrAbortHandler)
		})
		_, err := b.Client.Get(page)
		assert.Error(t, err)
		b.Do(func(s *session.Session) { assert.Equal(t, 1, visits.Get(s)) })
		assert.ErrorIs(t, session.Key[any]("x").Set(kept, 1), session.Ended)
	})
}

// A client that goes away takes nothing back: what the handler did counts.
func TestDisconnectDuringHandler(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode string, _ *world, b *browser) {
		b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
		before := b.Credential()
		ctx, cancel := context.WithCancel(t.Context())
		done, gone := make(chan struct{}), make(chan struct{})
		page := b.Site.URL(func(w http.ResponseWriter, r *http.Request, s *session.Session) {
			defer close(done)
			cancel()
			<-r.Context().Done()
			<-gone // else the answer may still reach the client
			assert.NoError(t, s.Destroy())
			assert.NoError(t, s.Save(r.Context()))
		})
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
		require.NoError(t, err)
		_, err = b.Client.Do(r)
		close(gone)
		require.ErrorIs(t, err, context.Canceled)
		<-done
		_, ok := b.Site.Opens(before)
		assert.False(t, ok, "the logout counts")
	})
}

// hijacked takes the connection over and answers like a WebSocket server.
func hijacked(t *testing.T, w http.ResponseWriter) net.Conn {
	conn, _, err := http.NewResponseController(w).Hijack()
	require.NoError(t, err)
	return conn
}

const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n"

func TestHijack(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode string, w *world, b *browser) {
		b.Do(func(s *session.Session) { assert.NoError(t, visits.Set(s, 1)) })
		got := b.Get(func(rw http.ResponseWriter, r *http.Request, s *session.Session) {
			if mode != "opaque" {
				assert.NoError(t, visits.Set(s, 2))
				_, _, err := http.NewResponseController(rw).Hijack()
				assert.ErrorIs(t, err, session.TooLate, "the new token could not be sent")
				rw.WriteHeader(http.StatusInternalServerError)
				return
			}
			assert.NoError(t, visits.Set(s, 2))
			conn := hijacked(t, rw)
			defer conn.Close()
			io.WriteString(conn, switching)
			w.Advance(25 * time.Minute)
			assert.ErrorIs(t, s.Save(context.Background()), session.IdleTimeout,
				"a long-lived handler learns that the session is over")
		})
		if mode == "opaque" {
			assert.Equal(t, http.StatusSwitchingProtocols, got.StatusCode)
			return
		}
		assert.Equal(t, http.StatusInternalServerError, got.StatusCode)
		b.Do(func(s *session.Session) { assert.Equal(t, 1, visits.Get(s)) })
	})
}

// A WebSocket server that sends 101 by WriteHeader can set a cookie with it.
func TestSwitchingProtocolsThenHijack(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode string, _ *world, b *browser) {
		b.Do(func(s *session.Session) { assert.NoError(t, visits.Set(s, 1)) })
		got := b.Get(func(w http.ResponseWriter, r *http.Request, s *session.Session) {
			assert.NoError(t, visits.Set(s, 2))
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Upgrade", "test")
			w.WriteHeader(http.StatusSwitchingProtocols)
			hijacked(t, w).Close()
		})
		assert.Equal(t, http.StatusSwitchingProtocols, got.StatusCode)
		b.Do(func(s *session.Session) { assert.Equal(t, 2, visits.Get(s)) })
	})
}

// A handler that lives long keeps its session alive, and is told when it ended.
func TestLongLivedHandler(t *testing.T) {
	w := newWorld(t)
	b := newSite(t, w.Middleware(t, "opaque")).Browser()
	b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
	credential := b.Credential()
	b.Get(func(rw http.ResponseWriter, r *http.Request, s *session.Session) {
		conn := hijacked(t, rw)
		defer conn.Close()
		io.WriteString(conn, switching)
		for i := range 5 {
			w.Advance(15 * time.Minute)
			assert.NoError(t, s.Save(context.Background()), "after %d quarters of an hour", i+1)
		}
		w.Advance(15 * time.Minute)
		b.Site.Holding(credential).Do(func(other *session.Session) { assert.Equal(t, "alice", other.Subject()) })
		w.Advance(15 * time.Minute)
		assert.NoError(t, visits.Set(s, 7), "others have been active meanwhile")
		assert.NoError(t, s.Save(context.Background()))
		b.Site.Holding(credential).Do(func(other *session.Session) {
			assert.Equal(t, 7, visits.Get(other))
			assert.NoError(t, other.Destroy())
		})
		assert.ErrorIs(t, s.Save(context.Background()), session.NotFound)
	})
}

// recorder is a server's ResponseWriter that notes what ReadFrom is given.
type recorder struct {
	*httptest.ResponseRecorder
	from io.Reader
}

func (r *recorder) ReadFrom(src io.Reader) (int64, error) {
	r.from = src
	return io.Copy(r.ResponseRecorder, src)
}

// The server can send a file without reading it into memory only if it sees the
// *os.File.
func TestReadFromSeesFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "page.txt")
	require.NoError(t, os.WriteFile(name, []byte("content"), 0o600))
	for _, mode := range modes {
		w := newWorld(t)
		m := w.Middleware(t, mode)
		out := &recorder{ResponseRecorder: httptest.NewRecorder()}
		m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			assert.NoError(t, visits.Set(session.From(r.Context()), 1))
			f, err := os.Open(name)
			require.NoError(t, err)
			defer f.Close()
			http.ServeContent(w, r, name, time.Time{}, f)
		})).ServeHTTP(out, httptest.NewRequest(http.MethodGet, "/", nil))
		limited, ok := out.from.(*io.LimitedReader)
		require.True(t, ok, "%s: got %T", mode, out.from)
		assert.IsType(t, &os.File{}, limited.R, mode)
		assert.Equal(t, "content", out.Body.String())
		assert.Len(t, out.Header()["Set-Cookie"], 1, mode)
	}
}

func TestWriteString(t *testing.T) {
	inEachMode(t, func(t *testing.T, _ string, _ *world, b *browser) {
		got := b.Get(func(w http.ResponseWriter, r *http.Request, s *session.Session) {
			assert.NoError(t, visits.Set(s, 1))
			_, err := w.(io.StringWriter).WriteString("text")
			assert.NoError(t, err)
			assert.NoError(t, http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Minute)))
		})
		assert.Equal(t, "text", got.Text)
		assert.Len(t, got.Header["Set-Cookie"], 1)
	})
}

// A broken store says that it could not tell; a hanging one only that time is
// up.
type brokenStore struct {
	opaque.Store
	broken, hangs bool
}

func (s *brokenStore) fail(ctx context.Context) error {
	if s.hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	if s.broken {
		return errors.New("connection refused")
	}
	return nil
}

func (s *brokenStore) Get(ctx context.Context, key string) (opaque.Item, bool, error) {
	if err := s.fail(ctx); err != nil {
		return opaque.Item{}, false, err
	}
	return s.Store.Get(ctx, key)
}

func (s *brokenStore) Create(ctx context.Context, key string, item opaque.Item) error {
	if err := s.fail(ctx); err != nil {
		return err
	}
	return s.Store.Create(ctx, key, item)
}

func (s *brokenStore) Swap(ctx context.Context, key string, version uint64, item opaque.Item) (bool, error) {
	if err := s.fail(ctx); err != nil {
		return false, err
	}
	return s.Store.Swap(ctx, key, version, item)
}

func (s *brokenStore) Touch(ctx context.Context, key string, seenAt, idleDeadline time.Time) (bool, error) {
	if err := s.fail(ctx); err != nil {
		return false, err
	}
	return s.Store.Touch(ctx, key, seenAt, idleDeadline)
}

func TestStoreFails(t *testing.T) {
	for _, hangs := range []bool{false, true} {
		t.Run(fmt.Sprintf("hangs=%t", hangs), func(t *testing.T) {
			w := newWorld(t)
			store := &brokenStore{Store: w.memory}
			w.Store = store
			seen := &events{}
			b := newSite(t, w.Middleware(t, "opaque", shortTimeout, watched(seen))).Browser()
			b.Do(func(s *session.Session) { assert.NoError(t, visits.Set(s, 1)) })
			credential := b.Credential()

			set := func(broken bool) { store.broken, store.hangs = broken, broken && hangs }
			set(true)
			got := b.Get(func(http.ResponseWriter, *http.Request, *session.Session) { t.Error("the handler ran") })
			assert.Equal(t, http.StatusServiceUnavailable, got.StatusCode)
			assert.Equal(t, "Service Unavailable\n", got.Text)
			assert.Empty(t, got.Header["Set-Cookie"])
			set(false)
			got = b.Get(func(w http.ResponseWriter, r *http.Request, s *session.Session) {
				set(true)
				assert.NoError(t, visits.Set(s, 2))
				w.Header().Set("ETag", `"x"`)
				_, err := io.WriteString(w, "secret page")
				assert.ErrorIs(t, err, session.Unavailable)
			})
			assert.Equal(t, http.StatusServiceUnavailable, got.StatusCode)
			assert.Equal(t, "Service Unavailable\n", got.Text)
			assert.Empty(t, got.Header["Set-Cookie"])
			got = b.Site.Browser().Get(func(w http.ResponseWriter, r *http.Request, s *session.Session) {
				io.WriteString(w, "no cookie, no store")
			})
			assert.Equal(t, http.StatusOK, got.StatusCode)
			set(false)
			assert.Equal(t, credential, b.Credential())
			b.Do(func(s *session.Session) { assert.Equal(t, 1, visits.Get(s)) })
			assert.Equal(t, []string{"created", "failed:unavailable", "failed:unavailable"}, seen.Kinds())
		})
	}
}

// A touch that fails never fails a request.
func TestFailingTouch(t *testing.T) {
	w := newWorld(t)
	store := &brokenStore{Store: w.memory}
	w.Store = store
	b := newSite(t, w.Middleware(t, "opaque")).Browser()
	b.Do(func(s *session.Session) { assert.NoError(t, visits.Set(s, 1)) })
	w.Advance(2 * time.Minute)
	b.Do(func(s *session.Session) { store.broken = true })
	store.broken = false
	b.Do(func(s *session.Session) { assert.Equal(t, 1, visits.Get(s)) })
}

// Somebody logs out while another request is at work: that one's changes find
// the session ended, and its client is told so.
func TestChangeOfEndedSession(t *testing.T) {
	inEachMode(t, func(t *testing.T, _ string, _ *world, b *browser) {
		b.Do(func(s *session.Session) { assert.NoError(t, s.Login("alice")) })
		credential := b.Credential()
		got := b.Get(func(w http.ResponseWriter, r *http.Request, s *session.Session) {
			b.Site.Holding(credential).Do(func(s *session.Session) { assert.NoError(t, s.Destroy()) })
			assert.NoError(t, visits.Set(s, 1))
			_, err := io.WriteString(w, "secret page")
			assert.ErrorIs(t, err, session.ReasonOf(err))
		})
		assert.Equal(t, http.StatusConflict, got.StatusCode)
		assert.Equal(t, "Conflict\n", got.Text)
		assert.Empty(t, got.Header["Set-Cookie"])
		_, ok := b.Site.Opens(credential)
		assert.False(t, ok)
	})
}

func TestBufioHijackKeepsReader(t *testing.T) {
	w := newWorld(t)
	b := newSite(t, w.Middleware(t, "opaque")).Browser()
	b.Get(func(w http.ResponseWriter, r *http.Request, s *session.Session) {
		conn, rw, err := w.(http.Hijacker).Hijack()
		require.NoError(t, err)
		assert.IsType(t, &bufio.ReadWriter{}, rw)
		io.WriteString(conn, switching)
		conn.Close()
	})
}
