package clientauth_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/clientauth"
)

// secretOf returns 32 bytes in base64 that need encoding in a form.
func secretOf(first byte) string {
	raw := make([]byte, 32)
	for i := range raw {
		raw[i] = first + byte(i*7)
	}
	raw[3], raw[4], raw[5] = 0xfb, 0xff, 0xbf
	return base64.StdEncoding.EncodeToString(raw)
}

func basic(id, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))
}

func TestCheck(t *testing.T) {
	old, secret, other := secretOf(1), secretOf(2), secretOf(3)
	require.Contains(t, secret, "+")
	clients, err := clientauth.New(
		clientauth.Client{ID: "orders", Secrets: []string{old, secret}},
		clientauth.Client{ID: "stock-2.eu", Secrets: []string{other}})
	require.NoError(t, err)
	encoded := url.QueryEscape(secret)
	for _, tt := range []struct {
		name   string
		header []string
		want   string // the client, or "" if it is refused
	}{
		{"encoded as RFC 6749 asks", []string{basic("orders", encoded)}, "orders"},
		{"as many programs send it", []string{basic("orders", secret)}, "orders"},
		{"the secret of before a change", []string{basic("orders", old)}, "orders"},
		{"another client", []string{basic("stock-2.eu", other)}, "stock-2.eu"},
		{"an ID in another encoding", []string{basic("stock%2D2%2Eeu", other)}, "stock-2.eu"},
		{"the scheme in lower case", []string{strings.Replace(basic("orders", secret), "Basic", "basic", 1)}, "orders"},
		{"nothing", nil, ""},
		{"empty", []string{""}, ""},
		{"the secret of another", []string{basic("orders", other)}, ""},
		{"an unknown ID", []string{basic("nobody", secret)}, ""},
		{"the ID in other letters", []string{basic("Orders", secret)}, ""},
		{"no ID", []string{basic("", secret)}, ""},
		{"no secret", []string{basic("orders", "")}, ""},
		{"a part of the secret", []string{basic("orders", secret[:40])}, ""},
		{"more than the secret", []string{basic("orders", secret+"x")}, ""},
		{"encoded twice", []string{basic("orders", url.QueryEscape(encoded))}, ""},
		{"the digest of no secret", []string{basic("nobody", string(make([]byte, 32)))}, ""},
		{"two headers", []string{basic("orders", secret), basic("orders", secret)}, ""},
		{"two headers, one of another scheme", []string{"Bearer x", basic("orders", secret)}, ""},
		{"a bearer token", []string{"Bearer " + secret}, ""},
		{"not base64", []string{"Basic orders:" + secret}, ""},
		{"no colon", []string{"Basic " + base64.StdEncoding.EncodeToString([]byte("orders"))}, ""},
		{"a line break", []string{basic("orders", secret+"\r\nX-Injected: 1")}, ""},
		{"a header of 4 KiB", []string{basic("orders", strings.Repeat("x", 4096))}, ""},
		{"bad escapes", []string{basic("orders%zz", "%zz")}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/introspect", nil)
			r.Header["Authorization"] = tt.header
			proof, err := clients.Check(r)
			require.Equal(t, tt.want, proof.ID)
			require.Equal(t, tt.want == "", err != nil)
			if err != nil {
				require.NotContains(t, err.Error(), secret[:8])
				require.NotContains(t, err.Error(), "orders")
			}
			_, err = new(clientauth.Clients).Check(r)
			require.Error(t, err, "the zero Clients")
		})
	}
}

func TestAgrees(t *testing.T) {
	old, secret := secretOf(1), secretOf(2)
	clients, err := clientauth.New(clientauth.Client{ID: "orders", Secrets: []string{old, secret}})
	require.NoError(t, err)
	r := httptest.NewRequest(http.MethodPost, "/introspect", nil)
	r.SetBasicAuth("orders", secret)
	proof, err := clients.Check(r)
	require.NoError(t, err)
	for form, want := range map[string]bool{
		"":                 true,
		"client_id=orders": true,
		"client_id=orders&client_secret=" + url.QueryEscape(secret): true,
		"client_secret=" + url.QueryEscape(secret):                  true,
		"client_id=stock":                   false,
		"client_id=":                        false,
		"client_id=orders&client_id=orders": false,
		"client_id=orders&client_secret=" + url.QueryEscape(old): false,
		"client_secret=": false,
		"client_secret=x&client_secret=" + url.QueryEscape(secret):                   false,
		"client_id=orders&client_secret=" + url.QueryEscape(strings.ToLower(secret)): false,
	} {
		values, err := url.ParseQuery(form)
		require.NoError(t, err)
		require.Equal(t, want, proof.Agrees(values), form)
	}
}

func TestNewRefuses(t *testing.T) {
	good := secretOf(1)
	raw, err := base64.StdEncoding.DecodeString(good)
	require.NoError(t, err)
	for _, tt := range []struct{ id, secret, want string }{
		{"orders", good, ""},
		{"Orders_2.~-", base64.RawURLEncoding.EncodeToString(raw), ""},
		{"orders", hex.EncodeToString(raw), ""},
		{"", good, "letters, digits"},
		{"a:b", good, "letters, digits"},
		{"a b", good, "letters, digits"},
		{"é", good, "letters, digits"},
		{strings.Repeat("a", 257), good, "letters, digits"},
		{"orders", "", "32 random bytes"},
		{"orders", strings.Repeat("changeme", 6), "32 random bytes"},
		{"orders", strings.Repeat("A", 43), "32 random bytes"},
		{"orders", good[:40], "32 random bytes"},
		{"orders", good + "\n", "32 random bytes"},
		{"orders", "correct horse battery staple, and a long text at that", "32 random bytes"},
	} {
		_, err := clientauth.New(clientauth.Client{ID: tt.id, Secrets: []string{tt.secret}})
		if tt.want == "" {
			require.NoError(t, err, tt.id)
			continue
		}
		require.ErrorContains(t, err, tt.want)
		if len(tt.secret) > 8 {
			require.NotContains(t, err.Error(), tt.secret[:8])
		}
	}
	_, err = clientauth.New(clientauth.Client{ID: "a"}, clientauth.Client{ID: "b", Secrets: []string{"x"}})
	require.ErrorContains(t, err, `client "a" has no secret`)
	require.ErrorContains(t, err, `secret 1 of client "b"`)
	two := clientauth.Client{ID: "a", Secrets: []string{good}}
	_, err = clientauth.New(two, two)
	require.EqualError(t, err, `two clients have the ID "a"`)
}

func TestGuard(t *testing.T) {
	secret := secretOf(1)
	clients, err := clientauth.New(clientauth.Client{ID: "orders", Secrets: []string{secret}})
	require.NoError(t, err)
	var refused []error
	guarded := clients.Guard(http.NotFoundHandler(), func(_ context.Context, err error) { refused = append(refused, err) })
	for sent, want := range map[string]int{secret: http.StatusNotFound, "x": http.StatusUnauthorized} {
		r := httptest.NewRequest(http.MethodGet, "/ended", nil)
		r.SetBasicAuth("orders", sent)
		w := httptest.NewRecorder()
		guarded.ServeHTTP(w, r)
		require.Equal(t, want, w.Code)
		require.Equal(t, want == http.StatusUnauthorized, w.Header().Get("WWW-Authenticate") == clientauth.Challenge)
	}
	require.Len(t, refused, 1)
}
