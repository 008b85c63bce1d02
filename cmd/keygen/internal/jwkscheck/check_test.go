package jwkscheck

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/cmd/keygen/internal/tool"
	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/internal/rotation"
	"github.com/cloakroom-go/cloakroom/keys"
)

// A stand is a key file, the instant as of which keygen looks, and what
// it says.
type stand struct {
	t      *testing.T
	path   string
	now    time.Time
	set    *keyset.Set
	args   []string
	base   *http.Transport
	pauses []time.Duration
}

// newStand has a key file with a key that signs, a standby, and two
// that encrypt.
func newStand(t *testing.T) *stand {
	s := &stand{
		t: t, path: filepath.Join(t.TempDir(), "keys.json"), now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC),
		base: http.DefaultTransport.(*http.Transport),
	}
	set, err := rotation.New(keyset.Policy{}, s.now.Add(-48*time.Hour), keyset.ES256, keyset.Direct)
	require.NoError(t, err)
	require.NoError(t, keyset.File{Path: s.path}.Create(t.Context(), set))
	s.set = set
	return s
}

// kids are those of the signature keys.
func (s *stand) kids() (kids []string) {
	for _, k := range s.set.Keys() {
		if k.Use() == keyset.Signature {
			kids = append(kids, k.ID())
		}
	}
	return kids
}

// change changes the key file, and not what instances serve.
func (s *stand) change(f func(*keyset.Set) error) {
	require.NoError(s.t, keyset.File{Path: s.path}.Update(s.t.Context(), f))
}

// instance serves the keys as they are now, as a running application does.
func (s *stand) instance() http.Handler {
	f := keyset.File{Path: filepath.Join(s.t.TempDir(), "served.json")}
	require.NoError(s.t, f.Create(s.t.Context(), s.set.Clone()))
	ring, err := keys.OpenRing(keys.RingConfig{File: keys.File(f), Now: func() time.Time { return s.now }})
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = ring.Close() })
	return ring.Handler()
}

func (s *stand) body() string {
	text, err := s.set.PublicSet(s.now)
	require.NoError(s.t, err)
	return string(text)
}

// A sighting is what keygen jwks check --json says.
type sighting struct {
	URL      string        `json:"url"`
	Keyset   string        `json:"keyset"`
	Polls    []*answer     `json:"polls"`
	Keys     []servedKey   `json:"keys"`
	Findings tool.Findings `json:"findings"`

	code           int
	stdout, stderr string
}

// look runs keygen jwks check without waiting between the fetches.
func (s *stand) look(url string) *sighting {
	s.t.Helper()
	var stdout, stderr bytes.Buffer
	tl := &tool.Tool{
		Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr,
		Keyset: s.path, Format: "json", Now: s.now, At: "made up",
	}
	c := &jwksCheck{Tool: tl, polls: 4, every: time.Minute, timeout: 5 * time.Second, base: s.base}
	c.sleep = func(_ context.Context, d time.Duration) error {
		s.pauses = append(s.pauses, d)
		return nil
	}
	for _, arg := range s.args {
		switch arg {
		case "no file":
			tl.Keyset = ""
			s.t.Chdir(s.t.TempDir())
			s.t.Setenv("CLOAKROOM_KEYSET", "")
		case "clock":
			tl.At = ""
		case "hurry":
			c.timeout = 20 * time.Millisecond
		}
	}
	out := new(sighting)
	if err := c.run(s.t.Context(), url); err != nil {
		out.code = tool.ExitCode(err)
		fmt.Fprintln(&stderr, err)
	}
	out.stdout, out.stderr = stdout.String(), stderr.String()
	if stdout.Len() > 0 {
		require.NoError(s.t, json.Unmarshal(stdout.Bytes(), out))
	}
	return out
}

// find returns the texts of the findings of a check.
func (s *sighting) find(check, severity string) string {
	var all []string
	for _, f := range s.Findings {
		if f.Check == check && (severity == "" || f.Severity == severity) {
			all = append(all, f.Text)
		}
	}
	return strings.Join(all, "\n")
}

func startServer(t *testing.T, h http.Handler) string {
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL + "/jwks.json"
}

// inTurn is a load balancer.
func inTurn(instances ...http.Handler) http.Handler {
	var n atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		instances[int(n.Add(1)-1)%len(instances)].ServeHTTP(w, r)
	})
}

// answerWith answers with a body and headers: "Name: value".
func answerWith(body string, headers ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/jwk-set+json")
		for _, h := range headers {
			name, value, _ := strings.Cut(h, ": ")
			if value == "-" {
				w.Header()[name] = nil
				continue
			}
			w.Header().Add(name, value)
		}
		_, _ = w.Write([]byte(body))
	})
}

func answerStatus(code int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
}

func TestJWKSGood(t *testing.T) {
	s := newStand(t)
	url := startServer(t, s.instance())
	got := s.look(url)
	require.Equal(t, tool.ExitOK, got.code, got.stderr)
	require.Equal(t, []time.Duration{time.Minute, time.Minute, time.Minute}, s.pauses, "between four polls")
	require.Equal(t, url, got.URL)
	require.Equal(t, s.path, got.Keyset)
	require.Len(t, got.Polls, 4)
	require.ElementsMatch(t, s.kids(), got.Polls[3].Kids)
	require.Equal(t, "public, max-age=600", got.Polls[0].CacheControl)
	require.Len(t, got.Keys, 2)
	for _, k := range got.Keys {
		require.Equal(t, 4, k.Served)
		require.True(t, *k.Expected)
		require.Equal(t, s.set.Key(k.ID).State(s.now).String(), k.State)
	}
	require.Zero(t, got.Findings.Count(tool.Problem))
	require.Zero(t, got.Findings.Count(tool.Warning), "%v", got.Findings)
	require.Equal(t, "answers: 4, addresses: 1", got.find("polls", tool.OK))
	require.Equal(t, "an unchanged set is answered with 304", got.find("etag", tool.OK))
	require.Equal(t, "application/jwk-set+json", got.find("content_type", tool.OK))
	require.Equal(t, "verifiers keep an answer for up to 10m (max-age); cache_life of the policy is 1h",
		got.find("cache_life", tool.OK))
	require.Empty(t, got.find("date", ""), "the clock of --at is made up")
}

// What a set may be like, and what is said of it.
func TestJWKSAnswers(t *testing.T) {
	s := newStand(t)
	good := s.body()
	first := func(change func(m map[string]any)) string {
		var set struct {
			Keys []map[string]any `json:"keys"`
		}
		require.NoError(t, json.Unmarshal([]byte(good), &set))
		change(set.Keys[0])
		out, err := json.Marshal(set)
		require.NoError(t, err)
		return string(out)
	}
	another := func(member string) string { return strings.TrimSuffix(good, "]}") + "," + member + "]}" }
	for _, tt := range []struct {
		name     string
		handler  http.Handler
		code     int
		check    string
		severity string
		text     string
	}{
		{"plain", answerWith(good), 0, "keys", "", ""},
		{"private member", answerWith(first(func(m map[string]any) { m["d"] = "c2VjcmV0" })), tool.ExitRefused, "private_key", tool.Problem, "is served with its PRIVATE half (d)"},
		{"private member of RSA", answerWith(another(`{"kty":"RSA","kid":"x y","n":"AQ","e":"AQAB","dp":"AQ","p":"AQ"}`)), tool.ExitRefused, "private_key", tool.Problem, `ALARM: key "x y" is served with its PRIVATE half (p, dp): everybody can make tokens; take the set down, and revoke it`},
		{"symmetric", answerWith(another(`{"kty":"oct","kid":"hmac","k":"c2VjcmV0"}`)), tool.ExitRefused, "private_key", tool.Problem, "(k)"},
		{"post-quantum private", answerWith(another(`{"kty":"AKP","kid":"pq","alg":"ML-DSA-44","pub":"AQ","priv":"AQ"}`)), tool.ExitRefused, "private_key", tool.Problem, "(priv)"},
		{"unknown kty", answerWith(another(`{"kty":"AKP","kid":"pq","alg":"ML-DSA-44","pub":"AQ","use":"sig"}`)), 0, "keys", tool.Warning, `key "pq": kty "AKP": some verifiers refuse the whole set because of it`},
		{"weak", answerWith(another(`{"kty":"RSA","kid":"weak","n":"AQ","e":"AQAB","use":"sig","alg":"RS256"}`)), 0, "keys", tool.Warning, `key "weak": verifiers of this module pass it over: RSA key of 1 bits: at least 2048 are needed`},
		{"small order", answerWith(another(`{"kty":"OKP","crv":"Ed25519","kid":"null","x":"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","use":"sig","alg":"EdDSA"}`)), 0, "keys", tool.Warning, `key "null": verifiers of this module pass it over: the Ed25519 public key is a point of small order`},
		{"large exponent", answerWith(another(`{"kty":"RSA","kid":"e","n":"` + strings.Repeat("_", 400) + `","e":"gAAAAQ","use":"sig","alg":"RS256"}`)), 0, "keys", tool.Warning, `key "e": verifiers of this module pass it over: RSA exponent must be odd and at least 65537, and at most 2147483647`},
		{"kid with a slash", answerWith(another(`{"kty":"EC","crv":"P-256","kid":"a/b","x":"AQ","y":"AQ","use":"sig","alg":"ES256"}`)), 0, "keys", tool.Warning, `key "a/b": verifiers of this module pass it over: its kid has more than 128 characters, or others`},
		{"no kid", answerWith(another(`{"kty":"EC","crv":"P-256","x":"AQ","y":"AQ","use":"sig","alg":"ES256"}`)), 0, "keys", tool.Warning, "key number 3: no kid: tokens can't name it"},
		{"no alg, no use", answerWith(first(func(m map[string]any) { delete(m, "alg"); delete(m, "use") })), 0, "keys", tool.Warning, "no alg: verifiers have to guess, or believe the token"},
		{"without use", answerWith(first(func(m map[string]any) { delete(m, "use") })), 0, "keys", tool.Warning, "use is not sig"},
		{"number for a kid", answerWith(another(`{"kty":"EC","kid":5,"use":"sig","alg":"ES256"}`)), 0, "keys", tool.Warning, "key number 3: no kid"},
		{"twice", answerWith(another(strings.TrimSuffix(strings.TrimPrefix(good, `{"keys":[`), "]}"))), tool.ExitRefused, "polls", tool.Problem, "4 of 4 failed: verifiers refuse the set: key number 3 has the kid of another one"},
		{"repeated member", answerWith(strings.Replace(good, `{"keys":`, `{"keys":[],"keys":`, 1)), tool.ExitRefused, "polls", tool.Problem, "verifiers refuse the set: not strict JSON"},
		{"no keys", answerWith(`{"keys":[]}`), tool.ExitNotFound, "agreement", tool.OK, "the same keys: -"},
		{"no key of use", answerWith(`{"keys":[{"kty":"EC","kid":"x","use":"enc"}]}`), tool.ExitNotFound, "keys", tool.Warning, "use is not sig"},
		{"null", answerWith(`{"keys":null}`), tool.ExitRefused, "polls", tool.Problem, "verifiers refuse the set"},
		{"no set", answerWith(`{"key":1}`), tool.ExitRefused, "polls", tool.Problem, "no keys member"},
		{"no objects", answerWith(`{"keys":[1]}`), tool.ExitRefused, "polls", tool.Problem, "the answer is not a JWK Set: it comes as application/jwk-set+json"},
		{"HTML", answerWith("<html>", "Content-Type: -"), tool.ExitRefused, "polls", tool.Problem, "the answer is not a JWK Set: it has no Content-Type"},
		{"empty", answerWith(""), tool.ExitRefused, "polls", tool.Problem, "not a JWK Set"},
		{"500", answerStatus(500), tool.ExitRefused, "polls", tool.Problem, "4 of 4 failed: the server answered 500"},
		{"304 unasked", answerStatus(304), tool.ExitRefused, "polls", tool.Problem, "the server answered 304"},
		{"404 of one", inTurn(answerWith(good), answerWith(good), answerWith(good), answerStatus(404)), tool.ExitRefused, "polls", tool.Problem, "1 of 4 failed: the server answered 404"},
		{"huge", answerWith(good + strings.Repeat(" ", 1<<20)), tool.ExitRefused, "polls", tool.Problem, "larger than 1 MiB"},
		{"as large as it may be", answerWith(good + strings.Repeat(" ", 1<<20-len(good))), 0, "polls", tool.OK, ""},

		{"content type", answerWith(good, "Content-Type: -", "Content-Type: text/html; charset=utf-8"), 0, "content_type", tool.Warning, "text/html: it should be application/jwk-set+json"},
		{"JSON", answerWith(good, "Content-Type: -", "Content-Type: application/json;charset=utf-8"), 0, "content_type", tool.OK, "application/json"},
		{"no content type", answerWith(good, "Content-Type: -"), 0, "content_type", tool.Warning, "none: it should be"},
		{"no ETag", answerWith(good), 0, "etag", tool.Warning, "none: verifiers transfer the whole set"},
		{"no 304", answerWith(good, `ETag: "x"`), 0, "etag", tool.Warning, "is answered with 200, not with 304"},
		{"ETag in turn", inTurn(answerWith(good, `ETag: "1"`), answerWith(good, `ETag: "2"`)), 0, "etag", tool.OK, "the next answer has another ETag"},
		{"ETags differ", inTurn(answerWith(good, `ETag: "1"`), answerWith(good, `ETag: "2"`)), 0, "agreement", tool.Warning, "the same keys come with 2 ETags"},
		{"then 500", inTurn(answerWith(good, `ETag: "1"`), answerWith(good, `ETag: "1"`), answerWith(good, `ETag: "1"`), answerWith(good, `ETag: "1"`), answerStatus(500)), 0, "etag", tool.Warning, "asked again with If-None-Match: the server answered 500"},

		{"no caching said", answerWith(good), 0, "cache_life", tool.Warning, "the answers do not say"},
		{"too long", answerWith(good, "Cache-Control: max-age=7200"), tool.ExitRefused, "cache_life", tool.Problem, "verifiers keep an answer for up to 2h (max-age), and cache_life of the policy is 1h: a new key may sign before they know it; run: keygen policy --cache-life 2h, or"},
		{"one too long", inTurn(answerWith(good, "Cache-Control: max-age=600"), answerWith(good, "Cache-Control: max-age=3601")), tool.ExitRefused, "cache_life", tool.Problem, "up to 1h0m1s"},
		{"one says nothing", inTurn(answerWith(good, "Cache-Control: max-age=600"), answerWith(good)), 0, "cache_life", tool.Warning, "do not say"},
		{"as long as allowed", answerWith(good, "Cache-Control: max-age=3600"), 0, "cache_life", tool.OK, "up to 1h (max-age)"},
		{"stale", answerWith(good, "Cache-Control: max-age=600, stale-while-revalidate=60, stale-if-error=86400"), tool.ExitRefused, "cache_life", tool.Problem, "up to 1d10m (max-age and stale-while-revalidate or stale-if-error)"},
		{"shared cache", answerWith(good, "Cache-Control: max-age=600, s-maxage=3600", "Age: 12"), tool.ExitRefused, "cache_life", tool.Problem, "up to 1h10m (max-age and a cache on the way)"},
		{"no-store", answerWith(good, "Cache-Control: no-store, max-age=7200"), 0, "cache_life", tool.Warning, "for each token"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := *s
			s.t = t
			got := s.look(startServer(t, tt.handler))
			require.Equal(t, tt.code, got.code, "%s\n%v", got.stderr, got.Findings)
			require.Contains(t, got.find(tt.check, tt.severity), tt.text)
			if tt.severity == tool.Problem {
				require.NotEmpty(t, got.find(tt.check, tool.Problem))
			}
			require.NotContains(t, got.stdout, "c2VjcmV0", "private members are not repeated")
		})
	}
}

// A private key of our own is worse than all else, and the way out is said.
func TestJWKSLeakOfOurOwn(t *testing.T) {
	s := newStand(t)
	kid := s.kids()[0]
	body := strings.Replace(s.body(), `"kid":"`+kid+`"`, `"kid":"`+kid+`","d":"c2VjcmV0"`, 1)
	got := s.look(startServer(t, inTurn(answerWith(s.body()), answerWith(s.body()), answerWith(body), answerStatus(500))))
	require.Equal(t, tool.ExitRefused, got.code)
	require.Contains(t, got.find("private_key", tool.Problem), "run: keygen revoke "+kid+" --reason key_compromise")
	require.Contains(t, got.stderr, "PRIVATE KEYS ARE SERVED")
	require.Contains(t, got.find("polls", tool.Problem),
		"1 of 4 failed: verifiers refuse the set: key number 1: private or symmetric key in a public set")
}

// Two instances, of which one has not read the new key file.
func TestJWKSInstancesDiffer(t *testing.T) {
	s := newStand(t)
	old := s.instance()
	revoked := s.kids()[0]
	revoke := rotation.Revoke(rotation.RevokeOptions{Reason: "test"}, revoked)
	_, set, err := revoke.Apply(t.Context(), keyset.File{Path: s.path}, s.now.Add(-time.Hour))
	require.NoError(t, err)
	s.set = set
	got := s.look(startServer(t, inTurn(old, s.instance())))
	require.Equal(t, tool.ExitRefused, got.code)
	require.Contains(t, got.find("agreement", tool.Problem), "the answers have different keys: 2 times ")
	require.Contains(t, got.find("keys", tool.Problem),
		"key "+revoked+" was revoked at 2026-05-01T11:00:00Z (\"test\"), and is served still (in 2 of 4): its tokens "+
			"are accepted")
	for _, k := range got.Keys {
		if k.ID == revoked {
			require.Equal(t, "revoked", k.State)
			require.False(t, *k.Expected)
			require.Equal(t, 2, k.Served)
		}
	}
}

// Every state of a key that is served and should not be, or the other
// way round.
func TestJWKSAgainstTheFile(t *testing.T) {
	day := 24 * time.Hour
	dates := func(publish, from, until, verify time.Duration) func(now time.Time) keyset.Dates {
		return func(now time.Time) keyset.Dates {
			return keyset.Dates{
				Created: now.Add(publish), PublishAt: now.Add(publish), SignFrom: now.Add(from),
				SignUntil: now.Add(until), VerifyUntil: now.Add(verify),
			}
		}
	}
	for _, tt := range []struct {
		name     string
		dates    func(now time.Time) keyset.Dates
		served   bool
		severity string // of what is said of this key; "" for nothing
		text     string
	}{
		{"active, missing", dates(-9*day, -8*day, 20*day, 25*day), false, tool.Problem, "signs, and is not served (missing in 4 of 4): verifiers refuse its tokens"},
		{"active", dates(-9*day, -8*day, 20*day, 25*day), true, "", ""},
		{"retiring, missing", dates(-40*day, -38*day, -day, day), false, tool.Problem, "is retiring, and is not served (missing in 4 of 4)"},
		{"retiring", dates(-40*day, -38*day, -day, day), true, "", ""},
		{"pending, missing", dates(-day, day, 20*day, 25*day), false, tool.Problem, "is pending, and is not served (missing in 4 of 4), though it was to be since 2026-04-30T12:00:00Z"},
		{"pending, on its way", dates(-5*time.Minute, day, 20*day, 25*day), false, tool.Warning, "is pending, and is not served yet (missing in 4 of 4): the key file reaches everybody by 2026-05-01T12:03:30Z"},
		{"pending", dates(-day, day, 20*day, 25*day), true, "", ""},
		{"staged", dates(day, 2*day, 20*day, 25*day), true, tool.Warning, "is staged, and is served all the same (in 4 of 4)"},
		{"staged, missing", dates(day, 2*day, 20*day, 25*day), false, "", ""},
		{"expired", dates(-40*day, -38*day, -8*day, -day), true, tool.Warning, "is expired, and is served all the same"},
		{"expired, missing", dates(-40*day, -38*day, -8*day, -day), false, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStand(t)
			k, err := keyset.Generate(keyset.EdDSA, tt.dates(s.now))
			require.NoError(t, err)
			s.change(func(set *keyset.Set) error { return set.Add(k) })
			if tt.served {
				always, err := keyset.ParsePublicSet([]byte(publicOf(t, k)))
				require.NoError(t, err)
				require.NoError(t, s.set.Add(always[0]))
			}
			got := s.look(startServer(t, answerWith(s.body(), "Cache-Control: max-age=300")))
			said := got.find("keys", "")
			require.Contains(t, said, tt.text)
			if tt.severity == "" {
				require.Empty(t, said)
			} else {
				require.Contains(t, said, "key "+k.ID())
				require.NotEmpty(t, got.find("keys", tt.severity))
			}
			require.Equal(t, tt.severity == tool.Problem, got.code == tool.ExitRefused, got.stderr)
			for _, row := range got.Keys {
				if row.ID == k.ID() {
					require.Equal(t, tt.served, row.Served == 4)
				}
			}
		})
	}
}

// publicOf is a JWK Set of a key's public half, whatever its state.
func publicOf(t *testing.T, k *keyset.Key) string {
	public, err := jwk.Import(k.Public())
	require.NoError(t, err)
	for name, value := range map[string]string{"kid": k.ID(), "alg": string(k.Algorithm()), "use": string(k.Use())} {
		require.NoError(t, public.Set(name, value))
	}
	text, err := json.Marshal(public)
	require.NoError(t, err)
	return `{"keys":[` + string(text) + `]}`
}

func TestJWKSStrangers(t *testing.T) {
	s := newStand(t)
	other := newStand(t)
	got := s.look(startServer(t, inTurn(s.instance(), other.instance())))
	require.Equal(t, tool.ExitRefused, got.code)
	for _, kid := range other.kids() {
		require.Contains(t, got.find("keys", tool.Problem),
			"key "+kid+" is served (in 2 of 4), and is not in the key file: whoever has its private half can make tokens")
	}
	require.Contains(t, got.find("keys", tool.Problem), "key "+s.kids()[0]+" signs, and is not served (missing in 2 of 4)")

	// Another key under an ID of ours.
	kid := s.kids()[0]
	forged := strings.ReplaceAll(publicOf(t, other.set.Keys()[0]), other.kids()[0], kid)
	got = s.look(startServer(t, answerWith(forged)))
	require.Equal(t, tool.ExitRefused, got.code)
	require.Contains(t, got.find("keys", tool.Problem),
		"key "+kid+" is served as another key than that of the key file, under the same ID (ES256)")

	// A key that was pruned is remembered, and no stranger.
	require.NoError(t, s.set.Revoke(kid, s.now, "x"))
	s.change(func(set *keyset.Set) error {
		if err := set.Revoke(kid, s.now, "x"); err != nil {
			return err
		}
		return set.Prune(kid, s.now)
	})
	got = s.look(startServer(t, answerWith(publicOf(t, s.set.Key(kid)))))
	require.Contains(t, got.find("keys", tool.Problem), "key "+kid+" was revoked at")
	require.NotContains(t, got.find("keys", tool.Problem), "key "+kid+" is served (in")
}

// Without a key file there is nothing to compare with, and the rest is said.
func TestJWKSWithoutAFile(t *testing.T) {
	s := newStand(t)
	s.args = []string{"no file"}
	got := s.look(startServer(t, answerWith(s.body(), "Cache-Control: max-age=7200")))
	require.Equal(t, tool.ExitOK, got.code, got.stderr)
	require.Contains(t, got.stderr, "no key file to compare with; name it with --keyset")
	require.Empty(t, got.Keyset)
	require.Len(t, got.Keys, 2)
	require.Nil(t, got.Keys[0].Expected)
	require.Equal(t, "verifiers keep an answer for up to 2h (max-age)", got.find("cache_life", tool.OK))
	s = newStand(t)
	s.path += ".missing"
	require.Equal(t, tool.ExitNotFound, s.look("http://localhost:1/").code, "a file that is named must be there")
}
