package middleware_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A compressor inside the middleware has said what the body would have been.
func TestReplacedResponseHasTheHeaderFromBefore(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string, w *world) {
		inner := w.Middleware(t, mode).Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			for _, name := range []string{"ETag", "Last-Modified", "Location", "Trailer", "Accept-Ranges", "X-Own"} {
				h.Set(name, "x")
			}
			h.Set("Content-Encoding", "gzip")
			h.Set("Content-Disposition", "attachment")
			h.Set("Content-Length", "5")
			h.Set("Content-Type", "image/png")
			h.Set("X-Outer", "changed")
			h.Add("Vary", "Accept-Encoding")
			assert.NoError(t, session.Key[any]("huge").Set(session.From(r.Context()), strings.Repeat("x", 2<<20)))
			zip := gzip.NewWriter(w)
			_, _ = io.WriteString(zip, "hello")
			_ = zip.Close()
		}))
		outer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Outer", "set")
			w.Header()["Vary"] = []string{"Origin"}
			inner.ServeHTTP(w, r)
		})
		got := serve(outer, from("GET", "https://app.example/"))
		assert.Equal(t, http.StatusInternalServerError, got.Status)
		assert.Equal(t, "Internal Server Error\n", got.Body)
		assert.Equal(t, http.Header{
			"X-Outer":                {"set"},
			"Vary":                   {"Origin", "Cookie"},
			"Cache-Control":          {"no-store"},
			"Content-Type":           {"text/plain; charset=utf-8"},
			"X-Content-Type-Options": {"nosniff"},
		}, got.Header)
	})
}

// A cookie that a save has earned before the response is replaced stays.
func TestReplacedResponseKeepsTheNewCookie(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string, w *world) {
		m := w.Middleware(t, mode)
		got := serve(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s := session.From(r.Context())
			assert.NoError(t, s.Login("alice"))
			assert.NoError(t, s.Save(r.Context()))
			assert.NoError(t, session.Key[any]("huge").Set(s, strings.Repeat("x", 2<<20)))
			w.Header().Set("ETag", "x")
		})), cookies(begin(t, m, "")))
		assert.Equal(t, http.StatusInternalServerError, got.Status)
		assert.Empty(t, got.Header["Etag"])
		require.Len(t, got.Header["Set-Cookie"], 1)
		cookie, err := http.ParseSetCookie(got.Header.Get("Set-Cookie"))
		require.NoError(t, err)
		assert.Equal(t, "alice", subjectOf(m, cookie.Value))
	})
}

// Caches with a field of their own don't look at Cache-Control.
func TestFieldsThatOverruleNoStore(t *testing.T) {
	fields := []string{
		"CDN-Cache-Control", "Cloudflare-CDN-Cache-Control", "Surrogate-Control", "X-Accel-Expires", "Expires",
		"Edge-Control", "X-LiteSpeed-Cache-Control",
	}
	set := func(w http.ResponseWriter) {
		for _, name := range fields {
			w.Header().Set(name, "max-age=60")
		}
		w.Header()["CDN-CACHE-CONTROL"] = []string{"max-age=60"}
		w.Header().Set("Surrogate-Key", "a tag")
	}
	gone := func(t *testing.T, h http.Header) {
		assert.Equal(t, "no-store", h.Get("Cache-Control"))
		for _, name := range append(fields, "CDN-CACHE-CONTROL") {
			assert.NotContains(t, h, name)
			assert.Empty(t, h.Get(name), name)
		}
		assert.Equal(t, "a tag", h.Get("Surrogate-Key"))
	}
	eachMode(t, func(t *testing.T, mode string, w *world) {
		m := w.Middleware(t, mode)
		got := serve(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			assert.NoError(t, session.Key[any]("x").Set(session.From(r.Context()), 1))
			set(w)
		})), cookies())
		assert.NotEmpty(t, got.Header["Set-Cookie"])
		gone(t, got.Header)

		got = serve(m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { set(w) })), cookies())
		assert.Equal(t, "max-age=60", got.Header.Get("CDN-Cache-Control"), "a page without a cookie may be cached")

		outer := func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { set(w); h.ServeHTTP(w, r) })
		}
		gone(t, serve(outer(m.Handler(nil)), from("POST", "https://app.example/", "Origin: https://evil.example")).Header)
		gone(t, serve(outer(new(middleware.Middleware).Handler(nil)), cookies()).Header)
	})
}

// The server removes the files by the request that it has made itself. (Over
// HTTP/2, Go 1.27 leaves them there, whoever the handler is.)
func TestMultipartFilesAreRemoved(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode string, w *world, b *browser) {
		parse := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			assert.NoError(t, r.ParseMultipartForm(1))
			assert.Len(t, temporaryFiles(t), 1, "a file of the upload")
			if r.URL.Path == "/panic" {
				panic(http.ErrAbortHandler)
			}
		})
		for _, at := range []struct {
			http2 bool
			path  string // over HTTP/1, the server leaves the files of a panic
		}{{false, "/"}, {true, "/"}, {true, "/panic"}} {
			without := leftByUpload(t, parse, at.http2, at.path)
			assert.Equal(t, without, leftByUpload(t, w.Middleware(t, mode).Handler(parse), at.http2, at.path), "%+v", at)
			assert.True(t, at.http2 || without == 0)
		}
	})
}

// leftByUpload returns how many temporary files are left when a server with the
// handler has done with an upload.
func leftByUpload(t *testing.T, h http.Handler, http2 bool, path string) int {
	t.Setenv("TMPDIR", t.TempDir())
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, http2, r.ProtoMajor == 2)
		h.ServeHTTP(w, r)
	}))
	server.EnableHTTP2 = http2
	server.StartTLS()
	defer server.Close()
	upload(t, server, path)
	return len(temporaryFiles(t))
}

func temporaryFiles(t *testing.T) []os.DirEntry {
	files, err := os.ReadDir(os.TempDir())
	assert.NoError(t, err)
	return files
}

// upload sends a file, and waits until the server has done with it.
func upload(t *testing.T, server *httptest.Server, path string) {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("file", "a.txt")
	require.NoError(t, err)
	_, err = part.Write(make([]byte, 64<<10))
	require.NoError(t, err)
	require.NoError(t, form.Close())
	r, err := http.NewRequest(http.MethodPost, server.URL+path, &body)
	require.NoError(t, err)
	r.Header.Set("Content-Type", form.FormDataContentType())
	if response, err := server.Client().Do(r); err == nil {
		_ = response.Body.Close()
	}
	server.Client().CloseIdleConnections()
	require.NoError(t, server.Config.Shutdown(context.WithoutCancel(t.Context())))
}

// gin's Context.Stream asks the ResponseWriter for this, and panics without it.
func TestCloseNotify(t *testing.T) {
	inEachMode(t, func(t *testing.T, _ string, _ *world, b *browser) {
		ctx, cancel := context.WithCancel(t.Context())
		told := make(chan bool, 1)
		page := b.Site.URL(func(w http.ResponseWriter, r *http.Request, s *session.Session) {
			gone := w.(interface{ CloseNotify() <-chan bool }).CloseNotify()
			assert.NoError(t, session.Key[any]("x").Set(s, 1))
			io.WriteString(w, "data: 1\n\n")
			w.(http.Flusher).Flush()
			select {
			case <-gone:
				t.Error("the client is still there")
			default:
			}
			cancel()
			told <- <-gone
		})
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
		require.NoError(t, err)
		response, err := b.Client.Do(r)
		if err == nil {
			_, _ = io.Copy(io.Discard, response.Body) // until the handler cancels
			_ = response.Body.Close()
		}
		assert.True(t, <-told)
	})
}

// What a router inside has matched can be read outside.
func TestPatternIsSeenOutside(t *testing.T) {
	eachMode(t, func(t *testing.T, mode string, w *world) {
		mux := http.NewServeMux()
		mux.HandleFunc("POST /items/{id}", func(_ http.ResponseWriter, r *http.Request) {
			assert.NoError(t, r.ParseForm())
			panic(http.ErrAbortHandler)
		})
		r := from("POST", "https://app.example/items/7?q=1")
		assert.Equal(t, http.ErrAbortHandler, serve(w.Middleware(t, mode).Handler(mux), r).Panic)
		assert.Equal(t, "POST /items/{id}", r.Pattern)
		assert.Equal(t, "7", r.PathValue("id"))
		assert.Equal(t, "1", r.Form.Get("q"))
	})
}
