package middleware_test

import (
	"crypto/tls"
	"net/http"
	"testing"

	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPlainHTTPIsWarnedOf(t *testing.T) {
	tests := []struct {
		name   string
		url    string
		fields []string
		warned bool
	}{
		{"a form", "http://app.example/", []string{"Origin: http://app.example"}, true},
		{"a port", "http://app.example:8080/", []string{"Origin: http://app.example:8080"}, true},
		{"an address", "http://192.0.2.1:8080/", []string{"Origin: http://192.0.2.1:8080"}, true},
		{"a link", "http://app.example/", []string{"Referer: http://app.example/start"}, true},
		{"a proxy that says the same", "http://app.example/", []string{"Origin: http://app.example", "X-Forwarded-Proto: http"}, true},
		{"no browser, or a proxy that says nothing", "http://app.example/", nil, false},
		{"TLS ends at a proxy that says nothing", "http://app.example/", []string{"Origin: https://app.example", "Sec-Fetch-Site: same-origin"}, false},
		{"X-Forwarded-Proto", "http://app.example/", []string{"Origin: http://app.example", "X-Forwarded-Proto: https"}, false},
		{"Forwarded", "http://app.example/", []string{"Origin: http://app.example", "Forwarded: for=192.0.2.1;proto=https"}, false},
		{"a page over HTTP, and a form over HTTPS", "http://app.example/", []string{"Referer: http://app.example/", "Sec-Fetch-Site: cross-site"}, false},
		{"another host's page", "http://app.example/", []string{"Referer: http://other.example/"}, false},
		{"a longer name", "http://app.example/", []string{"Referer: http://app.example.org/"}, false},
		{"localhost", "http://localhost:8080/", []string{"Origin: http://localhost:8080"}, false},
		{"below localhost", "http://app.localhost/", []string{"Origin: http://app.localhost"}, false},
		{"IPv4 loopback", "http://127.0.0.1:8080/", []string{"Origin: http://127.0.0.1:8080"}, false},
		{"IPv6 loopback", "http://[::1]:8080/", []string{"Origin: http://[::1]:8080"}, false},
	}
	eachMode(t, func(t *testing.T, mode string, w *world) {
		for _, tt := range tests {
			var e events
			h := w.Middleware(t, mode, watched(&e)).Handler(aliceLogsIn)
			for range 2 {
				require.Equal(t, http.StatusOK, serve(h, from("GET", tt.url, tt.fields...)).Status)
			}
			want := []string{"created", "created"}
			if tt.warned {
				want = []string{"created", "cookie_dropped", "created"}
				assert.ErrorContains(t, e.All()[1].Err, "plain HTTP", tt.name)
				assert.ErrorContains(t, e.All()[1].Err, "cookie.insecure_allow_http", tt.name)
				assert.Equal(t, tt.url, "http://"+e.All()[1].Host+"/")
			}
			assert.Equal(t, want, e.Kinds(), tt.name)
		}
	})
}

var aliceLogsIn = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
	_ = session.From(r.Context()).Login("alice")
})

func TestNothingIsWarnedOf(t *testing.T) {
	w := newWorld(t)
	send := func(h http.Handler, change func(*http.Request)) {
		r := from("GET", "http://app.example/", "Origin: http://app.example")
		change(r)
		serve(h, r)
	}
	var e events
	insecure := w.Middleware(t, "opaque", watched(&e), func(c *middleware.Config) {
		c.Cookie.Name, c.Cookie.InsecureAllowHTTP = "session", true
	})
	send(insecure.Handler(aliceLogsIn), func(*http.Request) {})
	overTLS := func(r *http.Request) { r.TLS = &tls.ConnectionState{} }
	send(w.Middleware(t, "opaque", watched(&e)).Handler(aliceLogsIn), overTLS)
	send(w.Middleware(t, "opaque", watched(&e)).Handler(http.HandlerFunc(show)), func(*http.Request) {})
	assert.Equal(t, []string{"created", "created"}, e.Kinds(),
		"not with a cookie for plain HTTP, over TLS, or without a cookie")
}
