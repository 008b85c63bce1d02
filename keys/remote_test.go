package keys_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
)

// issuer is a server of key sets. A test can change its answers.
type issuer struct {
	*httptest.Server
	hits    atomic.Int64
	handler atomic.Pointer[http.HandlerFunc]
	mu      sync.Mutex
	headers []http.Header
}

func newIssuer(t testing.TB, h http.HandlerFunc) *issuer {
	s := new(issuer)
	s.serve(h)
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.hits.Add(1)
		s.mu.Lock()
		s.headers = append(s.headers, r.Header.Clone())
		s.mu.Unlock()
		(*s.handler.Load())(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *issuer) serve(h http.HandlerFunc) { s.handler.Store(&h) }

func (s *issuer) publish(r *keys.Ring) { s.serve(r.Handler().ServeHTTP) }

func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

func newRemote(t testing.TB, s *issuer, edit func(*keys.RemoteConfig)) *keys.Remote {
	t.Helper()
	cfg := keys.RemoteConfig{URL: s.URL + "/jwks.json", Transport: s.Client().Transport}
	if edit != nil {
		edit(&cfg)
	}
	r, err := keys.NewRemote(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

func TestRemoteConfig(t *testing.T) {
	tests := []struct {
		name string
		in   keys.RemoteConfig
		want []string
	}{
		{"zero", keys.RemoteConfig{}, []string{"URL is required"}},
		{"http", keys.RemoteConfig{URL: "http://issuer.example/jwks"}, []string{"must be https", "InsecureAllowHTTP lifts this"}},
		{"http, like localhost", keys.RemoteConfig{URL: "http://localhost.example/jwks"}, []string{"must be https"}},
		{"ftp on localhost", keys.RemoteConfig{URL: "ftp://localhost/jwks"}, []string{"must be https"}},
		{"relative", keys.RemoteConfig{URL: "/jwks"}, []string{"must be absolute"}},
		{"user", keys.RemoteConfig{URL: "https://u:p@issuer.example/"}, []string{"without user"}},
		{"fragment", keys.RemoteConfig{URL: "https://issuer.example/#x"}, []string{"fragment"}},
		{"file", keys.RemoteConfig{URL: "file:///etc/passwd", InsecureAllowHTTP: true}, []string{"must be absolute"}},
		{"ftp", keys.RemoteConfig{URL: "ftp://issuer.example/", InsecureAllowHTTP: true}, []string{"must be https"}},
		{"all at once", keys.RemoteConfig{Timeout: -1, MaxAge: time.Second}, []string{"URL is required", "Timeout must", "MaxAge must"}},
		{"RSA algorithm", keys.RemoteConfig{URL: "https://a.example", RSAAlgorithm: keys.ES256}, []string{"RSAAlgorithm must"}},
		{"RSA algorithm none", keys.RemoteConfig{URL: "https://a.example", RSAAlgorithm: "none"}, []string{"RSAAlgorithm must"}},
		{"long timeout", keys.RemoteConfig{URL: "https://a.example", Timeout: time.Hour}, []string{"Timeout must"}},
		{"good", keys.RemoteConfig{URL: "https://a.example"}, nil},
		{"localhost", keys.RemoteConfig{URL: "http://localhost:8080/jwks"}, nil},
		{"IPv4 loopback", keys.RemoteConfig{URL: "http://127.0.0.1:8080/jwks"}, nil},
		{"IPv6 loopback", keys.RemoteConfig{URL: "http://[::1]:8080/jwks"}, nil},
		{"good http", keys.RemoteConfig{URL: "http://a.example", InsecureAllowHTTP: true}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := keys.NewRemote(tt.in)
			require.Equal(t, tt.want == nil, err == nil)
			require.Equal(t, tt.want == nil, r != nil)
			for _, want := range tt.want {
				require.ErrorContains(t, err, want)
			}
			if r != nil {
				require.NoError(t, r.Close())
			}
		})
	}
}

func TestRemoteKey(t *testing.T) {
	k := generate(t, keyset.ES256)
	s := newIssuer(t, newRing(t, k, generate(t, keyset.HS256)).Handler().ServeHTTP)
	r := newRemote(t, s, nil)
	for range 5 {
		got, err := r.Key(t.Context(), k.ID(), t0)
		require.NoError(t, err)
		require.Equal(t, k.ID(), got.ID())
	}
	require.EqualValues(t, 1, s.hits.Load(), "cached")
	s.mu.Lock()
	first := s.headers[0]
	s.mu.Unlock()
	require.Empty(t, first.Get("Cookie"))
	require.Equal(t, "no-cache", first.Get("Cache-Control"))
	require.Contains(t, first.Get("Accept"), "application/jwk-set+json")

	for _, kid := range []string{"", "a\nb", "\x00", "\x7f", "\xff", "\u202e", "\u2028", strings.Repeat("k", 257)} {
		_, err := r.Key(t.Context(), kid, t0)
		require.ErrorIs(t, err, keyset.ErrUnknownKey)
	}
	require.EqualValues(t, 1, s.hits.Load(), "no fetch for what can't be a key ID")
}

// A49: tokens with invented key IDs.
func TestRemoteBoundsFetches(t *testing.T) {
	a, b := generate(t, keyset.ES256), generate(t, keyset.ES256)
	s := newIssuer(t, newRing(t, a).Handler().ServeHTTP)
	r := newRemote(t, s, nil)
	_, err := r.Key(t.Context(), a.ID(), t0)
	require.NoError(t, err)
	for i := range 1000 {
		_, err := r.Key(t.Context(), fmt.Sprint("invented", i), t0.Add(time.Duration(i%2)*time.Millisecond))
		require.ErrorIs(t, err, keyset.ErrUnknownKey)
	}
	require.EqualValues(t, 2, s.hits.Load(), "the burst")

	s.publish(newRing(t, a, b))
	_, err = r.Key(t.Context(), b.ID(), t0.Add(29*time.Second))
	require.ErrorIs(t, err, keyset.ErrUnknownKey, "too early")
	_, err = r.Key(t.Context(), b.ID(), t0.Add(31*time.Second))
	require.NoError(t, err)
	require.EqualValues(t, 3, s.hits.Load())
	_, err = r.Key(t.Context(), a.ID(), t0.Add(31*time.Second))
	require.NoError(t, err, "known keys are served all the time")
	for i := range 100 { // an hour of attack
		_, err := r.Key(t.Context(), fmt.Sprint("invented", i), t0.Add(time.Minute+time.Duration(i)*36*time.Second))
		require.ErrorIs(t, err, keyset.ErrUnknownKey)
	}
	require.LessOrEqual(t, s.hits.Load(), int64(3+1+120))
}

func TestRemoteRefreshes(t *testing.T) {
	a, b := generate(t, keyset.ES256), generate(t, keyset.ES256)
	s := newIssuer(t, newRing(t, a, b).Handler().ServeHTTP) // max-age=600
	r := newRemote(t, s, nil)
	_, err := r.Key(t.Context(), a.ID(), t0)
	require.NoError(t, err)
	s.publish(newRing(t, b)) // a was revoked
	_, err = r.Key(t.Context(), a.ID(), t0.Add(10*time.Minute-1))
	require.NoError(t, err)
	require.EqualValues(t, 1, s.hits.Load())
	// The request that finds the set old is served from it; the next ones see the
	// new set.
	_, err = r.Key(t.Context(), a.ID(), t0.Add(10*time.Minute))
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		_, err := r.Key(t.Context(), a.ID(), t0.Add(10*time.Minute))
		return errors.Is(err, keyset.ErrUnknownKey)
	}, 10*time.Second, time.Millisecond)
	_, err = r.Key(t.Context(), b.ID(), t0.Add(10*time.Minute))
	require.NoError(t, err)
	require.LessOrEqual(t, s.hits.Load(), int64(3))
}

// A set without keys says that no key is trusted. A set whose keys are all
// unusable here says nothing: the old set stays in force.
func TestRemoteWithoutKeys(t *testing.T) {
	k := generate(t, keyset.ES256)
	s := newIssuer(t, newRing(t, k).Handler().ServeHTTP)
	r := newRemote(t, s, nil)
	minute := func(n int) time.Time { return t0.Add(time.Duration(n) * time.Minute) }
	_, err := r.Key(t.Context(), k.ID(), minute(0))
	require.NoError(t, err)
	s.serve(answer(200, `{"keys":[{"kty":"EC","crv":"P-384","kid":"a","x":"AAAA","y":"AAAA"}]}`))
	_, err = r.Key(t.Context(), k.ID(), minute(20))
	require.NoError(t, err)
	_, err = r.Key(t.Context(), "a", minute(21))
	require.ErrorIs(t, err, keys.ErrUnavailable)
	require.ErrorContains(t, err, "no key of it can be used to verify")
	s.serve(answer(200, "{ \"keys\": [] }\n"))
	_, err = r.Key(t.Context(), "a", minute(22))
	require.ErrorIs(t, err, keyset.ErrUnknownKey)
	_, err = r.Key(t.Context(), k.ID(), minute(22))
	require.ErrorIs(t, err, keyset.ErrUnknownKey)
}

// A49: answers that must not replace a good set.
func TestRemoteRefusesAnswers(t *testing.T) {
	k := generate(t, keyset.ES256)
	evil := generate(t, keyset.ES256)
	other := newIssuer(t, newRing(t, evil).Handler().ServeHTTP)
	good := get(newRing(t, k).Handler(), nil).Body.String()
	redirect := func(to string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) }
	}
	entry := keyText(t, good)
	tests := []struct {
		name    string
		handler http.HandlerFunc
		want    string
	}{
		{"500", answer(500, good), "answered 500"},
		{"204", answer(204, ""), "answered 204"},
		{"404", answer(404, good), "answered 404"},
		{"not JSON", answer(200, "<html>"), "strict JSON"},
		{"empty", answer(200, ""), "strict JSON"},
		{"truncated", answer(200, good[:len(good)-2]), "strict JSON"},
		{"10 MB", answer(200, good+strings.Repeat(" ", 10<<20)), "larger than 1 MiB"},
		{"private key", answer(200, `{"keys":[`+strings.Replace(entry, `"kty"`, `"d":"AAAA","kty"`, 1)+`]}`), "private or symmetric"},
		{"oct", answer(200, `{"keys":[`+entry+`,{"kty":"oct","kid":"x","k":"AAAA"}]}`), "private or symmetric"},
		{"duplicate kid", answer(200, `{"keys":[`+entry+`,`+entry+`]}`), "kid of another"},
		{"101 keys", answer(200, `{"keys":[`+strings.Repeat(`{},`, 100)+`{}]}`), "more than 100"},
		{"redirect to another host", redirect(other.URL), "another host"},
		{"redirect to http", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://"+r.Host+"/jwks.json", http.StatusFound)
		}, "from https to http"},
		{"redirect in circles", redirect("/jwks.json"), "too many redirects"},
		{"a body that breaks off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, good[:50])
		}, "unexpected EOF"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newIssuer(t, newRing(t, k).Handler().ServeHTTP)
			r := newRemote(t, s, nil)
			_, err := r.Key(t.Context(), k.ID(), t0)
			require.NoError(t, err)
			s.serve(tt.handler)
			for _, kid := range []string{evil.ID(), "x"} {
				_, err = r.Key(t.Context(), kid, t0.Add(time.Minute))
				require.ErrorIs(t, err, keys.ErrUnavailable)
				require.ErrorContains(t, err, tt.want)
			}
			_, err = r.Key(t.Context(), k.ID(), t0.Add(time.Minute))
			require.NoError(t, err, "the old set stays")
		})
	}
	require.Zero(t, other.hits.Load(), "the other host was asked")
}

func TestRemoteFollowsRedirectsOnItsHost(t *testing.T) {
	k := generate(t, keyset.ES256)
	s := newIssuer(t, nil)
	s.serve(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/jwks.json" {
			http.Redirect(w, r, "/moved.json", http.StatusMovedPermanently)
			return
		}
		newRing(t, k).Handler().ServeHTTP(w, r)
	})
	_, err := newRemote(t, s, nil).Key(t.Context(), k.ID(), t0)
	require.NoError(t, err)
}

// All callers share one fetch. A caller that gives up does not end it for the
// others.
func TestRemoteSharesAFetch(t *testing.T) {
	k := generate(t, keyset.ES256)
	release := make(chan struct{})
	ring := newRing(t, k)
	s := newIssuer(t, func(w http.ResponseWriter, r *http.Request) {
		<-release
		ring.Handler().ServeHTTP(w, r)
	})
	r := newRemote(t, s, nil)
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := r.Key(impatient, k.ID(), t0)
	require.ErrorIs(t, err, keys.ErrUnavailable)
	require.ErrorIs(t, err, context.Canceled)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := r.Key(context.Background(), k.ID(), t0); err != nil {
				t.Error(err)
			}
		})
	}
	close(release)
	wg.Wait()
	require.EqualValues(t, 1, s.hits.Load())
}

func TestRemoteClose(t *testing.T) {
	release := make(chan struct{})
	started := make(chan struct{})
	s := newIssuer(t, func(http.ResponseWriter, *http.Request) { close(started); <-release })
	defer close(release)
	r := newRemote(t, s, nil)
	got := make(chan error)
	go func() { _, err := r.Key(context.Background(), "k", t0); got <- err }()
	<-started
	require.NoError(t, r.Close())
	require.ErrorIs(t, <-got, keys.ErrUnavailable)
	_, err := r.Key(t.Context(), "k", t0.Add(time.Hour))
	require.ErrorIs(t, err, keys.ErrUnavailable)
	require.NoError(t, r.Close(), "twice")
}

func TestRemoteHonoursCacheControl(t *testing.T) {
	k := generate(t, keyset.ES256)
	body := get(newRing(t, k).Handler(), nil).Body.String()
	tests := []struct {
		header string
		fresh  time.Duration
	}{
		{"max-age=600; age=100", 500 * time.Second}, {"max-age=600; age=600", time.Minute},
		{"max-age=600; age=-5", 10 * time.Minute}, {"max-age=600; age=x", 10 * time.Minute}, {"; age=300", 5 * time.Minute},
		{"", 10 * time.Minute}, {"max-age=300", 5 * time.Minute}, {"public, MAX-AGE=120", 2 * time.Minute},
		{"max-age=0", time.Minute}, {"no-store", time.Minute}, {"max-age=600, no-cache", time.Minute},
		{"max-age=999999", time.Hour}, {"max-age=x", 10 * time.Minute}, {"max-age=-1", 10 * time.Minute},
		{`max-age="180"`, 3 * time.Minute}, {"max-age=99999999999999999999", 10 * time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.header, func(t *testing.T) {
			s := newIssuer(t, func(w http.ResponseWriter, _ *http.Request) {
				control, age, _ := strings.Cut(tt.header, "; age=")
				w.Header().Set("Cache-Control", control)
				w.Header().Set("Age", age)
				fmt.Fprint(w, body)
			})
			r := newRemote(t, s, nil)
			for _, now := range []time.Time{t0, t0.Add(tt.fresh - 1)} {
				_, err := r.Key(t.Context(), k.ID(), now)
				require.NoError(t, err)
				require.EqualValues(t, 1, s.hits.Load())
			}
			_, err := r.Key(t.Context(), k.ID(), t0.Add(tt.fresh))
			require.NoError(t, err)
			require.Eventually(t, func() bool { return s.hits.Load() == 2 }, 10*time.Second, time.Millisecond)
		})
	}
}
