package jwkscheck

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
)

// Each fetch has a connection of its own, or one instance would answer all.
func TestJWKSConnections(t *testing.T) {
	s := newStand(t)
	addresses := make(chan string, 10)
	inner := s.instance()
	s.look(startServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		addresses <- r.RemoteAddr
		inner.ServeHTTP(w, r)
	})))
	close(addresses)
	seen := make(map[string]bool)
	for a := range addresses {
		seen[a] = true
	}
	require.Len(t, seen, 5, "four polls and a conditional one")
}

// The clock of the server against that of this machine, which can't be made up.
func TestJWKSDate(t *testing.T) {
	const long = 24 * time.Hour
	for _, tt := range []struct {
		name     string
		headers  func(now time.Time) []string
		severity string
		text     string
	}{
		{"same", func(now time.Time) []string { return []string{"Date: " + now.UTC().Format(http.TimeFormat)} }, tool.OK, "the clocks differ by at most"},
		{"ahead", func(now time.Time) []string { return []string{"Date: " + now.Add(long).UTC().Format(http.TimeFormat)} }, tool.Problem, "ahead of this one: one of them is wrong, and clock_skew of the policy is 1m"},
		{"behind", func(now time.Time) []string { return []string{"Date: " + now.Add(-long).UTC().Format(http.TimeFormat)} }, tool.Problem, "behind this one"},
		{"old answer", func(now time.Time) []string {
			return []string{"Date: " + now.Add(-long).UTC().Format(http.TimeFormat), "Age: 86400"}
		}, tool.OK, "the clocks differ by at most"},
		{"none", func(time.Time) []string { return []string{"Date: -"} }, tool.Warning, "no Date"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStand(t)
			s.args = []string{"clock"}
			s.now = time.Now().UTC().Truncate(time.Second)
			set, err := rotation.New(keyset.Policy{}, s.now.Add(-time.Hour), keyset.ES256)
			require.NoError(t, err)
			s.set, s.path = set, s.path+".now"
			require.NoError(t, keyset.File{Path: s.path}.Create(t.Context(), set))
			got := s.look(startServer(t, answerWith(s.body(), tt.headers(s.now)...)))
			require.Contains(t, got.find("date", tt.severity), tt.text, "%v", got.Findings)
			require.Equal(t, tt.severity == tool.Problem, got.code == tool.ExitRefused)
		})
	}
}

func TestJWKSRedirects(t *testing.T) {
	s := newStand(t)
	mux := http.NewServeMux()
	mux.Handle("/jwks.json", http.RedirectHandler("/next", http.StatusFound))
	mux.Handle("/next", http.RedirectHandler("/last", http.StatusMovedPermanently))
	mux.Handle("/last", s.instance())
	mux.Handle("/loop", http.RedirectHandler("/loop", http.StatusFound))
	elsewhere := startServer(t, s.instance())
	mux.Handle("/away", http.RedirectHandler(elsewhere, http.StatusFound))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)

	got := s.look(server.URL + "/jwks.json")
	require.Equal(t, tool.ExitOK, got.code, got.stderr)
	require.Equal(t, []string{server.URL + "/next", server.URL + "/last"}, got.Polls[0].Redirects)
	require.Contains(t, got.find("redirect", tool.Warning),
		"the URL leads to "+server.URL+"/next, and there to "+server.URL+"/last")
	got = s.look(server.URL + "/loop")
	require.Equal(t, tool.ExitRefused, got.code)
	require.Contains(t, got.find("polls", tool.Problem), "too many redirects")
	require.Len(t, got.Polls[0].Redirects, 6)
	got = s.look(server.URL + "/away")
	require.Equal(t, tool.ExitRefused, got.code)
	require.Contains(t, got.find("polls", tool.Problem), "redirect to another host, which verifiers refuse: 127.0.0.1:")

	shout := strings.ToUpper(strings.Replace(server.Listener.Addr().String(), "127.0.0.1", "localhost", 1))
	mux.Handle("/shout", http.RedirectHandler("http://"+shout+"/last", http.StatusFound))
	got = s.look("http://" + strings.ToLower(shout) + "/shout")
	require.Equal(t, tool.ExitOK, got.code, "the same host in capitals: %s", got.stderr)

	// From https, nothing leads back to http, on the same host and port either.
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/down" {
			http.Redirect(w, r, "http://"+r.Host+"/jwks", http.StatusFound)
			return
		}
		s.instance().ServeHTTP(w, r)
	}))
	t.Cleanup(secure.Close)
	trust := secure.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	s.base = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trust}}
	require.Equal(t, tool.ExitOK, s.look(secure.URL+"/").code)
	got = s.look(secure.URL + "/down")
	require.Equal(t, tool.ExitRefused, got.code)
	require.Contains(t, got.find("polls", tool.Problem), "redirect from https to http")
}

// A network that fails is told from a server that does.
func TestJWKSNetwork(t *testing.T) {
	s := newStand(t)
	server := httptest.NewServer(answerStatus(200))
	server.Close()
	got := s.look(server.URL)
	require.Equal(t, tool.ExitError, got.code)
	require.Contains(t, got.stderr, "nothing could be fetched")
	require.Contains(t, got.find("polls", tool.Problem), "4 of 4 failed")
	require.Empty(t, got.Keys)

	hang := func(before func(http.ResponseWriter)) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			before(w)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		})
	}
	s.args = []string{"hurry"}
	slow := hang(func(w http.ResponseWriter) { _, _ = w.Write([]byte(`{"keys":[`)) })
	got = s.look(startServer(t, slow))
	require.Equal(t, tool.ExitError, got.code, "a body that never ends")
	require.Contains(t, got.stderr, "deadline exceeded")
	s.args = nil
	cut := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10000")
		_, _ = w.Write([]byte(s.body()))
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	got = s.look(startServer(t, inTurn(s.instance(), cut)))
	require.Equal(t, tool.ExitRefused, got.code, "one that is up is enough to see that the other is not")
	require.Contains(t, got.find("polls", tool.Problem), "2 of 4 failed: unexpected EOF")
	require.Equal(t, tool.ExitError, s.look("https://127.0.0.1:1/").code)
}

// Who waits can be interrupted.
func TestJWKSInterrupted(t *testing.T) {
	s := newStand(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("interrupted")
	var stdout, stderr bytes.Buffer
	tl := &tool.Tool{Stdout: &stdout, Stderr: &stderr, Keyset: s.path, Now: s.now}
	c := &jwksCheck{Tool: tl, polls: 3, timeout: time.Second, every: time.Hour, base: s.base}
	c.sleep = func(ctx context.Context, d time.Duration) error {
		cancel(why)
		return sleep(ctx, d) // an hour, if it did not listen
	}
	require.ErrorIs(t, c.run(ctx, startServer(t, s.instance())), why)
	require.Empty(t, stdout.String())
	require.NoError(t, sleep(t.Context(), 0))
	require.ErrorIs(t, c.run(ctx, startServer(t, s.instance())), why, "also during a fetch")
}

func TestCachingOf(t *testing.T) {
	for _, tt := range []struct {
		name    string
		headers []string
		known   bool
		life    time.Duration
	}{
		{"nothing", nil, false, 0},
		{"max-age", []string{"Cache-Control: public, max-age=600"}, true, 10 * time.Minute},
		{"in any case, quoted", []string{`Cache-Control: Public, MAX-AGE="600"`}, true, 10 * time.Minute},
		{"two headers", []string{"Cache-Control: public", "Cache-Control: max-age=60"}, true, time.Minute},
		{"twice", []string{"Cache-Control: max-age=60, max-age=600"}, true, time.Minute},
		{"not a number", []string{"Cache-Control: max-age=soon"}, false, 0},
		{"negative", []string{"Cache-Control: max-age=-1"}, false, 0},
		{"too large", []string{"Cache-Control: max-age=99999999999"}, true, 1 << 31 * time.Second},
		{"zero", []string{"Cache-Control: max-age=0"}, true, 0},
		{"no-cache", []string{"Cache-Control: no-cache, max-age=600"}, true, 0},
		{"Expires", []string{"Expires: Thu, 01 Jan 2026 00:10:00 GMT", "Date: Thu, 01 Jan 2026 00:00:00 GMT"}, true, 10 * time.Minute},
		{"Expires, and past", []string{"Expires: Thu, 01 Jan 2026 00:00:00 GMT", "Date: Thu, 01 Jan 2026 00:10:00 GMT"}, true, 0},
		{"Expires alone", []string{"Expires: Thu, 01 Jan 2026 00:00:00 GMT"}, false, 0},
		{"max-age wins", []string{"Cache-Control: max-age=60", "Expires: Thu, 01 Jan 2026 00:10:00 GMT", "Date: Thu, 01 Jan 2026 00:00:00 GMT"}, true, time.Minute},
		{"stale", []string{"Cache-Control: max-age=60, stale-while-revalidate=30"}, true, 90 * time.Second},
		{"stale, the longer", []string{"Cache-Control: max-age=60, stale-while-revalidate=30, stale-if-error=120"}, true, 3 * time.Minute},
		{"shared", []string{"Cache-Control: max-age=60", "Age: 0"}, true, 2 * time.Minute},
		{"shared, for longer", []string{"Cache-Control: max-age=60, s-maxage=600", "Age: 5"}, true, 11 * time.Minute},
		{"s-maxage is for others", []string{"Cache-Control: max-age=60, s-maxage=600"}, true, time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := make(http.Header)
			for _, line := range tt.headers {
				name, value, _ := strings.Cut(line, ": ")
				h.Add(name, value)
			}
			got := cachingOf(h)
			require.Equal(t, tt.known, got.known)
			require.Equal(t, tt.life, got.life)
		})
	}
}
