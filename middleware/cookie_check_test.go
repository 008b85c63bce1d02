package middleware_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/cloakroom-go/cloakroom/middleware"
)

// What a browser would drop or ignore without a word is refused, with what to
// write in its place.
func TestCookiesThatBrowsersDrop(t *testing.T) {
	w := newWorld(t)
	_, stored := w.Carriers(t)
	for _, tt := range []struct {
		name   string
		cookie middleware.Cookie
		want   string // "" for none
	}{
		{"path without a slash", middleware.Cookie{Name: "sid", Path: "app"}, `Cookie.Path "app" does not begin with a slash: write "/app"`},
		{"path without a slash, advised", middleware.Cookie{Name: "sid", Path: "/app"}, ""},
		{"path in other letters", middleware.Cookie{Name: "sid", Path: "/größe"}, `Cookie.Path "/größe" has a character that a cookie can't carry`},
		{"long name", middleware.Cookie{Name: strings.Repeat("x", 257)}, "Cookie.Name is 257 bytes long: use at most 256"},
		{"prefix in other letters", middleware.Cookie{Name: "__secure-sid"}, `begins as browsers' prefix __Secure- does: write it in that case`},
		{"HTTP with a prefix", middleware.Cookie{InsecureAllowHTTP: true, Name: "__Secure-sid"}, "set Cookie.Name to sid"},
		{"domain of one label", middleware.Cookie{Name: "sid", Domain: "com"}, `Cookie.Domain "com" has one label`},
		{"localhost", middleware.Cookie{Name: "sid", Domain: "localhost"}, `Cookie.Domain "localhost" has one label`},
		{"domain with a dot in front", middleware.Cookie{Name: "sid", Domain: ".com"}, `Cookie.Domain ".com" has one label`},
		{"domain with a dot behind", middleware.Cookie{Name: "sid", Domain: "shop.example."}, `Cookie.Domain "shop.example." is not a domain`},
		{"domain with a port", middleware.Cookie{Name: "sid", Domain: "shop.example:8443"}, `Cookie.Domain "shop.example:8443" is not a domain`},
		{"an origin", middleware.Cookie{Name: "sid", Domain: "https://shop.example"}, `Cookie.Domain "https://shop.example" is not a domain`},
		{"an address", middleware.Cookie{Name: "sid", Domain: "192.0.2.1"}, `Cookie.Domain "192.0.2.1" is an address`},
		{"an IPv6 address", middleware.Cookie{Name: "sid", Domain: "[::1]"}, `Cookie.Domain "[::1]" is an address`},
		{"domain", middleware.Cookie{Name: "sid", Domain: "shop.example"}, ""},
		{"domain, as some write it", middleware.Cookie{Name: "sid", Domain: ".shop.example"}, ""},
		{"the default name with a path", middleware.Cookie{Path: "/app"}, "set Cookie.Name to __Secure-session, or leave the path out"},
		{"the default name with a path, advised", middleware.Cookie{Path: "/app", Name: "__Secure-session"}, ""},
		{"a __Host- name with a domain", middleware.Cookie{Domain: "shop.example", Name: "__Host-shop"}, "set Cookie.Name to __Secure-shop, or leave the domain out"},
		{"HTTP", middleware.Cookie{InsecureAllowHTTP: true}, "set Cookie.Name to session"},
		{"HTTP, advised", middleware.Cookie{InsecureAllowHTTP: true, Name: "session"}, ""},
		{"HTTP with a path", middleware.Cookie{InsecureAllowHTTP: true, Path: "/app"}, "set Cookie.Name to session, or leave the path out"},
	} {
		_, err := middleware.New(middleware.Config{Carrier: stored, Cookie: tt.cookie})
		if tt.want == "" {
			assert.NoError(t, err, tt.name)
			continue
		}
		assert.ErrorContains(t, err, tt.want, tt.name)
		for line := range strings.Lines(err.Error()) {
			assert.True(t, strings.HasPrefix(line, "middleware: Cookie."), line)
		}
	}
}
