package token_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/cloakroom-go/cloakroom/keys"
)

// Each side looks in one place for its credential, and never in two.
func TestAttackTwoCredentials(t *testing.T) {
	settings := newSettings(t, keys.ES256, keys.Direct, "")
	app, s := settings[1], settings[2]
	alice := app.withClaims(app.claims.with("sub", `"alice"`).String())
	bob := s.withClaims(s.claims.with("sub", `"bob"`).String())
	both := func(change func(r *http.Request)) *http.Request {
		r := httptest.NewRequest(http.MethodGet, "/?access_token="+bob+"&token="+bob, nil)
		r.Header["Cookie"] = []string{"__Host-session=" + alice}
		r.Header["Authorization"] = []string{"Bearer " + bob}
		change(r)
		return r
	}
	site := app.handler
	same := func(*http.Request) {}
	assert.Contains(t, serve(site, both(same)).Body, `subject "alice"`)
	assert.Contains(t, serve(site, both(func(r *http.Request) { r.Header.Del("Cookie") })).Body, `subject ""`)
	assert.Contains(t, serve(s.handler, both(same)).Body, `subject "bob"`)
	for name, change := range map[string]func(r *http.Request){
		"no header": func(r *http.Request) { r.Header.Del("Authorization") },
		"two users": func(r *http.Request) {
			r.Header.Add("Authorization", "Bearer "+s.withClaims(s.claims.with("sub", `"eve"`).String()))
		},
		"twice the same":    func(r *http.Request) { r.Header.Add("Authorization", "Bearer "+bob) },
		"one of no use":     func(r *http.Request) { r.Header.Add("Authorization", "Basic eDp5") },
		"an empty one":      func(r *http.Request) { r.Header["Authorization"] = []string{"", "Bearer " + bob} },
		"two in one":        func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+bob+", Bearer "+bob) },
		"two in one, comma": func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+bob+","+bob) },
		"other scheme":      func(r *http.Request) { r.Header.Set("Authorization", "DPoP "+bob) },
		"no scheme":         func(r *http.Request) { r.Header.Set("Authorization", bob) },
		"tab":               func(r *http.Request) { r.Header.Set("Authorization", "Bearer\t"+bob) },
		"other header": func(r *http.Request) {
			r.Header.Del("Authorization")
			r.Header.Set("Proxy-Authorization", "Bearer "+bob)
		},
		"in the cookie": func(r *http.Request) {
			r.Header.Del("Authorization")
			r.Header["Cookie"] = []string{"__Host-session=" + bob + "; Authorization=Bearer " + bob}
		},
		"in the form": func(r *http.Request) {
			r.Header.Del("Authorization")
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Method, r.Body = http.MethodPost, io.NopCloser(strings.NewReader("access_token="+bob))
		},
	} {
		got := serve(s.handler, both(change))
		assert.Equal(t, http.StatusUnauthorized, got.Status, name)
		assert.NotContains(t, got.Body, "subject", name)
	}
	assert.Contains(t, serve(site, both(func(r *http.Request) {
		r.Header["Cookie"] = []string{"__Host-session=" +
			bob}
	})).Body, `subject ""`)
}
