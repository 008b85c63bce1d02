package weburl_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/weburl"
)

func parse(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	require.NoError(t, err)
	return u
}

func TestHasHost(t *testing.T) {
	for in, want := range map[string]bool{
		"https://a.example": true, "https://a.example:443/x": true, "https://[::1]:65535": true, "https://a.example:": true,
		"https:///x": false, "/x": false, "https://:443": false, "https:a.example": false,
		"https://a.example:0": false, "https://a.example:65536": false, "https://a.example:99999": false,
		"https://a.example:18446744073709551617": false,
	} {
		require.Equal(t, want, weburl.HasHost(parse(t, in)), in)
	}
}

func TestIsPrivate(t *testing.T) {
	for in, want := range map[string]bool{
		"http://localhost:8080/x": true, "http://127.0.0.1": true, "http://[::1]:1": true,
		"https://10.0.0.1": true, "ftp://localhost": false, "http://localhost.example": false,
		"http://127.0.0.1.example": false, "http://10.0.0.1": false, "/localhost": false,
	} {
		require.Equal(t, want, weburl.IsPrivate(parse(t, in), false), in)
	}
}

func TestSameHost(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"https://a.example/x", "https://a.example/y", true},
		{"https://a.example", "https://a.example:443", true},
		{"https://a.example:443", "https://A.Example", true},
		{"http://a.example:80", "http://a.example", true},
		{"http://a.example", "https://a.example:443", true},
		{"https://[::1]:8443", "https://[::1]:8443", true},
		{"https://a.example", "https://b.example", false},
		{"https://a.example", "https://a.example.", false},
		{"https://a.example", "https://a.example:8443", false},
		{"https://a.example:8443", "https://a.example:443", false},
		{"https://a.example", "https://a.example:80", false},
		{"http://a.example:443", "https://a.example:443", false},
		{"https://a.example", "https://a.example@b.example", false},
	} {
		require.Equal(t, tt.want, weburl.SameHost(parse(t, tt.a), parse(t, tt.b)), "%s, %s", tt.a, tt.b)
		require.Equal(t, tt.want, weburl.SameHost(parse(t, tt.b), parse(t, tt.a)), "%s, %s", tt.b, tt.a)
	}
}

func TestShown(t *testing.T) {
	for in, want := range map[string]string{
		"https://a.example:1/x?y": "https://a.example:1/x?y", "": "", "a": "a",
		"https://u:hunter2@a.example":         "https://xxxxx@a.example",
		"https://u:hunter2@hunter2@a.example": "https://xxxxx@a.example",
		"https://hunter2//hunter2@a":          "https://xxxxx@a", "u:hunter2@a": "xxxxx@a",
		"https://u:%hunter2@": "https://xxxxx@",
		"@":                   "xxxxx@",
	} {
		require.Equal(t, want, weburl.Shown(in), in)
	}
}

func TestWrong(t *testing.T) {
	for in, want := range map[string]string{
		"": "is required", "/x": "must be absolute", "https://u@a.example": "without user",
		"https://a.example/#x": "fragment",
		"https://a.example:0":  "port", "http://a.example": "must be https: danger; InsecureAllowHTTP lifts this",
		"ftp://localhost": "must be https", "https://a.example/x?y": "", "http://localhost:1/x": "",
	} {
		got := weburl.Wrong(in, false, "danger")
		require.Equal(t, want == "", got == "", in)
		require.Contains(t, got, want, in)
	}
	require.Empty(t, weburl.Wrong("http://a.example", true, "danger"))
	require.NotEmpty(t, weburl.Wrong("ftp://a.example", true, "danger"))
}

// What is fetched is bounded, and errors keep the query for themselves.
func TestFetch(t *testing.T) {
	answers := map[string]func(w http.ResponseWriter){
		"/good": func(w http.ResponseWriter) { w.Header().Set("X", "y"); fmt.Fprint(w, "body") },
		"/full": func(w http.ResponseWriter) { w.Write(make([]byte, 1<<20)) },
		"/huge": func(w http.ResponseWriter) { w.Write(make([]byte, 1<<20+1)) },
		"/gone": func(w http.ResponseWriter) { w.WriteHeader(http.StatusGone) },
		"/lead": func(w http.ResponseWriter) {
			w.Header().Set("Location", "https://a.example/?secret")
			w.WriteHeader(http.StatusFound)
		},
	}
	h := func(w http.ResponseWriter, r *http.Request) { answers[r.URL.Path](w) }
	server := httptest.NewServer(http.HandlerFunc(h))
	defer server.Close()
	client := weburl.Client(nil)
	defer client.CloseIdleConnections()
	fetch := func(path string) (string, http.Header, error) {
		req, err := http.NewRequest(http.MethodGet, server.URL+path+"?secret", nil)
		require.NoError(t, err)
		body, header, err := weburl.Fetch(client, req, 1<<20)
		return string(body), header, err
	}
	body, header, err := fetch("/good")
	require.NoError(t, err)
	require.Equal(t, "body y", body+" "+header.Get("X"))
	body, _, err = fetch("/full")
	require.NoError(t, err)
	require.Len(t, body, 1<<20)
	for path, want := range map[string]string{
		"/huge": "the answer is larger than 1 MiB", "/gone": "the server answered 410", "/lead": "redirect to another host",
	} {
		_, _, err := fetch(path)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "secret")
	}
	server.Close()
	_, _, err = fetch("/good")
	require.Error(t, err)
	require.NotContains(t, err.Error(), "secret")
}
