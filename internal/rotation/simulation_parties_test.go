package rotation_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
)

// A replica is an instance of the application: it signs, verifies, and
// publishes.
type replica struct {
	name string
	path string // its copy of the key file
	skew time.Duration
	ring *keys.Ring
}

func (r *replica) now() time.Time { return time.Now().Add(r.skew) }

func (r *replica) trusts(t *testing.T, kid string) *keyset.Key {
	k, err := r.ring.Key(t.Context(), kid, r.now())
	if err != nil {
		return nil
	}
	return (*keyset.Key)(k)
}

// A verifier is somebody else's service, with its own clock and its own way to
// cache.
type verifier interface {
	now() time.Time
	trusts(t *testing.T, kid string) *keyset.Key
}

// cache is a verifier that keeps a key set for life, and, if unknown is not
// negative, fetches it again for a key that it lacks, at most that often.
type cache struct {
	skew          time.Duration
	life, unknown time.Duration // life 0 means for ever
	fetch         func() map[string]*keyset.Key
	set           map[string]*keyset.Key
	fetched       time.Time
}

func (c *cache) now() time.Time { return time.Now().Add(c.skew) }

func (c *cache) trusts(_ *testing.T, kid string) *keyset.Key {
	age := c.now().Sub(c.fetched)
	old := c.set == nil || c.life > 0 && age >= c.life
	if _, known := c.set[kid]; old || !known && c.unknown >= 0 && age >= c.unknown {
		c.set, c.fetched = c.fetch(), c.now()
	}
	return c.set[kid]
}

// holds reports whether the cached set has the key. It fetches nothing: the
// worst case is a thief who shows no token that would make the verifier fetch.
func (c *cache) holds(kid string) bool {
	return c.set[kid] != nil && (c.life == 0 || c.now().Sub(c.fetched) < c.life)
}

// remote is a verifier of this module.
type remote struct {
	skew time.Duration
	set  *keys.Remote
}

func (r *remote) now() time.Time { return time.Now().Add(r.skew) }

func (r *remote) trusts(t *testing.T, kid string) *keyset.Key {
	k, err := r.set.Key(t.Context(), kid, r.now())
	synctest.Wait() // a refresh in the background
	if err != nil {
		return nil
	}
	return (*keyset.Key)(k)
}

// A party is a verifier, with what happened to it.
type party struct {
	name string // as in the exposure report
	verifier
	presented, refused int
	late               time.Duration // the longest that an expired key was trusted after its end
	lastTrust          time.Time     // of the key that was revoked last
	lastRefusal        time.Time     // of a token of the key that took its place
	worst              map[bool][2]time.Duration
}

func (s *simulation) newReplica(t *testing.T, path string) *replica {
	r := &replica{name: filepath.Base(path), path: path, skew: s.offset()}
	s.deliver(t, r)
	cfg := keys.RingConfig{
		File: keys.File{Path: path}, Now: r.now,
		ReloadInterval: simPolicy().ReloadInterval - time.Duration(s.rnd.IntN(10))*time.Second,
		OnProblem: func(err error) {
			if !strings.Contains(err.Error(), "run: keygen rotate --if-due") { // the cron job takes its time
				t.Errorf("%s: %v", r.name, err)
			}
		},
	}
	time.Sleep(time.Duration(s.rnd.IntN(30)) * time.Second)
	var err error
	r.ring, err = keys.OpenRing(cfg)
	require.NoError(t, err)
	return r
}

// deliver gives a replica the file as it is now.
func (s *simulation) deliver(t *testing.T, r *replica) {
	text, err := os.ReadFile(s.file.Path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(r.path+".new", text, 0o600))
	require.NoError(t, os.Rename(r.path+".new", r.path))
}

func (s *simulation) newParties(t *testing.T) {
	for _, r := range s.replicas {
		s.parties = append(s.parties, &party{name: "instances of this application", verifier: r})
	}
	fetch := func() map[string]*keyset.Key {
		w := httptest.NewRecorder()
		s.any().ring.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		return parsed(t, w.Body.String())
	}
	serve := transport(func(req *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		s.any().ring.Handler().ServeHTTP(w, req)
		return w.Result(), nil
	})
	own, err := keys.NewRemote(keys.RemoteConfig{URL: "http://localhost/jwks", Transport: serve})
	require.NoError(t, err)
	add := func(name string, v verifier) { s.parties = append(s.parties, &party{name: name, verifier: v}) }
	add("keys.Remote and token.Verifier (this module)", &remote{s.offset(), own})
	caching := func(life, unknown time.Duration) verifier {
		return &cache{skew: s.offset(), life: life, unknown: unknown, fetch: fetch}
	}
	add("any other that caches the JWK Set", caching(simPolicy().CacheLife, -1))
	add("panva/jose (JavaScript)", caching(10*time.Minute, 30*time.Second))
	add("keyfunc, jwkset (Go)", caching(time.Hour, 5*time.Minute))
	add("go-oidc, zitadel/oidc (Go)", caching(0, 0))
	for _, p := range s.parties {
		p.worst = make(map[bool][2]time.Duration)
	}
	s.close = func() {
		for _, r := range s.replicas {
			_ = r.ring.Close()
		}
		_ = own.Close()
	}
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func (s *simulation) any() *replica { return s.replicas[s.rnd.IntN(len(s.replicas))] }

func parsed(t *testing.T, body string) map[string]*keyset.Key {
	for _, member := range []string{`"d"`, `"k"`, `"p"`, "created", "sign_from", `"oct"`} {
		require.NotContains(t, body, member)
	}
	all, err := keyset.ParsePublicSet([]byte(body))
	require.NoError(t, err)
	set := make(map[string]*keyset.Key)
	for _, k := range all {
		set[k.ID()] = k
	}
	return set
}
