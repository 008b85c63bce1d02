package keys_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
)

func get(h http.Handler, edit func(*http.Request)) *httptest.ResponseRecorder {
	req := httptest.NewRequest(http.MethodGet, "/jwks.json", nil)
	if edit != nil {
		edit(req)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w
}

func TestHandler(t *testing.T) {
	r := newRing(t, generate(t, keyset.ES256), generate(t, keyset.EdDSA), one(t, keyset.RS256),
		generate(t, keyset.HS256), generate(t, keyset.Direct), generate(t, keyset.ECDHESA256KW))
	w := get(r.Handler(), nil)
	require.Equal(t, 200, w.Code)
	require.Equal(t, "application/jwk-set+json", w.Header().Get("Content-Type"))
	require.Equal(t, "public, max-age=600", w.Header().Get("Cache-Control"))
	require.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
	etag := w.Header().Get("ETag")
	require.Regexp(t, `^"[A-Za-z0-9_-]{22}"$`, etag, "strong")

	var set struct{ Keys []map[string]any }
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &set))
	require.Len(t, set.Keys, 3, "no symmetric key, none that encrypts")
	for i, want := range [][]string{{"kty", "crv", "x", "y"}, {"kty", "crv", "x"}, {"kty", "n", "e"}} {
		var names []string
		for name := range set.Keys[i] {
			names = append(names, name)
		}
		require.ElementsMatch(t, append(want, "kid", "alg", "use"), names)
		require.Equal(t, "sig", set.Keys[i]["use"])
	}
	_, err := jwk.Parse(w.Body.Bytes())
	require.NoError(t, err)

	body := w.Body.String()
	w = get(r.Handler(), func(r *http.Request) { r.Header.Set("If-None-Match", etag) })
	require.Equal(t, 304, w.Code)
	require.Empty(t, w.Body.String())
	require.Equal(t, etag, w.Header().Get("ETag"))
	w = get(r.Handler(), func(r *http.Request) { r.Header.Set("If-None-Match", `"other"`) })
	require.Equal(t, 200, w.Code)
	w = get(r.Handler(), func(r *http.Request) { r.Method = http.MethodHead })
	require.Equal(t, 200, w.Code)
	require.Empty(t, w.Body.String())
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "PATCH"} {
		w = get(r.Handler(), func(r *http.Request) { r.Method = method })
		require.Equal(t, 405, w.Code)
		require.Equal(t, "GET, HEAD", w.Header().Get("Allow"))
	}
	require.Equal(t, body, get(r.Handler(), nil).Body.String())
}

// The published set follows the clock, without a reload.
func TestHandlerFollowsTheDates(t *testing.T) {
	a, b := generate(t, keyset.ES256, life(0)), generate(t, keyset.ES256, life(3))
	r := newRing(t, a, b)
	now := at(-1)
	keys.SetClock(r, func() time.Time { return now })
	tests := []struct {
		now  time.Time
		want []string
	}{
		{at(-1), nil}, {at(0), []string{a.ID()}}, {at(2), []string{a.ID()}},
		{at(3), []string{a.ID(), b.ID()}}, {at(5).Add(-1), []string{a.ID(), b.ID()}},
		{at(5), []string{b.ID()}}, {at(8).Add(-1), []string{b.ID()}}, {at(8), nil},
		{at(1), []string{a.ID()}}, // the clock was set back
	}
	etags := map[string]string{}
	for _, tt := range tests {
		now = tt.now
		w := get(r.Handler(), nil)
		var set struct{ Keys []struct{ Kid string } }
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &set))
		var got []string
		for _, k := range set.Keys {
			got = append(got, k.Kid)
		}
		require.Equal(t, tt.want, got, "%v", tt.now)
		etags[w.Header().Get("ETag")] = w.Body.String()
	}
	require.Len(t, etags, 4, "one tag for each content")
}
