package middleware_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/cloakroom-go/cloakroom/middleware"
	"github.com/stretchr/testify/assert"
)

// elsewhere leads to another host in some browser, or is no path at all.
var elsewhere = []string{
	"//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "/\t/evil.example", "/\n/evil.example",
	"/\r\nX: y", "https://evil.example", "https:evil.example", "javascript:alert(1)", "evil.example", "", "?x",
	"/ /evil.example", "/a\x00b", "/a\\b", "/a\x7f",
	" //evil.example", "/%2F/evil.example", "/%zz", "/" + strings.Repeat("x", 4096),
}

func TestRedirectCarriesThePath(t *testing.T) {
	tests := []struct {
		name, login, target, want string
	}{
		{"path", "/login", "/account", "/login?next=%2Faccount"},
		{"path and query", "/login", "/account?a=1&b=%26", "/login?next=%2Faccount%3Fa%3D1%26b%3D%2526"},
		{"login with a query", "/login?lang=de", "/account", "/login?lang=de&next=%2Faccount"},
		{"login with a fragment", "/login#form", "/account", "/login?next=%2Faccount#form"},
		{"login elsewhere", "https://sso.example/login", "/account", "https://sso.example/login?next=%2Faccount"},
		{"a request to a proxy", "/login", "http://app.example/account", "/login?next=%2Faccount"},
		{"another host", "/login", "//evil.example/x", "/login"},
		{"a backslash", "/login", "/%5Cevil.example", "/login?next=%2F%255Cevil.example"},
		{"too long", "/login", "/" + strings.Repeat("x", 4096), "/login"},
	}
	m := newWorld(t).Middleware(t, "stateless")
	for _, tt := range tests {
		guard := middleware.RequireSubject(middleware.RequireConfig{LoginURL: tt.login, ReturnParam: "next"})
		h := m.Handler(http.StripPrefix("", guard(http.HandlerFunc(show))))
		got := serve(h, from("GET", tt.target, "Sec-Fetch-Mode: navigate"))
		assert.Equal(t, http.StatusSeeOther, got.Status, tt.name)
		assert.Equal(t, []string{tt.want}, got.Header["Location"], tt.name)
	}
	require := middleware.RequireSubject(middleware.RequireConfig{LoginURL: "/login", ReturnParam: "next"})
	mounted := http.StripPrefix("/app", require(http.HandlerFunc(show)))
	got := serve(m.Handler(mounted), from("GET", "/app/account", "Sec-Fetch-Mode: navigate"))
	assert.Equal(t, "/login?next=%2Fapp%2Faccount", got.Header.Get("Location"), "what the browser has asked for")
	byHand := from("GET", "/account?a=1", "Sec-Fetch-Mode: navigate")
	byHand.RequestURI = ""
	guard := middleware.RequireSubject(middleware.RequireConfig{LoginURL: "/login", ReturnParam: "next"})
	got = serve(m.Handler(guard(http.HandlerFunc(show))), byHand)
	assert.Equal(t, "/login?next=%2Faccount%3Fa%3D1", got.Header.Get("Location"), "a request that no server has read")
}

func TestReturnPath(t *testing.T) {
	for _, path := range []string{"/", "/account", "/a/b?c=d&e=%2F%2F", "/a?u=https://evil.example", "/é"} {
		r := httptest.NewRequest(http.MethodGet, "/login?next="+url.QueryEscape(path), nil)
		assert.Equal(t, path, middleware.ReturnPath(r, "next"))
	}
	for _, path := range elsewhere {
		r := httptest.NewRequest(http.MethodPost, "/login", strings.NewReader("next="+url.QueryEscape(path)))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		assert.Equal(t, "/", middleware.ReturnPath(r, "next"), "%q", path)
	}
}

func TestRequireSubjectWithoutURL(t *testing.T) {
	assert.PanicsWithValue(t, `middleware: RequireConfig.LoginURL "/%zz" is not a URL`, func() {
		middleware.RequireSubject(middleware.RequireConfig{LoginURL: "/%zz"})
	})
	guard := middleware.RequireSubject(middleware.RequireConfig{ReturnParam: "next"})
	h := newWorld(t).Middleware(t, "stateless").Handler(guard(http.HandlerFunc(show)))
	got := serve(h, from("GET", "/account", "Sec-Fetch-Mode: navigate"))
	assert.Equal(t, http.StatusUnauthorized, got.Status, "there is nowhere to redirect to")
}
