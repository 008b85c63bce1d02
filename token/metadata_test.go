package token_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/keys"
	"github.com/cloakroom-go/cloakroom/token"
)

func newMetadata(t testing.TB, c token.MetadataConfig) *token.Metadata {
	m, err := token.NewMetadata(c)
	require.NoError(t, err)
	return m
}

func ask(h http.Handler, method, path string, header ...string) *httptest.ResponseRecorder {
	r, w := httptest.NewRequest(method, path, nil), httptest.NewRecorder()
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	h.ServeHTTP(w, r)
	return w
}

func TestMetadata(t *testing.T) {
	b := newBench(t, keys.ES256, keys.Direct)
	m := newMetadata(t, token.MetadataConfig{Issuer: "https://app.example", Ring: b.ring, Now: b.clock,
		Introspection: "https://app.example/introspect"})
	w := ask(m, "GET", "/.well-known/oauth-authorization-server")
	require.Equal(t, 200, w.Code)
	assert.Equal(t, "application/json", w.Header().Get("Content-Type"))
	assert.Equal(t, "public, max-age=600", w.Header().Get("Cache-Control"))
	assert.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
	assert.JSONEq(t, `{
		"issuer": "https://app.example",
		"jwks_uri": "https://app.example/.well-known/jwks.json",
		"response_types_supported": [],
		"id_token_signing_alg_values_supported": ["ES256"],
		"introspection_endpoint": "https://app.example/introspect",
		"introspection_endpoint_auth_methods_supported": ["client_secret_basic"]
	}`, w.Body.String())

	etag := w.Header().Get("ETag")
	require.Regexp(t, `^"[A-Za-z0-9_-]{22}"$`, etag, "strong")
	again := ask(m, "GET", "/.well-known/oauth-authorization-server", "If-None-Match", etag)
	assert.Equal(t, 304, again.Code)
	assert.Empty(t, again.Body.String())
	head := ask(m, "HEAD", "/.well-known/oauth-authorization-server")
	assert.Equal(t, 200, head.Code)
	assert.Empty(t, head.Body.String())
	assert.Equal(t, etag, head.Header().Get("ETag"))
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "PATCH"} {
		w = ask(m, method, "/.well-known/oauth-authorization-server")
		assert.Equal(t, 405, w.Code)
		assert.Equal(t, "GET, HEAD", w.Header().Get("Allow"))
	}
}

// The path of an issuer is inserted into that of RFC 8414, and stands before
// that of OpenID Connect. Nothing is served elsewhere.
func TestMetadataPaths(t *testing.T) {
	b := newBench(t, keys.ES256)
	const server, openid = "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"
	tests := []struct {
		issuer string
		openID bool
		paths  []string
		jwks   string
	}{
		{"https://app.example", false, []string{server}, "https://app.example/.well-known/jwks.json"},
		{"https://app.example", true, []string{server, openid}, "https://app.example/.well-known/jwks.json"},
		{"https://app.example/", true, []string{server, openid}, "https://app.example/.well-known/jwks.json"},
		{"https://app.example:8443/a/b", true, []string{server + "/a/b", "/a/b" + openid}, "https://app.example:8443/a/b/.well-known/jwks.json"},
		{"https://app.example/a/", false, []string{server + "/a"}, "https://app.example/a/.well-known/jwks.json"},
		{"http://localhost:8080", false, []string{server}, "http://localhost:8080/.well-known/jwks.json"},
	}
	for _, tt := range tests {
		m := newMetadata(t, token.MetadataConfig{Issuer: tt.issuer, Ring: b.ring, OpenID: tt.openID, Now: b.clock})
		require.Equal(t, tt.paths, m.Paths())
		mux := http.NewServeMux()
		for _, path := range m.Paths() {
			mux.Handle(path, m)
		}
		for _, path := range tt.paths {
			w := ask(mux, "GET", path)
			require.Equal(t, 200, w.Code, path)
			var says map[string]any
			require.NoError(t, json.Unmarshal(w.Body.Bytes(), &says))
			assert.Equal(t, tt.issuer, says["issuer"], "exactly as the tokens have it")
			assert.Equal(t, tt.jwks, says["jwks_uri"])
			assert.NotContains(t, says, "introspection_endpoint")
			assert.NotContains(t, says, "introspection_endpoint_auth_methods_supported")
		}
		for _, path := range []string{"/", server + "/other", "/other" + openid, server + "/a/b/", "/.well-known/jwks.json"} {
			assert.Equal(t, 404, ask(m, "GET", path).Code, path)
			assert.Equal(t, 404, ask(m, "POST", path).Code, path)
		}
		if !tt.openID {
			assert.Equal(t, 404, ask(m, "GET", openid).Code, "only when asked for")
		}
	}
}

// The algorithms are those of the keys that the key set lists at the time: also
// of one that doesn't sign yet, so that a library that reads them once accepts
// its tokens later.
func TestMetadataFollowsRotation(t *testing.T) {
	b := newBench(t, keys.ES256)
	m := newMetadata(t, token.MetadataConfig{Issuer: "https://app.example", Ring: b.ring, Now: b.clock})
	algorithms := func() (says struct {
		Algorithms []string `json:"id_token_signing_alg_values_supported"`
	}) {
		w := ask(m, "GET", m.Paths()[0])
		require.Equal(t, 200, w.Code)
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &says))
		return says
	}
	require.Equal(t, []string{"ES256"}, algorithms().Algorithms)
	etag := ask(m, "GET", m.Paths()[0]).Header().Get("ETag")

	hour := func(h int) time.Time { return start.Add(time.Duration(h) * time.Hour) }
	old, err := keys.Generate(keys.ES256, keys.Dates{SignUntil: hour(2), VerifyUntil: hour(3)})
	require.NoError(t, err)
	next, err := keys.Generate(keys.EdDSA, keys.Dates{PublishAt: hour(1), SignFrom: hour(2)})
	require.NoError(t, err)
	another, err := keys.Generate(keys.ES256, keys.Dates{PublishAt: hour(9), SignFrom: hour(9)})
	require.NoError(t, err)
	hidden, err := keys.Generate(keys.HS256, keys.Dates{})
	require.NoError(t, err)
	require.NoError(t, b.ring.Replace(old, another, next, hidden))
	for at, want := range [][]string{{"ES256"}, {"ES256", "EdDSA"}, {"ES256", "EdDSA"}, {"EdDSA"}} {
		b.now = hour(at)
		require.Equal(t, want, algorithms().Algorithms, "after %d hours", at)
	}
	require.NotEqual(t, etag, ask(m, "GET", m.Paths()[0]).Header().Get("ETag"))
}

// Nobody keeps a document that says that there are no algorithms.
func TestMetadataWithoutKeys(t *testing.T) {
	b := newBench(t, keys.ES256)
	m := newMetadata(t, token.MetadataConfig{Issuer: "https://app.example", Ring: b.ring, Now: b.clock})
	require.NoError(t, b.ring.Replace())
	w := ask(m, "GET", m.Paths()[0])
	require.Equal(t, 503, w.Code)
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))

	later, err := keys.Generate(keys.ES256, keys.Dates{PublishAt: start.Add(time.Hour), SignFrom: start.Add(time.Hour)})
	require.NoError(t, err)
	require.NoError(t, b.ring.Replace(later))
	w = ask(m, "GET", m.Paths()[0])
	require.Equal(t, 200, w.Code)
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	require.Contains(t, w.Body.String(), `"id_token_signing_alg_values_supported":[]`)
}

func TestNewMetadataReportsEveryMistake(t *testing.T) {
	m, err := token.NewMetadata(token.MetadataConfig{JWKS: "jwks", Introspection: "http://app.example/introspect"})
	require.Nil(t, m)
	for _, field := range []string{"Ring", "Issuer", "JWKS", "Introspection"} {
		require.ErrorContains(t, err, field)
	}
	b := newBench(t, keys.ES256)
	for _, issuer := range []string{
		"cloakroom", "app.example", "/app", "http://app.example", "ftp://app.example", "https://", "https://:80",
		"https://app.example?a=b", "https://app.example?", "https://app.example#f", "https://u:secret@app.example",
		"https://app.example:0", "https://app.example/a//b", "https://app.example/a/../b", "https://app.example/./a",
		"https://app.example/a%2Fb", "https://app.example/{a}", "https://app.example/a b", "https://app.example//",
	} {
		_, err := token.NewMetadata(token.MetadataConfig{Issuer: issuer, Ring: b.ring})
		require.ErrorContains(t, err, "MetadataConfig.Issuer", issuer)
		require.NotContains(t, err.Error(), "secret")
	}
}
