package reqcopy_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/cloakroom-go/cloakroom/internal/reqcopy"
	"github.com/stretchr/testify/assert"
)

type key struct{}

// copying stands for a handler that adds to the context.
func copying(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := r.WithContext(context.WithValue(r.Context(), key{}, 1))
		defer reqcopy.Back(r, c)
		next.ServeHTTP(w, c)
	})
}

func TestPatternAndPathValues(t *testing.T) {
	tests := []struct {
		pattern, path string
		want          map[string]string
	}{
		{"/", "/x", nil},
		{"GET /items/{id}", "/items/7", map[string]string{"id": "7"}},
		{"GET example.com/{a}/{b}", "/1/2", map[string]string{"a": "1", "b": "2"}},
		{"/files/{rest...}", "/files/a/b", map[string]string{"rest": "a/b"}},
		{"/files/{rest...}", "/files/", map[string]string{"rest": ""}},
		{"/{$}", "/", nil},
	}
	for _, tt := range tests {
		mux := http.NewServeMux()
		mux.HandleFunc(tt.pattern, func(http.ResponseWriter, *http.Request) {})
		r := httptest.NewRequest(http.MethodGet, tt.path, nil)
		copying(mux).ServeHTTP(httptest.NewRecorder(), r)
		assert.Equal(t, tt.pattern, r.Pattern)
		for name, want := range tt.want {
			assert.Equal(t, want, r.PathValue(name), tt.pattern)
		}
	}
}

// Other routers write regular expressions into their patterns.
func TestPathValuesOfAnotherRouter(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	copying(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		r.Pattern = "/{year:[0-9]{4}}/{name}"
		r.SetPathValue("year", "2026")
		r.SetPathValue("name", "x")
	})).ServeHTTP(nil, r)
	assert.Equal(t, "2026", r.PathValue("year"))
	assert.Equal(t, "x", r.PathValue("name"))
}

func TestPatternOfAnOuterMux(t *testing.T) {
	inner := http.NewServeMux()
	inner.HandleFunc("/{tenant}/items/{id}", func(http.ResponseWriter, *http.Request) {})
	var r *http.Request
	outer := http.NewServeMux()
	outer.HandleFunc("/{tenant}/", func(w http.ResponseWriter, got *http.Request) {
		r = got
		copying(inner).ServeHTTP(w, got)
	})
	outer.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/acme/items/7", nil))
	assert.Equal(t, "/{tenant}/items/{id}", r.Pattern)
	assert.Equal(t, "acme", r.PathValue("tenant"))
	assert.Equal(t, "7", r.PathValue("id"))
}

func TestForms(t *testing.T) {
	r := httptest.NewRequest(http.MethodPost, "/?q=1", strings.NewReader("a=2"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	parsing := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { assert.NoError(t, r.ParseForm()) })
	copying(parsing).ServeHTTP(nil, r)
	assert.Equal(t, url.Values{"q": {"1"}, "a": {"2"}}, r.Form)
	assert.Equal(t, url.Values{"a": {"2"}}, r.PostForm)
	assert.Nil(t, r.Context().Value(key{}), "the context stays as it was")
}
